package pace

import (
	"math"
	"slices"
	"sync"
	"time"
)

// A Latency knows the quantiles of the last durations that it was told. They
// are exact over its window.
type Latency struct {
	mu     sync.Mutex // guards the following
	ring   []time.Duration
	next   int
	full   bool
	stale  int                       // observations since cached was computed
	cached map[float64]time.Duration // quantiles
	sorted []time.Duration
}

const (
	// defaultWindow is small enough to follow a server that changes within
	// seconds, and large enough for a 95th percentile of 25 samples.
	defaultWindow = 512

	// minSamples is how many durations say something.
	minSamples = 50

	// refresh is how many observations a computed quantile serves: sorting the
	// window costs 20 us.
	refresh = 32
)

// NewLatency returns a Latency over the last window durations, 512 if 0.
func NewLatency(window int) *Latency {
	if window == 0 {
		window = defaultWindow
	}
	return &Latency{ring: make([]time.Duration, window), cached: make(map[float64]time.Duration), sorted: make([]time.Duration, 0, window)}
}

// Observe takes in one duration.
func (l *Latency) Observe(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring[l.next] = d
	l.stale++
	if l.next++; l.next == len(l.ring) {
		l.next, l.full = 0, true
	}
}

// Quantile returns the duration that a part q, of 0 to 1, of the last ones did
// not exceed. It may be some tens of observations old, and false says that there
// were too few.
func (l *Latency) Quantile(q float64) (time.Duration, bool) {
	if !(q > 0) { // not a number either, which no map would find again
		q = 0
	}
	q = min(q, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.next
	if l.full {
		n = len(l.ring)
	}
	if n < min(minSamples, len(l.ring)) {
		return 0, false
	}
	if l.stale >= refresh {
		clear(l.cached)
		l.stale = 0
	}
	if d, ok := l.cached[q]; ok {
		return d, true
	}
	l.sorted = append(l.sorted[:0], l.ring[:n]...)
	slices.Sort(l.sorted)
	// The nearest rank: the least duration that q*n of them do not exceed.
	d := l.sorted[max(0, int(math.Ceil(q*float64(n)))-1)]
	l.cached[q] = d
	return d, true
}
