package node

import (
	"sync"
	"testing"

	"github.com/micelio/micelio/hotset"
	"github.com/micelio/micelio/object"
)

// With copies of every key that may be copied, from its first read on, histories
// are those that the contract allows, and no key that can change is ever noted.
func TestCopiesOfHotKeysKeepTheContract(t *testing.T) {
	s := newSimulator(t)
	s.adjust = func(p *simPlan) { p.keys = 0 } // so that one in three has an immutable key too
	var mu sync.Mutex
	var hots []*hotset.Store
	noted := map[object.Key]int{}
	s.front = func(l *simLife) object.Store {
		hot := hotset.New(hotset.Config{
			Below: l.router, Class: l.node.w.classes.Of, Capacity: 64 << 20, MinRate: 1e-9, MinShare: 1e-9,
			Elsewhere: func(key object.Key) bool { // which is asked of every key that was noted
				mu.Lock()
				noted[key]++
				mu.Unlock()
				owner, ok := l.node.view.Load().Owner(string(key))
				return ok && owner.ID != l.router.self
			},
		})
		l.tasks.Go(func() { _ = hot.Run(l.ctx) })
		mu.Lock()
		hots = append(hots, hot)
		mu.Unlock()
		return hot
	}
	histories := uint64(80)
	if raceEnabled {
		histories = 20
	}
	for seed := uint64(1); seed <= histories; seed++ {
		w := s.run(t, seed, false)
		if faults := w.check(); len(faults) > 0 {
			s.report(t, w, faults)
			return
		}
		for key := range noted {
			if w.class(key) == object.Mutable {
				t.Fatalf("seed %d: %q can change, and was noted", seed, key)
			}
		}
	}
	hits := int64(0)
	for _, hot := range hots {
		hits += hot.Stats().Hits
	}
	t.Logf("copies answered %d reads in %d histories", hits, histories)
	if hits < int64(histories)/2 {
		t.Errorf("copies answered %d reads in %d histories: too few to show anything", hits, histories)
	}
}
