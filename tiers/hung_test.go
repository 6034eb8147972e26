package tiers_test

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
	"github.com/micelio/micelio/tiers/seglog"
)

// A hungDisk is a directory whose writes wait while a gate is closed.
type hungDisk struct {
	seglog.FS
	gate  atomic.Pointer[chan struct{}]
	after atomic.Int64 // bytes that are written before
}

func (d *hungDisk) Open(name string) (seglog.File, error) {
	f, err := d.FS.Open(name)
	return hungFile{f, d}, err
}

type hungFile struct {
	seglog.File
	disk *hungDisk
}

func (f hungFile) WriteAt(p []byte, off int64) (int, error) {
	if gate := f.disk.gate.Load(); gate != nil && f.disk.after.Add(-int64(len(p))) < 0 {
		<-*gate
	}
	return f.File.WriteAt(p, off)
}

// A disk that hangs costs its copies, and a few seconds of those who were
// writing: no reader is held for longer, nor a fill, nor a write, and no memory.
func TestADiskThatHangsHoldsNobody(t *testing.T) {
	for _, length := range []int{5000, 200_000, 5 * mib} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			fsys, err := seglog.OpenDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			disk := &hungDisk{FS: fsys}
			log, err := tiers.OpenLogOn(disk, dir, 64*mib)
			if err != nil {
				t.Fatal(err)
			}
			r := newRigWith(t, dir, tiers.Config{SSD: log})
			kept, keptBody := blob(1, 300_000)
			r.put(kept, keptBody)
			r.want(kept, keptBody, object.TierOrigin)
			r.settle()

			gate := make(chan struct{})
			disk.after.Store(int64(length) / 2)
			disk.gate.Store(&gate)
			start := time.Now()
			key, body := blob(2, length)
			r.put(key, body)
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() {
					if got, _, err := r.get(key); err != nil || !bytes.Equal(got, body) {
						t.Errorf("%d bytes of %d, %v", len(got), length, err)
					}
				})
			}
			all.Go(func() {
				if _, err := r.cache.Put(t.Context(), "session", object.BytesSource(body), object.PutOptions{}); err != nil {
					t.Error(err)
				}
			})
			all.Wait()
			other, otherBody := blob(3, length)
			r.put(other, otherBody)
			r.want(other, otherBody, object.TierOrigin)
			r.want("session", body, "")
			r.want(kept, keptBody, object.TierSSD)
			for len(r.cache.Holds(key)) > 0 || r.cache.Stats().InFlight > 0 || !r.cache.MemoryFree() {
				time.Sleep(time.Second)
			}
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("objects of %d bytes took %v", length, took)
			}

			disk.gate.Store(nil)
			close(gate)
			time.Sleep(time.Minute)
			for _, key := range []object.Key{key, other} {
				r.want(key, map[object.Key][]byte{key: body, other: otherBody}[key], object.TierOrigin)
				for r.cache.Stats().InFlight > 0 {
					time.Sleep(time.Second)
				}
				r.wantHeld(key, object.TierSSD)
			}
		})
	}
}
