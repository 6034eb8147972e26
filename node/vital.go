package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/pace"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

const (
	// failuresToOpen in a row, with no answer between them, are enough to go
	// around a member. It is less than the burst of the hedging budget, so a
	// member that stands still is left before hedging is at its end.
	failuresToOpen = 3

	// openFor is how long a member is gone around before a read finds out. That
	// read is hedged, so it costs its client little.
	openFor = time.Second

	// hedgeQuantile of the latest times to a member's first sign is when a read
	// is slow, but it is never less than minHedge (a garbage collector, a busy
	// core) nor more than maxHedge. coldHedge is for a member that is not known
	// yet. The sign is the answer, or, after 10 ms, the word that the member is
	// at work on it: a slow origin makes no read slow.
	hedgeQuantile = 0.95
	minHedge      = 50 * time.Millisecond
	maxHedge      = 250 * time.Millisecond
	coldHedge     = 100 * time.Millisecond
)

// What a breaker has become.
const (
	turnedOpen = iota + 1
	turnedClosed
)

// A memberID is one start of a member: one that starts again is no suspect.
type memberID struct {
	id   string
	boot uint64
}

// A vital is what requests have shown about one start of a member.
type vital struct {
	member  ring.Member
	breaker *pace.Breaker
	latency *pace.Latency // to its first sign
	well    atomic.Bool   // the breaker is closed, for those who take no lock
	turned  atomic.Int32  // what the breaker has just become, 0 if nothing new

	quick    atomic.Pointer[peer.Client] // of its quick lanes, nil if nobody has asked for it
	credited atomic.Int64                // quick answers that the breaker knows of

	// The following is guarded by the mutex of vitals.
	asked   time.Time // for the last sign of life
	unread  time.Time // since when a read could find out whether it answers again, and none did
	unheard time.Time // begin of the first request since it gave the last sign, 0 if none
	waiting map[*wait]struct{}
}

func newVital(m ring.Member) *vital {
	one := &vital{member: m, latency: pace.NewLatency(0), waiting: make(map[*wait]struct{})}
	one.breaker = pace.NewBreaker(pace.BreakerConfig{
		Name: m.ID, Consecutive: failuresToOpen, OpenFor: openFor, Probes: 1,
		OnChange: func(from, to pace.State) {
			one.well.Store(to == pace.Closed)
			switch {
			case from == pace.Closed:
				one.turned.Store(turnedOpen)
			case to == pace.Closed:
				one.turned.Store(turnedClosed)
			}
		},
	})
	one.well.Store(true)
	return one
}

// lane returns the client of the member's quick lanes.
func (one *vital) lane(dial func(ring.Member) *peer.Client) *peer.Client {
	c := one.quick.Load()
	if c == nil || c.Gone() {
		c = dial(one.member)
		one.quick.Store(c)
	}
	return c
}

// quickCredit is how many quick answers at most count when a failure is counted.
const quickCredit = 8

// credit tells the breaker of quick answers since it was told last, before it is
// told of a failure: failures with answers between them are not in a row. To tell
// it of each would cost more than the answer.
func (one *vital) credit() {
	c := one.quick.Load()
	if c == nil || !one.well.Load() {
		return
	}
	answered := c.QuickAnswered()
	for range min(answered-one.credited.Swap(answered), quickCredit) {
		if done, err := one.breaker.Allow(); err == nil {
			done(pace.OK)
		}
	}
}

// hedgeAfter is when a read of the member is slow.
func (one *vital) hedgeAfter() time.Duration {
	d, known := one.latency.Quantile(hedgeQuantile)
	if !known {
		return coldHedge
	}
	return min(max(d, minHedge), maxHedge)
}

// A wait is a request to a member, until its end.
type wait struct {
	vitals *vitals
	of     *vital
	since  time.Time
	ctx    context.Context
	cut    context.CancelCauseFunc // of a read; a write is never cut
	done   func(pace.Outcome)      // tells the breaker, once
	probe  bool                    // the breaker wants to know
	heard  atomic.Bool             // it gave a sign: an answer, or that it is at work
	told   atomic.Bool             // the breaker was
	over   atomic.Bool             // answered
	stuck  atomic.Int64            // since when a read of the body waits, in nanoseconds after since; 0: none does
}

var (
	errSilent = fmt.Errorf("%w: %w: gives no sign of life", peer.ErrUnreachable, object.ErrUnavailable)

	// errAround is a request that was not sent to a member that is gone around.
	errAround = fmt.Errorf("%w: %w: the peer is gone around", peer.ErrNotSent, object.ErrUnavailable)
)

// begin begins the request. The context is the request's; whoever makes it calls
// settle when it has the answer, and end when it is over.
func (w *wait) begin(ctx context.Context, read bool) {
	w.since, w.ctx = time.Now(), ctx
	if read {
		w.ctx, w.cut = context.WithCancelCause(ctx)
	}
	w.vitals.enter(w)
}

// hear notes that the member is at work on the request.
func (w *wait) hear() {
	if w.heard.Swap(true) {
		return
	}
	w.of.latency.Observe(time.Since(w.since))
	w.vitals.heard(w.of)
	if w.probe { // a sign is all there was to find out
		w.report(pace.OK)
	}
}

// settle ends the wait for the answer and returns err, or errSilent if the
// request was cut. lost says that another place answered before.
func (w *wait) settle(err error, lost bool) error {
	w.over.Store(true)
	if context.Cause(w.ctx) == errSilent {
		err, lost = errSilent, false
	}
	switch {
	case lost && !w.heard.Load():
		w.report(pace.Failure)
	case err == nil, isAnswer(err), peer.Answered(err):
		w.hear()
		w.report(pace.OK)
	case !lost && errors.Is(err, peer.ErrUnreachable):
		w.report(pace.Failure)
	default: // its client left, or it was busy
		w.report(pace.Ignore)
	}
	return err
}

// report tells the breaker, if it was not told yet.
func (w *wait) report(o pace.Outcome) {
	if w.told.Swap(true) {
		return
	}
	if o == pace.Failure {
		w.of.credit()
	}
	w.done(o)
	w.vitals.turn(w.of)
}

// end releases what the request holds.
func (w *wait) end() {
	if w.cut != nil {
		w.cut(nil)
	}
	w.vitals.leave(w)
}

// stands reports whether nothing came of the request for so long.
func (w *wait) stands(now time.Time, d time.Duration) bool {
	if !w.over.Load() {
		return now.Sub(w.since) >= d
	}
	stuck := w.stuck.Load()
	return stuck != 0 && now.Sub(w.since)-time.Duration(stuck) >= d
}

// attended is a body whose end is the end of its request.
type attended struct {
	io.ReadCloser
	request *wait
}

func (b *attended) Read(p []byte) (int, error) {
	b.request.stuck.Store(int64(max(time.Since(b.request.since), 1)))
	n, err := b.ReadCloser.Read(p)
	b.request.stuck.Store(0)
	return n, err
}

func (b *attended) Close() error {
	defer b.request.end()
	return b.ReadCloser.Close()
}
