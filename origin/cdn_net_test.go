package origin_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/origin"
)

func TestACDNHasAPublicAddress(t *testing.T) {
	t.Parallel()
	const public, private, never = 0, 1, 2
	for address, kind := range map[string]int{
		"93.184.216.34": public, "1.1.1.1": public, "172.32.0.1": public, "192.169.0.1": public, "11.0.0.1": public, "100.128.0.1": public,
		"2606:4700::1": public, "64:ff9b::5db8:d822": public, "::ffff:1.1.1.1": public,

		"127.0.0.1": private, "127.255.255.254": private, "::1": private, "0.0.0.0": private, "::": private, "0.1.2.3": private,
		"10.0.0.1": private, "10.255.255.255": private, "172.16.0.1": private, "172.31.255.255": private, "192.168.0.1": private,
		"100.64.0.1": private, "100.127.255.255": private, "192.0.0.1": private, "198.18.0.1": private, "198.19.255.255": private,
		"240.0.0.1": private, "255.255.255.255": private, "fc00::1": private, "fd12:3456::1": private, "fec0::1": private,
		"::ffff:127.0.0.1": private, "::ffff:10.0.0.1": private, "::ffff:100.64.0.1": private, "::127.0.0.1": private, "64:ff9b::7f00:1": private, "64:ff9b::a00:1": private,
		"64:ff9b:1::a00:1": private, "2002:7f00:1::": private, "2001::1": private,

		"169.254.169.254": never, "169.254.0.1": never, "fe80::1": never, "fe80::1%eth0": never, "fd00:ec2::254": never,
		"::ffff:169.254.169.254": never, "64:ff9b::a9fe:a9fe": never, "224.0.0.1": never, "ff02::1": never,
	} {
		dial := net.JoinHostPort(address, "443")
		for _, allowed := range []bool{false, true} {
			want := kind == public || kind == private && allowed
			if err := (origin.CDNConfig{AllowPrivate: allowed}).Dials(dial); (err == nil) != want {
				t.Errorf("%s, private allowed %v: %v", dial, allowed, err)
			}
		}
		if _, err := netip.ParseAddr(address); err != nil {
			t.Error(err)
		}
	}
	for _, odd := range []string{"", "cdn.example:443", "1.1.1.1"} {
		if err := (origin.CDNConfig{AllowPrivate: true}).Dials(odd); err == nil {
			t.Errorf("%q would be connected to", odd)
		}
	}
}

// The name is looked up when it is dialled, so the check must be there: no name
// server can answer the check and the connection in two ways.
func TestANameThatLeadsInsideIsNotFollowed(t *testing.T) {
	t.Parallel()
	r := newCDNRig(t, func(cfg *origin.CDNConfig) {
		cfg.BaseURL = strings.Replace(cfg.BaseURL, "127.0.0.1", "localhost", 1)
		cfg.AllowPrivate = false
	})
	key, body := r.verified(1, cdnSmall)
	r.wantRead(key, body, object.TierOrigin)
	r.wantMisses(origin.CDNUnreachable, 1)
	if n := r.edge.asked.Load(); n != 0 {
		t.Errorf("%d requests reached a loopback address", n)
	}
	r = newCDNRig(t, func(cfg *origin.CDNConfig) { cfg.BaseURL = strings.Replace(cfg.BaseURL, "127.0.0.1", "localhost", 1) })
	key, body = r.verified(1, cdnSmall)
	r.wantRead(key, body, object.TierCDN)
}

// A connection is dear: TLS to a CDN takes longer than most answers.
func TestConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	s := &spy{Store: &objecttest.Memory{}}
	e := &edge{store: s.Store}
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(e)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	r := &cdnRig{CDN: openCDN(t, s, server.URL), t: t, edge: e, spy: s}
	for i := range uint64(10) {
		small, smallBody := r.verified(i, cdnSmall)
		large, largeBody := r.immutable(i, cdnLarge)
		r.wantRead(small, smallBody, object.TierCDN)
		r.wantRead(large, largeBody, object.TierCDN)
		r.edge.act(status(404))
		r.wantRead(small, smallBody, object.TierOrigin)
		r.edge.acts.Store(nil)
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("30 reads in a row took %d connections", n)
	}
}
