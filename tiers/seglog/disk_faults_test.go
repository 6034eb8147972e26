package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// filled returns a store with some objects of every kind on a disk in memory.
func filled(t *testing.T, disk *memFS, capacity int64) (s *Store, names []string) {
	s, err := Open(disk, Options{Capacity: capacity})
	if err != nil {
		t.Fatal(err)
	}
	defer running(t, s)()
	for i := range 40 {
		name := fmt.Sprint("object ", i)
		if !put(s, name, 1, []int{0, 90, 5000, 70_000, 300_000}[i%5]) {
			t.Fatalf("%s was declined", name)
		}
		names = append(names, name)
	}
	return s, names
}

// Damage anywhere on the disk costs what it hit. Everything else is served, the
// store opens, and what was lost can be put again.
func TestDamageCostsWhatItHit(t *testing.T) {
	rounds := 400
	if testing.Short() || raceEnabled {
		rounds = 40
	}
	served, lost := 0, 0
	for round := range rounds {
		rnd := rand.New(rand.NewPCG(uint64(round), 9))
		disk := newMemFS()
		s, names := filled(t, disk, 16<<20)
		reopen := rnd.IntN(2) == 0
		if reopen {
			s.Close()
		}
		for range 1 + rnd.IntN(4) {
			disk.spoil(rnd)
		}
		if reopen {
			var err error
			if s, err = Open(disk, Options{Capacity: 16 << 20}); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range names {
			v, found, err := fetch(s, name)
			switch {
			case errors.Is(err, errWrongBytes):
				t.Errorf("round %d, %s: %v", round, name, err)
			case err == nil && found && v == 1:
				served++
				continue
			}
			lost++
			if !put(s, name, 2, 5000) {
				t.Errorf("round %d: %s cannot be put again", round, name)
				continue
			}
			mustHave(t, s, name, 2)
		}
		s.Close()
	}
	if served == 0 || lost == 0 {
		t.Errorf("%d served, %d lost: nothing was put to the test", served, lost)
	}
	t.Logf("%d records served, %d lost and put again", served, lost)
}

// spoil damages some file somewhere.
func (m *memFS) spoil(rnd *rand.Rand) {
	var segments []*memFile
	for name, f := range m.files {
		if strings.HasPrefix(name, "segment-") {
			segments = append(segments, f)
		}
	}
	f := segments[rnd.IntN(len(segments))]
	at := rnd.IntN(len(f.now) - 8192)
	switch rnd.IntN(7) {
	case 0: // bits, where there is something
		for range 50 {
			f.now[rnd.IntN(len(f.now))] ^= 1 << rnd.IntN(8)
		}
	case 1:
		clear(f.now[at : at+1+rnd.IntN(8000)])
	case 2: // two places change their contents
		other := rnd.IntN(len(f.now)-8192) / page * page
		at = at / page * page
		a, b := bytes.Clone(f.now[at:at+page]), bytes.Clone(f.now[other:other+page])
		copy(f.now[at:], b)
		copy(f.now[other:], a)
	case 3:
		clear(f.now[len(f.now)-8192:]) // the footer
	case 4: // two segments change their names
		other := segments[rnd.IntN(len(segments))]
		f.now, other.now = other.now, f.now
	case 5:
		copy(f.now[at:], f.now[:4096])
	case 6:
		clear(f.now[:page]) // the header
	}
}

// A truncated file is another size, and begins anew.
func TestATruncatedSegmentBeginsAnew(t *testing.T) {
	disk := newMemFS()
	s, names := filled(t, disk, 16<<20)
	s.Close()
	for name, f := range disk.files {
		if strings.HasSuffix(name, "0") {
			f.now = f.now[:len(f.now)/2]
		}
	}
	s = openStore(t, disk, Options{Capacity: 16 << 20})
	for _, name := range names {
		if _, _, err := fetch(s, name); errors.Is(err, errWrongBytes) {
			t.Error(err)
		}
	}
	if !put(s, "after", 1, 100) {
		t.Error("the store takes nothing more")
	}
}

// A disk that fails to write costs copies for a while. What is there is read,
// and nothing of it is given up.
func TestADiskThatCannotBeWrittenIsStillRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemFS()
		s, names := filled(t, disk, 16<<20)
		defer s.Close()
		stop := running(t, s)
		defer stop()
		disk.setFail(func(op, _ string) error {
			if op == "write" || op == "sync" || op == "allocate" {
				return syscall.EIO
			}
			return nil
		})
		for i := range 100 {
			if put(s, fmt.Sprint("not written ", i), 1, 100_000) {
				t.Fatal("a write succeeded")
			}
		}
		time.Sleep(time.Second) // in the bubble: Run has had its turn
		for _, name := range names {
			mustHave(t, s, name, 1)
		}
		if e := s.Stats().Errors; e == 0 || e > 20 {
			t.Errorf("the disk was asked %d times, want a few", e)
		}
		disk.setFail(nil)
		time.Sleep(2 * pauseAfterFaults)
		if !put(s, "written", 1, 100_000) {
			t.Error("the store takes nothing more when the disk is well again")
		}
		mustHave(t, s, "written", 1)
	})
}

// A disk that is smaller than the budget gives what it has, and more when it can.
func TestASmallDiskIsUsedAsFarAsItGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemFS()
		disk.space = 6 << 20
		s := openStore(t, disk, Options{Capacity: 64 << 20})
		stop := running(t, s)
		defer stop()
		fill := func(version int) (kept int) {
			for i := range 100 {
				put(s, fmt.Sprint("object ", i), version, 100_000)
			}
			for i := range 100 {
				if v, ok, err := fetch(s, fmt.Sprint("object ", i)); ok && err == nil && v == version {
					kept++
				}
			}
			return kept
		}
		if kept := fill(1); kept == 0 || kept > 60 {
			t.Errorf("%d objects of 100 kB are kept on 6 MiB", kept)
		}
		disk.mu.Lock()
		disk.space = 0
		disk.mu.Unlock()
		time.Sleep(2 * pauseAfterFaults)
		if kept := fill(2); kept < 90 {
			t.Errorf("%d objects are kept when there is room for all", kept)
		}
	})
}

// The write budget is spent and not exceeded, but for its burst.
func TestTheWriteBudgetIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 100_000
		s := openStore(t, newMemFS(), Options{Capacity: 64 << 20, WriteRate: rate})
		stop := running(t, s)
		defer stop()
		start := s.Stats().Written
		for i := range 600 {
			put(s, fmt.Sprint("object ", i), 1, 50_000)
			time.Sleep(100 * time.Millisecond)
		}
		if written, most := s.Stats().Written-start, int64(rate*(60+admissionBurst)*11/10); written > most || written < rate*30 {
			t.Errorf("%d bytes in a minute, want at most %d", written, most)
		}
	})
}
