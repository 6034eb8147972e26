package pace

import (
	"cmp"
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A LimiterConfig bounds a Limiter.
type LimiterConfig struct {
	Initial int           // limit at the start; 16 if 0
	Min     int           // least limit; 1 if 0
	Max     int           // greatest limit; 128 if 0
	MaxWait time.Duration // longest wait for a turn; 1 s if 0
}

// A Limiter bounds how many requests are under way at once. It learns the bound
// as TCP learns a rate, by additive increase and multiplicative decrease (Chiu
// and Jain, Computer Networks and ISDN Systems 17, 1989): a limit's worth of
// good answers adds one; an overload takes a third away. Answers count only
// while at least half of the limit is in use, as in Netflix's
// concurrency-limits: what nobody tried nobody knows. Who waits is served in
// the order of arrival, and not at all after MaxWait.
//
// When the limit shrinks, more requests than it allows may be under way until
// enough of them end.
type Limiter struct {
	cfg LimiterConfig

	mu       sync.Mutex // guards the following
	limit    float64
	inFlight int
	waiting  list.List // of *waiter, the longest waiting first
	epoch    int64     // counts decreases: an overload says nothing of a limit that came after its request
	shed     int64
}

// decrease is what an overload leaves of the limit. 0.7 is what CUBIC uses (RFC
// 9438): Reno's 0.5 gives up more throughput than it saves.
const decrease = 0.7

// A waiter waits for its turn.
type waiter struct {
	ready chan struct{} // closed with the turn
	epoch int64         // of the turn
}

// NewLimiter returns a Limiter.
func NewLimiter(cfg LimiterConfig) *Limiter {
	cfg.Initial = cmp.Or(cfg.Initial, 16)
	cfg.Min = max(cfg.Min, 1) // a limit of none would let nobody find out
	cfg.Max = max(cmp.Or(cfg.Max, 128), cfg.Min)
	cfg.MaxWait = cmp.Or(cfg.MaxWait, time.Second)
	return &Limiter{cfg: cfg, limit: float64(min(max(cfg.Initial, cfg.Min), cfg.Max))}
}

// A Permit is the turn of one request. Whoever has one calls Done.
type Permit struct {
	limiter *Limiter
	epoch   int64
	done    atomic.Bool
}

// Acquire waits for a turn. The error is an [*OverloadError] after MaxWait, or
// that of the context.
func (l *Limiter) Acquire(ctx context.Context) (*Permit, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	if l.inFlight < int(l.limit) && l.waiting.Len() == 0 {
		l.inFlight++
		p := &Permit{limiter: l, epoch: l.epoch}
		l.mu.Unlock()
		return p, nil
	}
	w := &waiter{ready: make(chan struct{})}
	place := l.waiting.PushBack(w)
	l.mu.Unlock()

	patience := time.NewTimer(l.cfg.MaxWait)
	defer patience.Stop()
	select {
	case <-w.ready:
		if err := ctx.Err(); err != nil {
			l.leave(w, place, false)
			return nil, err
		}
		return &Permit{limiter: l, epoch: w.epoch}, nil
	case <-ctx.Done():
		l.leave(w, place, false)
		return nil, ctx.Err()
	case <-patience.C:
		if l.leave(w, place, true) {
			return &Permit{limiter: l, epoch: w.epoch}, nil
		}
		return nil, &OverloadError{What: "too many requests wait for their turn", RetryAfter: l.cfg.MaxWait}
	}
}

// leave gives up a wait. If the turn has just come, it reports true to who ran
// out of patience, who has it then, and gives back that of who went away.
func (l *Limiter) leave(w *waiter, place *list.Element, impatient bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.ready:
		if impatient {
			return true
		}
		l.inFlight--
		l.admit()
		return false
	default:
	}
	l.waiting.Remove(place)
	if impatient {
		l.shed++
	}
	return false
}

// admit gives free turns to those who wait. The caller holds mu.
func (l *Limiter) admit() {
	for l.inFlight < int(l.limit) {
		first := l.waiting.Front()
		if first == nil {
			return
		}
		w := l.waiting.Remove(first).(*waiter)
		w.epoch = l.epoch
		l.inFlight++
		close(w.ready)
	}
}

// Done ends the turn and says how the request went. Only the first call counts.
func (p *Permit) Done(o Outcome) {
	if p.done.Swap(true) {
		return
	}
	l := p.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	inUse := 2*l.inFlight >= int(l.limit)
	l.inFlight--
	switch {
	case o == Overload && p.epoch == l.epoch:
		// The requests that were under way together met the same overload: it
		// counts once.
		l.limit = max(float64(l.cfg.Min), l.limit*decrease)
		l.epoch++
	case o == OK && inUse && p.epoch == l.epoch:
		// An answer from before a decrease says nothing of the limit after it.
		l.limit = min(float64(l.cfg.Max), l.limit+1/l.limit)
	}
	l.admit()
}

// LimiterStats are figures of a Limiter.
type LimiterStats struct {
	Limit, InFlight, Waiting int   // now
	Shed                     int64 // requests that waited too long, since the start
}

// Stats returns the figures of this moment.
func (l *Limiter) Stats() LimiterStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return LimiterStats{Limit: int(l.limit), InFlight: l.inFlight, Waiting: l.waiting.Len(), Shed: l.shed}
}
