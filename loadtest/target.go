package loadtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// A target is a server, resolved.
type target struct {
	base   string // SCHEME://HOST:PORT
	host   string // HOST:PORT as the URL has it
	addr   string // IP:PORT, what is dialled
	secure bool
}

// resolve finds out where s is. s is a URL, or HOST:PORT for one of plain HTTP.
// It refuses what is not on this machine, unless remote says that it may be. The
// name is resolved here once and for all, so that it cannot come to mean another
// machine later.
func resolve(ctx context.Context, s string, remote bool) (target, *url.URL, error) {
	text := s
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return target{}, nil, fmt.Errorf("the target %q: %w", s, err)
	}
	t := target{host: u.Host, base: u.Scheme + "://" + u.Host, secure: u.Scheme == "https"}
	port := u.Port()
	switch {
	case u.Scheme == "http" && port == "":
		port = "80"
	case u.Scheme == "https" && port == "":
		port = "443"
	case u.Scheme != "http" && u.Scheme != "https":
		return target{}, nil, fmt.Errorf("the target %q is neither http nor https", s)
	}
	if u.Hostname() == "" || u.User != nil {
		return target{}, nil, fmt.Errorf("the target %q is not HOST:PORT or a URL of it", s)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return target{}, nil, fmt.Errorf("the target %q: %w", s, err)
	}
	if len(addrs) == 0 {
		return target{}, nil, fmt.Errorf("the target %q has no address", s)
	}
	for _, addr := range addrs {
		if !remote && !addr.Unmap().IsLoopback() {
			return target{}, nil, fmt.Errorf("%w: %s is %v", ErrRemote, u.Hostname(), addr)
		}
	}
	t.addr = net.JoinHostPort(preferIPv4(addrs).Unmap().String(), port)
	return t, u, nil
}

// Resolve returns IP:PORT of a URL, or of HOST:PORT, and an error that is ErrRemote
// if it is not on this machine, unless remote says that it may be. Who dials what it
// returns cannot be sent elsewhere by a name that comes to mean another machine.
func Resolve(ctx context.Context, s string, remote bool) (addr string, err error) {
	t, _, err := resolve(ctx, s, remote)
	if err != nil {
		return "", fmt.Errorf("loadtest: %w", err)
	}
	return t.addr, nil
}

// preferIPv4 chooses an address: names of this machine have one of each kind,
// and servers there mostly listen on the older.
func preferIPv4(addrs []netip.Addr) netip.Addr {
	for _, addr := range addrs {
		if addr.Unmap().Is4() {
			return addr
		}
	}
	return addrs[0]
}

// resolveTargets resolves the targets of a run.
func resolveTargets(ctx context.Context, cfg *Config) ([]target, error) {
	var targets []target
	var errs []error
	for _, s := range cfg.Targets {
		t, u, err := resolve(ctx, s, cfg.AllowRemote)
		switch {
		case err != nil:
		case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
			err = fmt.Errorf("the target %q has more than HOST:PORT", s)
		case t.secure && cfg.Client == ClientRaw:
			err = fmt.Errorf("the target %q wants TLS, which the client %q does not speak: use %q or %q", s, ClientRaw, ClientHTTP, ClientHTTP2)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		targets = append(targets, t)
	}
	if len(cfg.Targets) == 0 {
		errs = append(errs, errors.New("no target"))
	}
	return targets, errors.Join(errs...)
}
