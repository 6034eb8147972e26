package tiers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// herd lets many readers read one part at once, and the bytes come when all of
// them wait.
func (r *rig) herd(key object.Key, body []byte, part object.Range, release func()) {
	const readers = 1000
	var all sync.WaitGroup
	for range readers {
		all.Go(func() { r.wantPart(key, body, part) })
	}
	synctest.Wait()
	release()
	all.Wait()
}

// inEveryRig runs a test with and without a disk, and with next to no memory
// for fills.
func inEveryRig(t *testing.T, test func(t *testing.T, r *rig, disk bool)) {
	noise()
	for _, disk := range []int64{0, 256 * mib} {
		for _, memory := range []int64{0, 1} {
			t.Run(fmt.Sprintf("disk of %d MiB, memory %d", disk/mib, memory), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					dir := t.TempDir()
					r := newRigWith(t, dir, tiers.Config{RAM: tiers.NewRAM(mib), SSD: openLog(t, dir, disk), FillMemory: memory})
					defer r.stop()
					test(t, r, disk > 0)
				})
			})
		}
	}
}

// Readers of a part that a fill will not reach soon share one read of it. Where
// there is no memory for that, they wait for the fill: they must not wait for
// memory that it holds.
func TestAHerdFarAheadOfAFillCostsOneRead(t *testing.T) {
	const size, at = tiers.FarAhead + 3*mib, tiers.FarAhead + 2*mib
	for _, key := range []object.Key{"session", ""} {
		inEveryRig(t, func(t *testing.T, r *rig, disk bool) {
			key, body := key, random(1, size)
			if key == "" {
				key, body = blob(1, size)
			}
			r.put(key, body)
			var origin asked
			origin.listen(r.origin)
			release := r.origin.holdBodies(1000)
			first := r.open(t.Context(), key, object.Range{})
			r.wantNext(first, body[:1000])
			r.herd(key, body, object.Bytes(at, 100_000), release)
			r.wantNext(first, body[1000:])
			r.wantEnd(first)
			first.Body.Close()
			parts, others := 0, 0
			for _, part := range origin.take() {
				if strings.HasPrefix(part, "bytes=10485760-") {
					parts++
				} else if part != "" { // which is the first fill, or a validation
					others++
				}
			}
			if parts == 0 || parts > 2 || others > 2 { // without a disk, the first reader may fall behind
				t.Errorf("%s: the part was asked for %d times, others %d times", key, parts, others)
			}
		})
	}
}

func TestAHerdAtTheEndOfAColdObjectCostsOneRead(t *testing.T) {
	inEveryRig(t, func(t *testing.T, r *rig, disk bool) {
		key, body := blob(2, 2*partSize+2*mib+77)
		r.put(key, body)
		var origin asked
		origin.listen(r.origin)
		r.herd(key, body, object.Suffix(1000), r.origin.holdBodies(1000))
		if got := fmt.Sprint(origin.take()); got != "[bytes=-4195303]" {
			t.Errorf("the authority was asked for %s", got)
		}
		if !disk {
			return
		}
		r.settle()
		r.wantPart(key, body, object.Suffix(1000))
		r.wantPart(key, body, object.Bytes(int64(len(body))-partSize/2, 10))
		r.wantPart(key, body, object.From(int64(len(body))-100))
		if got := origin.take(); len(got) > 0 {
			t.Errorf("the authority was asked for %q, want it from the disk", got)
		}
		r.want(key, body, "")
	})
}

// The end of an object may be all of it, and there may be none.
func TestTheEndOfASmallColdObject(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 10, 100_000, mib, partSize, partSize + 9, partSize + 10, partSize + 11} {
		r := newRig(t, 64*mib, 64*mib)
		key, body := derived(uint64(size), size)
		r.put(key, body)
		if size == 0 {
			if _, _, err := r.getPart(key, object.Suffix(10)); !errors.Is(err, object.ErrRange) {
				t.Errorf("the end of nothing: %v", err)
			}
			continue
		}
		for _, n := range []int64{10, 1 << 40, 1<<63 - 1} {
			r.wantPart(key, body, object.Suffix(n))
			r.settle()
			r.cache.Delete(t.Context(), key, object.DeleteOptions{})
			r.put(key, body)
		}
		r.wantGets(3)
	}
}

