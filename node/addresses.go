package node

import (
	"errors"
	"fmt"
	"net"
)

// advertised returns the HOST:PORT at which other nodes reach a listener: what
// is configured, with the bound port where that says 0, or the bound address
// itself. A listener on all addresses is advertised by the host's first private
// one, as the gossip does.
func advertised(bound net.Addr, configured string) (string, error) {
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
	ip, err := privateAddress()
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(ip.String(), port), nil
}

var errNoPrivateAddress = errors.New("no private address to advertise: set the address at which other nodes reach this one")

func privateAddress() (net.IP, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsPrivate() {
			return n.IP, nil
		}
	}
	return nil, errNoPrivateAddress
}
