package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/micelio/micelio/internal/mutant"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

// A router is the Store of the whole cluster as one node sees it: each key is
// asked of the node that owns it in the current view, of the one that would own
// it next if that one cannot be reached, and in the end of this node's own
// stack, which ends at the authority. The view is a hint: a wrong one costs a
// cache miss, never a wrong answer.
type router struct {
	self  string // this node's id
	view  func() *ring.View
	local object.Store
	dial  func(m ring.Member) object.Store
	class func(object.Key) object.Class
	stats *routerStats

	vitals *vitals
	hedges *hedges

	// lane returns the client of a member's quick lanes. nil: nobody is read
	// quickly.
	lane    func(m ring.Member) *peer.Client
	quickOK atomic.Pointer[prometheus.Counter] // see countQuick
	inVain  inVain
	seed    maphash.Seed
	seeded  sync.Once

	// authority is what stands below local's tiers, for questions that no tier
	// may answer. nil: local.
	authority object.Store

	mutants mutant.Set // for tests: how to break the protocol
}

var _ object.Store = (*router)(nil)

// A hop is one place to ask, this node if member is nil.
type hop struct {
	object.Store
	member *ring.Member
}

// route yields the places to ask for key, best first, this node last. Members
// that do not answer are passed over. The successor is looked up only when it is
// needed.
func (r *router) route(key object.Key, read bool) iter.Seq[hop] {
	return r.routeIn(r.view(), key, read)
}

// routeIn is route in a view that the caller has looked at.
func (r *router) routeIn(view *ring.View, key object.Key, read bool) iter.Seq[hop] {
	return func(yield func(hop) bool) {
		owner, ok := view.Owner(string(key))
		if ok && owner.ID != r.self {
			if r.vitals.passable(owner, read) && !yield(r.hop(owner)) {
				return
			}
			next, ok := view.Successor(string(key))
			if ok && next.ID != r.self && r.vitals.passable(next, read) && !yield(r.hop(next)) {
				return
			}
		}
		yield(hop{Store: r.local})
	}
}

func (r *router) hop(m ring.Member) hop { return hop{r.dial(m), &m} }

// elsewhere reports whether a read that failed here may succeed at the next
// hop.
func elsewhere(ctx context.Context, h hop, err error) bool {
	return h.member != nil && err != nil && ctx.Err() == nil
}

// isAnswer reports whether err is an answer about the object, which every other
// place would give too.
func isAnswer(err error) bool {
	for _, sentinel := range []error{
		object.ErrNotFound, object.ErrPrecondition, object.ErrNotModified, object.ErrRange, object.ErrTooLarge,
		object.ErrInvalidKey, object.ErrDigest, object.ErrConflict,
	} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return false
}

// Get asks along the route. The body of another node's answer goes on from the
// next place if that node dies.
func (r *router) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	view := r.view()
	if obj, err := r.quickly(ctx, view, key, opt); obj != nil || err != nil {
		return obj, err
	}
	var failed error
	for h := range r.routeIn(view, key, true) {
		a, err := r.read(ctx, h, "get", r.get(key, opt))
		if elsewhere(ctx, h, err) {
			failed = err
			continue
		}
		if err = cmp.Or(err, a.err); err != nil {
			return nil, both(err, failed)
		}
		obj := a.obj
		if !a.local && r.class(key) != object.Verified {
			obj.Body = &resumed{ReadCloser: obj.Body, ctx: ctx, router: r, from: h, info: obj.Info, pos: obj.Offset, end: obj.Offset + obj.Length}
		}
		return obj, nil
	}
	return nil, failed
}

// Head asks along the route.
func (r *router) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	var failed error
	for h := range r.route(key, true) {
		a, err := r.read(ctx, h, "head", r.head(key, opt))
		if elsewhere(ctx, h, err) {
			failed = err
			continue
		}
		return a.info, both(cmp.Or(err, a.err), failed)
	}
	return object.Info{}, failed
}

