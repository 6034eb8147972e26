package seglog

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// failReads lets reads fail until it is called again with false, and returns
// how many did.
func (m *memFS) failReads(fail bool) *atomic.Int64 {
	failed := new(atomic.Int64)
	m.setFail(func(op, _ string) error {
		if fail && op == "read" {
			failed.Add(1)
			return syscall.EIO
		}
		return nil
	})
	return failed
}

// A disk that is away for a moment costs reads, and not what is on it. It is
// asked a few times only.
func TestADiskThatCannotBeReadForAMomentLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemFS()
		s, names := filled(t, disk, 16<<20)
		defer s.Close()
		opened, ok := s.Get(idOf("object 4")) // a large one
		if !ok {
			t.Fatal("object 4 is not there")
		}
		defer opened.Close()
		failed := disk.failReads(true)
		for _, name := range names {
			if _, ok, err := fetch(s, name); ok && err == nil {
				t.Errorf("%s was read", name)
			}
		}
		if _, err := opened.ReadAt(make([]byte, BlockSize), 0); !errors.Is(err, ErrAbsent) {
			t.Errorf("a chunk that cannot be read: %v, want absent", err)
		}
		if n := failed.Load(); n == 0 || n > maxFaults {
			t.Errorf("the disk was asked %d times", n)
		}
		disk.failReads(false)
		if _, ok, _ := fetch(s, names[0]); ok {
			t.Error("the disk is asked again at once")
		}
		time.Sleep(pauseAfterFaults + time.Second)
		for _, name := range names {
			mustHave(t, s, name, 1)
		}
		if st := s.Stats(); st.Damaged != 0 || st.Errors == 0 || st.Errors > maxFaults {
			t.Errorf("%d records damaged, %d errors", st.Damaged, st.Errors)
		}
	})
}

// What the disk fails to read twice in a row is given up, so that something else
// can take its place: a bad sector is not asked for for ever.
func TestABadSectorIsGivenUp(t *testing.T) {
	for _, size := range []int{5000, 300_000} {
		synctest.Test(t, func(t *testing.T) {
			disk := newMemFS()
			s, _ := filled(t, disk, 16<<20)
			defer s.Close()
			defer running(t, s)()
			put(s, "bad", 1, size)
			fails := func(times int64) {
				left := &atomic.Int64{}
				left.Store(times)
				disk.setFail(func(op, _ string) error {
					if op == "read" && left.Add(-1) >= 0 {
						return syscall.EIO
					}
					return nil
				})
			}
			miss := func() {
				t.Helper()
				if _, ok, err := fetch(s, "bad"); ok && err == nil {
					t.Error("it was read")
				}
			}
			fails(1)
			miss()
			mustHave(t, s, "bad", 1) // which makes good for it
			mustHave(t, s, "object 1", 1)
			fails(1)
			miss()
			mustHave(t, s, "object 2", 1)
			fails(1)
			miss()
			miss()
			if st := s.Stats(); st.Damaged != 1 || st.Errors != 3 {
				t.Errorf("%d bytes: %d damaged, %d errors, want 1 and 3", size, st.Damaged, st.Errors)
			}
			if !put(s, "bad", 2, size) {
				t.Fatal("it cannot be put again")
			}
			mustHave(t, s, "bad", 2)
		})
	}
}
