package pace

import "sync"

// A Budget bounds further attempts to a part of what callers ask for. Retries
// that are proportional to failures keep an overloaded server overloaded;
// retries that are proportional to demand cannot.
type Budget struct {
	ratio, burst float64

	mu     sync.Mutex // guards the following
	tokens float64
	stats  BudgetStats
}

// DefaultBurst is how many attempts a Budget allows beyond its part: enough for
// a server that fails now and then while little is asked of it.
const DefaultBurst = 10

// NewBudget returns a Budget that allows ratio further attempts for each
// demand, and burst at once, [DefaultBurst] if burst is 0. Over any time it
// allows at most ratio times the demand, plus burst. A burst below 1 allows
// nothing at all.
func NewBudget(ratio, burst float64) *Budget {
	if burst == 0 {
		burst = DefaultBurst
	}
	return &Budget{ratio: ratio, burst: burst, tokens: burst}
}

// Demand counts one request that a caller wanted.
func (b *Budget) Demand() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stats.Demand++
	b.tokens = min(b.burst, b.tokens+b.ratio)
}

// Take reports whether there may be one further attempt, and counts it.
func (b *Budget) Take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens < 1 {
		b.stats.Refused++
		return false
	}
	b.tokens--
	b.stats.Taken++
	return true
}

// BudgetStats are figures of a Budget since the start.
type BudgetStats struct {
	Demand, Taken, Refused int64
}

// Stats returns the figures of this moment.
func (b *Budget) Stats() BudgetStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}
