package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
)

const testCapacity = 16 << 20

var sizes = []int{0, 1, 15, 4096, BlockSize, BlockSize + 1, MaxInline, MaxInline + 1, 1 << 20, 3<<20 + 7}

func TestObjectsOfAnySizeComeBack(t *testing.T) {
	disks := map[string]func(t *testing.T) FS{
		"in memory": func(*testing.T) FS { return newMemFS() },
		"in a directory": func(t *testing.T) FS {
			dir, err := OpenDir(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			return dir
		},
	}
	for name, disk := range disks {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, disk(t), Options{Capacity: 64 << 20})
			running(t, s)
			for _, size := range sizes {
				name := fmt.Sprint("of ", size)
				if !put(s, name, 1, size) {
					t.Fatalf("%d bytes were declined", size)
				}
				mustHave(t, s, name, 1)
				if !put(s, name, 2, size) {
					t.Fatalf("%d bytes were declined", size)
				}
				mustHave(t, s, name, 2)
				s.Delete(idOf(name))
				mustMiss(t, s, name)
			}
		})
	}
}

func TestAStoreComesBackWithWhatItHad(t *testing.T) {
	for _, how := range []string{"closed", "killed"} {
		t.Run(how, func(t *testing.T) {
			disk := newMemFS()
			s := openStore(t, disk, Options{Capacity: 64 << 20})
			stop := running(t, s)
			for i, size := range sizes {
				put(s, fmt.Sprint("kept ", i), 1, size)
				put(s, fmt.Sprint("replaced ", i), 1, size)
				put(s, fmt.Sprint("replaced ", i), 2, sizes[len(sizes)-1-i])
				put(s, fmt.Sprint("deleted ", i), 1, size)
				s.Delete(idOf(fmt.Sprint("deleted ", i)))
				put(s, fmt.Sprint("deleted and put ", i), 1, size)
				s.Delete(idOf(fmt.Sprint("deleted and put ", i)))
				put(s, fmt.Sprint("deleted and put ", i), 2, size)
			}
			stop()
			after := disk.kill()
			if how == "closed" {
				disk.shut = false
				s.Close()
				after = disk.kill()
			}
			for round := range 3 { // a store that was searched comes back again
				s = openStore(t, after, Options{Capacity: 64 << 20})
				for i := range sizes {
					mustHave(t, s, fmt.Sprint("kept ", i), 1)
					mustHave(t, s, fmt.Sprint("replaced ", i), 2)
					mustMiss(t, s, fmt.Sprint("deleted ", i))
					mustHave(t, s, fmt.Sprint("deleted and put ", i), 2)
				}
				if d := s.Stats().Damaged; d != 0 {
					t.Errorf("round %d: %d records damaged", round, d)
				}
				s.Close()
			}
		})
	}
}

func TestTheOldestGoesFirstAndWhatWasReadStays(t *testing.T) {
	disk := newMemFS()
	s := openStore(t, disk, Options{Capacity: testCapacity})
	running(t, s)
	const size = 100 << 10
	if !put(s, "read often", 1, size) || !put(s, "never read", 1, size) {
		t.Fatal("declined")
	}
	for i := range 5 * testCapacity / size {
		mustHave(t, s, "read often", 1)
		for !put(s, fmt.Sprint("filler ", i), 1, size) {
			s.tidyNow()
		}
		if b := s.Stats().Bytes; b > testCapacity {
			t.Fatalf("%d bytes on a disk of %d", b, testCapacity)
		}
	}
	mustHave(t, s, "read often", 1)
	mustMiss(t, s, "never read")
	if s.Stats().Reinserted == 0 {
		t.Error("nothing was written again")
	}
	var used int64
	for _, f := range disk.files {
		used += int64(len(f.now))
	}
	if used > testCapacity {
		t.Errorf("files of %d bytes, budget %d", used, testCapacity)
	}
}

// tidyNow gives Run a turn: tests that write faster than any disk would be
// declined otherwise.
func (s *Store) tidyNow() {
	s.poke()
	for s.wantsRoom() {
		s.poke()
	}
}

