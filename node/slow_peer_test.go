package node

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/history"
	"github.com/micelio/micelio/internal/mutant"
	"github.com/micelio/micelio/object"
)

// A drill is a cluster of three simulated nodes, over the real peer protocol and
// a network and an authority with delays, of which one falls ill.
type drill struct {
	w     *simWorld
	entry *simNode
	ill   *simNode
	keys  map[bool][]object.Key // by whether the ill one owns them
}

// drilled runs test with a drill, in a bubble.
func drilled(t *testing.T, test func(t *testing.T, d *drill)) {
	s := newSimulator(t)
	synctest.Test(t, func(t *testing.T) {
		w := &simWorld{
			seed: 1, views: s.views, classes: s.classes, began: time.Now(), recorder: history.NewRecorder(), stats: newRouterStats(),
			tags: map[object.ETag]string{}, plan: simPlan{nodes: 3, ramBytes: 4 << 20, mutants: mutant.Set(0)},
		}
		w.network, w.origin = newSimNetwork(w), newSimOrigin(w)
		for id := range 3 {
			n := &simNode{w: w, id: id}
			n.view.Store(w.views[1<<3-1])
			w.nodes = append(w.nodes, n)
		}
		for _, n := range w.nodes {
			n.start()
		}
		d := &drill{w: w, entry: w.nodes[0], ill: w.nodes[1], keys: map[bool][]object.Key{}}
		for i := range 60 {
			key := object.Key(fmt.Sprintf("cache/x/sha256:%d/out", i))
			if i%2 == 0 { // a mutable one, of which the authority is asked each time
				key = object.Key(fmt.Sprintf("sessions/%d/head", i))
			}
			owner, _ := w.views[1<<3-1].Owner(string(key))
			if owner.ID == simID(d.entry.id) {
				continue // nobody else is asked
			}
			d.keys[owner.ID == simID(d.ill.id)] = append(d.keys[owner.ID == simID(d.ill.id)], key)
			if _, err := d.entry.alive().router.Put(t.Context(), key, object.BytesSource([]byte("body")), object.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		test(t, d)
		for _, n := range w.nodes {
			n.crash()
		}
		w.dying.Wait()
		pass(signTimeout)
	})
}

// reads reads all keys from many clients for a while, and returns how long reads
// took, in order, by whether the ill node owns the key.
func (d *drill) reads(t *testing.T, forSo time.Duration) map[bool][]time.Duration {
	t.Helper()
	var mu sync.Mutex
	took := map[bool][]time.Duration{}
	var clients sync.WaitGroup
	for client := range 6 {
		clients.Go(func() {
			rng := d.w.rand(fmt.Sprint("reader ", client, d.w.elapsed()))
			ctx := context.WithValue(context.Background(), simJitterKey{}, newSimDraws(rng))
			for end := time.Now().Add(forSo); time.Now().Before(end); {
				ill := rng.IntN(2) == 0
				key := d.keys[ill][rng.IntN(len(d.keys[ill]))]
				began := time.Now()
				obj, err := d.entry.alive().router.Get(ctx, key, object.GetOptions{})
				if err != nil {
					t.Errorf("%s: %v", key, err)
					return
				}
				took1 := time.Since(began)
				if b, err := io.ReadAll(obj.Body); err != nil || string(b) != "body" {
					t.Errorf("%s: %q, %v", key, b, err)
				}
				obj.Body.Close()
				mu.Lock()
				took[ill] = append(took[ill], took1)
				mu.Unlock()
				pass(time.Duration(rng.Int64N(int64(100 * time.Millisecond))))
			}
		})
	}
	clients.Wait()
	for _, d := range took {
		slices.Sort(d)
	}
	return took
}

func p99(sorted []time.Duration) time.Duration { return sorted[len(sorted)*99/100] }

// The most that one request to the simulated authority, and an answer of a well
// node, take: what a hedge may add to the time after which it begins.
const drillOrigin = 2*15*time.Millisecond + 2*(3200+50_000)*time.Microsecond

func TestAnIllOwnerDelaysItsOwnKeysByAHedgeAtMost(t *testing.T) {
	for name, fallIll := range map[string]func(d *drill, forSo time.Duration){
		"frozen for 30 s": func(d *drill, forSo time.Duration) { d.ill.pause(forSo) },
		"slower by 500 ms": func(d *drill, forSo time.Duration) {
			d.w.network.mu.Lock()
			defer d.w.network.mu.Unlock()
			d.w.network.slow = map[int]time.Duration{d.ill.id: 250 * time.Millisecond} // each way
		},
	} {
		t.Run(name, func(t *testing.T) {
			drilled(t, func(t *testing.T, d *drill) {
				const ill = 30 * time.Second
				d.reads(t, 5*time.Second) // until all is warm
				before := d.reads(t, ill)
				fallIll(d, ill)
				during := d.reads(t, ill)
				d.w.network.mu.Lock()
				d.w.network.slow = nil
				d.w.network.mu.Unlock()
				pass(2 * openFor)
				after := d.reads(t, 5*time.Second)

				hedges := d.entry.alive().router.hedges.stats()
				t.Logf("p99 of other keys: before %v, during %v; of its keys: before %v, median during %v, slowest %v, after %v; %d of %d reads hedged",
					p99(before[false]), p99(during[false]), p99(before[true]), during[true][len(during[true])/2],
					during[true][len(during[true])-1], p99(after[true]), hedges.Sent, len(during[true])+len(during[false]))
				if was, is := p99(before[false]), p99(during[false]); float64(is) > 1.2*float64(was) {
					t.Errorf("p99 of other keys went from %v to %v", was, is)
				}
				if slowest := during[true][len(during[true])-1]; slowest > maxHedge+drillOrigin {
					t.Errorf("a key of the ill node took %v, want at most %v", slowest, maxHedge+drillOrigin)
				}
				if was, is := p99(before[true]), p99(after[true]); is > 2*was {
					t.Errorf("when it was well again p99 of its keys was %v, before %v", is, was)
				}
			})
		})
	}
}
