package node

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// advertised returns the HOST:PORT at which other nodes reach a listener: what
// is configured, with the bound port where that says 0, or the bound address
// itself. A listener on all addresses is advertised by the host of the first of
// the node's other addresses that names one, so that all of them lead to the
// same network, and in the end by a private address of this machine.
func advertised(bound net.Addr, configured string, others ...string) (string, error) {
	_, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return "", err
	}
	if configured != "" {
		host, want, err := net.SplitHostPort(configured)
		if err != nil {
			return "", fmt.Errorf("advertised address %q: %w", configured, err)
		}
		if want != "0" {
			port = want
		}
		return net.JoinHostPort(host, port), nil
	}
	tcp, ok := bound.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return bound.String(), nil
	}
	for _, other := range others {
		if host, _, err := net.SplitHostPort(other); err == nil && leadsHere(host) {
			return net.JoinHostPort(host, port), nil
		}
	}
	ip, err := privateAddress()
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(ip.String(), port), nil
}

// withPort returns an advertised address with the port of the listener where it
// says 0, and "" as it is.
func withPort(advertised, listener string) (string, error) {
	if advertised == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(advertised)
	if err != nil {
		return "", fmt.Errorf("advertised address %q: %w", advertised, err)
	}
	if port == "0" {
		if _, port, err = net.SplitHostPort(listener); err != nil {
			return "", fmt.Errorf("gossip address %q: %w", listener, err)
		}
	}
	return net.JoinHostPort(host, port), nil
}

// leadsHere reports whether a host may lead other machines to this one.
func leadsHere(host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host != "" && host != "localhost"
	}
	return !ip.IsUnspecified() && !ip.Unmap().IsLoopback()
}

var errNoPrivateAddress = errors.New("no private address to advertise: set the address at which other nodes reach this one")

// privateAddress returns the private address that the default route uses, as
// the gossip does, else the first one. A host with containers has several, and
// those of its bridges lead nowhere from outside.
func privateAddress() (netip.Addr, error) {
	var all []netip.Addr
	// Connecting a UDP socket sends nothing: it only asks for the route. The
	// address is one for documentation (RFC 5737), which nobody has.
	if conn, err := net.Dial("udp", "198.51.100.1:9"); err == nil {
		all = append(all, conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr())
		conn.Close()
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, prefix.Addr())
		}
	}
	if a, ok := pickPrivate(all); ok {
		return a, nil
	}
	return netip.Addr{}, errNoPrivateAddress
}

// sharedSpace is the carriers' private range (RFC 6598), which some container
// networks use.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// pickPrivate returns the first private IPv4 address, else the first private
// IPv6 one.
func pickPrivate(addrs []netip.Addr) (six netip.Addr, ok bool) {
	for _, a := range addrs {
		a = a.Unmap()
		switch {
		case !a.IsPrivate() && !sharedSpace.Contains(a):
		case a.Is4():
			return a, true
		case !six.IsValid():
			six = a
		}
	}
	return six, six.IsValid()
}
