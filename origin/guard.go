package origin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/micelio/micelio/object"
)

// Guard returns store as an authority that keeps the promise of the key
// classes, whatever its writers and its files do:
//
//   - The bytes of a verified key hash to the key. A Put of others is
//     object.ErrDigest. If verifyReads is set, a Get of the whole object ends
//     cleanly only if it is so; set it where the bytes can change under the
//     store, as files can.
//   - The first write of a verified or immutable key wins. Another Put of the
//     same bytes succeeds and changes nothing, one of other bytes is
//     object.ErrConflict. If-None-Match keeps its meaning: object.ErrPrecondition
//     if it names what exists. So does If-Match, which then only ever confirms
//     what exists: it never replaces it, and never creates.
//   - A verified object that exists with wrong bytes, damaged or put there by
//     another way, is no object worth protecting: a Put of the right bytes
//     replaces it.
//
// Deletes, listings and mutable keys pass through. A writer is compared by
// reading its source to the end, but never twice. What the caller believes to be
// current (PutOptions.Base) is passed on for mutable keys only: the others are
// created, never replaced.
func Guard(store object.Store, classes *object.Classes, verifyReads bool) object.Store {
	return &guard{Store: store, classes: classes, verifyReads: verifyReads}
}

type guard struct {
	object.Store
	classes     *object.Classes
	verifyReads bool
}

// Get implements object.Store.
func (g *guard) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	obj, err := g.Store.Get(ctx, key, opt)
	if err != nil || !g.verifyReads {
		return obj, err
	}
	if class, digest := g.classes.Of(key); class == object.Verified && obj.Length == obj.Size {
		obj.Body = object.VerifyBody(obj.Body, obj.Size, digest)
	}
	return obj, nil
}

// Put implements object.Store.
func (g *guard) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	class, digest := g.classes.Of(key)
	if class == object.Mutable {
		return g.Store.Put(ctx, key, src, opt)
	}
	if class == object.Verified {
		if !opt.SHA256.IsZero() && opt.SHA256 != digest {
			return object.Info{}, wrap("put", key, fmt.Errorf("%w: %s was announced under a name that is another digest", object.ErrDigest, opt.SHA256))
		}
		opt.SHA256 = digest
	}
	opt.Base = ""
	w := &firstWrite{store: g.Store, key: key, opt: opt, digest: digest, src: &witness{src: src, withMD5: opt.MD5 != nil}}
	defer w.src.close()
	return w.run(ctx)
}

// Delete implements object.Store.
func (g *guard) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	if class, _ := g.classes.Of(key); class != object.Mutable {
		opt.Base = ""
	}
	return g.Store.Delete(ctx, key, opt)
}

// A firstWrite is a Put under the rule that the first one wins.
type firstWrite struct {
	store  object.Store
	key    object.Key
	opt    object.PutOptions // what the caller asked for
	digest object.Digest     // what a verified key must be, otherwise zero
	src    *witness
}

// createAttempts bounds how often a creation starts again because what was in
// its way was deleted meanwhile.
const createAttempts = 3

func (w *firstWrite) run(ctx context.Context) (object.Info, error) {
	for attempt := range createAttempts {
		if !w.opt.IfMatch.IsSet() {
			create := w.opt
			create.IfNoneMatch = object.MatchAny()
			info, err := w.store.Put(ctx, w.key, w.src, create)
			if attempt > 0 && errors.Is(err, object.ErrReplay) {
				break
			}
			if !errors.Is(err, object.ErrPrecondition) || w.opt.IfNoneMatch.IsAny() && w.digest.IsZero() {
				return info, err
			}
		}
		info, err := w.store.Head(ctx, w.key, object.HeadOptions{})
		if errors.Is(err, object.ErrNotFound) && !w.opt.IfMatch.IsSet() {
			continue // deleted since it was in the way
		}
		if err != nil {
			return object.Info{}, err
		}
		return w.against(ctx, info)
	}
	return object.Info{}, wrap("put", w.key, ioError(errContended))
}

// against decides the write against an object that exists.
func (w *firstWrite) against(ctx context.Context, existing object.Info) (object.Info, error) {
	if !w.digest.IsZero() {
		known, err := w.hashExisting(ctx, existing)
		if err != nil {
			return object.Info{}, err
		}
		if known != w.digest {
			return w.repair(ctx, existing)
		}
		existing.SHA256 = known
	}
	if err := object.CheckWrite(&existing, w.opt.IfMatch, w.opt.IfNoneMatch); err != nil {
		return object.Info{}, wrap("put", w.key, err)
	}
	if size := w.src.Size(); size >= 0 && size != existing.Size && w.digest.IsZero() {
		return object.Info{}, wrap("put", w.key, fmt.Errorf("%w: it has %d bytes, not %d", object.ErrConflict, existing.Size, size))
	}
	got, sum, err := w.src.finish(ctx)
	if err != nil {
		return object.Info{}, wrap("put", w.key, fmt.Errorf("read the source: %w", err))
	}
	if w.opt.MD5 != nil && !bytes.Equal(sum, w.opt.MD5) {
		return object.Info{}, wrap("put", w.key, fmt.Errorf("%w: the MD5 is %x, not %x", object.ErrDigest, sum, w.opt.MD5))
	}
	if !w.opt.SHA256.IsZero() && got != w.opt.SHA256 {
		return object.Info{}, wrap("put", w.key, fmt.Errorf("%w: the bytes hash to %s, not to %s", object.ErrDigest, got, w.opt.SHA256))
	}
	known, err := w.hashExisting(ctx, existing)
	if err != nil {
		return object.Info{}, err
	}
	if got != known {
		return object.Info{}, wrap("put", w.key, object.ErrConflict)
	}
	existing.SHA256 = known
	return existing, nil
}

// repair replaces a verified object whose bytes are wrong, and nothing newer.
// The store refuses every source that does not hash to the key.
func (w *firstWrite) repair(ctx context.Context, existing object.Info) (object.Info, error) {
	if w.opt.IfMatch.IsSet() {
		return object.Info{}, wrap("put", w.key, object.ErrPrecondition) // no writer can mean the wrong bytes
	}
	replace := w.opt
	replace.IfNoneMatch = object.Match{}
	replace.IfMatch = object.MatchETag(existing.ETag)
	info, err := w.store.Put(ctx, w.key, w.src, replace)
	if errors.Is(err, object.ErrReplay) || errors.Is(err, object.ErrPrecondition) || errors.Is(err, object.ErrNotFound) {
		err = wrap("put", w.key, fmt.Errorf("%w: a damaged object is in the way: %v", object.ErrUnavailable, err))
	}
	return info, err
}

// hashExisting returns the SHA-256 of the object that exists.
func (w *firstWrite) hashExisting(ctx context.Context, existing object.Info) (object.Digest, error) {
	if !existing.SHA256.IsZero() {
		return existing.SHA256, nil
	}
	obj, err := w.store.Get(ctx, w.key, object.GetOptions{IfMatch: object.MatchETag(existing.ETag)})
	if err != nil {
		return object.Digest{}, err
	}
	defer obj.Body.Close()
	h := sha256.New()
	if _, err := io.Copy(h, obj.Body); err != nil {
		return object.Digest{}, wrap("put", w.key, fmt.Errorf("read what exists: %w", err))
	}
	return object.Digest(h.Sum(nil)), nil
}
