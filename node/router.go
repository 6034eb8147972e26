package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

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
	dial  func(addr string) object.Store
	class func(object.Key) object.Class
	stats *routerStats

	vitals *vitals

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

// route yields the places to ask for key, best first, this node last. The
// successor is looked up only when it is needed.
func (r *router) route(key object.Key) iter.Seq[hop] {
	return func(yield func(hop) bool) {
		view := r.view()
		owner, ok := view.Owner(string(key))
		if ok && owner.ID != r.self {
			if !r.vitals.suspect(owner) && !yield(r.hop(owner)) {
				return
			}
			next, ok := view.Successor(string(key))
			if ok && next.ID != r.self && !r.vitals.suspect(next) && !yield(r.hop(next)) {
				return
			}
		}
		yield(hop{Store: r.local})
	}
}

func (r *router) hop(m ring.Member) hop { return hop{r.dial(m.PeerAddr), &m} }

// elsewhere reports whether a read that failed here may succeed at the next
// hop, and remembers members that did not answer.
func (r *router) elsewhere(ctx context.Context, h hop, op string, err error) bool {
	if h.member == nil {
		return false
	}
	r.stats.peerRequest(op, err)
	if err == nil {
		return false
	}
	if ctx.Err() != nil || answered(err) {
		return false
	}
	r.suspect(h, op, err)
	return true
}

// suspect notes that a member did not serve a request.
func (r *router) suspect(h hop, op string, err error) {
	if errors.Is(err, peer.ErrUnreachable) {
		r.vitals.accuse(*h.member, op, err)
	}
}

// answered reports whether err is an answer about the object, which every other
// place would give too.
func answered(err error) bool {
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
	var failed error
	for h := range r.route(key) {
		obj, err := r.get(ctx, h, key, opt)
		if r.elsewhere(ctx, h, "get", err) {
			failed = err
			continue
		}
		if err != nil {
			return nil, both(err, failed)
		}
		if h.member != nil && r.class(key) != object.Verified {
			obj.Body = &resumed{ReadCloser: obj.Body, ctx: ctx, router: r, from: h, info: obj.Info, pos: obj.Offset, end: obj.Offset + obj.Length}
		}
		return obj, nil
	}
	return nil, failed
}

// get asks one place. What a member does not begin to answer is cut once the
// member gives no sign of life either.
func (r *router) get(ctx context.Context, h hop, key object.Key, opt object.GetOptions) (*object.Object, error) {
	if h.member == nil {
		return h.Get(ctx, key, opt)
	}
	w := r.vitals.attend(ctx, *h.member, true)
	obj, err := h.Get(w.ctx, key, opt)
	if failed := w.answered(err); failed != nil {
		if err == nil { // cut in the moment of its answer
			obj.Body.Close()
		}
		w.end()
		return nil, failed
	}
	obj.Body = &attended{obj.Body, w}
	return obj, nil
}

// attended is a body whose end is the end of its request.
type attended struct {
	io.ReadCloser
	request *wait
}

func (b *attended) Close() error {
	defer b.request.end()
	return b.ReadCloser.Close()
}

// head asks one place, as get does.
func (r *router) head(ctx context.Context, h hop, key object.Key, opt object.HeadOptions) (object.Info, error) {
	if h.member == nil {
		return h.Head(ctx, key, opt)
	}
	w := r.vitals.attend(ctx, *h.member, true)
	defer w.end()
	info, err := h.Head(w.ctx, key, opt)
	return info, w.answered(err)
}

// Head asks along the route.
func (r *router) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	var failed error
	for h := range r.route(key) {
		info, err := r.head(ctx, h, key, opt)
		if r.elsewhere(ctx, h, "head", err) {
			failed = err
			continue
		}
		return info, both(err, failed)
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
	for h := range r.route(key) {
		written := r.writing(ctx, h)
		info, err := h.Put(ctx, key, src, opt)
		written()
		if r.unsent(h, "put", err) {
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
	for h := range r.route(key) {
		written := r.writing(ctx, h)
		err := h.Delete(ctx, key, opt)
		written()
		if r.unsent(h, "delete", err) {
			failed = err
			continue
		}
		return both(err, failed)
	}
	return failed
}

// writing notes a write under way, until its result is called. Writes are not
// cut, nobody could say what became of them; but they show that a member stands
// still, so that the next ones go around it.
func (r *router) writing(ctx context.Context, h hop) (written func()) {
	if h.member == nil {
		return func() {}
	}
	w := r.vitals.attend(ctx, *h.member, false)
	return func() { _ = w.answered(nil) }
}

func (r *router) unsent(h hop, op string, err error) bool {
	if h.member == nil {
		return false
	}
	r.stats.peerRequest(op, err)
	if err != nil {
		r.suspect(h, op, err)
	}
	return errors.Is(err, peer.ErrNotSent)
}

// List is the authority's, which every node can ask itself.
func (r *router) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return r.local.List(ctx, opt)
}

// both adds to the last error why an earlier hop failed, unless the last is an
// answer: then the earlier one does not matter any more.
func both(err, earlier error) error {
	if err == nil || earlier == nil || answered(err) {
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
	b.router.suspect(b.from, "get", err)
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
	for h := range r.route(b.info.Key) {
		if h.member != nil && h.member.ID == b.from.member.ID {
			continue
		}
		obj, err := r.get(b.ctx, h, b.info.Key, opt)
		if err != nil {
			if r.elsewhere(b.ctx, h, "get", err) {
				continue
			}
			return nil, false
		}
		if obj.Version != b.info.Version && !torn || obj.Offset != b.pos || obj.Length != b.end-b.pos {
			obj.Body.Close()
			return nil, false
		}
		return obj.Body, true
	}
	return nil, false
}
