package node

import (
	"cmp"
	"context"
	"io"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/pace"
	"github.com/micelio/micelio/peer"
)

// hedgeRatio is the part of the reads of other nodes that this node may answer
// from its own stack as well because the other is slow: Dean and Barroso, The
// Tail at Scale (CACM 2013), find that 5 % take most of the tail away.
const hedgeRatio = 0.05

// hedges are how a node answers reads itself whose owner is slow. That is right
// because the owner is only where an object is likely to be found: this node's
// own stack ends at the authority too, which is asked after the read began.
type hedges struct {
	reads *pace.Hedger

	// probes are the reads that find out whether a member answers again. All of
	// them may be hedged: there is one in a second for each member.
	probes *pace.Hedger
}

func newHedges() *hedges {
	never := func() (time.Duration, bool) { return 0, false }
	return &hedges{
		reads:  pace.NewHedger(pace.NewBudget(hedgeRatio, 0), never),
		probes: pace.NewHedger(pace.NewBudget(1, 0), never),
	}
}

// Close waits for reads that lost.
func (h *hedges) Close() {
	h.reads.Close()
	h.probes.Close()
}

// stats adds both up.
func (h *hedges) stats() pace.HedgeStats {
	r, p := h.reads.Stats(), h.probes.Stats()
	return pace.HedgeStats{Sent: r.Sent + p.Sent, Won: r.Won + p.Won}
}

// An answer is what became of a read: an answer about the object, which may be
// an error such as object.ErrNotFound.
type answer struct {
	obj   *object.Object // of a Get
	info  object.Info    // of a Head
	err   error
	local bool // this node's own stack gave it
}

// discard closes an answer that nobody wants.
func (a answer) discard() {
	if a.obj != nil {
		a.obj.Body.Close()
	}
}

// A reading reads one object at one place.
type reading func(ctx context.Context, at object.Store) (answer, error)

// read reads at a place. A member that gives no sign in time is joined by this
// node's own stack, if the budget allows it, and the first answer is taken. An
// error is no answer, and says that another place may have one.
func (r *router) read(ctx context.Context, h hop, op string, do reading) (answer, error) {
	if h.member == nil {
		a, err := do(ctx, h)
		a.local = true
		return a, err
	}
	w := r.vitals.attend(*h.member)
	if w == nil {
		return answer{}, errAround
	}
	hedger := r.hedges.reads
	if w.probe {
		hedger = r.hedges.probes
	}
	hedger.Demand()
	silent := func() bool { return !w.heard.Load() }
	a, release, err := pace.DoAfter(ctx, hedger, w.of.hedgeAfter(), silent, func(attempt context.Context, n int) (answer, error) {
		if n > 0 {
			a, err := do(attempt, r.local)
			a.local = true
			return a, err
		}
		return r.readMember(ctx, attempt, w, h, op, do)
	}, answer.discard)
	switch {
	case err != nil:
	case a.obj == nil:
		release()
	default:
		a.obj.Body = &released{a.obj.Body, release}
	}
	return a, err
}

// readMember reads at a member, in a context that ends with the caller's, or
// when another place answered.
func (r *router) readMember(caller, ctx context.Context, w *wait, h hop, op string, do reading) (answer, error) {
	w.begin(ctx, true)
	a, err := do(peer.OnWorking(w.ctx, w.hear), h)
	lost := ctx.Err() != nil && caller.Err() == nil
	failed := w.settle(cmp.Or(err, a.err), lost)
	switch {
	case err != nil:
		err = failed
	case a.err == nil && failed != nil: // cut in the moment of its answer
		a.discard()
		a, err = answer{}, failed
	}
	r.stats.peerRequest(op, w.since, cmp.Or(err, a.err))
	if a.obj == nil {
		w.end()
		return a, err
	}
	a.obj.Body = &attended{a.obj.Body, w}
	return a, nil
}

// released is a body that holds something besides until it is closed.
type released struct {
	io.ReadCloser
	release func()
}

func (b *released) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}

// get is a reading.
func (r *router) get(key object.Key, opt object.GetOptions) reading {
	return func(ctx context.Context, at object.Store) (answer, error) {
		obj, err := at.Get(ctx, key, opt)
		return answer{obj: obj}.or(err)
	}
}

// head is a reading.
func (r *router) head(key object.Key, opt object.HeadOptions) reading {
	return func(ctx context.Context, at object.Store) (answer, error) {
		info, err := at.Head(ctx, key, opt)
		return answer{info: info}.or(err)
	}
}

// or returns an answer about the object as an answer, and any other error as
// that.
func (a answer) or(err error) (answer, error) {
	switch {
	case err == nil:
		return a, nil
	case isAnswer(err):
		return answer{err: err}, nil
	}
	return answer{}, err
}
