package pace

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// DoAfter is [Do] for a caller that knows itself when call is slow: once after
// has passed, if needed, unless it is nil, returns true then. It is for a Hedger
// of many servers, each with a time of its own; the function that the Hedger was
// made with is not asked.
//
// The first request runs in the caller's goroutine, so that one which is not
// slow costs a timer and no more. Therefore, other than with Do, nothing is
// returned before it has ended, which it must do when its context does.
func DoAfter[T any](ctx context.Context, h *Hedger, after time.Duration, needed func() bool,
	call func(ctx context.Context, attempt int) (T, error), discard func(T),
) (result T, release func(), err error) {
	h.begin()
	defer h.end()
	first, cancel := context.WithCancel(ctx)
	t := &twin[T]{h: h, ctx: ctx, needed: needed, call: call, discard: discard, beat: cancel}
	timer := time.AfterFunc(after, t.run)
	returned := false
	defer func() {
		timer.Stop()
		if !returned { // it panicked
			cancel()
			t.settle(true)
		}
	}()
	result, err = call(first, 0)
	returned = true
	over := t.settle(err == nil)
	if over == nil { // the twin has not begun, or comes too late
		if err != nil {
			cancel()
			return result, nil, err
		}
		return result, cancel, nil
	}
	cancel()
	<-over
	switch {
	case t.err != nil: // the first one's is worth more
		return result, nil, err
	case err == nil:
		discard(result)
	}
	h.won.Add(1)
	return t.result, t.cancel, nil
}

// A twin is the second request of a DoAfter.
type twin[T any] struct {
	h       *Hedger
	ctx     context.Context
	needed  func() bool
	call    func(ctx context.Context, attempt int) (T, error)
	discard func(T)
	beat    context.CancelFunc // ends the first request

	mu      sync.Mutex // guards the following
	settled bool       // the first request has ended, and nothing is wanted of a twin that has not begun
	useless bool       // the first request's answer was taken
	won     bool       // the twin's answer is taken
	over    chan struct{}
	cancel  context.CancelFunc

	// Once over is closed nobody writes these.
	result T
	err    error
}

// run is the twin, from when it is time for it.
func (t *twin[T]) run() {
	ctx, ok := t.begin()
	if !ok {
		return
	}
	defer t.h.end()
	result, err := t.try(ctx)
	t.mu.Lock()
	useless := t.useless
	t.result, t.err, t.won = result, err, err == nil && !useless
	t.mu.Unlock()
	close(t.over)
	if t.won {
		t.beat()
		return
	}
	t.cancel()
	if err == nil {
		t.discard(result)
	}
}

// begin reports whether there is to be a twin.
func (t *twin[T]) begin() (context.Context, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.settled || t.ctx.Err() != nil || t.needed != nil && !t.needed() || !t.h.budget.Take() {
		return nil, false
	}
	t.h.sent.Add(1)
	t.h.begin()
	t.over = make(chan struct{})
	var ctx context.Context
	ctx, t.cancel = context.WithCancel(t.ctx)
	return ctx, true
}

// try makes the call, whose panic is an error: the first request goes on.
func (t *twin[T]) try(ctx context.Context) (result T, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("pace: a request panicked: %v\n%s", v, debug.Stack())
		}
	}()
	return t.call(ctx, 1)
}

// settle notes that the first request has ended. It returns nil if that is how
// it ends: there is no twin, or the first one's answer is taken before the
// twin's. Otherwise the twin's outcome counts, once the channel is closed.
func (t *twin[T]) settle(answered bool) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settled = true
	switch {
	case t.over == nil:
		return nil
	case answered && !t.won:
		t.useless = true
		t.cancel()
		return nil
	}
	return t.over
}