// Put asks the first place that can be reached. A write is sent elsewhere only
// if none of it can have been applied: a second copy of one whose fate is
// unknown could land after somebody else's later write. One whose answer got
// lost is settled by asking the authority for its name.
func (r *router) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	opt = namedWrite(opt)
	var failed error
	for h := range r.route(key, false) {
		var info object.Info
		err := r.write(ctx, h, "put", func() (err error) {
			info, err = h.Put(ctx, key, src, opt)
			return err
		})
		if unsent(h, err) {
			failed = err
			continue
		}
		if r.answerLost(h, err) {
			info, err = r.settlePut(ctx, key, opt, err)
		}
		return info, both(err, failed)
	}
	return object.Info{}, failed
}

// Delete is sent like a Put.
func (r *router) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	var failed error
	for h := range r.route(key, false) {
		err := r.write(ctx, h, "delete", func() error { return h.Delete(ctx, key, opt) })
		if unsent(h, err) {
			failed = err
			continue
		}
		return both(err, failed)
	}
	return failed
}

// write writes at a place. Writes are not cut, nobody could say what became of
// them, and never hedged; but they show that a member stands still, so that the
// next ones go around it.
func (r *router) write(ctx context.Context, h hop, op string, do func() error) error {
	if h.member == nil {
		return do()
	}
	w := r.vitals.attend(*h.member)
	if w == nil {
		return errAround
	}
	w.begin(ctx, false)
	defer w.end()
	err := do()
	r.stats.peerRequest(op, w.since, err)
	return w.settle(err, false)
}

// unsent reports whether a write can be sent to the next hop.
func unsent(h hop, err error) bool { return h.member != nil && errors.Is(err, peer.ErrNotSent) }

// List is the authority's, which every node can ask itself.
func (r *router) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return r.local.List(ctx, opt)
}

// both adds to the last error why an earlier hop failed, unless the last is an
// answer: then the earlier one does not matter any more.
func both(err, earlier error) error {
	if err == nil || earlier == nil || isAnswer(err) {
		return err
	}
	return fmt.Errorf("%w (before that: %v)", err, earlier)
}

// resumed is the body of another node's answer. When that node breaks off, the
// rest of the same version comes from the next place. Verified keys do without:
// the part that has been passed on was proven by nobody.
type resumed struct {
	io.ReadCloser
	ctx      context.Context
	router   *router
	from     hop
	info     object.Info
	pos, end int64
	tried    bool
}

func (b *resumed) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.pos += int64(n)
	if err == nil || err == io.EOF || b.tried || b.ctx.Err() != nil || b.pos == b.end {
		return n, err
	}
	b.tried = true
	b.router.vitals.blame(*b.from.member)
	rest, ok := b.router.rest(b)
	if !ok {
		return n, err
	}
	b.router.stats.resumed.Inc()
	b.ReadCloser.Close() // broken already: there is nothing to learn from closing it
	b.ReadCloser = rest
	if n > 0 {
		return n, nil
	}
	return b.Read(p)
}

// rest opens what is missing of a body, at any other place.
func (r *router) rest(b *resumed) (io.ReadCloser, bool) {
	opt := object.GetOptions{Range: object.Bytes(b.pos, b.end-b.pos), IfMatch: object.MatchETag(b.info.ETag)}
	torn := r.mutants.Has(mutant.Torn)
	if torn {
		opt.IfMatch = object.Match{}
	}
	for h := range r.route(b.info.Key, true) {
		if h.member != nil && h.member.ID == b.from.member.ID {
			continue
		}
		a, err := r.read(b.ctx, h, "get", r.get(b.info.Key, opt))
		if elsewhere(b.ctx, h, err) {
			continue
		}
		if cmp.Or(err, a.err) != nil {
			return nil, false
		}
		if obj := a.obj; obj.Version != b.info.Version && !torn || obj.Offset != b.pos || obj.Length != b.end-b.pos {
			obj.Body.Close()
			return nil, false
		}
		return a.obj.Body, true
	}
	return nil, false
}
