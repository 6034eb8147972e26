package origin

import (
	"context"
	"crypto/x509"
	"net"
)

// DialBy makes the CDN connect by another way than the network.
func (c *CDN) DialBy(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	c.transport.DialContext = dial
}

// Trust makes the CDN trust another authority than the system's.
func (c *CDN) Trust(roots *x509.CertPool) { c.transport.TLSClientConfig.RootCAs = roots }

// Dials reports whether a CDN so configured would connect to an address.
func (cfg CDNConfig) Dials(address string) error { return cfg.dialControl("tcp", address, nil) }

// What the tests must know of the CDN's own numbers.
const (
	CDNWhole      = cdnWhole
	MaxCDNBypass  = maxBypassed
	CDNRateWindow = cdnRateWindow
)
