package tiers_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// asked collects the ranges that the authority was asked for.
type asked struct {
	mu    sync.Mutex
	parts []string
}

func (a *asked) listen(origin *authority) {
	origin.onAnswer(func(_ context.Context, opt object.GetOptions) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.parts = append(a.parts, opt.Range.String())
	})
}

func (a *asked) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	parts := a.parts
	a.parts = nil
	return parts
}

func (r *rig) wantPart(key object.Key, body []byte, part object.Range) {
	r.Helper()
	got, tier, err := r.getPart(key, part)
	offset, length, _ := part.Resolve(int64(len(body)))
	if err != nil || !bytes.Equal(got, body[offset:offset+length]) {
		r.Errorf("%v of %s from %s: %d bytes, %v", part, key, tier, len(got), err)
	}
}

const partSize = tiers.MinPart

func TestAPartOfAColdObjectCostsThatPart(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"verified", "immutable"} {
		r := newRig(t, mib, 256*mib)
		key, body := blob(1, 3*partSize+100_000)
		if kind == "immutable" {
			key, body = derived(1, len(body))
		}
		r.put(key, body)
		var origin asked
		origin.listen(r.origin)
		for _, step := range []struct {
			part object.Range
			asks string // of the authority, "" for nothing
		}{
			{object.Bytes(partSize+10, 1000), "bytes=4194304-8388607"},
			{object.Bytes(partSize+5000, 100_000), ""},
			{object.Bytes(2*partSize-1, 1), ""},
			{object.Bytes(3*partSize+1, 1), "bytes=12582912-12682911"}, // its size is known by now
			{object.Suffix(100), ""},
			{object.From(3 * partSize), ""},
		} {
			r.wantPart(key, body, step.part)
			until(r.cache.MemoryFree)
			if got := origin.take(); len(got) > 1 || len(got) == 1 && got[0] != step.asks || len(got) == 0 && step.asks != "" {
				t.Errorf("%s, %v: the authority is asked for %q, want %q", kind, step.part, got, step.asks)
			}
		}
		r.wantHeld(key) // not all of it
		r.want(key, body, "")
		until(r.cache.MemoryFree)
		if got := origin.take(); len(got) != 2 {
			t.Errorf("%s: what is missing costs %q, want the two gaps", kind, got)
		}
		r.wantHeld(key, object.TierSSD)
		r.origin.down.Store(true)
		r.want(key, body, object.TierSSD)
		r.stop()
	}
}

func TestAPartOfASmallObjectBringsTheWhole(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 5000, mib, 2 * mib} {
		r := newRig(t, 64*mib, 64*mib)
		key, body := blob(uint64(size), size)
		r.put(key, body)
		r.wantPart(key, body, object.Bytes(int64(size)-1, 1))
		until(r.cache.MemoryFree)
		r.wantGets(1)
		r.want(key, body, "")
		r.wantGets(0)
	}
}

func TestManyReadersOfOneColdPartCostOneRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, mib, 256*mib)
	key, body := blob(2, 2*partSize+17)
	r.put(key, body)
	release := r.origin.holdBodies(1000)
	var all sync.WaitGroup
	const readers = 500
	for i := range readers {
		all.Go(func() { r.wantPart(key, body, object.Bytes(partSize+int64(i), 200_000)) })
	}
	until(func() bool { return r.cache.Stats().Joined == readers-1 })
	release()
	all.Wait()
	r.wantGets(1)
}

// The policy of whole fills: the reader gets its part, and the object comes.
func TestAWholeFillGoesOnWithoutItsReader(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRigWith(t, dir, tiers.Config{SSD: openLog(t, dir, 256*mib), WholeFills: true})
	key, body := blob(3, 3*partSize)
	r.put(key, body)
	r.wantPart(key, body, object.Bytes(10, 10))
	r.settle()
	r.wantHeld(key, object.TierSSD)
	r.origin.down.Store(true)
	r.want(key, body, object.TierSSD)
}

