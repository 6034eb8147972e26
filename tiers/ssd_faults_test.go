package tiers_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

func TestADirectoryThatCannotBeUsedIsRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]struct {
		dir      string
		capacity int64
	}{
		"a file":       {file, 8 * mib},
		"below a file": {file + "/x", 8 * mib},
		"no capacity":  {t.TempDir(), 0},
		"too little":   {t.TempDir(), tiers.MinLogCapacity - 1},
	} {
		if log, err := tiers.OpenLog(open.dir, tiers.LogOptions{Capacity: open.capacity}); err == nil {
			log.Close()
			t.Errorf("%s was opened", name)
		}
	}
}

func TestAFullDiskCostsCopiesAndNoRequest(t *testing.T) {
	t.Parallel()
	dir := mounted(t, 5*mib)
	r := newRigIn(t, new(authority), dir, 0, 64*mib) // more than the disk has
	for i, length := range []int{300_000, 3 * mib, 5000, 3 * mib, 700_000, 700_000, 700_000, 5000} {
		key, body := blob(uint64(i), length)
		r.put(key, body)
		r.want(key, body, object.TierOrigin)
		r.settle()
		r.want(key, body, "")
		other, otherBody := blob(uint64(100+i), length)
		if _, err := r.cache.Put(t.Context(), other, object.BytesSource(otherBody), object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		r.want(other, otherBody, "")
	}
	if s := r.ssd.Stats(); s.Errors == 0 || s.Entries == 0 {
		t.Errorf("the disk was never full, or always: %+v", s)
	}
}

// A failing disk must not leave a fill waiting for readers that never come.
func TestAFillWhoseDiskFailsIsNotLeftHanging(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hooks := &hookedSSD{SSD: openLog(t, dir, 64*mib)}
	r := newRigWith(t, dir, tiers.Config{SSD: hooks})
	var written atomic.Int64
	hooks.onWrite = func(p []byte) error {
		if written.Add(int64(len(p))) > 2*mib {
			return unix.EIO
		}
		return nil
	}
	key, body := blob(7, 5*mib)
	r.put(key, body)
	release := r.origin.holdBodies(3 * mib)
	obj := r.open(t.Context(), key, object.Range{})
	r.wantNext(obj, body[:2*mib])
	obj.Body.Close() // a small fill, more than half done: it would go on
	release()
	r.settle()
	until(r.cache.MemoryFree)
	r.wantHeld(key)

	written.Store(0)
	r.want(key, body, object.TierOrigin) // readers have lost nothing but the copy
	r.settle()
	r.wantHeld(key)
}

func TestTheBudgetIsNeverExceeded(t *testing.T) {
	t.Parallel()
	const budget = tiers.MinLogCapacity
	r := newRig(t, 0, budget)
	ctx, stop := context.WithCancel(t.Context())
	var walker, workers sync.WaitGroup
	walks := 0
	walker.Go(func() {
		for ; ctx.Err() == nil; walks++ {
			if disk := r.onDisk(); disk > budget {
				t.Errorf("files take %d bytes of %d", disk, budget)
				return
			}
		}
	})
	for w := range 4 {
		workers.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(w)))
			for range 60 {
				n := rnd.IntN(40)
				key, body := derived(uint64(n), 1+n*20_000)
				attrs := object.Attrs{User: map[string]string{"pad": string(bytes.Repeat([]byte("x"), 2000))}}
				switch rnd.IntN(4) {
				case 0:
					if _, err := r.cache.Put(ctx, key, object.BytesSource(body), object.PutOptions{Attrs: attrs}); err != nil {
						t.Error(err)
					}
				case 1:
					if err := r.cache.Delete(ctx, key, object.DeleteOptions{}); err != nil {
						t.Error(err)
					}
				default:
					if got, _, err := r.get(key); err == nil && !bytes.Equal(got, body) {
						t.Errorf("%s has other bytes", key)
					}
				}
			}
		})
	}
	workers.Wait()
	stop()
	walker.Wait()
	if r.ssd.Stats().Evictions == 0 || walks == 0 {
		t.Errorf("%d evictions, %d walks: nothing was put to the test", r.ssd.Stats().Evictions, walks)
	}
}

// A copy that goes while it is read costs its readers nothing but the way to the
// authority.
func TestEvictionIsNotNoticedByReaders(t *testing.T) {
	t.Parallel()
	const readers, length = 20, 600_000
	r := newRig(t, 0, tiers.MinLogCapacity)
	key, body := blob(8, length)
	r.put(key, body)
	r.want(key, body, object.TierOrigin)
	r.settle()
	var all, begun sync.WaitGroup
	evicted := make(chan struct{})
	for i := range readers {
		begun.Add(1)
		all.Go(func() {
			obj := r.open(t.Context(), key, object.Range{})
			r.wantNext(obj, body[:1000*i])
			begun.Done()
			<-evicted
			r.wantNext(obj, body[1000*i:])
			r.wantEnd(obj)
			obj.Body.Close()
		})
	}
	begun.Wait()
	// What is read is kept once more, so the log has to go around twice.
	for i := 0; len(r.cache.Holds(key)) > 0; i++ {
		other, otherBody := blob(uint64(20+i), length)
		r.put(other, otherBody)
		r.want(other, otherBody, "")
		r.settle()
	}
	close(evicted)
	all.Wait()
}

func TestAnObjectLargerThanTheBudgetFlushesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 100_000, 8*mib)
	small, smallBody := blob(1, 5000)
	middle, middleBody := blob(2, 300_000)
	large, largeBody := blob(3, 5*mib)
	for key, body := range map[object.Key][]byte{small: smallBody, middle: middleBody, large: largeBody} {
		r.put(key, body)
	}
	r.want(small, smallBody, object.TierOrigin)
	r.want(middle, middleBody, object.TierOrigin)
	r.settle()
	for range 3 {
		r.want(large, largeBody, object.TierOrigin)
		r.settle()
		if _, err := r.cache.Put(t.Context(), large, object.BytesSource(largeBody), object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	r.wantHeld(small, object.TierRAM, object.TierSSD)
	r.wantHeld(middle, object.TierSSD)
	r.wantHeld(large)
	if s := r.cache.Stats(); s.RAM.Evictions+s.SSD.Evictions != 0 {
		t.Errorf("%d and %d evictions", s.RAM.Evictions, s.SSD.Evictions)
	}
}

// A process out of file descriptors misses, and has its copies when it has
// descriptors again.
func TestWithoutFileDescriptorsTheCopiesStay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hooks := &hookedSSD{SSD: openLog(t, dir, 64*mib)}
	r := newRigWith(t, dir, tiers.Config{SSD: hooks})
	key, body := blob(9, 5000)
	r.put(key, body)
	r.want(key, body, object.TierOrigin)
	r.settle()
	hooks.noFiles.Store(true)
	r.want(key, body, object.TierOrigin)
	r.settle()
	hooks.noFiles.Store(false)
	r.want(key, body, object.TierSSD)
}

// Two caches share nothing, not even over one authority.
func TestTwoCachesShareNothing(t *testing.T) {
	t.Parallel()
	one := newRig(t, mib, mib)
	two := newRigIn(t, one.origin, t.TempDir(), mib, mib)
	key, body := blob(10, 1000)
	one.put(key, body)
	one.want(key, body, object.TierOrigin)
	if err := one.origin.Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	one.want(key, body, object.TierRAM)
	if _, _, err := two.get(key); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("the other cache: %v, want not found", err)
	}
}
