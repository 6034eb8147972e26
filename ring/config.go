package ring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"
)

// A Config says who this node is and how it finds the others.
type Config struct {
	// Self is this node as the others shall know it. Open sets its Boot.
	Self Member

	// Bind is where gossip listens, TCP and UDP, as host:port. Port 0 takes a
	// free one; an empty host or a wildcard listens on all addresses.
	Bind string

	// Advertise is where others reach it, as host:port, if that is not Bind.
	// With a wildcard Bind and no Advertise it is the private address of the
	// interface that the default route uses, else the first private one.
	Advertise string

	// Cluster labels all gossip. Clusters with different labels never merge,
	// not even when one is given an address that was the other's.
	Cluster string

	// Secret is what all nodes of the cluster share and nobody else knows. Keys
	// for single purposes are derived from it; it is never sent. Empty: whoever
	// reaches Bind can be a member. The ring does not change it.
	Secret []byte

	// Seeds are members to begin with, as host:port. A host name is resolved
	// again at each attempt and may stand for several. This node's own address
	// among them is ignored, so that all nodes can be given the same list.
	Seeds []string

	// Log gets what happens; nil discards it.
	Log *slog.Logger

	Timing Timing

	// Transport replaces the sockets, for simulations. Bind is not used then.
	Transport memberlist.Transport
}

// Timing are the periods of a ring. A zero field takes its default, the figure
// behind it. With the defaults a crash is seen by all after 6 seconds in a cluster of
// 3 and 10 in one of 100, a join or a change of state within one.
type Timing struct {
	ProbeInterval time.Duration // 1 s: one other member is probed so often
	ProbeTimeout  time.Duration // 500 ms: for the answer, before others are asked to probe

	// SuspicionMult, 4, times log10 of the members times ProbeInterval is how
	// long an unanswering member can object before it counts as crashed.
	SuspicionMult int

	GossipInterval   time.Duration // 100 ms: news are passed on so often
	PushPullInterval time.Duration // 15 s: the whole table is compared with another member's
	StreamTimeout    time.Duration // 3 s: to connect to, and to talk with, another member

	RejoinInterval time.Duration // 10 s, ± 20 %: lost members and seeds are asked to rejoin
	JoinRetry      time.Duration // 500 ms: first pause, doubling up to RejoinInterval, until a seed answered

	// A view with new owners is made once none was added for JoinQuiet, 250 ms,
	// and at the latest JoinWait, 500 ms, after the first: nodes that start
	// together move keys once.
	JoinQuiet, JoinWait time.Duration

	Announce time.Duration // 5 s: longest wait for a change or a leave to be sent
}

func (t Timing) withDefaults() Timing {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.ProbeInterval, time.Second)
	def(&t.ProbeTimeout, 500*time.Millisecond)
	def(&t.GossipInterval, 100*time.Millisecond)
	def(&t.PushPullInterval, 15*time.Second)
	def(&t.StreamTimeout, 3*time.Second)
	def(&t.RejoinInterval, 10*time.Second)
	def(&t.JoinRetry, 500*time.Millisecond)
	def(&t.JoinQuiet, 250*time.Millisecond)
	def(&t.JoinWait, 500*time.Millisecond)
	def(&t.Announce, 5*time.Second)
	if t.SuspicionMult == 0 {
		t.SuspicionMult = 4
	}
	return t
}

func (t Timing) check() error {
	for _, d := range []time.Duration{t.ProbeInterval, t.ProbeTimeout, t.GossipInterval, t.PushPullInterval,
		t.StreamTimeout, t.RejoinInterval, t.JoinRetry, t.JoinQuiet, t.JoinWait, t.Announce,
		time.Duration(t.SuspicionMult)} {
		if d < 0 {
			return errors.New("a timing is negative")
		}
	}
	return nil
}

// retransmitMult times log10 of the members is how many times each member passes
// a piece of news on. With the library's 4, of 30 simulated clusters of 8 that
// started together on a network without loss, 4 had a node that missed another
// for up to 24 seconds, until tables were compared; with 8 none had.
const retransmitMult = 8

// check returns all that is wrong with the configuration and shows without
// touching the network.
func (c *Config) check() error {
	errs := []error{c.Self.check(), c.Timing.check()}
	if len(c.Cluster) > memberlist.LabelMaxSize {
		errs = append(errs, fmt.Errorf("the cluster name has %d bytes, at most %d are allowed",
			len(c.Cluster), memberlist.LabelMaxSize))
	}
	for _, s := range c.Seeds {
		if err := checkAddr(s); err != nil {
			errs = append(errs, fmt.Errorf("seed: %w", err))
		}
	}
	return errors.Join(errs...)
}

