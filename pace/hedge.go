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

	// Not a WaitGroup, which panics if a count begins while another one's Wait
	// ends: a node that closes may still get requests.
	mu      sync.Mutex // guards the following
	running int        // calls of Do, and requests
	idle    *sync.Cond // none is running
}

// NewHedger returns a Hedger that sends second requests as the budget allows,
// once after has passed; after returns false while it does not know.
func NewHedger(budget *Budget, after func() (time.Duration, bool)) *Hedger {
	h := &Hedger{budget: budget, after: after}
	h.idle = sync.NewCond(&h.mu)
	return h
}

// Demand counts one request that a caller wanted. [Do] does not.
func (h *Hedger) Demand() { h.budget.Demand() }

// Close waits until every Do has returned, and every request that lost has
// ended and been discarded. A Do that begins later works as ever, and nobody
// waits for its losers.
func (h *Hedger) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.running > 0 {
		h.idle.Wait()
	}
}

func (h *Hedger) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running++
}

func (h *Hedger) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running--; h.running == 0 {
		h.idle.Broadcast()
	}
}

// start runs f in a goroutine that Close waits for.
func (h *Hedger) start(f func()) {
	h.begin()
	go func() {
		defer h.end()
		f()
	}()
}

// HedgeStats are figures of a Hedger since the start.
type HedgeStats struct {
	Sent int64 // second requests
	Won  int64 // those whose answer was taken
}

// Stats returns the figures of this moment.
func (h *Hedger) Stats() HedgeStats { return HedgeStats{Sent: h.sent.Load(), Won: h.won.Load()} }

// Do runs call and, if that is slow, a second time beside itself, and returns
// the first result without an error. A failure does not win over a twin that is
// still under way, and does not start one; if both fail the first error is
// returned, except that an answer's error is preferred to an [*OverloadError].
// Do returns after the requests that fail have: call must heed its context. A
// panic of call becomes one of Do, unless the twin succeeds.
//
// The context that the winner was given lives on, so that what was opened with
// it can be used, such as the body of an HTTP response, until ctx ends or the
// caller calls release, which it must do once after a success. After an error
// release is nil. The context of a loser ends when there is a winner. A loser
// that has a result all the same, later, gives it to discard, once, which may
// run after Do has returned: see [Hedger.Close].
func Do[T any](ctx context.Context, h *Hedger, call func(ctx context.Context, attempt int) (T, error), discard func(T)) (result T, release func(), err error) {
	after, known := h.after()
	if !known {
		h.begin()
		defer h.end()
		return alone(ctx, call)
	}
	h.begin()
	defer h.end()
	r := &race[T]{h: h, call: call, discard: discard, results: make(chan attempt[T], 2)}
	r.start(ctx, 0)
	hedge := time.NewTimer(after)
	defer hedge.Stop()
	for r.running > 0 {
		select {
		case <-hedge.C:
			// An answer that came at the same moment needs no twin, and nor
			// does a caller that left.
			if len(r.results) == 0 && ctx.Err() == nil && h.budget.Take() {
				h.sent.Add(1)
				r.start(ctx, 1)
			}
		case got := <-r.results:
			r.running--
			if got.err == nil {
				r.won(got)
				return got.result, got.cancel, nil
			}
			got.cancel()
			r.failed = worse(r.failed, &got)
		}
	}
	if r.failed.panicked != nil {
		panic(r.failed.panicked) // in the caller's goroutine, as without a twin
	}
	return r.failed.result, nil, r.failed.err
}

// alone runs a call that will have no twin.
func alone[T any](ctx context.Context, call func(ctx context.Context, attempt int) (T, error)) (result T, release func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	succeeded := false
	defer func() {
		if !succeeded { // failed or panicked
			cancel()
		}
	}()
	if result, err = call(ctx, 0); err != nil {
		return result, nil, err
	}
	succeeded = true
	return result, cancel, nil
}

// A race is the requests of one Do.
type race[T any] struct {
	h       *Hedger
	call    func(ctx context.Context, attempt int) (T, error)
	discard func(T)
	results chan attempt[T] // has room for all: no request waits for its reader
	cancels [2]context.CancelFunc
	running int
	failed  *attempt[T] // what Do returns if nothing succeeds
}

// An attempt is one request, when it has ended.
type attempt[T any] struct {
	number int
	result T
	err    error
	cancel context.CancelFunc

	panicked error // nil if call returned
}

// errNoReturn is a call that ended its goroutine (runtime.Goexit).
var errNoReturn = errors.New("pace: a request ended its goroutine")

// start runs the request of a number.
func (r *race[T]) start(ctx context.Context, number int) {
	ctx, cancel := context.WithCancel(ctx)
	r.cancels[number] = cancel
	r.running++
	r.h.start(func() {
		got := attempt[T]{number: number, cancel: cancel, panicked: errNoReturn}
		defer func() {
			if v := recover(); v != nil {
				got.panicked = fmt.Errorf("pace: a request panicked: %v\n%s", v, debug.Stack())
			}
			if got.panicked != nil {
				got.err = got.panicked
			}
			r.results <- got
		}()
		got.result, got.err = r.call(ctx, number)
		got.panicked = nil
	})
}

// won ends the twin of the winner, if there is one under way.
func (r *race[T]) won(winner attempt[T]) {
	if winner.number == 1 {
		r.h.won.Add(1)
	}
	if r.running == 0 {
		return
	}
	r.cancels[1-winner.number]()
	r.h.start(func() {
		if late := <-r.results; late.err == nil {
			r.discard(late.result)
		}
	})
}

// worse returns which of two failures says more: a panic; else an answer of the
// server, not our refusal to ask it; else the first one, which may be nil.
func worse[T any](first, second *attempt[T]) *attempt[T] {
	if first == nil || second.panicked != nil {
		return second
	}
	over := (*OverloadError)(nil)
	if first.panicked == nil && errors.As(first.err, &over) && !errors.As(second.err, &over) {
		return second
	}
	return first
}
