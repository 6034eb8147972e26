package loadtest

import (
	"sync"
	"sync/atomic"
	"time"
)

// poissonBlock is how many arrivals are drawn at once.
const poissonBlock = 1024

// A Poisson sends requests at random, independently of each other, at the rate
// of another Pacer: as many clients do that do not know of each other. Time
// between two is distributed exponentially, and so many requests as fall into a
// second vary by the root of the rate.
//
// Arrivals are those of rate 1 that the seed determines, with time stretched so
// that the area under the other's rate passes evenly. It is made by NewPoisson.
type Poisson struct {
	of   Pacer
	base curve
	seed uint64

	// Where the arrivals of rate 1 are has to be added up from the beginning. What
	// was added up is remembered, which nobody can tell but by the time it takes:
	// where each block begins, and the blocks that were drawn last.
	mu     sync.Mutex
	begins []float64
	recent [4]atomic.Pointer[arrivals]
}

// arrivals are where the requests of one block are, of rate 1.
type arrivals struct {
	block uint64
	at    [poissonBlock]float64
}

// NewPoisson makes Poisson arrivals of a Constant, Ramp, Steps or Sine. Other
// Pacers are returned as they are: a closed loop has no arrivals.
func NewPoisson(of Pacer, seed uint64) Pacer {
	base, ok := of.(curve)
	if !ok {
		return of
	}
	return &Poisson{of: of, base: base, seed: seed, begins: []float64{0}}
}

// Pace is part of Pacer.
func (p *Poisson) Pace(elapsed time.Duration, hits uint64) (time.Duration, bool) {
	block := hits / poissonBlock
	recent := p.recent[block%uint64(len(p.recent))].Load()
	if recent == nil || recent.block != block {
		recent = p.draw(block)
	}
	return pace(p.base, elapsed, recent.at[hits%poissonBlock])
}

// Rate is part of Pacer: the rate on average.
func (p *Poisson) Rate(elapsed time.Duration) float64 { return p.of.Rate(elapsed) }

// Length is how long the other takes, 0 if it never ends.
func (p *Poisson) Length() time.Duration {
	if limited, ok := p.of.(interface{ Length() time.Duration }); ok {
		return limited.Length()
	}
	return 0
}

// draw makes a block, and those before it that nobody asked for.
func (p *Poisson) draw(block uint64) *arrivals {
	p.mu.Lock()
	defer p.mu.Unlock()
	var drawn *arrivals
	for b := min(block, uint64(len(p.begins))-1); b <= block; b++ {
		drawn = &arrivals{block: b}
		r, at := seeded(p.seed, hashString("arrivals"), b), p.begins[b]
		for i := range drawn.at {
			at += r.exponential()
			drawn.at[i] = at
		}
		if b+1 == uint64(len(p.begins)) {
			p.begins = append(p.begins, at)
		}
	}
	p.recent[block%uint64(len(p.recent))].Store(drawn)
	return drawn
}
