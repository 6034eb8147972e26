package seglog

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

var (
	powerCuts = flag.Int("cuts", 200, "power cuts and kills of each kind")
	powerSeed = flag.Uint64("cutseed", 1, "seed of the first")
)

// A history is what happened to a store that is about to lose its process or
// its power.
type history struct {
	s        *Store
	rnd      *rand.Rand
	next     int              // version
	put      map[string][]int // versions that were ever written of an object
	deleted  map[string]int   // versions up to this one are gone for good
	current  map[string]int   // what was acknowledged last, if it was not deleted
	deleting map[string]int   // as deleted, but not synced
}

func newHistory(rnd *rand.Rand) *history {
	return &history{
		rnd: rnd, put: map[string][]int{}, deleted: map[string]int{}, current: map[string]int{}, deleting: map[string]int{},
	}
}

// step does one thing to the store.
func (h *history) step() {
	s := h.s
	name := fmt.Sprint("object ", h.rnd.IntN(12))
	switch n := h.rnd.IntN(20); {
	case n < 9:
		h.next++
		size := []int{0, 1, 700, 5000, 70_000, 300_000, 500_001}[h.rnd.IntN(7)]
		h.put[name] = append(h.put[name], h.next)
		if put(s, name, h.next, size) {
			h.current[name] = h.next
		}
	case n < 12:
		s.Delete(idOf(name))
		delete(h.current, name)
		if _, failed := s.unburied[idOf(name)]; !failed {
			h.deleting[name] = h.next
		}
	case n < 13:
		if !s.syncTombstones() {
			return
		}
		for name, v := range h.deleting {
			if _, again := s.unburied[idOf(name)]; !again {
				h.deleted[name] = max(h.deleted[name], v)
			}
		}
	case n < 14:
		s.tidy(context.Background())
	default:
		fetch(s, name)
	}
}

// check reads everything from a store that came back. What died with the
// process is what was not on the disk; nothing else may be.
func (h *history) check(t *testing.T, s *Store, killed bool) {
	t.Helper()
	for i := range 12 {
		name := fmt.Sprint("object ", i)
		v, found, err := fetch(s, name)
		switch {
		case errors.Is(err, errWrongBytes):
			t.Errorf("%s: %v", name, err)
		case !found || err != nil: // a miss
		case !slices.Contains(h.put[name], v):
			t.Errorf("%s: version %d was never written", name, v)
		case v <= h.deleted[name]:
			t.Errorf("%s: version %d was deleted", name, v)
		case killed && v < h.current[name]:
			t.Errorf("%s: version %d is back, %d was acknowledged", name, v, h.current[name])
		case killed && v <= h.deleting[name]:
			t.Errorf("%s: version %d is back, which was deleted", name, v)
		}
	}
	// And it is a store like any other.
	for i := range 4 {
		name := fmt.Sprint("after ", i)
		if put(s, name, 1, 1000+i*100_000) {
			mustHave(t, s, name, 1)
		}
	}
}

// After a power cut, or the death of the process, there is nothing in the store
// that nobody wrote, nothing that was deleted, and it works.
func TestNothingWrongComesBack(t *testing.T) {
	for _, how := range []string{"power cut", "kill"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cuts := *powerCuts
			if testing.Short() || raceEnabled {
				cuts = min(cuts, 15)
			}
			for i := range cuts {
				seed := *powerSeed + uint64(i)
				loseOnce(t, how, seed)
				if t.Failed() {
					t.Fatalf("cutseed %d", seed)
				}
			}
		})
	}
}

// reopen is openStore of a store that the test does not keep until its end.
func reopen(t *testing.T, disk *memFS) *Store {
	t.Helper()
	s, err := Open(disk, Options{Capacity: MinCapacity})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func loseOnce(t *testing.T, how string, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 3))
	disk := newMemFS()
	h := newHistory(rnd)
	for range 3 { // lives
		h.s = reopen(t, disk)
		left := 1 + rnd.IntN(150) // operations of the disk until it stops
		disk.setFail(func(op, _ string) error {
			if op == "write" || op == "sync" || op == "allocate" {
				if left--; left < 0 {
					disk.shut = true
					return errDied
				}
			}
			return nil
		})
		for range 400 {
			if left < 0 {
				break
			}
			h.step()
			if h.s.wantsRoom() {
				h.s.tidy(context.Background())
			}
		}
		if how == "kill" {
			disk = disk.kill()
		} else {
			disk = disk.crash(rnd)
		}
		s := reopen(t, disk)
		h.check(t, s, how == "kill")
		s.Close()
		disk = disk.kill()
	}
}

var errDied = errors.New("the machine is gone")
