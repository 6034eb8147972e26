package pace_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/micelio/micelio/pace"
)

func TestABudgetNeverAllowsMoreThanItsPartAndItsBurst(t *testing.T) {
	t.Parallel()
	for range 200 {
		ratio, burst := rand.Float64(), 1+20*rand.Float64()
		b := pace.NewBudget(ratio, burst)
		within := func() {
			// Both counts come from one snapshot.
			if s := b.Stats(); float64(s.Taken) > ratio*float64(s.Demand)+burst+1e-9 {
				t.Errorf("%+v with ratio %v and burst %v", s, ratio, burst)
			}
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 200 {
					if rand.IntN(2) == 0 {
						b.Demand()
					} else {
						b.Take()
					}
					within()
				}
			})
		}
		all.Wait()
	}
}

func TestAnIdleBudgetSavesNoMoreThanItsBurst(t *testing.T) {
	t.Parallel()
	b := pace.NewBudget(0.1, 0)
	for range 10_000 {
		b.Demand()
	}
	for range 100 {
		b.Take()
	}
	if s := b.Stats(); s != (pace.BudgetStats{Demand: 10_000, Taken: pace.DefaultBurst, Refused: 100 - pace.DefaultBurst}) {
		t.Fatalf("%+v", s)
	}
}

func TestAQuantileIsTheNearestRankOfTheWindow(t *testing.T) {
	t.Parallel()
	l := pace.NewLatency(100)
	if _, ok := l.Quantile(0.5); ok {
		t.Fatal("known from nothing")
	}
	for range 100 {
		l.Observe(time.Hour) // leaves the window below
	}
	for _, i := range rand.Perm(100) {
		l.Observe(time.Duration(i + 1))
	}
	for q, want := range map[float64]time.Duration{
		-1: 1, 0: 1, 0.001: 1, 0.01: 1, 0.5: 50, 0.95: 95, 0.951: 96, 1: 100, 7: 100, math.Inf(-1): 1,
	} {
		if got, ok := l.Quantile(q); !ok || got != want {
			t.Errorf("%v: %d, not %d", q, got, want)
		}
	}
	if got, ok := l.Quantile(math.NaN()); !ok || got != 1 {
		t.Error(got, ok)
	}
}

func TestAQuantileIsAtMostTensOfObservationsOld(t *testing.T) {
	t.Parallel()
	l := pace.NewLatency(64)
	for range 64 {
		l.Observe(time.Millisecond)
	}
	l.Quantile(0.5)
	for range 64 {
		l.Observe(time.Second)
	}
	if got, _ := l.Quantile(0.5); got != time.Second {
		t.Fatal(got)
	}
}

func TestAQuantileIsUnknownFromTooFewObservations(t *testing.T) {
	t.Parallel()
	l := pace.NewLatency(0)
	for n := range 60 {
		if _, ok := l.Quantile(0.95); ok != (n >= 50) {
			t.Fatalf("known: %v, from %d", ok, n)
		}
		l.Observe(time.Second)
	}
}

func TestAJitterIsWithinItsBoundsAndReachesThem(t *testing.T) {
	t.Parallel()
	const base, most = 4, 64
	for attempt, limit := range map[int]time.Duration{-5: 4, 0: 4, 1: 8, 3: 32, 4: 64, 5: 64, 31: 64, 62: 64, 63: 64, 1000: 64, math.MaxInt: 64} {
		var seen []time.Duration
		for range 3000 {
			seen = append(seen, pace.FullJitter(attempt, base, most))
		}
		if slices.Min(seen) != 0 || slices.Max(seen) != limit {
			t.Errorf("attempt %d: %v to %v", attempt, slices.Min(seen), slices.Max(seen))
		}
	}
	for attempt := range 70 {
		var longest time.Duration
		for range 50 {
			d := pace.FullJitter(attempt, time.Hour, math.MaxInt64)
			if d < 0 {
				t.Fatalf("attempt %d: %v", attempt, d)
			}
			longest = max(longest, d)
		}
		if longest < time.Minute {
			t.Errorf("attempt %d pauses %v only", attempt, longest)
		}
	}
	if pace.FullJitter(3, 0, time.Second) != 0 || pace.FullJitter(3, time.Second, 0) != 0 {
		t.Error("a pause out of nothing")
	}
}

func BenchmarkAcquireDone(b *testing.B) {
	l := pace.NewLimiter(pace.LimiterConfig{})
	b.ReportAllocs()
	for b.Loop() {
		p, err := l.Acquire(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		p.Done(pace.OK)
	}
}

func BenchmarkAllow(b *testing.B) {
	br := pace.NewBreaker(pace.BreakerConfig{Window: 10 * time.Second, MinRequests: 20, FailureRatio: 0.5, OpenFor: time.Second, Probes: 3})
	b.ReportAllocs()
	for b.Loop() {
		done, err := br.Allow()
		if err != nil {
			b.Fatal(err)
		}
		done(pace.OK)
	}
}

func BenchmarkObserve(b *testing.B) {
	l := pace.NewLatency(0)
	b.ReportAllocs()
	for b.Loop() {
		l.Observe(time.Millisecond)
	}
}

func BenchmarkObserveQuantile(b *testing.B) {
	l := pace.NewLatency(0)
	for range 512 {
		l.Observe(rand.N(time.Second))
	}
	b.ReportAllocs()
	for b.Loop() {
		l.Observe(rand.N(time.Second))
		l.Quantile(0.95)
	}
}
