package origin

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/pace"
)

// pacing is how much the bucket is asked for at once, and again.
type pacing struct {
	limiter *pace.Limiter
	breaker *pace.Breaker
	retries *pace.Budget
	hedger  *pace.Hedger
	firsts  *pace.Latency // from sending a read to the first byte of its answer
	counts  s3Counts
}

// s3Counts are the counters of S3Stats.
type s3Counts struct {
	demand, attempts, resumed, settled, unknown atomic.Int64
}

const (
	// retryRatio bounds retries to a tenth of what callers ask for: more keep a
	// service that is overloaded overloaded (Bronson et al., Metastable
	// Failures in Distributed Systems, HotOS 2021).
	retryRatio = 0.1

	// hedgeRatio bounds second requests that race slow ones. Dean and Barroso
	// (The Tail at Scale, CACM 2013) needed 2 % for most of the gain.
	hedgeRatio = 0.05

	// hedgeFloor is the least wait before such a request: a service that answers
	// faster has nothing to gain from it.
	hedgeFloor = 50 * time.Millisecond

	// readAttempts bounds the attempts of one read, the first included.
	readAttempts = 3

	// shedAfter is how long a request waits for its turn. What waits longer
	// would be answered after its caller's patience, at the cost of the others.
	shedAfter = time.Second

	// breakerOpenFor is how long nothing is sent to a service that failed, and
	// breakerProbes how many requests find out then.
	breakerOpenFor = 3 * time.Second
	breakerProbes  = 3

	// backoffBase and backoffMax are the bounds of the first pause before a
	// retry and of any.
	backoffBase = 50 * time.Millisecond
	backoffMax  = time.Second
)

func newPacing(cfg S3Config) *pacing {
	p := &pacing{
		limiter: pace.NewLimiter(pace.LimiterConfig{
			Initial: min(32, cfg.Concurrency), Min: min(4, cfg.Concurrency), Max: cfg.Concurrency, MaxWait: min(shedAfter, cfg.Timeout/2),
		}),
		retries: pace.NewBudget(retryRatio, 0),
		firsts:  pace.NewLatency(0),
	}
	p.breaker = pace.NewBreaker(pace.BreakerConfig{
		Name: "s3", Window: max(10*time.Second, 3*cfg.Timeout), // what is reported later does not count
		OpenFor: breakerOpenFor, MinRequests: 20, FailureRatio: 0.5, Probes: breakerProbes,
		OnChange: func(from, to pace.State) {
			cfg.Log.Warn("circuit breaker of the S3 origin", "was", from.String(), "is", to.String())
		},
	})
	p.hedger = pace.NewHedger(pace.NewBudget(hedgeRatio, 0), func() (time.Duration, bool) {
		after, known := p.firsts.Quantile(0.95)
		return max(after, hedgeFloor), known
	})
	return p
}

func (p *pacing) close() { p.hedger.Close() }

// A turn is the permission to send one request. It ends twice: answered when
// the service has said how it is, free when the request takes up no room any
// more, which for a read is after its body.
type turn struct {
	permit *pace.Permit
	answer func(pace.Outcome)
	ended  atomic.Bool
	result atomic.Int32 // of answered, a pace.Outcome
}

// enter waits for the turn of a request. The error matches
// object.ErrUnavailable if there will be none.
func (p *pacing) enter(ctx context.Context) (*turn, error) {
	answer, err := p.breaker.Allow()
	if err != nil {
		return nil, shed(err)
	}
	permit, err := p.limiter.Acquire(ctx)
	if err != nil {
		answer(pace.Ignore)
		return nil, shed(err)
	}
	p.counts.attempts.Add(1)
	return &turn{permit: permit, answer: answer}, nil
}

// shed makes a refusal of ours one that callers understand.
func shed(err error) error {
	if over := (*pace.OverloadError)(nil); errors.As(err, &over) {
		return &object.RetryLaterError{After: over.RetryAfter, Err: fmt.Errorf("the S3 origin is not asked: %w", err)}
	}
	return err
}

func (t *turn) answered(o pace.Outcome) {
	if t.ended.Swap(true) {
		return
	}
	t.result.Store(int32(o))
	t.answer(o)
}

// free ends the turn of a request that there was: t may be nil.
func (t *turn) free() {
	if t == nil {
		return
	}
	t.answered(pace.Ignore)
	t.permit.Done(pace.Outcome(t.result.Load()))
}

// again waits before the next attempt of something, attempt being the number of
// the last, and reports whether there may be one.
func (p *pacing) again(ctx context.Context, attempt int) bool {
	if !p.retries.Take() {
		return false
	}
	pause := time.NewTimer(pace.FullJitter(attempt, backoffBase, backoffMax))
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// read carries out an idempotent request that has no body to read, again if it
// has to.
func (s *S3) read(ctx context.Context, do func(ctx context.Context) error) error {
	s.pace.demand()
	bounded, cancel := context.WithTimeout(ctx, s.cfg.Timeout*3/2)
	defer cancel()
	for attempt := 0; ; attempt++ {
		r, err := s.attempt(bounded, do)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		case r.err == nil:
			return nil
		}
		if !r.passing() || attempt+1 == readAttempts || !s.pace.again(bounded, attempt) {
			return s.storeError(ctx, r)
		}
	}
}

func (p *pacing) demand() {
	p.counts.demand.Add(1)
	p.retries.Demand()
}

// attempt sends one request within its time. The error says that it was not
// sent at all.
func (s *S3) attempt(ctx context.Context, do func(ctx context.Context) error) (reply, error) {
	turn, err := s.pace.enter(ctx)
	if err != nil {
		return reply{}, err
	}
	defer turn.free()
	timed, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	r := replyOf(do(timed))
	if r.err != nil && timed.Err() != nil && !errors.Is(ctx.Err(), context.Canceled) {
		r = reply{err: errNoAnswer} // the error of the SDK says "canceled"
	}
	turn.answered(r.outcome(ctx))
	return r, nil
}

// sent returns a context that notes whether a request that is made with it
// found a connection: before that nothing has left this machine.
func sent(ctx context.Context) (context.Context, *atomic.Bool) {
	var left atomic.Bool
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { left.Store(true) },
	}), &left
}
