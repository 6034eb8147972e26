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

func TestALatencySaysNothingOfTooFew(t *testing.T) {
	for window, enough := range map[int]int{0: 50, 512: 50, 50: 50, 10: 10, 1: 1, -4: 50} {
		l := pace.NewLatency(window)
		for i := range enough {
			if _, known := l.Quantile(0.5); known {
				t.Errorf("window %d: known after %d, want after %d", window, i, enough)
				break
			}
			l.Observe(time.Second)
		}
		if d, known := l.Quantile(0.5); !known || d != time.Second {
			t.Errorf("window %d: after %d the median is %v, %v, want 1s", window, enough, d, known)
		}
	}
}

func TestALatencyIsExactRightAfterItWasSorted(t *testing.T) {
	l := pace.NewLatency(100)
	for _, i := range rand.Perm(100) {
		l.Observe(time.Duration(i + 1))
	}
	for q, want := range map[float64]time.Duration{
		0: 1, 0.001: 1, 0.01: 1, 0.5: 50, 0.505: 51, 0.95: 95, 0.99: 99, 1: 100,
		-1: 1, 7: 100, math.Inf(1): 100, math.NaN(): 1,
	} {
		if got, known := l.Quantile(q); !known || got != want {
			t.Errorf("quantile %v of 1 to 100 is %d, %v, want %d", q, got, known, want)
		}
	}
}

// Whatever comes and however often somebody asks, the rank of the answer among
// the last durations is the one asked for within a sixteenth of the window.
func TestALatencysRankIsWithinASixteenthOfTheWindow(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 2))
		window := 20 + random.IntN(600)
		l := pace.NewLatency(window)
		var last []time.Duration
		for i := range 3000 {
			d := time.Duration(random.ExpFloat64()*1e6) << (i / 1000 * 3) // a server that becomes slower
			l.Observe(d)
			last = append(last, d)
			if len(last) > window {
				last = last[1:]
			}
			if random.IntN(3) > 0 {
				continue
			}
			q := []float64{0.5, 0.95, 0.99, random.Float64()}[random.IntN(4)]
			got, known := l.Quantile(q)
			if known != (len(last) >= min(50, window)) {
				t.Fatalf("seed %d: %d of %d durations, known: %v", seed, len(last), window, known)
			}
			if !known {
				continue
			}
			sorted := slices.Sorted(slices.Values(last))
			// got lies between two ranks of the present window, and neither is far.
			low, high := 0, 0
			for _, d := range sorted {
				if d < got {
					low++
				}
				if d <= got {
					high++
				}
			}
			off := float64(window)/16 + 1
			if want := q * float64(len(last)); float64(low) > want+off || float64(high) < want-off {
				t.Fatalf("seed %d: quantile %v has rank %d to %d of %d, want %v within %v", seed, q, low, high, len(last), want, off)
			}
		}
	}
}

func TestALatencyIsSafeForConcurrency(t *testing.T) {
	l := pace.NewLatency(64)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for i := range 2000 {
				l.Observe(time.Duration(1 + i%7))
				if d, known := l.Quantile(0.95); known && (d < 1 || d > 7) {
					t.Errorf("the quantile is %d, which nobody observed", d)
				}
			}
		})
	}
	callers.Wait()
}
