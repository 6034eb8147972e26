package node

import (
	"net"
	"net/netip"
	"testing"
)

func TestAListenerIsAdvertisedWhereOthersReachIt(t *testing.T) {
	wildcard := &net.TCPAddr{IP: net.IPv4zero, Port: 7}
	for _, c := range []struct {
		name       string
		bound      net.Addr
		configured string
		others     []string
		want       string
	}{
		{"as bound", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7}, "", nil, "127.0.0.1:7"},
		{"as bound, IPv6", &net.TCPAddr{IP: net.IPv6loopback, Port: 7}, "", nil, "[::1]:7"},
		{"as configured", wildcard, "node-1.example:9", nil, "node-1.example:9"},
		{"with the port that was bound", wildcard, "[fd00::1]:0", nil, "[fd00::1]:7"},
		{"as the peers are told", wildcard, "", []string{"10.1.2.3:0", "10.9.9.9:1", ":1"}, "10.1.2.3:7"},
		{"as the gossip is told", wildcard, "", []string{"", "203.0.113.5:1", "127.0.0.1:1"}, "203.0.113.5:7"},
		{"where the gossip listens", wildcard, "", []string{"", "", "10.9.9.9:1"}, "10.9.9.9:7"},
		{"IPv6 wildcard", &net.TCPAddr{IP: net.IPv6unspecified, Port: 7}, "", []string{"[fd00::2]:1"}, "[fd00::2]:7"},
	} {
		if got, err := advertised(c.bound, c.configured, c.others...); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
	for _, host := range []string{"", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"} {
		if leadsHere(host) {
			t.Errorf("%q leads other machines here", host)
		}
	}
}

func TestAPrivateIPv4AddressIsPreferred(t *testing.T) {
	addrs := func(list ...string) (all []netip.Addr) {
		for _, s := range list {
			all = append(all, netip.MustParseAddr(s))
		}
		return all
	}
	for want, list := range map[string][]netip.Addr{
		"10.0.0.5":   addrs("127.0.0.1", "203.0.113.1", "fd00::1", "10.0.0.5", "172.17.0.1"),
		"100.64.1.1": addrs("100.64.1.1", "10.0.0.1"),
		"fd00::1":    addrs("::1", "2001:db8::1", "fe80::1", "fd00::1"),
	} {
		if got, ok := pickPrivate(list); !ok || got.String() != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
	if got, ok := pickPrivate(addrs("127.0.0.1", "203.0.113.1")); ok {
		t.Errorf("%v", got)
	}
}

func TestAnAdvertisedPortZeroIsTheListeners(t *testing.T) {
	for _, c := range []struct{ advertised, listener, want string }{
		{"", "0.0.0.0:7946", ""}, {"10.0.0.1:0", "0.0.0.0:7946", "10.0.0.1:7946"}, {"[fd00::1]:1", ":7946", "[fd00::1]:1"},
	} {
		if got, err := withPort(c.advertised, c.listener); err != nil || got != c.want {
			t.Errorf("%q, %v; want %q", got, err, c.want)
		}
	}
}

// On a machine without a private address it is enough to say how the node is
// reached; the client and admin listeners need no setting of their own.
func TestOneAdvertisedHostServesAllListeners(t *testing.T) {
	n := openNode(t, func(cfg *Config) {
		cfg.AllowAnonymous = true
		cfg.Listen, cfg.PeerListen, cfg.AdminListen = ":0", ":0", ":0"
		cfg.PeerAdvertise = "203.0.113.5:0"
	})
	self := n.ring.Self()
	for _, addr := range []string{self.DataAddr, self.PeerAddr, self.AdminAddr} {
		if host, port, err := net.SplitHostPort(addr); err != nil || host != "203.0.113.5" || port == "0" {
			t.Errorf("%q, %v", addr, err)
		}
	}
}