func TestWrongBytesInAPartAreFoundWhenAllIsThere(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0, 256*mib)
	key, body := blob(4, 2*partSize)
	r.put(key, body)
	lie := func(_ context.Context, o *object.Object) io.ReadCloser {
		b, _ := io.ReadAll(o.Body)
		b = bytes.Clone(b)
		b[len(b)/2] ^= 1
		return io.NopCloser(bytes.NewReader(b))
	}
	r.origin.wrapBodies(lie)
	r.getPart(key, object.Bytes(0, 10)) // a part is not proven by its name
	until(r.cache.MemoryFree)
	r.origin.body.Store(nil)
	if got, _, err := r.get(key); !errors.Is(err, object.ErrDigest) && !errors.Is(err, tiers.ErrDamaged) {
		t.Errorf("%d bytes end with %v", len(got), err)
	}
	until(r.cache.MemoryFree)
	r.want(key, body, object.TierOrigin)
	if n := r.cache.Stats().BadDigests; n != 1 {
		t.Errorf("%d bad digests counted, want 1", n)
	}
}

func TestPartsDoNotOutliveADeletion(t *testing.T) {
	t.Parallel()
	r := newRig(t, mib, 256*mib)
	key, body := derived(5, 2*partSize)
	r.put(key, body)
	release := r.origin.holdBodies(1000)
	obj := r.open(t.Context(), key, object.Bytes(0, 100_000))
	if err := r.cache.Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	release()
	r.wantNext(obj, body[:100_000]) // it arrived before
	obj.Body.Close()
	until(r.cache.MemoryFree)
	if _, _, err := r.getPart(key, object.Bytes(0, 10)); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("a part of what was deleted: %v", err)
	}
	if _, _, err := r.getPart(key, object.Bytes(partSize, 10)); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("another part of what was deleted: %v", err)
	}
}

// An object that was replaced at the authority, behind the cache's back, is not
// put together of two versions.
func TestPartsOfTwoVersionsAreNotMixed(t *testing.T) {
	t.Parallel()
	r := newRig(t, mib, 256*mib)
	key, old := derived(6, 2*partSize)
	_, replaced := derived(7, 2*partSize+1)
	r.put(key, old)
	r.wantPart(key, old, object.Bytes(0, 10))
	until(r.cache.MemoryFree)
	if err := r.origin.Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.put(key, replaced)
	r.wantPart(key, old, object.Bytes(100, 10)) // immutable: what is here is as good as ever
	r.wantPart(key, replaced, object.Bytes(partSize+5, 10))
	r.want(key, replaced, "")
}

func TestAPartBehindTheEndIsNotSatisfiable(t *testing.T) {
	t.Parallel()
	r := newRig(t, mib, 256*mib)
	key, body := blob(8, partSize+10)
	r.put(key, body)
	for _, offset := range []int64{partSize + 10, 2 * partSize, 1 << 40} {
		if _, _, err := r.getPart(key, object.From(offset)); !errors.Is(err, object.ErrRange) {
			t.Errorf("from %d of %d: %v", offset, len(body), err)
		}
	}
	if _, _, err := r.getPart("derivations/sha256:none", object.From(1)); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("a part of nothing: %v", err)
	}
}

func TestAPartOnItsWayIsInFlight(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0, 64*mib)
	key, body := blob(77, 3*partSize)
	r.put(key, body)
	release := r.origin.holdBodies(1000)
	part := object.Bytes(partSize, 5000)
	obj := r.open(t.Context(), key, part)
	if n := r.cache.Stats().InFlight; n != 1 {
		t.Errorf("%d fills are under way, want that of the part", n)
	}
	release()
	r.wantNext(obj, body[partSize:partSize+5000])
	obj.Body.Close()
	r.settle()
	r.wantPart(key, body, part)
	r.wantGets(1)
}

// Players and resumed downloads ask for "bytes=0-". That is the fill that
// readers of the whole follow, not another one.
func TestARangeOfAllIsTheFillOfTheWhole(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0, 64*mib)
	key, body := blob(78, 3*partSize)
	r.put(key, body)
	release := r.origin.holdBodies(1000)
	all := r.open(t.Context(), key, object.From(0))
	r.wantNext(all, body[:1000])
	whole := r.open(t.Context(), key, object.Range{})
	r.wantNext(whole, body[:1000])
	release()
	r.wantNext(all, body[1000:])
	r.wantNext(whole, body[1000:])
	r.wantEnd(all)
	r.wantEnd(whole)
	r.wantGets(1)
}
