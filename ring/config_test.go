package ring

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestOpenSaysWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		edit func(*Config)
		says []string
	}{
		"a taken port": {func(c *Config) { c.Bind = taken.Addr().String() },
			[]string{taken.Addr().String(), "address already in use"}},
		"no bind address":  {func(c *Config) { c.Bind = "" }, []string{"bind address"}},
		"a bind zone":      {func(c *Config) { c.Bind = "[fe80::1%lo]:0" }, []string{"zone"}},
		"advertised 0":     {func(c *Config) { c.Advertise = "10.0.0.1:0" }, []string{"advertised"}},
		"advertised, free": {func(c *Config) { c.Advertise = "10.0.0.1:7" }, []string{"fixed port"}},
		"a negative pause": {func(c *Config) { c.Timing.JoinQuiet = -1 }, []string{"negative"}},
		"a long label":     {func(c *Config) { c.Cluster = strings.Repeat("x", 256) }, []string{"256 bytes"}},
		"a long address": {func(c *Config) { c.Self.PeerAddr = strings.Repeat("h", 250) + ":1" },
			[]string{"shorten"}},
		"several faults": {func(c *Config) {
			c.Self = Member{ID: "a b", State: 7, PeerAddr: ":1", DataAddr: "h"}
			c.Seeds = []string{"h:port"}
		}, []string{`"a b"`, "state 7", `":1"`, `"h"`, `"h:port"`}},
	} {
		cfg := quickConfig("n1")
		c.edit(&cfg)
		r, err := Open(cfg)
		if err == nil {
			r.Close()
			t.Errorf("%s: no error", name)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %q does not say %q", name, err, s)
			}
		}
	}
}

func TestAnOwnAddressAmongTheSeedsIsNoSeed(t *testing.T) {
	r := start(t, quickConfig("n1"))
	bind := r.Addr()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := quickConfig("n1", bind)
	cfg.Bind = bind
	if again := start(t, cfg); !again.Joined() {
		t.Error("a node that has only itself for a seed waits for others")
	}
}

func TestTheAdvertisedAddressIsShown(t *testing.T) {
	r := start(t, quickConfig("n0")) // to find a free port
	bind := r.Addr()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(bind)
	if err != nil {
		t.Fatal(err)
	}
	cfg := quickConfig("n1")
	cfg.Bind, cfg.Advertise = ":"+port, "localhost:"+port
	first := start(t, cfg)
	if want := "0.0.0.0:" + port; first.Addr() != want {
		t.Errorf("listens on %s, want %s", first.Addr(), want)
	}
	if first.AdvertiseAddr() != bind {
		t.Errorf("advertises %s, want %s", first.AdvertiseAddr(), bind)
	}
	start(t, quickConfig("n2", "localhost:"+port))
	await(t, first, "n2", func(v *View) bool { return len(v.Members()) == 2 })
}

func TestAPrivateAddressStandsForAWildcard(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1 203.0.113.1 172.17.0.1 10.0.0.1": "172.17.0.1",
		"fd00::1 ::ffff:192.168.1.1":                "192.168.1.1",
		"fe80::1 fd00::1 fd00::2":                   "fd00::1",
		"100.64.3.4":                                "100.64.3.4",
		"127.0.0.1 8.8.8.8 ::1":                     "",
	} {
		var addrs []netip.Addr
		for s := range strings.FieldsSeq(in) {
			addrs = append(addrs, netip.MustParseAddr(s))
		}
		got, ok := pickPrivate(addrs)
		if ok != (want != "") || (ok && got.String() != want) {
			t.Errorf("of %s: %v, want %s", in, got, want)
		}
	}
}

func TestGossipSpeaksIPv6(t *testing.T) {
	cfg := quickConfig("n1")
	cfg.Bind = "[::1]:0"
	r, err := Open(cfg)
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	first := start(t, cfg)
	cfg = quickConfig("n2", first.Addr())
	cfg.Bind = "[::1]:0"
	second := start(t, cfg)
	for _, r := range []*Ring{first, second} {
		await(t, r, "two members", func(v *View) bool { return len(v.owners) == 2 })
	}
	if err := second.SetState(t.Context(), Draining); err != nil {
		t.Error(err)
	}
	await(t, first, "n2 draining", func(v *View) bool { return v.Share("n2") == 0 })
}
