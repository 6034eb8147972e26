package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/ring"
)

var errOtherPart = errors.New("it answered something else than it was asked for")

// accept makes the answer of a member the object of a fill: small ones are proven
// at once, where there is something to prove them by, large ones along the way.
func (r *fillRace) accept(it *runner, m ring.Member, obj *object.Object) (*object.Object, error) {
	obj.Tier, obj.Node = object.TierPeer, ""
	offset, length, err := r.opt.Range.Resolve(obj.Size)
	if err == nil {
		err = object.CheckRead(obj.Info, r.opt.IfMatch, object.Match{})
	}
	if err != nil || offset != obj.Offset || length != obj.Length {
		obj.Body.Close()
		return nil, errOtherPart
	}
	class, want := r.p.class(r.key)
	if class != object.Verified {
		want = obj.SHA256
	} else if !obj.SHA256.IsZero() && obj.SHA256 != want {
		obj.Body.Close()
		return nil, r.wrong(m)
	}
	body := &fillBody{race: r, by: it, from: m, info: obj.Info, pos: obj.Offset, end: obj.Offset + obj.Length, src: obj.Body}
	obj.Body = body
	switch whole := obj.Length == obj.Size && !want.IsZero(); {
	case whole && obj.Size <= wholeProof && r.p.hold(obj.Size):
		defer body.Close()
		held := &heldBody{release: func() { r.p.holding.Add(-obj.Size) }}
		bytes := make([]byte, obj.Size)
		if _, err := io.ReadFull(body, bytes); err != nil {
			held.Close()
			return nil, err
		}
		if object.Digest(sha256.Sum256(bytes)) != want {
			held.Close()
			return nil, r.wrong(m)
		}
		held.Reset(bytes)
		obj.Body = held
	case whole:
		obj.Body = &provenFill{ReadCloser: object.VerifyBody(body, obj.Size, want), body: body}
	}
	return obj, nil
}

// hold reports whether so many bytes more may be held to be proven.
func (p *previous) hold(n int64) bool {
	if p.holding.Add(n) <= maxHolding {
		return true
	}
	p.holding.Add(-n)
	return false
}

// A heldBody is a small object that was proven before it is read.
type heldBody struct {
	bytes.Reader
	release func()
	closed  atomic.Bool
}

func (b *heldBody) Close() error {
	if !b.closed.Swap(true) {
		b.release()
	}
	return nil
}

// wrong notes that a member has wrong bytes for the key, which is read behind
// from now on.
func (r *fillRace) wrong(m ring.Member) error {
	r.p.distrust.add(r.key, time.Now())
	r.p.stats.wrong.Add(1)
	r.p.log.WarnContext(r.ctx, "another node had wrong bytes, the key is read upstream for a while", "peer", m.ID, "key", r.key, "for", distrustFor)
	return fmt.Errorf("%s had wrong bytes of %q: %w", m.ID, r.key, object.ErrDigest)
}

// A provenFill is a large object that is proven at its end.
type provenFill struct {
	io.ReadCloser
	body *fillBody
}

func (b *provenFill) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, object.ErrDigest) {
		_ = b.body.race.wrong(b.body.from) // err says so
	}
	return n, err
}

// A fillBody is the body of a previous owner's answer. If it breaks off or stands
// still, the rest comes from the Store behind, once.
type fillBody struct {
	race     *fillRace
	by       *runner
	from     ring.Member
	info     object.Info
	pos, end int64
	src      io.ReadCloser
	behind   bool        // src is the Store's behind
	clock    *time.Timer // of one read; nil before the first
}

func (b *fillBody) Read(p []byte) (int, error) {
	n, err := b.receive(p)
	b.pos += int64(n)
	stats := b.race.p.stats
	if !b.behind {
		stats.bytes.Add(int64(n))
	}
	if err == nil || err == io.EOF || b.behind || b.pos == b.end || b.race.ctx.Err() != nil || b.lost() {
		return n, err
	}
	b.race.p.worth.failed(b.from, time.Now())
	b.race.p.log.DebugContext(b.race.ctx, "a fill goes on upstream", "key", b.info.Key, "at", b.pos, "peer", b.from.ID, "err", err)
	rest, failed := b.rest()
	if failed != nil {
		return n, fmt.Errorf("%w (before that: %v)", failed, err)
	}
	stats.resumed.Add(1)
	b.src.Close()
	b.src, b.behind = rest, true
	if n > 0 {
		return n, nil
	}
	return b.Read(p)
}

// lost reports whether nobody wants the body any more: the Store behind was
// first.
func (b *fillBody) lost() bool {
	return b.by.ctx.Err() != nil && !errors.Is(context.Cause(b.by.ctx), errStall)
}

// receive reads once, with a clock if that is from the member.
func (b *fillBody) receive(p []byte) (int, error) {
	if b.behind {
		return b.src.Read(p)
	}
	if b.clock == nil {
		b.clock = time.AfterFunc(b.race.p.stall, func() { b.by.stop(errStall) })
	} else {
		b.clock.Reset(b.race.p.stall)
	}
	defer b.clock.Stop()
	return b.src.Read(p)
}

// rest opens what is missing, of the same version.
func (b *fillBody) rest() (io.ReadCloser, error) {
	r := b.race
	obj, err := r.p.Store.Get(r.ctx, b.info.Key, object.GetOptions{
		Range: object.Bytes(b.pos, b.end-b.pos), IfMatch: object.MatchETag(b.info.ETag),
	})
	switch {
	case errors.Is(err, object.ErrNotFound), errors.Is(err, object.ErrPrecondition):
		return nil, fmt.Errorf("%w: the rest is gone: %v", object.ErrUnavailable, err) // no answer to a read that has begun
	case err != nil:
		return nil, err
	case obj.Offset != b.pos || obj.Length != b.end-b.pos || obj.Size != b.info.Size || obj.ETag != b.info.ETag:
		obj.Body.Close()
		return nil, fmt.Errorf("%w: another object is there", object.ErrUnavailable)
	}
	return obj.Body, nil
}

func (b *fillBody) Close() error { return b.src.Close() }