// Somebody reads a part, and somebody all of it, at once.
func TestAPartAndTheWholeAtOnceAreOneFill(t *testing.T) {
	for size, reads := range map[int]int32{1: 1, 100_000: 1, 2 * mib: 1, partSize: 1, partSize + 1: 2, 3 * partSize: 2} {
		inEveryRig(t, func(t *testing.T, r *rig, disk bool) {
			key, body := blob(uint64(size), size)
			r.put(key, body)
			release := r.origin.holdBodies(0)
			var both sync.WaitGroup
			both.Go(func() { r.wantPart(key, body, object.Bytes(0, 1)) })
			synctest.Wait()
			for range 10 {
				both.Go(func() { r.want(key, body, "") })
			}
			synctest.Wait()
			release()
			both.Wait()
			// Without a disk, who falls behind asks for what it has missed.
			if n := r.origin.gets.Load(); n != reads && (disk || size <= tiers.ChunkSize) {
				t.Errorf("%d bytes cost %d reads, want %d", size, n, reads)
			}
			r.settle()
			if disk {
				r.wantHeld(key, heldAfter(size)...)
			}
		})
	}
}

func heldAfter(size int) []object.Tier {
	if size <= 64<<10 { // of a RAM tier of 1 MiB
		return []object.Tier{object.TierRAM, object.TierSSD}
	}
	return []object.Tier{object.TierSSD}
}

// An empty object has no first part. Who reads the whole of it must not be told
// what was answered to one who asked for that.
func TestAPartAndTheWholeOfAnEmptyObject(t *testing.T) {
	inEveryRig(t, func(t *testing.T, r *rig, _ bool) {
		key, _ := derived(1, 0)
		r.put(key, nil)
		answer := make(chan struct{})
		r.origin.onAnswer(func(context.Context, object.GetOptions) { <-answer })
		var both sync.WaitGroup
		both.Go(func() {
			if _, _, err := r.getPart(key, object.Bytes(0, 1)); !errors.Is(err, object.ErrRange) {
				t.Errorf("a part of nothing: %v", err)
			}
		})
		synctest.Wait()
		both.Go(func() { r.want(key, nil, "") })
		synctest.Wait()
		close(answer)
		both.Wait()
	})
}

// When a part is on the disk, who reads all of the object still follows the fill
// that is bringing it.
func TestAFillIsFollowedThoughAPartIsOnTheDisk(t *testing.T) {
	t.Parallel()
	const size = tiers.FarAhead + 3*mib
	r := newRig(t, mib, 256*mib)
	key, body := blob(3, size)
	r.put(key, body)
	gate := make(chan struct{})
	r.origin.wrapBodies(func(ctx context.Context, o *object.Object) io.ReadCloser {
		if o.Offset > 0 {
			return o.Body
		}
		return &heldBody{ctx: ctx, Reader: o.Body, free: 1000, gate: gate, cancelled: &r.origin.cancelled}
	})
	first := r.open(t.Context(), key, object.Range{})
	r.wantNext(first, body[:1000])
	r.wantPart(key, body, object.Bytes(tiers.FarAhead+2*mib, 10))
	until(func() bool { return r.cache.Stats().InFlight == 1 })
	r.wantGets(2)
	second := r.open(t.Context(), key, object.Range{})
	r.wantNext(second, body[:1000])
	r.wantPart(key, body, object.Bytes(tiers.FarAhead+2*mib+100, 10)) // on the disk
	r.wantPart(key, body, object.Bytes(0, 10))
	close(gate)
	r.wantNext(second, body[1000:])
	r.wantEnd(second)
	r.wantNext(first, body[1000:])
	r.wantEnd(first)
	r.wantGets(0)
	r.settle()
	r.wantHeld(key, object.TierSSD)
	if got, _, err := r.get(key); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	r.wantGets(0)
}
