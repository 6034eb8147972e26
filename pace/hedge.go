package pace

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
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
	number   int
	result   T
	err      error
	panicked bool // err says how
}

// errNoReturn is a call that ended its goroutine (runtime.Goexit).
var errNoReturn = errors.New("pace: a request ended its goroutine")

// tellsMore reports whether a failure says more than an earlier one: a panic
// does, and an answer of the server more than our refusal to ask it twice.
func (a attempt[T]) tellsMore(than attempt[T]) bool {
	over := (*OverloadError)(nil)
	return a.panicked || !than.panicked && errors.As(than.err, &over) && !errors.As(a.err, &over)
}

// Do runs call and, if that is slow, a second time beside itself, and returns
// the first result without an error. A failure does not win over a twin that is
// still under way; if both fail the first error is returned, except that an
// answer's error is preferred to an [*OverloadError]. Do returns after the
// requests that fail have: call must heed its context. A panic of call becomes
// one of Do, unless the twin succeeds.
//
// The context that the winner was given lives on, so that what was opened with
// it can be used, until ctx ends or the caller calls release, which it must do
// once after a success. That of a loser ends when there is a winner. A loser that
// has a result all the same, later, gives it to discard, which may run after Do
// has returned: see [Hedger.Close].
func Do[T any](ctx context.Context, h *Hedger, call func(ctx context.Context, attempt int) (T, error), discard func(T)) (result T, release func(), err error) {
	after, known := h.after()
	if !known {
		return once(ctx, call)
	}
	results := make(chan attempt[T], 2)
	var cancels [2]context.CancelFunc
	start := func(number int) {
		one, cancel := context.WithCancel(ctx)
		cancels[number] = cancel
		h.losers.Go(func() { run(one, number, call, results) })
	}
	start(0)
	running := 1
	hedge := time.NewTimer(after)
	defer hedge.Stop()
	var failed *attempt[T]
	for {
		select {
		case <-hedge.C:
			// An answer that came at the same moment needs no twin, and nor
			// does a caller that left.
			if len(results) == 0 && ctx.Err() == nil && h.budget.Take() {
				h.sent.Add(1)
				start(1)
				running++
			}
		case got := <-results:
			running--
			if got.err != nil {
				cancels[got.number]()
				if failed == nil || got.tellsMore(*failed) {
					failed = &got
				}
				if running > 0 {
					continue
				}
				if failed.panicked {
					panic(failed.err) // to the caller, as without a twin
				}
				return failed.result, nil, failed.err
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
			return got.result, cancels[got.number], nil
		}
	}
}

// once is Do without a second request.
func once[T any](ctx context.Context, call func(context.Context, int) (T, error)) (result T, release func(), err error) {
	one, cancel := context.WithCancel(ctx)
	won := false
	defer func() {
		if !won { // failed or panicked
			cancel()
		}
	}()
	if result, err = call(one, 0); err != nil {
		return result, nil, err
	}
	won = true
	return result, cancel, nil
}

// run carries out one request and always sends a result, so that nobody waits
// for one that panicked or ended its goroutine.
func run[T any](ctx context.Context, number int, call func(context.Context, int) (T, error), results chan<- attempt[T]) {
	got := attempt[T]{number: number, panicked: true}
	defer func() {
		if got.panicked {
			got.err = errNoReturn
			if v := recover(); v != nil {
				got.err = fmt.Errorf("pace: a request panicked: %v\n%s", v, debug.Stack())
			}
		}
		results <- got
	}()
	got.result, got.err = call(ctx, number)
	got.panicked = false
}
