package tiers_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// restarted returns a rig of a process whose RAM is empty, on a disk that has
// what fill put through an earlier one.
func restarted(t *testing.T, wrap func(tiers.SSD) tiers.SSD, fill func(r *rig)) *rig {
	t.Helper()
	dir := t.TempDir()
	origin := new(authority)
	before := newRigIn(t, origin, dir, 0, 64*mib)
	fill(before)
	before.settle()
	before.stop()
	origin.gets.Store(0)
	r := idleRig(t, origin, dir, tiers.Config{RAM: tiers.NewRAM(128 * mib), SSD: wrap(openLog(t, dir, 64*mib))})
	r.run()
	return r
}

// keep reads an object until the disk has taken it, which it need not do at once.
func (r *rig) keep(key object.Key, body []byte) {
	r.put(key, body)
	for len(r.cache.Holds(key)) == 0 {
		r.want(key, body, "")
		r.settle()
	}
}

func asItIs(s tiers.SSD) tiers.SSD { return s }

// Ten thousand readers of a large entry that only the disk has cost one read of
// it, and its bytes once.
func TestAHerdAtACopyOnDiskReadsItOnce(t *testing.T) {
	readers, limit := 10_000, int64(64*mib)
	if raceEnabled || testing.Short() {
		readers = 1000
	}
	key, body := blob(1, mib)
	r := restarted(t, asItIs, func(r *rig) { r.keep(key, body) })
	runtime.GC()
	var before, during runtime.MemStats
	runtime.ReadMemStats(&before)
	var opened, all sync.WaitGroup
	opened.Add(readers)
	read := make(chan struct{})
	for range readers {
		all.Go(func() {
			obj, err := r.cache.Get(t.Context(), key, object.GetOptions{})
			opened.Done()
			if err != nil {
				t.Error(err)
				return
			}
			defer obj.Body.Close()
			<-read
			r.wantNext(obj, body)
			r.wantEnd(obj)
		})
	}
	opened.Wait()
	runtime.ReadMemStats(&during)
	close(read)
	all.Wait()
	if n := r.cache.Stats().SSD.Hits; n != 1 {
		t.Errorf("the disk was read %d times, want once", n)
	}
	r.wantGets(0)
	if grown := int64(during.HeapAlloc) - int64(before.HeapAlloc); !raceEnabled && grown > limit {
		t.Errorf("the heap grew by %d MiB for %d readers", grown/mib, readers)
	}
}

// Many objects at once take turns.
func TestReadsFromTheDiskIntoMemoryTakeTurns(t *testing.T) {
	t.Parallel()
	const objects = 60
	var most, now atomic.Int32
	watch := func(s tiers.SSD) tiers.SSD {
		return &watchedSSD{SSD: s, get: func(get func()) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			runtime.Gosched()
			get()
			now.Add(-1)
		}}
	}
	r := restarted(t, watch, func(r *rig) {
		for i := range uint64(objects) {
			key, body := derived(i, 100_000)
			r.keep(key, body)
		}
	})
	var all sync.WaitGroup
	for i := range uint64(objects) {
		all.Go(func() {
			key, body := derived(i, 100_000)
			r.want(key, body, object.TierSSD)
		})
	}
	all.Wait()
	if most.Load() > tiers.PromotionSlots {
		t.Errorf("%d objects were read from the disk at once", most.Load())
	}
}

// A watchedSSD lets a test stand between the cache and the disk.
type watchedSSD struct {
	tiers.SSD
	get func(get func()) // is called in place of Get, and calls get
}

func (w *watchedSSD) Get(key object.Key) (s tiers.Stored, ok bool) {
	w.get(func() { s, ok = w.SSD.Get(key) })
	return s, ok
}

// gated returns a disk whose first reads, once begun, end when release is called.
func gated(gate chan struct{}, inside *atomic.Int32) func(tiers.SSD) tiers.SSD {
	return func(s tiers.SSD) tiers.SSD {
		return &watchedSSD{SSD: s, get: func(get func()) {
			get()
			inside.Add(1)
			<-gate
		}}
	}
}

// A reader who comes after a write has been answered does not get the bytes from
// a read of the disk that began before it.
func TestAReadFromTheDiskIsNotSharedAcrossAWrite(t *testing.T) {
	t.Parallel()
	key, old := derived(1, 5000)
	_, replaced := derived(2, 6000)
	gate, inside := make(chan struct{}), new(atomic.Int32)
	r := restarted(t, gated(gate, inside), func(r *rig) { r.keep(key, old) })
	var readers sync.WaitGroup
	readers.Go(func() {
		if got, _, err := r.get(key); err != nil || !bytes.Equal(got, old) {
			t.Errorf("the reader before the write: %d bytes, %v", len(got), err)
		}
	})
	until(func() bool { return inside.Load() == 1 })
	if err := r.cache.Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.cache.Put(t.Context(), key, object.BytesSource(replaced), object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	readers.Go(func() { r.want(key, replaced, "") })
	readers.Go(func() { r.want(key, replaced, "") })
	close(gate)
	readers.Wait()
	r.want(key, replaced, object.TierRAM)
}

// A reader who leaves does not take the bytes from those who wait for the same.
func TestTheReaderWhoReadsTheDiskMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, body := derived(1, 5000)
		gate, inside := make(chan struct{}), new(atomic.Int32)
		r := restarted(t, gated(gate, inside), func(r *rig) { r.keep(key, body) })
		defer r.stop()
		ctx, leave := context.WithCancel(t.Context())
		var readers sync.WaitGroup
		readers.Go(func() {
			obj, err := r.cache.Get(ctx, key, object.GetOptions{})
			if !errors.Is(err, context.Canceled) {
				io.Copy(io.Discard, obj.Body)
				t.Errorf("the reader who left: %v", err)
			}
		})
		synctest.Wait()
		for range 10 {
			readers.Go(func() { r.want(key, body, "") })
		}
		gone, left := context.WithCancel(t.Context())
		readers.Go(func() {
			if _, err := r.cache.Get(gone, key, object.GetOptions{}); !errors.Is(err, context.Canceled) {
				t.Errorf("a reader who waited and left: %v", err)
			}
		})
		synctest.Wait()
		left()
		leave()
		synctest.Wait()
		close(gate)
		readers.Wait()
		if n := inside.Load(); n != 2 {
			t.Errorf("the disk was read %d times, want once for each who began to", n)
		}
		r.wantGets(0)
	})
}