func TestPartsOfALargeObject(t *testing.T) {
	s := openStore(t, newMemFS(), Options{Capacity: 64 << 20})
	running(t, s)
	id, size, chunk := idOf("large"), 10*s.ChunkSize()+5, s.ChunkSize()
	data := content("large", 1, int(size))
	if !s.Begin(id, size, meta("large", 1, int(size))) {
		t.Fatal("declined")
	}
	h, ok := s.Get(id)
	if !ok {
		t.Fatal("not there")
	}
	defer h.Close()
	buf := make([]byte, BlockSize)
	if _, err := h.ReadAt(buf, 0); !errors.Is(err, ErrAbsent) {
		t.Fatalf("read of nothing: %v", err)
	}
	w := h.Fill(2*chunk, 2*chunk)
	if w == nil {
		t.Fatal("fill declined")
	}
	if err := w.Write(data[2*chunk : 3*chunk+BlockSize]); err != nil {
		t.Fatal(err)
	}
	if n, err := w.ReadAt(buf, 3*chunk); err != nil || !bytes.Equal(buf[:n], data[3*chunk:][:n]) {
		t.Errorf("what is being written: %d bytes, %v", n, err)
	}
	w.Abort() // in the middle of a chunk: the one before stays
	if p, m := h.Present(2 * chunk); p != 3*chunk || m != 2*chunk {
		t.Errorf("present to %d, missing to %d; want %d, %d", p, m, 3*chunk, 2*chunk)
	}
	if p, m := h.Present(3 * chunk); p != 3*chunk || m != size {
		t.Errorf("present to %d, missing to %d; want %d, %d", p, m, 3*chunk, size)
	}
	if n, err := h.ReadAt(buf, 3*chunk-BlockSize); err != nil || !bytes.Equal(buf[:n], data[3*chunk-BlockSize:3*chunk]) {
		t.Errorf("filled part: %d bytes, %v", n, err)
	}
	if h.Complete() || h.Proven() {
		t.Error("a part is taken for the whole")
	}
	for _, part := range [][2]int64{{0, 2 * chunk}, {3 * chunk, size}} {
		w := h.Fill(part[0], part[1]-part[0])
		if err := w.Write(data[part[0]:part[1]]); err != nil {
			t.Fatal(err)
		}
		w.Abort()
	}
	if !h.Complete() {
		t.Error("not complete when all is there")
	}
	mustHave(t, s, "large", 1)
}

// What somebody still has of an object is only good while the store has it too.
func TestTouchKnowsWhetherThePartIsStillThere(t *testing.T) {
	s := openStore(t, newMemFS(), Options{Capacity: testCapacity})
	size := MaxInline + int(3*s.ChunkSize()) + 5
	var last uint64
	for version, end := range []func(*Handle){
		func(*Handle) { s.Delete(idOf("large")) },
		func(*Handle) { put(s, "large", 1, size) },
		(*Handle).Drop,
	} {
		if !put(s, "large", version, size) {
			t.Fatal("declined")
		}
		h, ok := s.Get(idOf("large"))
		if !ok {
			t.Fatal("not there")
		}
		if g := h.Generation(); g <= last {
			t.Errorf("generation %d comes after %d", g, last)
		} else {
			last = g
		}
		if !h.Touch(0) || !h.Touch(int64(size)-1) || h.Touch(int64(size)) || h.Touch(-1) {
			t.Error("a part that is there counts as gone, or one that never was as there")
		}
		if end(h); h.Touch(0) {
			t.Errorf("version %d is there after its end", version)
		}
		h.Close()
	}
	if !put(s, "small", 1, 10) {
		t.Fatal("declined")
	}
	if h, ok := s.Get(idOf("small")); !ok || h.Generation() != 0 || h.Touch(0) {
		t.Error("a small object has a generation, or parts")
	} else {
		h.Close()
	}
}

func TestManyWritersAndReaders(t *testing.T) {
	s := openStore(t, newMemFS(), Options{Capacity: testCapacity})
	running(t, s)
	var work sync.WaitGroup
	for g := range 8 {
		work.Go(func() {
			for i := range 300 {
				name := fmt.Sprint("shared ", (g*7+i*3)%40)
				switch i % 5 {
				case 0:
					put(s, name, i*8+g, 1000*(i%7)+i%3*200_000)
				case 1:
					s.Delete(idOf(name))
				default:
					if _, _, err := fetch(s, name); errors.Is(err, errWrongBytes) {
						t.Error(err)
					}
				}
			}
		})
	}
	work.Wait()
	if d := s.Stats().Damaged; d != 0 {
		t.Errorf("%d records damaged", d)
	}
}
