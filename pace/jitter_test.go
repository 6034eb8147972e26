package pace_test

import (
	"math"
	"testing"
	"time"

	"github.com/micelio/micelio/pace"
)

func TestFullJitterSpreadsOverAllThatIsAllowed(t *testing.T) {
	const base, most = 50 * time.Millisecond, time.Second
	for attempt, limit := range []time.Duration{base, 2 * base, 4 * base, 8 * base, 16 * base, most, most, most} {
		const n, parts = 10_000, 10
		var hits [parts + 1]int
		for range n {
			d := pace.FullJitter(attempt, base, most)
			if d < 0 || d > limit {
				t.Fatalf("pause %d is %v, want at most %v", attempt, d, limit)
			}
			hits[d*parts/limit]++
		}
		for i, got := range hits[:parts] {
			if got < n/parts*7/10 || got > n/parts*13/10 { // ten standard deviations
				t.Errorf("pause %d: %d of %d in part %d of %d, want even parts", attempt, got, n, i, parts)
			}
		}
	}
}

func TestFullJitterKeepsItsBoundsForAnyArguments(t *testing.T) {
	durations := []time.Duration{math.MinInt64, -3 << 61, -1, 0, 1, 2, time.Second, math.MaxInt64 / 2, math.MaxInt64}
	for _, attempt := range []int{math.MinInt, -1, 0, 1, 31, 32, 61, 62, 63, 64, math.MaxInt} {
		for _, base := range durations {
			for _, most := range durations {
				for range 20 {
					if d := pace.FullJitter(attempt, base, most); d < 0 || d > max(most, 0) || attempt <= 0 && d > max(base, 0) {
						t.Fatalf("FullJitter(%d, %d, %d) is %d", attempt, base, most, d)
					}
				}
			}
		}
	}
}
