package node

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/history"
	"github.com/micelio/micelio/object"
)

var (
	simHistories = flag.Int("histories", 0, "how many histories the simulation makes; 0 for a few")
	simSeed      = flag.Uint64("seed", 0, "the first seed of the simulation; without -histories TestSimulation runs no other, and writes down all that happens")
)

// A simulator runs simulations.
type simulator struct {
	views   simViews
	classes *object.Classes
	adjust  func(*simPlan)              // nil: as drawn
	front   func(*simLife) object.Store // nil: clients ask the router
}

func newSimulator(t *testing.T) *simulator {
	t.Helper()
	views, err := makeSimViews()
	if err != nil {
		t.Fatal(err)
	}
	classes, err := object.NewClasses(object.DefaultVerified, object.DefaultImmutable)
	if err != nil {
		t.Fatal(err)
	}
	return &simulator{views: views, classes: classes}
}

// run runs one simulation in a bubble of its own.
func (s *simulator) run(t *testing.T, seed uint64, verbose bool) (w *simWorld) {
	synctest.Test(t, func(t *testing.T) { w = s.simulate(seed, verbose) })
	return w
}

// check returns what is wrong with a simulation. A staleness budget is for
// mutable keys only.
func (w *simWorld) check() (faults []history.Fault) {
	byClass := map[object.Class][]history.Op{}
	for _, op := range w.recorder.Ops() {
		class := w.class(object.Key(op.Key))
		byClass[class] = append(byClass[class], op)
	}
	for _, class := range []object.Class{object.Mutable, object.Immutable} {
		faults = append(faults, history.Check(byClass[class], w.options(class))...)
	}
	for _, text := range w.faults {
		faults = append(faults, history.Fault{Rule: history.Malformed, Text: text})
	}
	return faults
}

func (w *simWorld) options(class object.Class) history.Options {
	return history.Options{Bounded: class == object.Mutable && w.plan.staleness > 0, Staleness: w.plan.staleness}
}

// maxSimFailures is how many failing histories are enough to be told of.
const maxSimFailures = 5

// TestSimulation makes histories of a whole cluster, one for each seed, and holds
// them to the contract.
func TestSimulation(t *testing.T) {
	s := newSimulator(t)
	first, n := max(*simSeed, 1), *simHistories
	replay := n == 0 && *simSeed != 0
	switch {
	case replay:
		n = 1
	case n == 0 && raceEnabled:
		n = 40
	case n == 0:
		n = 200
	}
	var next, made, ops, hedged, failures, fills atomic.Int64
	began := time.Now()
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		workers.Go(func() {
			for failures.Load() < maxSimFailures {
				i := next.Add(1) - 1
				if i >= int64(n) {
					return
				}
				seed := first + uint64(i)
				w := s.run(t, seed, replay)
				made.Add(1)
				ops.Add(int64(len(w.recorder.Ops())))
				hedged.Add(w.hedged.Load())
				fills.Add(w.fills.hits.Load())
				if faults := w.check(); len(faults) > 0 {
					failures.Add(1)
					s.report(t, w, faults)
				} else if replay {
					s.save(t, w, nil)
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d histories of %d operations, %d of them hedged, %d fills from previous owners, in %v",
		made.Load(), ops.Load(), hedged.Load(), fills.Load(), time.Since(began).Round(time.Millisecond))
	if fills.Load() == 0 && !replay && !t.Failed() {
		t.Error("no node ever filled from a previous owner")
	}
}

// report tells of a failing simulation, after running it again with its log.
func (s *simulator) report(t *testing.T, w *simWorld, faults []history.Fault) {
	t.Helper()
	t.Errorf("seed %d: %v\nrun again with: go test ./node -run 'TestSimulation$' -seed %d", w.seed, faults[0], w.seed)
	if !w.verbose {
		if again, tries := s.again(t, w); again != nil {
			w = again
		} else {
			t.Errorf("seed %d: it did not happen again in %d runs: the log of what happened is missing", w.seed, tries)
		}
	}
	s.save(t, w, faults)
}

// save writes down what happened in a simulation.
func (s *simulator) save(t *testing.T, w *simWorld, faults []history.Fault) {
	t.Helper()
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("micelio-simulation-%d", w.seed))
	names, err := history.Save(dir, w.recorder.Ops(), faults, w.options(object.Mutable))
	if err != nil {
		t.Error(err)
		return
	}
	events := slices.Clone(w.events)
	for _, op := range w.recorder.Ops() {
		events = append(events, fmt.Sprintf("%12v %s", time.Duration(op.Call), op), fmt.Sprintf("%12v   end of %s", time.Duration(op.Return), op))
	}
	path := filepath.Join(dir, "events.txt")
	if err := os.WriteFile(path, []byte(fmt.Sprintf("%+v\n", w.plan)+strings.Join(events, "\n")+"\n"), 0o644); err != nil {
		t.Error(err)
	}
	t.Logf("seed %d: saved %v", w.seed, append(names, path))
}

// A simulation that fails is worth something only if it can be had again.
//
// A rest is up to the scheduler: where one answer tells several readers in the
// cache to ask again, any of them may be the first to. Of a hundred seeds that
// makes one or two have two histories; trying again brings the other.
func TestTheSameSeedGivesTheSameHistory(t *testing.T) {
	s := newSimulator(t)
	n := uint64(*simHistories)
	switch {
	case n == 0 && raceEnabled:
		n = 10
	case n == 0:
		n = 50
	}
	differed := uint64(0)
	first := max(*simSeed, 1)
	for seed := first; seed < first+n; seed++ {
		w := s.run(t, seed, true)
		again, tries := s.again(t, w)
		if again == nil {
			t.Errorf("seed %d: its history did not come back in %d runs", seed, tries)
		}
		if tries > 1 {
			differed++
		}
	}
	t.Logf("of %d seeds %d had another history at first", n, differed)
	if differed > 1+n/10 {
		t.Errorf("of %d seeds %d had another history at first", n, differed)
	}
}

// maxSimTries is how often a history is tried to be had again.
const maxSimTries = 20

// again runs the simulation of w, with its log, until it has the same history. It
// returns nil if that does not happen, and how often it ran.
func (s *simulator) again(t *testing.T, w *simWorld) (again *simWorld, tries int) {
	for tries = 1; tries <= maxSimTries; tries++ {
		if again := s.run(t, w.seed, true); cmp.Equal(w.recorder.Ops(), again.recorder.Ops()) {
			return again, tries
		}
	}
	return nil, maxSimTries
}
