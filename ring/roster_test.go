package ring

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newTestRoster() *roster {
	return &roster{
		wake: make(chan struct{}, 1), lost: make(chan struct{}, 1), self: Member{ID: "self", Boot: 5, State: Serving},
		peers: map[string]peer{}, known: map[string]contact{},
	}
}

func TestOnlyJoinsWaitForEachOther(t *testing.T) {
	const quiet, most = 250 * time.Millisecond, 500 * time.Millisecond
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	p := func(id string, boot uint64, s State, addr string) peer {
		return peer{Member: Member{ID: id, Boot: boot, State: s, PeerAddr: addr}, gossip: addr}
	}
	put := func(r *roster, ms int, p peer) { r.put(p.gossipName(), p, at(ms)) }
	a := p("a", 1, Serving, "h:1")
	for name, c := range map[string]struct {
		before, change func(r *roster)
		now            int
		want           time.Duration
		pending        bool
	}{
		"nothing": {now: 1},
		"a join": {
			change: func(r *roster) { put(r, 0, a) },
			want:   quiet, pending: true,
		},
		"joins one after another": {
			change: func(r *roster) { put(r, 0, a); put(r, 200, p("b", 1, Serving, "h:2")) },
			now:    300, want: 150 * time.Millisecond, pending: true,
		},
		"joins without an end": {
			change: func(r *roster) { put(r, 0, a); put(r, 400, p("b", 1, Serving, "h:2")) },
			now:    450, want: 50 * time.Millisecond, pending: true,
		},
		"a join long ago": {change: func(r *roster) { put(r, 0, a) }, now: 9000, pending: true},
		"begins to serve": {
			before: func(r *roster) { put(r, 0, p("a", 1, Joining, "h:1")) },
			change: func(r *roster) { put(r, 0, a) },
			want:   quiet, pending: true,
		},
		"drains": {
			before:  func(r *roster) { put(r, 0, a) },
			change:  func(r *roster) { put(r, 0, p("a", 1, Draining, "h:1")) },
			pending: true,
		},
		"leaves": {
			before:  func(r *roster) { put(r, 0, a) },
			change:  func(r *roster) { r.remove(a.gossipName(), at(0)) },
			pending: true,
		},
		"restarts elsewhere": {
			before:  func(r *roster) { put(r, 0, a) },
			change:  func(r *roster) { put(r, 0, p("a", 2, Serving, "h:9")) },
			pending: true,
		},
		"a leave among joins": {
			before:  func(r *roster) { put(r, 0, a) },
			change:  func(r *roster) { put(r, 0, p("b", 1, Serving, "h:2")); r.remove(a.gossipName(), at(0)) },
			pending: true,
		},
		"an earlier start is found dead": {
			before: func(r *roster) { put(r, 0, a); put(r, 0, p("a", 2, Serving, "h:9")) },
			change: func(r *roster) { r.remove(a.gossipName(), at(0)) },
		},
		"this node's earlier start shows up": {
			change: func(r *roster) { put(r, 0, p("self", 4, Serving, "h:9")) },
		},
		"said again": {
			before: func(r *roster) { put(r, 0, a) },
			change: func(r *roster) { put(r, 0, a) },
		},
		"a stranger leaves": {change: func(r *roster) { r.remove("x/1", at(0)) }},
	} {
		r := newTestRoster()
		if c.before != nil {
			c.before(r)
			r.take()
			select {
			case <-r.wake:
			default:
			}
		}
		if c.change != nil {
			c.change(r)
		}
		wait, pending := r.due(at(c.now), quiet, most)
		if wait != c.want || pending != c.pending {
			t.Errorf("%s: wait %v, pending %v, want %v, %v", name, wait, pending, c.want, c.pending)
		}
		if woken := len(r.wake) == 1; woken != c.pending {
			t.Errorf("%s: woken %v, want %v", name, woken, c.pending)
		}
	}
}

func TestTheLostAreKnownAndThoseWhoLeftAreNot(t *testing.T) {
	const memory = time.Hour
	now := time.Unix(1000, 0)
	r := newTestRoster()
	put := func(id string, boot uint64, s State, gossip string) string {
		m := Member{ID: id, Boot: boot, State: s}
		r.put(m.gossipName(), peer{Member: m, gossip: gossip}, now)
		return m.gossipName()
	}
	put("alive", 1, Serving, "h:1")
	r.remove(put("crashed", 1, Serving, "h:2"), now.Add(-time.Second))
	r.remove(put("drained", 1, Draining, "h:3"), now)
	first := put("restarted", 1, Draining, "h:4")
	second := put("restarted", 2, Serving, "h:5")
	r.remove(first, now) // late news: the one that runs stays known
	r.remove(second, now)

	alive, lost := r.contacts(now.Add(memory-time.Second), memory)
	if diff := cmp.Diff([]string{"h:5", "h:2"}, lost); diff != "" {
		t.Errorf("lost, the last first (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"h:1"}, alive); diff != "" {
		t.Errorf("alive (-want +got):\n%s", diff)
	}
	if _, lost := r.contacts(now.Add(memory+1), memory); len(lost) != 0 || len(r.known) != 1 {
		t.Errorf("after the memory has passed: lost %v, known %v", lost, r.known)
	}
}

func TestARoundAsksAFewWhoAreNotThere(t *testing.T) {
	const self, bound = "10.0.0.1:7", "10.0.0.9:7"
	now := time.Now()
	roster := newTestRoster()
	lose := func(id, addr string, at time.Time) {
		m := Member{ID: id, Boot: 1}
		roster.put(m.gossipName(), peer{Member: m, gossip: addr}, at)
		roster.remove(m.gossipName(), at)
	}
	roster.put("a/1", peer{Member: Member{ID: "a", Boot: 1}, gossip: "10.0.0.2:7"}, now)
	lose("b", "10.0.0.3:7", now)
	r := &Ring{roster: roster, public: self, bound: bound, cfg: Config{Timing: Timing{}.withDefaults()}}
	round := func() []string {
		var mu sync.Mutex
		var asked []string
		err := r.askRound(t.Context(), func(addr string) error {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, addr)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(asked)
		return asked
	}

	r.seeds = []string{self, bound, "10.0.0.2:7", "10.0.0.3:7", "10.0.0.3:7"}
	if diff := cmp.Diff([]string{"10.0.0.3:7"}, round()); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}

	for i := range 100 { // containers of days gone by
		lose(fmt.Sprintf("old%d", i), fmt.Sprintf("10.0.2.%d:7", i), now.Add(-time.Hour))
	}
	r.seeds = append(r.seeds, "10.0.1.1:7", "10.0.1.2:7", "10.0.1.3:7", "10.0.1.4:7")
	asked := map[string]bool{}
	for range 200 {
		got := round()
		if len(got) != lostFanout+seedFanout {
			t.Fatalf("asked %v", got)
		}
		if !slices.Contains(got, "10.0.0.3:7") {
			t.Fatalf("the member that was lost last was not among those asked: %v", got)
		}
		for _, addr := range got {
			asked[addr] = true
		}
	}
	if want := 1 + 100 + 4; len(asked) != want {
		t.Errorf("%d of %d addresses were ever asked", len(asked), want)
	}
}
