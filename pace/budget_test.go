package pace_test

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/pace"
)

// Whatever the order, and whenever one starts to count: attempts in any stretch
// of time are at most the ratio of its demand, plus the burst.
func TestABudgetBoundsAttemptsOverAnyTime(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		ratio := []float64{0.05, 0.1, 0.5, 1}[random.IntN(4)]
		burst := float64(1 + random.IntN(20))
		b := pace.NewBudget(ratio, burst)
		greedy := random.Float64()

		// worst is the most that any stretch that ends now has above its ratio.
		var worst, refused float64
		for range 5000 {
			if random.Float64() >= greedy {
				b.Demand()
				worst = math.Max(0, worst-ratio)
				continue
			}
			if b.Take() {
				worst++
			} else {
				refused++
			}
			if worst > burst+1e-9 {
				t.Fatalf("seed %d: a stretch took %v above %v of its demand, want at most %v", seed, worst, ratio, burst)
			}
		}
		s := b.Stats()
		if float64(s.Taken) > ratio*float64(s.Demand)+burst+1e-9 || s.Demand+s.Taken+s.Refused != 5000 || float64(s.Refused) != refused {
			t.Fatalf("seed %d: stats are %+v with ratio %v and burst %v", seed, s, ratio, burst)
		}
	}
}

// A budget that never gave anything would pass the test above.
func TestABudgetAllowsWhatItPromises(t *testing.T) {
	for _, test := range []struct {
		ratio, burst float64
		atOnce, then int64 // then of 1000 demands, each with a try
	}{
		{0.1, 5, 5, 100},
		{0.05, 1, 1, 50},
		{0.1, 0, pace.DefaultBurst, 100},
		{1, 3, 3, 1000},
		{0, 2, 2, 0},
	} {
		b := pace.NewBudget(test.ratio, test.burst)
		for b.Take() {
		}
		if got := b.Stats().Taken; got != test.atOnce {
			t.Errorf("%+v: %d at once", test, got)
		}
		for range 1000 {
			b.Demand()
			b.Take()
		}
		// The sum of a thousand parts is a rounding error off, to the safe side.
		if got := b.Stats().Taken - test.atOnce; got > test.then || got < test.then-1 {
			t.Errorf("%+v: %d for the demand", test, got)
		}
	}
}

func TestABudgetSavesNoMoreThanItsBurst(t *testing.T) {
	b := pace.NewBudget(0.5, 3)
	for range 1000 {
		b.Demand()
	}
	taken := 0
	for b.Take() {
		taken++
	}
	if taken != 3 {
		t.Errorf("%d attempts at once after a quiet time, want 3", taken)
	}
}

func TestABudgetHoldsUnderParallelCallers(t *testing.T) {
	b := pace.NewBudget(0.1, 10)
	var callers sync.WaitGroup
	var taken atomic.Int64
	for range 16 {
		callers.Go(func() {
			for range 1000 {
				b.Demand()
				for b.Take() {
					taken.Add(1)
				}
			}
		})
	}
	callers.Wait()
	if s := b.Stats(); s.Demand != 16000 || s.Taken != taken.Load() || taken.Load() > 1610 || taken.Load() < 1590 {
		t.Errorf("stats are %+v and %d were taken, want 1610 of 16000, but for rounding", s, taken.Load())
	}
}
