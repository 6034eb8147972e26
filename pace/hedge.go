package pace

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A Hedger runs a second request beside one that is slow and takes the answer
// that comes first (Dean and Barroso, The Tail at Scale, CACM 2013).
type Hedger struct {
	budget *Budget
	after  func() (time.Duration, bool)

	sent, won atomic.Int64
	losers    sync.WaitGroup // requests that run on after their Do has returned
}

// NewHedger returns a Hedger that sends second requests as the budget allows,
// once after has passed; after returns false while it does not know.
func NewHedger(budget *Budget, after func() (time.Duration, bool)) *Hedger {
	return &Hedger{budget: budget, after: after}
}

// Demand counts one request that a caller wanted. [Do] does not.
func (h *Hedger) Demand() { h.budget.Demand() }

// Close waits for requests that lost. No Do may be called after it.
func (h *Hedger) Close() { h.losers.Wait() }

// HedgeStats are figures of a Hedger since the start.
type HedgeStats struct {
	Sent int64 // second requests
	Won  int64 // those that answered first
}

// Stats returns the figures of this moment.
func (h *Hedger) Stats() HedgeStats { return HedgeStats{Sent: h.sent.Load(), Won: h.won.Load()} }

// An attempt is one of the requests of a Do.
type attempt[T any] struct {
	number int
	result T
	err    error
	cancel context.CancelFunc
}

// Do runs call and, if that is slow, a second time beside itself, and returns
// the first result without an error. A failure does not win over a twin that is
// still under way; if both fail the first error is returned.
//
// The context that the winner was given lives on, so that what was opened with
// it can be used, until ctx ends or the caller calls release, which it must do
// once after a success. That of a loser ends when there is a winner. A loser that
// has a result all the same, later, gives it to discard, which may run after Do
// has returned: see [Hedger.Close].
func Do[T any](ctx context.Context, h *Hedger, call func(ctx context.Context, attempt int) (T, error), discard func(T)) (result T, release func(), err error) {
	after, known := h.after()
	if !known {
		result, err = call(ctx, 0)
		return result, func() {}, err
	}
	results := make(chan attempt[T], 2)
	var cancels [2]context.CancelFunc
	start := func(number int) {
		one, cancel := context.WithCancel(ctx)
		cancels[number] = cancel
		h.losers.Go(func() {
			result, err := call(one, number)
			results <- attempt[T]{number, result, err, cancel}
		})
	}
	start(0)
	running := 1
	hedge := time.NewTimer(after)
	defer hedge.Stop()
	var failed *attempt[T]
	for {
		select {
		case <-hedge.C:
			if h.budget.Take() {
				h.sent.Add(1)
				start(1)
				running++
			}
		case got := <-results:
			running--
			if got.err != nil {
				got.cancel()
				if failed == nil {
					failed = &got
				}
				if running == 0 {
					return failed.result, nil, failed.err
				}
				continue
			}
			if got.number == 1 {
				h.won.Add(1)
			}
			if running > 0 {
				cancels[1-got.number]()
				h.losers.Go(func() {
					if late := <-results; late.err == nil {
						discard(late.result)
					}
				})
			}
			return got.result, got.cancel, nil
		}
	}
}
