package origin

import (
	"fmt"
	"net/netip"
	"syscall"
)

// refuseMetadata is a net.Dialer's Control that keeps requests for objects away
// from the addresses at which clouds hand credentials to their machines. It
// sees the address that was resolved, so no name can hide it.
func refuseMetadata(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial %s: %w", address, err)
	}
	metadataIPv6 := netip.MustParsePrefix("fd00:ec2::/32")
	if a := ap.Addr().Unmap(); a.IsLinkLocalUnicast() || a.IsMulticast() || metadataIPv6.Contains(a) {
		return fmt.Errorf("dial %s: objects are never kept at this address", address)
	}
	return nil
}
