package policy

import "testing"

// hits plays requests of weight 1.
func hits(c Cache, keys []uint64) (n int64) {
	defer c.Close()
	for _, key := range keys {
		if c.Get(key) {
			n++
		} else {
			c.Set(key, 1)
		}
	}
	return n
}

func TestTheReferencesCountAsByHand(t *testing.T) {
	// With two places: LRU misses 1 2 3 1 2 and hits the last 2; the best that can
	// be done keeps 1 and then 2.
	keys := []uint64{1, 2, 3, 1, 2, 2}
	if n := hits(newLRU(2), keys); n != 1 {
		t.Errorf("LRU has %d hits, want 1", n)
	}
	if n := Optimal(keys, 2); n != 3 {
		t.Errorf("the optimum is %d hits, want 3", n)
	}
	if n := Optimal([]uint64{1, 1, 1}, 1); n != 2 {
		t.Errorf("the optimum is %d hits, want 2", n)
	}
}

// Every policy keeps what fits, and none does better than the optimum.
func TestEveryPolicyIsACache(t *testing.T) {
	var keys []uint64
	for round := range 50 {
		for i := range 100 {
			keys = append(keys, uint64(i%20+1), uint64(round*100+i+1000))
		}
	}
	for _, p := range All() {
		const capacity = 200
		n := hits(p.New(capacity, false), keys)
		if best := Optimal(keys, capacity); n > best || n < best/2 {
			t.Errorf("%s has %d hits, the optimum is %d", p.Name, n, best)
		}
	}
}
