package tiers_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"

	"github.com/micelio/micelio/object"
)

// etagOf is the ETag that the authority gives these bytes.
func etagOf(b []byte) object.ETag {
	sum := md5.Sum(b)
	return object.ETag(hex.EncodeToString(sum[:]))
}

func (w *member) head(k *modelKey) {
	opt := object.HeadOptions{IfNoneMatch: w.anyMatch(k, 30), IfMatch: w.anyMatch(k, 30)}
	ctx, end := w.context()
	defer end()
	dead, from := k.deadSince(), w.origin.clock.Add(1)
	info, err := w.cache.Head(ctx, k.key, opt)
	states := k.during(from, w.origin.clock.Add(1))
	if err != nil {
		w.checkRefusal(ctx, k, object.GetOptions{IfMatch: opt.IfMatch, IfNoneMatch: opt.IfNoneMatch}, states, err)
		return
	}
	want, ok := w.versionOf(k, info, states)
	if !ok || info.Size != int64(len(want)) || info.Key != k.key || (dead != 0 && k.deadSince() == dead) {
		w.Errorf("%s from %s: it is %+v, and was %v, dead since %d", k.key, info.Tier, info, states, dead)
	}
	w.count("described")
}

// body returns what the key may be written with.
func (w *member) body(k *modelKey) []byte {
	if k.class != object.Mutable {
		return k.fixed
	}
	size := []int{0, 10, 4000, 10_000, 10_000, 40_000}[w.rnd.IntN(6)]
	if w.rnd.IntN(100) == 0 {
		size = []int{300_000, mib + 5}[w.rnd.IntN(2)]
	}
	return random(w.rnd.Uint64(), size)
}

func (w *member) put(k *modelKey) {
	body := w.body(k)
	cut := w.rnd.IntN(15) == 0
	var src object.Source
	switch size := int64(len(body)); w.rnd.IntN(3) {
	case 0:
		src, cut = object.BytesSource(body), false
	case 1:
		size = -1
		fallthrough
	default:
		r := io.Reader(bytes.NewReader(body))
		if cut {
			r = io.MultiReader(io.LimitReader(r, w.rnd.Int64N(int64(len(body))+1)), errReader{})
		}
		src = object.ReaderSource(r, size)
	}
	var opt object.PutOptions
	switch w.rnd.IntN(8) {
	case 0:
		opt.IfNoneMatch = object.MatchAny()
	case 1:
		opt.IfMatch = w.anyMatch(k, 5)
	}
	opt.Attrs.ContentType = []string{"", "text/plain", "x/y"}[w.rnd.IntN(3)]
	ctx, end := w.context()
	defer end()
	var store object.Store = w.cache
	if w.rnd.IntN(4) == 0 {
		store = w.origin // through another node
	}
	k.beginWriting(w.origin)
	from := w.origin.clock.Add(1)
	info, err := store.Put(ctx, k.key, src, opt)
	states := k.during(from, w.origin.clock.Add(1))
	k.endWriting(w.origin)
	conditional := opt.IfMatch.IsSet() || opt.IfNoneMatch.IsSet()
	switch {
	case err == nil:
		w.count("put")
		for _, s := range states {
			if s.there && s.version == info.Version && s.etag == info.ETag && bytes.Equal(s.body, body) {
				return
			}
		}
		w.Errorf("%s was put as version %q of %d bytes, and was %v", k.key, info.Version, len(body), states)
	case conditional && (errors.Is(err, object.ErrPrecondition) || errors.Is(err, object.ErrNotFound)):
		w.count("put refused")
	case cut || w.phase.faulty || ctx.Err() != nil && errors.Is(err, context.Canceled):
		w.count("put failed")
	default:
		w.Errorf("put %s of %d bytes: %v, and nothing is broken", k.key, len(body), err)
	}
}

func (w *member) remove(k *modelKey) {
	var opt object.DeleteOptions
	if w.rnd.IntN(4) == 0 {
		opt.IfMatch = w.anyMatch(k, 5)
	}
	ctx, end := w.context()
	defer end()
	if w.rnd.IntN(3) == 0 { // through another node: a copy of a fixed class may stay
		w.origin.Delete(ctx, k.key, opt)
		return
	}
	from := w.origin.clock.Add(1)
	err := w.cache.Delete(ctx, k.key, opt)
	switch {
	case err == nil:
		k.died(from, w.origin.clock.Add(1))
		w.count("deleted")
	case opt.IfMatch.IsSet() && (errors.Is(err, object.ErrPrecondition) || errors.Is(err, object.ErrNotFound)):
	case w.phase.faulty || ctx.Err() != nil && errors.Is(err, context.Canceled):
	default:
		w.Errorf("delete %s: %v, and nothing is broken", k.key, err)
	}
}

func (k *modelKey) beginWriting(o *modelOrigin) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writing++
	k.dead, k.written = 0, o.clock.Add(1)
}

func (k *modelKey) endWriting(o *modelOrigin) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writing--
	k.written = o.clock.Add(1)
}

// died says that a deletion through the cache that began at from is done.
func (k *modelKey) died(from, now int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.class != object.Mutable && k.writing == 0 && k.written < from {
		k.dead = now
	}
}

// deadSince says since when the key must not be served, 0 if it may be.
func (k *modelKey) deadSince() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dead
}
