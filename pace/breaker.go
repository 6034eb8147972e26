package pace

import (
	"cmp"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// A State is that of a Breaker.
type State int

// The states: everything passes, a few requests find out, nothing passes.
const (
	Closed State = iota
	HalfOpen
	Open
)

// String returns the state as logs and metrics have it.
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case HalfOpen:
		return "half-open"
	}
	return "open"
}

// A BreakerConfig says when a Breaker opens.
type BreakerConfig struct {
	Name string // of the server, for whoever debugs

	// Window is the time over which requests are counted, in ten steps; 10 s if
	// 0. A request belongs to the step in which it began, so one that takes
	// longer than the window counts for nothing: requests must time out sooner.
	Window time.Duration

	MinRequests  uint32        // fewer of them in the window say nothing; 20 if 0
	FailureRatio float64       // of them, overloads included, that opens it; 0.5 if 0
	Consecutive  uint32        // so many failures in a row open it, whatever the ratio; 0: no number does
	OpenFor      time.Duration // before a few requests find out; 5 s if 0
	Probes       uint32        // so many, all of which must succeed, or it opens again; 1 if 0

	// OnChange, if not nil, is told of changes. It is called under
	// the Breaker's lock: it must be quick and not call the Breaker.
	OnChange func(from, to State)
}

// A Breaker stops requests to a server that does not answer any, so that
// callers learn it at once and the server gets time to recover.
type Breaker struct {
	cb      *gobreaker.TwoStepCircuitBreaker[struct{}]
	openFor time.Duration
	began   time.Time
	opened  atomic.Int64
	since   atomic.Int64 // when it opened last: nanoseconds after began, so that no clock is set in between
	refused atomic.Int64
}

// The errors stand for outcomes inside the library.
var (
	errFailed  = errors.New("failed")
	errIgnored = errors.New("ignored")
)

// NewBreaker returns a Breaker that is closed.
func NewBreaker(cfg BreakerConfig) *Breaker {
	cfg.Window = cmp.Or(cfg.Window, 10*time.Second)
	cfg.MinRequests = cmp.Or(cfg.MinRequests, 20)
	cfg.FailureRatio = cmp.Or(cfg.FailureRatio, 0.5)
	cfg.OpenFor = cmp.Or(cfg.OpenFor, 5*time.Second)
	cfg.Probes = cmp.Or(cfg.Probes, 1)
	b := &Breaker{openFor: cfg.OpenFor, began: time.Now()}
	b.cb = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: cfg.Name, MaxRequests: cfg.Probes, Interval: cfg.Window, BucketPeriod: cfg.Window / 10, Timeout: cfg.OpenFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			if cfg.Consecutive > 0 && c.ConsecutiveFailures >= cfg.Consecutive {
				return true
			}
			judged := c.TotalSuccesses + c.TotalFailures
			return judged >= cfg.MinRequests && float64(c.TotalFailures) >= cfg.FailureRatio*float64(judged)
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errIgnored) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				b.opened.Add(1)
				b.since.Store(int64(time.Since(b.began)))
			}
			if cfg.OnChange != nil {
				cfg.OnChange(stateOf(from), stateOf(to))
			}
		},
	})
	return b
}

func stateOf(s gobreaker.State) State {
	switch s {
	case gobreaker.StateClosed:
		return Closed
	case gobreaker.StateHalfOpen:
		return HalfOpen
	}
	return Open
}

// Allow reports whether a request may be sent. If so, the caller tells done,
// once, how it went: a probe that never says so is one probe less until it does.
// Ignore takes the request back, a probe too. Otherwise the error is an
// [*OverloadError].
func (b *Breaker) Allow() (done func(Outcome), err error) {
	report, err := b.cb.Allow()
	if err != nil {
		b.refused.Add(1)
		return nil, &OverloadError{What: "the circuit breaker is open", RetryAfter: b.retryAfter()}
	}
	return func(o Outcome) {
		switch o {
		case OK:
			report(nil)
		case Ignore:
			report(errIgnored)
		default:
			report(errFailed)
		}
	}, nil
}

// retryAfter is the rest of the time it stays open. While a few requests find
// out nobody knows; if they fail, it is openFor again.
func (b *Breaker) retryAfter() time.Duration {
	open := time.Since(b.began) - time.Duration(b.since.Load())
	if open >= b.openFor {
		return b.openFor
	}
	return b.openFor - open
}

// State returns the state of this moment.
func (b *Breaker) State() State { return stateOf(b.cb.State()) }

// BreakerStats are figures of a Breaker.
type BreakerStats struct {
	State           State // now
	Opened, Refused int64 // times it opened and requests it refused, since the start
}

// Stats returns the figures of this moment.
func (b *Breaker) Stats() BreakerStats {
	return BreakerStats{State: b.State(), Opened: b.opened.Load(), Refused: b.refused.Load()}
}
