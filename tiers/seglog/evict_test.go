package seglog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
)

// checkIndex holds that everything in the index is in a segment that lives. The
// store must be idle.
func checkIndex(t *testing.T, s *Store) {
	t.Helper()
	dead := func(seg uint32) bool { return s.segs[seg] == nil || s.segs[seg].life.Load() == 0 }
	for i := range s.shards {
		sh := &s.shards[i]
		if err := sh.inline.check(); err != nil {
			t.Errorf("shard %d: %v", i, err)
		}
		for p := range sh.inline.parts {
			for _, slot := range sh.inline.parts[p].slots {
				if slot.where != 0 && dead(slot.seg()) {
					t.Errorf("an object in segment %d, which was emptied", slot.seg())
				}
			}
		}
		for _, lg := range sh.large {
			if dead(lg.desc.seg) {
				t.Errorf("a description in segment %d, which was emptied", lg.desc.seg)
			}
			for _, c := range lg.chunks {
				if c.seg != absent && dead(c.seg) {
					t.Errorf("a chunk in segment %d, which was emptied", c.seg)
				}
			}
		}
	}
}

// endActive lets nothing more come into the segment that is being written, and
// returns it.
func endActive(s *Store) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg := s.active
	s.filled, s.active = append(s.filled, seg), nil
	return seg
}

// A segment in which somebody still writes is emptied like any other: what is
// complete there goes, or is appended again if it was read, and what its writers
// bring later goes when they are done.
func TestASegmentIsEmptiedWhileItIsBeingWritten(t *testing.T) {
	s := openStore(t, newMemFS(), Options{Capacity: 64 << 20})
	data := content("large", 1, MaxInline+BlockSize)
	w := s.Create(idOf("large"), int64(len(data)))
	if err := w.Write(data[:s.ChunkSize()/2]); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if !put(s, fmt.Sprint("object ", i), 1, 1000) {
			t.Fatal("declined")
		}
	}
	mustHave(t, s, "object 7", 1)
	var victim *segment
	h := header{kind: kindInline, id: idOf("late"), lsn: s.lsn.Add(1), size: 1000}
	err := s.add(h, meta("late", 1, 1000), content("late", 1, 1000), func(l loc) bool {
		sh := s.shard(h.id)
		sh.mu.Lock()
		sh.setLocked(h.id, l)
		sh.mu.Unlock()
		victim = endActive(s)
		for victim.life.Load() != 0 {
			if !s.evict() {
				t.Fatal("nothing can be emptied")
			}
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if victim.outstanding == 0 {
		t.Fatal("nobody was writing there")
	}
	mustMiss(t, s, "late")
	mustHave(t, s, "object 7", 1)
	for i := range 20 {
		if i != 7 {
			mustMiss(t, s, fmt.Sprint("object ", i))
		}
	}
	if s.Has(h.id) {
		t.Error("what came late is still in the index")
	}
	if st := s.Stats(); st.Objects != 1 || st.Reinserted != 1 || st.Evicted != 20 || st.Damaged != 0 {
		t.Errorf("%+v; want 1 object that was written again, and 20 evicted", st)
	}
	checkIndex(t, s)
	if err := w.Write(data[s.ChunkSize()/2:]); !errors.Is(err, errRevoked) {
		t.Errorf("a write into the segment: %v", err)
	}
	w.Abort()
	s.reviveDrained()
	if victim.life.Load() == 0 {
		t.Error("the segment is not used again")
	}
	checkIndex(t, s)
}

// When a footer cannot be read, what was in its segment goes nevertheless, and
// nothing else.
func TestASegmentWithoutItsFooterIsEmptied(t *testing.T) {
	disk := newMemFS()
	s := openStore(t, disk, Options{Capacity: testCapacity})
	stay, go1 := 0, 0
	for i := range 300 {
		put(s, fmt.Sprint("goes ", i), 1, 100)
		go1++
	}
	put(s, "large", 1, MaxInline+1)
	victim := endActive(s)
	for i := range 300 {
		put(s, fmt.Sprint("stays ", i), 1, 100)
		stay++
	}
	s.sealFilled()
	clear(disk.files[segmentName(victim.n)].now[s.segSize-tailSize:])
	if !s.evict() {
		t.Fatal("not emptied")
	}
	if st := s.Stats(); st.Objects != int64(stay) || st.Evicted != int64(go1+1) {
		t.Errorf("%+v; want %d objects, %d evicted", st, stay, go1+1)
	}
	for i := range 300 {
		mustHave(t, s, fmt.Sprint("stays ", i), 1)
	}
	checkIndex(t, s)
}

// Writers, evictions and deletions all at once leave an index that agrees with
// the segments.
func TestTheIndexAgreesWithTheSegments(t *testing.T) {
	s := openStore(t, newMemFS(), Options{Capacity: MinCapacity})
	stop := running(t, s)
	var work sync.WaitGroup
	for g := range 4 {
		work.Go(func() {
			for i := range 100 {
				name := fmt.Sprint("shared ", (g*11+i*3)%50)
				switch i % 6 {
				case 0:
					s.Delete(idOf(name))
				case 1:
					fetch(s, name)
				default:
					put(s, name, i*8+g, 1000*(i%7)+i%3*135_000)
				}
			}
		})
	}
	work.Wait()
	stop()
	s.tidy(context.Background())
	checkIndex(t, s)
	if st := s.Stats(); st.Evicted == 0 || st.Damaged != 0 {
		t.Errorf("%+v; want evictions, and no damage", st)
	}
}

// However many wait to delete, their tombstones fit the segments: they take more
// of one than of the batch, with their entries in its footer.
func TestAStormOfDeletionsFitsTheSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemFS()
		s, err := Open(disk, Options{Capacity: MinCapacity})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		slow, first := make(chan struct{}), true
		disk.setFail(func(op, _ string) error { // one at a time
			if op == "write" && first {
				first = false
				<-slow
			}
			return nil
		})
		const deletions = 9000
		var work sync.WaitGroup
		work.Go(func() { s.Delete(idOf("first")) })
		synctest.Wait()
		for i := range deletions {
			work.Go(func() { s.Delete(idOf(fmt.Sprint("object ", i))) })
		}
		synctest.Wait()
		close(slow)
		work.Wait()
		s.mu.Lock()
		buried, filled := deletions+1-len(s.unburied), len(s.filled)
		s.mu.Unlock()
		if filled != 0 || buried < deletions/2 {
			t.Errorf("%d of %d tombstones are written, %d segments were given up", buried, deletions, filled)
		}
		if !put(s, "after", 1, 1000) {
			t.Error("the store takes nothing more")
		}
		if _, ok := s.alloc(s.segSize, 1, unit); ok || len(s.filled) != 0 {
			t.Errorf("room for more than a segment: %v, and %d segments given up", ok, len(s.filled))
		}
	})
}
