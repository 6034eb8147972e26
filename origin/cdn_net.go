package origin

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/micelio/micelio/object"
)

// check reports all faults of the configuration, and returns the base of all
// URLs.
func (cfg *CDNConfig) check() (base string, err error) {
	base, err = cfg.checkURL()
	errs := []error{err}
	if cfg.Timeout < 0 {
		errs = append(errs, fmt.Errorf("a timeout of %v", cfg.Timeout))
	}
	if cfg.Concurrency < 0 {
		errs = append(errs, fmt.Errorf("a concurrency of %d", cfg.Concurrency))
	}
	return base, errors.Join(errs...)
}

func (cfg *CDNConfig) checkURL() (string, error) {
	u, err := url.Parse(cfg.BaseURL)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err // without the URL, which may hold a password
		}
		return "", fmt.Errorf("malformed base URL: %w", err)
	}
	switch {
	case cfg.BaseURL == "":
		return "", errors.New("no base URL")
	case u.User != nil:
		return "", errors.New("the base URL holds a user: credentials are never sent to a CDN")
	case u.Scheme != "https" && u.Scheme != "http":
		return "", fmt.Errorf("base URL %q is neither https nor http", cfg.BaseURL)
	case u.Hostname() == "" || u.Opaque != "":
		return "", fmt.Errorf("base URL %q names no host", cfg.BaseURL)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(cfg.BaseURL, "#"):
		return "", fmt.Errorf("base URL %q has a query or fragment", cfg.BaseURL)
	case u.Scheme == "http" && !cfg.AllowHTTP && !isLoopback(u.Hostname()):
		return "", fmt.Errorf("base URL %q is not https, and plain HTTP is not allowed", cfg.BaseURL)
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		if why := cfg.addressFault(addr); why != "" {
			return "", fmt.Errorf("base URL %q: %s", cfg.BaseURL, why)
		}
	}
	return u.Scheme + "://" + u.Host + strings.TrimRight(u.EscapedPath(), "/"), nil
}

// isLoopback reports whether requests to host stay on this machine by its name.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// url returns where the CDN has key. Everything but RFC 3986's unreserved
// characters is encoded, also ":" and "+", which are legal in a path but which
// caches and their origins read in two ways.
func (c *CDN) url(key object.Key) string {
	const hexa = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(c.base) + 1 + len(key) + len(key)/4)
	b.WriteString(c.base)
	b.WriteByte('/')
	for i := range len(key) {
		switch ch := key[i]; {
		case ch >= 'a' && ch <= 'z', ch >= 'A' && ch <= 'Z', ch >= '0' && ch <= '9', strings.IndexByte("-._~/", ch) >= 0:
			b.WriteByte(ch)
		default:
			b.WriteByte('%')
			b.WriteByte(hexa[ch>>4])
			b.WriteByte(hexa[ch&15])
		}
	}
	return b.String()
}

// transport returns the connections to the CDN. It is used without an
// http.Client, so that no redirect is followed and no cookie kept.
func (cfg *CDNConfig) transport() *http.Transport {
	t := &http.Transport{
		Proxy: nil, // not even one from the environment: it would see every URL, and dial where the guard cannot look
		DialContext: (&net.Dialer{
			Timeout: cfg.Timeout, KeepAlive: 30 * time.Second, Control: cfg.dialControl,
		}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    cfg.Timeout,
		IdleConnTimeout:        idleConnTimeout,
		MaxIdleConns:           cfg.Concurrency,
		MaxIdleConnsPerHost:    cfg.Concurrency,
		MaxResponseHeaderBytes: maxAnswerHeader,
		DisableCompression:     true,
		ReadBufferSize:         64 << 10,
	}
	// One HTTP/2 connection that stalls would hold every read.
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	return t
}

// dialControl is a net.Dialer's Control. It sees the address that is about to be
// connected to: no name, and no answer of a name server that changes between two
// questions, gets around it.
func (cfg *CDNConfig) dialControl(network, address string, conn syscall.RawConn) error {
	if err := refuseMetadata(network, address, conn); err != nil {
		return err
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial %s: %w", address, err)
	}
	if why := cfg.addressFault(ap.Addr()); why != "" {
		return fmt.Errorf("dial %s: %s", address, why)
	}
	return nil
}

// addressFault says why a CDN must not have this address, "" if it may.
func (cfg *CDNConfig) addressFault(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if nat64.Contains(addr) {
		whole := addr.As16()
		addr = netip.AddrFrom4([4]byte(whole[12:]))
	}
	switch {
	case addr.IsLinkLocalUnicast() || addr.IsMulticast() || metadataService.Contains(addr):
		return "no CDN has a link-local or multicast address"
	case cfg.AllowPrivate:
		return ""
	case addr.IsLoopback() || addr.IsPrivate() || addr.IsUnspecified():
		return "it is a private address, which is not allowed"
	}
	for _, prefix := range notPublic {
		if prefix.Contains(addr) {
			return "it is not a public address"
		}
	}
	return ""
}

var (
	// nat64 is the prefix behind which an IPv6 network reaches IPv4 (RFC 6052).
	nat64 = netip.MustParsePrefix("64:ff9b::/96")

	// metadataService is where AWS hands out credentials over IPv6.
	metadataService = netip.MustParsePrefix("fd00:ec2::/32")

	// notPublic are further networks that lead nowhere, inside, or to an IPv4
	// address in disguise (IANA's special-purpose address registries).
	notPublic = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),      // this network
		netip.MustParsePrefix("100.64.0.0/10"),  // carriers' shared space, also VPNs'
		netip.MustParsePrefix("192.0.0.0/24"),   // protocol assignments
		netip.MustParsePrefix("198.18.0.0/15"),  // benchmarks
		netip.MustParsePrefix("240.0.0.0/4"),    // reserved, and broadcast
		netip.MustParsePrefix("::/96"),          // IPv4-compatible
		netip.MustParsePrefix("64:ff9b:1::/48"), // local NAT64
		netip.MustParsePrefix("2001::/32"),      // Teredo
		netip.MustParsePrefix("2002::/16"),      // 6to4
		netip.MustParsePrefix("fec0::/10"),      // site-local
	}
)
