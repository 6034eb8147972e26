package s3fifo

import (
	"math/rand/v2"
	"testing"
)

// An index finds what was entered and nothing else, whatever comes and goes, and
// where many hashes are alike.
func TestAnIndexAgreesWithAMap(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	var x index
	slots := map[uint32]uint64{} // and their hashes
	for step := range 100_000 {
		switch grow := step/20_000%2 == 0; {
		case len(slots) == 0 || r.IntN(3) > 0 == grow:
			slot := r.Uint32N(1 << 20)
			if _, ok := slots[slot]; ok {
				continue
			}
			hash := r.Uint64()
			if r.IntN(4) == 0 {
				hash = r.Uint64N(256) << 24
			}
			slots[slot] = hash
			x.add(hash, slot)
		default:
			for slot, hash := range slots {
				if to := slot + 1<<20; r.IntN(2) == 0 {
					x.move(hash, slot, to)
					x.remove(hash, to)
				} else {
					x.remove(hash, slot)
				}
				delete(slots, slot)
				break
			}
		}
		if step%5000 == 0 {
			used := 0
			for _, p := range x.places {
				if p.slot != 0 {
					used++
				}
			}
			if used != len(slots) || x.len != used {
				t.Fatalf("step %d: %d places used, %d counted, want %d", step, used, x.len, len(slots))
			}
			for slot, hash := range slots {
				for at, _ := x.first(hash); x.places[at].slot != slot+1; at = x.next(at) {
					if x.places[at].slot == 0 {
						t.Fatalf("step %d: slot %d cannot be found", step, slot)
					}
				}
			}
		}
	}
}
