package seglog

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A hangingFS is a disk whose writes can be made to hang.
type hangingFS struct {
	FS
	gate atomic.Pointer[chan struct{}] // writes wait for it to be closed
}

func (h *hangingFS) hang() (release func()) {
	gate := make(chan struct{})
	h.gate.Store(&gate)
	return func() { h.gate.Store(nil); close(gate) }
}

func (h *hangingFS) Open(name string) (File, error) {
	f, err := h.FS.Open(name)
	return hangingFile{f, h}, err
}

type hangingFile struct {
	File
	fs *hangingFS
}

func (f hangingFile) WriteAt(p []byte, off int64) (int, error) {
	if gate := f.fs.gate.Load(); gate != nil {
		<-*gate
	}
	return f.File.WriteAt(p, off)
}

// A write that hangs is given up by those who wait for it, and no other one is
// begun. Everything that is there is read meanwhile, and when the disk answers
// the store takes copies again. What was given up is not found by anybody.
func TestAWriteThatHangsHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newMemFS()
		disk := &hangingFS{FS: memory}
		s := openStore(t, disk, Options{Capacity: 16 << 20})
		stop := running(t, s)
		for i := range 5 {
			if !put(s, fmt.Sprint("object ", i), 1, i*70_000) {
				t.Fatal("declined")
			}
		}
		begun := s.Create(idOf("begun"), 500_000)
		block := content("begun", 1, BlockSize)
		if err := begun.Write(block); err != nil {
			t.Fatal(err)
		}

		release := disk.hang()
		start := time.Now()
		done := make(chan bool)
		for _, name := range []string{"object 0", "new"} { // one writes, one waits for it
			go func() { done <- put(s, name, 2, 5000) }()
		}
		go func() { done <- begun.Write(block) == nil }()
		for range 3 {
			if <-done {
				t.Error("a write succeeded")
			}
		}
		if took := time.Since(start); took < maxStall || took > 2*maxStall {
			t.Errorf("they waited for %v, want %v", took, maxStall)
		}
		begun.Abort()
		start = time.Now()
		s.Delete(idOf("object 1"))
		if put(s, "more", 1, 5000) || put(s, "large", 1, 500_000) {
			t.Error("a disk that hangs takes copies")
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("those who came later waited for %v", took)
		}
		mustMiss(t, s, "object 0")
		mustMiss(t, s, "object 1")
		for i := 2; i < 5; i++ {
			mustHave(t, s, fmt.Sprint("object ", i), 1)
		}

		release()
		synctest.Wait()
		time.Sleep(2 * pauseAfterFaults)
		if !put(s, "more", 2, 5000) || !put(s, "large", 2, 500_000) {
			t.Error("the store takes nothing more when the disk answers again")
		}
		stop()
		after, err := Open(memory.kill(), Options{Capacity: 16 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer after.Close()
		for _, name := range []string{"object 0", "object 1", "new", "begun"} {
			mustMiss(t, after, name)
		}
		mustHave(t, after, "more", 2)
		mustHave(t, after, "large", 2)
		mustHave(t, after, "object 4", 1)
	})
}

// A disk that never answers again does not keep the store from being closed.
func TestAStoreWhoseDiskHangsIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &hangingFS{FS: newMemFS()}
		s := openStore(t, disk, Options{Capacity: 16 << 20})
		stop := running(t, s)
		release := disk.hang()
		defer release()
		if put(s, "object", 1, 5000) {
			t.Error("a write succeeded")
		}
		stop()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
