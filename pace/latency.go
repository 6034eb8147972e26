package pace

import (
	"math"
	"slices"
	"sync"
	"time"
)

// A Latency knows the quantiles of the last durations that it was told, exactly
// as of at most a sixteenth of its window ago: the rank of an answer is off by
// no more than that. It keeps 16 bytes a duration.
type Latency struct {
	mu     sync.Mutex // guards the following
	ring   []time.Duration
	next   int
	full   bool
	fresh  int             // observations since sorted was made
	sorted []time.Duration // the ring in order, as it was then
}

const (
	// defaultWindow is small enough to follow a server that changes within
	// seconds, and large enough for a 95th percentile of 25 samples.
	defaultWindow = 512

	// minSamples is how many durations say something.
	minSamples = 50

	// refreshPart of the window is how many observations a sorted copy serves:
	// sorting one of 512 costs some 20 us, which is too much for each request.
	refreshPart = 16
)

// NewLatency returns a Latency over the last window durations, 512 if 0.
func NewLatency(window int) *Latency {
	if window <= 0 {
		window = defaultWindow
	}
	return &Latency{ring: make([]time.Duration, window), sorted: make([]time.Duration, 0, window)}
}

// Observe takes in one duration.
func (l *Latency) Observe(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring[l.next] = d
	l.fresh++
	if l.next++; l.next == len(l.ring) {
		l.next, l.full = 0, true
	}
}

// Quantile returns the duration that a part q, of 0 to 1, of the last ones did
// not exceed. It returns false while there are fewer than 50, or than the
// window if that is less.
func (l *Latency) Quantile(q float64) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.next
	if l.full {
		n = len(l.ring)
	}
	if n < min(minSamples, len(l.ring)) {
		return 0, false
	}
	if len(l.sorted) == 0 || l.fresh >= max(1, len(l.ring)/refreshPart) {
		l.sorted = append(l.sorted[:0], l.ring[:n]...)
		slices.Sort(l.sorted)
		l.fresh = 0
	}
	if !(q > 0) { // nor is it, if it is not a number
		return l.sorted[0], true
	}
	// The nearest rank: the least duration that q*n of them do not exceed.
	rank := int(math.Ceil(min(q, 1) * float64(len(l.sorted))))
	return l.sorted[rank-1], true
}