// gossip returns the gossip library's configuration, with the addresses
// resolved.
func (c *Config) gossip(log *slog.Logger, d *delegate) (*memberlist.Config, error) {
	m := memberlist.DefaultLANConfig()
	m.Name = d.name
	m.Label = c.Cluster
	m.Transport = c.Transport
	m.Logger = newGossipLogger(log)
	m.Delegate, m.Events, m.Alive, m.Merge = d, d, d, d
	m.RetransmitMult = retransmitMult
	m.EnableCompression = false // the messages are small and few

	t := c.Timing
	m.ProbeInterval, m.ProbeTimeout, m.SuspicionMult = t.ProbeInterval, t.ProbeTimeout, t.SuspicionMult
	m.GossipInterval, m.PushPullInterval, m.TCPTimeout = t.GossipInterval, t.PushPullInterval, t.StreamTimeout

	if c.Transport != nil {
		return m, nil
	}
	bind, err := resolveAddr(c.Bind)
	if err != nil {
		return nil, fmt.Errorf("bind address: %w", err)
	}
	// The library takes an address it cannot parse for a wildcard, so it only
	// ever gets one that was resolved here.
	m.BindAddr, m.BindPort = bind.Addr().String(), int(bind.Port())
	m.AdvertisePort = m.BindPort
	switch {
	case c.Advertise != "":
		a, err := resolveAddr(c.Advertise)
		if err == nil {
			err = checkAddr(a.String())
		}
		if err != nil {
			return nil, fmt.Errorf("advertised address: %w", err)
		}
		if m.BindPort == 0 {
			return nil, errors.New("an advertised address needs a fixed port to bind, not 0")
		}
		m.AdvertiseAddr, m.AdvertisePort = a.Addr().String(), int(a.Port())
	case bind.Addr().IsUnspecified():
		a, err := privateAddr()
		if err != nil {
			return nil, err
		}
		m.AdvertiseAddr = a.String()
	}
	return m, nil
}

// resolveAddr turns host:port into an address, an empty host into the IPv4
// wildcard.
func resolveAddr(hostport string) (netip.AddrPort, error) {
	if hostport == "" {
		return netip.AddrPort{}, errors.New("none is given")
	}
	a, err := net.ResolveTCPAddr("tcp", hostport)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if a.Zone != "" {
		return netip.AddrPort{}, fmt.Errorf("%q has a zone, which means nothing to other nodes", hostport)
	}
	ip, ok := netip.AddrFromSlice(a.IP)
	if !ok {
		ip = netip.IPv4Unspecified()
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(a.Port)), nil
}

// privateAddr returns the address to advertise for a wildcard.
func privateAddr() (netip.Addr, error) {
	var all []netip.Addr
	// Connecting a UDP socket sends nothing: it only asks for the route. The
	// address is one for documentation (RFC 5737), which nobody has.
	if conn, err := net.Dial("udp", "198.51.100.1:9"); err == nil {
		all = append(all, conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr())
		conn.Close()
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("looking for an address to advertise: %w", err)
	}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, prefix.Addr())
		}
	}
	if a, ok := pickPrivate(all); ok {
		return a, nil
	}
	return netip.Addr{}, errors.New("this machine has no private address to advertise: give one")
}

// sharedSpace is the carriers' private range (RFC 6598), which some container
// networks use.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// pickPrivate returns the first private IPv4 address, else the first private
// IPv6 one.
func pickPrivate(addrs []netip.Addr) (netip.Addr, bool) {
	var six netip.Addr
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

// resolveSeed returns the addresses a seed stands for. Literal addresses need
// no lookup.
func resolveSeed(ctx context.Context, seed string) ([]string, error) {
	host, port, err := net.SplitHostPort(seed)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	ips := []netip.Addr{}
	if ip, err := netip.ParseAddr(host); err == nil {
		ips = append(ips, ip)
	} else if ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
		return nil, err
	}
	out := make([]string, 0, len(ips))
	for _, ip := range ips {
		out = append(out, netip.AddrPortFrom(ip.Unmap(), uint16(n)).String())
	}
	return out, nil
}
