package node

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"sync/atomic"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

// A quickResult is what became of a quick read.
type quickResult int

const (
	// quickElsewhere says that the read has to go its ordinary way.
	quickElsewhere quickResult = iota

	// quickAbsent says the same, after the owner was asked.
	quickAbsent

	// quickLocal says that this node owns the key: the same, but nobody was asked.
	quickLocal

	// quickAnswered says that the owner answered. The answer is the caller's to
	// release.
	quickAnswered
)

// quick reads a whole object from the memory of another node that owns it, if its
// bytes never change and it is small: the first step of what Get does there,
// without what may have to follow. It is what Get would answer at this moment:
// the owner in this node's view is asked, and a node answers from its memory
// without asking anybody either way.
//
// It takes no lock that all reads share and, but for the description of what it
// found, allocates nothing. It tells the hedges nothing: they are about reads
// that may be slow, and their budget and their idea of a peer's latency are made
// of those. The breaker hears of answers when it is about to count a failure.
func (r *router) quick(key object.Key, into *peer.Answer) quickResult {
	return r.quickIn(r.view(), key, into, false)
}

// quickIn is quick in a view that the caller has looked at. again says that
// quickFirst may have asked for the same read already.
func (r *router) quickIn(view *ring.View, key object.Key, into *peer.Answer, again bool) quickResult {
	owner, ok := view.Owner(string(key))
	if !ok || owner.ID == r.self {
		return quickLocal
	}
	if r.lane == nil || r.class(key) == object.Mutable {
		return quickElsewhere
	}
	one := r.vitals.about(owner)
	switch {
	case !one.well.Load() || again && r.inVain.take(r.hash(key)):
		return quickElsewhere
	case !one.lane(r.lane).Quick(key, into):
		return quickAbsent
	}
	r.countQuick()
	return quickAnswered
}

// inVain remembers, for the moment until they come their ordinary way, reads that an
// owner has been asked for quickly in vain: it is not asked twice for one read. To
// confuse two keys, or to forget one, costs a quick read or saves one, and no more.
type inVain [1 << 10]atomic.Uint64

func (a *inVain) mark(hash uint64) { a.at(hash).Store(hash) }

// take reports whether hash was marked, once.
func (a *inVain) take(hash uint64) bool {
	at := a.at(hash)
	return at.Load() == hash && at.CompareAndSwap(hash, 0)
}

func (a *inVain) at(hash uint64) *atomic.Uint64 { return &a[hash%uint64(len(a))] }

// hash names a key among those that were asked for. It is never 0.
func (r *router) hash(key object.Key) uint64 {
	r.seeded.Do(func() { r.seed = maphash.MakeSeed() })
	return maphash.String(r.seed, string(key)) | 1
}

// quickFirst is quick for who lets the read go its ordinary way, through Get, if it
// is not answered.
func (r *router) quickFirst(key object.Key, into *peer.Answer) quickResult {
	result := r.quick(key, into)
	if result == quickAbsent {
		r.inVain.mark(r.hash(key))
	}
	return result
}

// countQuick counts an answer among the requests to other nodes. To find the
// counter costs more than to use it.
func (r *router) countQuick() {
	c := r.quickOK.Load()
	if c == nil {
		found := r.stats.peers.WithLabelValues("get", result(nil))
		c = &found
		r.quickOK.Store(c)
	}
	(*c).Inc()
}

// quickly is quick for Get: nil without an error says that the read has to go its
// ordinary way.
func (r *router) quickly(ctx context.Context, view *ring.View, key object.Key, opt object.GetOptions) (*object.Object, error) {
	if r.lane == nil || ctx.Err() != nil {
		return nil, nil
	}
	var answer peer.Answer
	if r.quickIn(view, key, &answer, true) != quickAnswered {
		return nil, nil
	}
	info := answer.Info
	err := ctx.Err() // it may have ended meanwhile
	if err == nil {
		err = object.CheckRead(info, opt.IfMatch, opt.IfNoneMatch)
	}
	var offset, length int64
	if err == nil {
		offset, length, err = opt.Range.Resolve(info.Size)
	}
	if err != nil {
		answer.Release()
		return nil, err
	}
	b := &quickBody{answer: answer, left: answer.Body[offset : offset+length]}
	return &object.Object{Info: info, Offset: offset, Length: length, Body: b}, nil
}

var errBodyClosed = errors.New("read after close")

// A quickBody is the body of a quick answer.
type quickBody struct {
	answer peer.Answer
	left   []byte
	closed bool
}

func (b *quickBody) Read(p []byte) (int, error) {
	switch {
	case b.closed:
		return 0, errBodyClosed
	case len(b.left) == 0:
		return 0, io.EOF
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

// WriteTo writes all that is left in one call, without a copy.
func (b *quickBody) WriteTo(w io.Writer) (int64, error) {
	if b.closed {
		return 0, errBodyClosed
	}
	n, err := w.Write(b.left)
	b.left = b.left[n:]
	return int64(n), err
}

func (b *quickBody) Close() error {
	b.closed, b.left = true, nil
	b.answer.Release()
	return nil
}
