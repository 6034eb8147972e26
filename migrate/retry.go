package migrate

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"github.com/micelio/micelio/object"
)

const (
	// maxAttempts is how often one object, or one page of a listing, is tried.
	// The Stores have tried by themselves before they say that they are
	// unavailable.
	maxAttempts = 5

	// firstPause is doubled with each attempt up to longestPause, which also
	// bounds what a Store that is overloaded asks for. Half of a pause is random,
	// so that workers that failed together do not come back together.
	firstPause   = 200 * time.Millisecond
	longestPause = 30 * time.Second

	// patience is how many objects in a row may fail, for each worker, because a
	// Store does not answer. With maxAttempts each that is long after an outage
	// has become more than a moment.
	patience = 4
)

// isPassing reports whether the same may well succeed a moment later. A
// precondition that failed says that the destination has changed since it was
// looked at; a body that ended early or does not fit its digest may have been
// damaged on its way.
func isPassing(err error) bool {
	for _, passing := range []error{object.ErrUnavailable, object.ErrUnknownOutcome, object.ErrPrecondition, object.ErrDigest, io.ErrUnexpectedEOF} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// pause waits before the attempt after this one. It returns false if there is
// none.
func (r *run) pause(ctx context.Context, attempt int, what string, err error) bool {
	if attempt+1 >= maxAttempts || ctx.Err() != nil {
		return false
	}
	wait := firstPause << attempt
	wait = wait/2 + rand.N(wait/2)
	if later := (*object.RetryLaterError)(nil); errors.As(err, &later) {
		wait = max(wait, later.After)
	}
	wait = min(wait, longestPause)
	r.cfg.Log.Warn("trying again", "what", what, "in", wait.Round(time.Millisecond).String(), "error", err)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// persist does something until it succeeds, for some attempts.
func (r *run) persist(ctx context.Context, what string, do func(attempt int) error) error {
	for attempt := 0; ; attempt++ {
		err := do(attempt)
		if err == nil || !isPassing(err) || !r.pause(ctx, attempt, what, err) {
			return err
		}
	}
}

// succeeded notes that an object was settled, fail that it was not.
func (r *run) succeeded() { r.unreachable.Store(0) }

func (r *run) fail(ctx context.Context, key object.Key, err error) {
	if ctx.Err() != nil {
		return // it was not the object's fault
	}
	kind := Failed
	if errors.Is(err, object.ErrInvalidKey) || errors.Is(err, object.ErrTooLarge) || errors.Is(err, object.ErrConflict) {
		kind = Refused
	}
	r.differ(kind, string(key), err.Error())
	if !errors.Is(err, object.ErrUnavailable) {
		return
	}
	if n := r.unreachable.Add(1); n >= int64(patience*r.cfg.Parallel) {
		r.giveUp(errors.Join(errGivenUp, err))
	}
}
