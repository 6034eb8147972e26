package seglog

import (
	"fmt"
	"syscall"
	"testing"
)

// A record that was passed while it waited to be written, by a deletion in an
// earlier segment, must not come back when that has gone, though the disk fails
// to wipe it out.
func TestAPassedRecordThatCannotBeWipedOutStaysDead(t *testing.T) {
	const size = 5000
	disk := newMemFS()
	s := openStore(t, disk, Options{Capacity: 8 << 20})
	late := s.lsn.Add(1)
	s.Delete(idOf("late"))
	first := s.active
	for i := 0; s.active == first; i++ {
		put(s, fmt.Sprint("object ", i), 1, 50_000)
	}
	writes := 0
	disk.setFail(func(op, _ string) error {
		if op == "write" {
			if writes++; writes == 2 {
				return syscall.EIO
			}
		}
		return nil
	})
	h := header{kind: kindInline, id: idOf("late"), lsn: late, size: size}
	if err := s.addAlone(h, meta("late", 1, size), content("late", 1, size), func(loc) bool { return false }); err != nil {
		t.Fatal(err)
	}
	disk.setFail(nil)
	if writes != 2 {
		t.Fatalf("%d writes, want that of the record and one to wipe it out", writes)
	}
	s.buryAgain() // as Run does every second
	if !s.evict() || first.life.Load() != 0 {
		t.Fatal("the segment of the tombstone was not emptied")
	}
	put(s, "after", 1, size)
	again := openStore(t, disk.kill(), Options{Capacity: 8 << 20})
	mustMiss(t, again, "late")
	mustHave(t, again, "after", 1)
}
