package e2e

import (
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// coldAllowed is the part of the keys that moved which may cost a read of the
// origin. In the short form, beside which other tests run, the reads are forgiven
// besides for which a previous owner took more than 100 ms, and those of the
// seconds in which it is left alone for that.
const coldAllowed = 0.01

// scaledSlower is how much slower reads may be while the cluster changes.
const scaledSlower = 3.0

// A cluster over a bucket grows from three nodes to four and six and shrinks to
// three again, while workers read, mostly the same few objects. No read fails.
// After each step every object is read once besides, and what that and the
// workers cost the origin is counted.
func TestAClusterGrowsAndShrinksUnderReaders(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	if !*drillFull {
		t.Parallel()
	}
	f := prepareFleet(t, 6, true, keep(t), "--ram-bytes=64MiB", "--ssd-bytes=1GiB", "--canary-interval=0s")
	f.startAll(f.nodes[:3])
	s := &scaling{t: t, fleet: f, traffic: newTraffic(t, f.nodes, drillRate(), mix{})}
	count := 500
	if *drillFull {
		count = 5000
	}
	s.traffic.store(count, largestItem)
	s.traffic.visit(http.MethodGet)
	end := s.traffic.start()
	defer end()
	s.before = s.traffic.wait(long(20*time.Second, 2*time.Second))
	s.step("3 -> 4", func() { f.startAll(f.nodes[3:4]) })
	s.step("4 -> 6", func() { f.startAll(f.nodes[4:6]) })
	s.step("6 -> 3", func() {
		for _, n := range f.nodes[3:] {
			n.drain()
			f.awaitAgreement(settleWithin)
		}
	})
	end()
	s.traffic.report()
}

// A scaling is a cluster whose size changes.
type scaling struct {
	t       *testing.T
	fleet   *fleet
	traffic *traffic
	before  span
}

// step changes the cluster and says what came of it.
func (s *scaling) step(name string, change func()) {
	s.t.Helper()
	tr := s.traffic
	owners, gets, from := tr.owners(s.fleet.nodes[0]), s.fleet.front.gets.Load(), tr.now()
	slow := s.slowFills()
	change()
	pause(long(10*time.Second, time.Second))
	during := span{from, tr.now()}
	byReaders := s.fleet.front.gets.Load() - gets
	tr.visit(http.MethodGet)
	cold := s.fleet.front.gets.Load() - gets
	moved := 0
	for key, owner := range tr.owners(s.fleet.nodes[0]) {
		if owner != owners[key] {
			moved++
		}
	}
	was, o := tr.of(s.before, anything), tr.of(during, anything)
	s.t.Logf("%s: %d of %d objects moved; %d reads of the origin for the readers and %d for all objects once", name, moved, len(owners), byReaders, cold-byReaders)
	s.t.Logf("before %v", was)
	s.t.Logf("during %v; p99 is %.1f times that before", o, o.ratio(was))
	if moved == 0 {
		s.t.Errorf("%s: no object moved", name)
	}
	if o.lost > 0 || *drillFull && o.failed > 0 {
		s.t.Errorf("%s: %d reads failed, %d of them twice", name, o.failed, o.lost)
	}
	if r := o.ratio(was); *drillFull && r > scaledSlower {
		s.t.Errorf("%s: p99 is %.1f times that before, at most %.0f is allowed", name, r, scaledSlower)
	}
	allowed := int64(coldAllowed * float64(moved))
	if !*drillFull {
		allowed += max(0, s.slowFills()-slow)
	}
	if cold > allowed {
		s.t.Errorf("%s: %d reads of the origin for %d keys that moved, at most %d are allowed", name, cold, moved, allowed)
	}
}

// slowFills returns how often nodes that are up did not have the answer of a
// previous owner in time, or did not ask one because of that.
func (s *scaling) slowFills() (sum int64) {
	s.t.Helper()
	for _, n := range s.fleet.nodes {
		page, err := n.ask("/metrics", 10*time.Second)
		if err != nil {
			continue // it is not up
		}
		for _, m := range slowFill.FindAllSubmatch(page, -1) {
			v, err := strconv.ParseFloat(string(m[1]), 64)
			if err != nil {
				s.t.Fatal(err)
			}
			sum += int64(v)
		}
	}
	return sum
}

var slowFill = regexp.MustCompile(`(?m)^micelio_peer_fill_requests_total\{.*result="(?:slow|skipped|failed)".*\} (\S+)$`)
