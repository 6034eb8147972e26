package s3fifo

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// An item is a value that knows its key and which write of it this is.
type item struct{ key, version int }

func itemKey(v item) int { return v.key }

func newCache(capacity int64, shards int) *Cache[int, item] {
	return New(Options[int, item]{Capacity: capacity, Shards: shards, Key: itemKey})
}

// check compares everything that a shard says of itself twice.
func check(t testing.TB, c *Cache[int, item]) {
	t.Helper()
	var total int64
	entries := 0
	for i := range c.shards {
		s := &c.shards[i]
		for name, q := range map[string]*queue{"small": &s.small, "main": &s.main} {
			var weight int64
			before, n := none, 0
			for at := q.head; at != none; at = s.slot(at).next {
				e := s.slot(at)
				found, _ := s.lookup(e.hash)
				if e.prev != before || e.main != (name == "main") || found != at || int(at) >= s.len {
					t.Fatalf("slot %d of the %s queue is %+v, after %d; the index says %d, there are %d", at, name, *e, before, found, s.len)
				}
				before, weight = at, weight+e.weight
				entries++
				n++
			}
			if q.tail != before || q.weight != weight || q.len != n {
				t.Fatalf("the %s queue ends at %d with %d, and says %d with %d", name, before, weight, q.tail, q.weight)
			}
			total += weight
		}
		used := 0
		for _, p := range s.index.places {
			if p.slot != 0 {
				used++
			}
		}
		if s.index.len != s.len || used != s.len {
			t.Fatalf("%d entries, %d in the index, which counts %d", s.len, used, s.index.len)
		}
	}
	var inMain int64
	for i := range c.shards {
		inMain += c.shards[i].main.weight
	}
	if c.main.Load() != inMain {
		t.Fatalf("the main queues weigh %d, and %d together", inMain, c.main.Load())
	}
	if share := c.tuner.smallShare(); share < leastShare || share > mostShare {
		t.Fatalf("the small queues have a share of %v", share)
	}
	if st := c.Stats(); st.Weight != total || st.Entries != int64(entries) || total > st.Capacity {
		t.Fatalf("%d entries weigh %d: %+v", entries, total, st)
	}
}

// Whatever is done to it, a cache weighs no more than it may, answers only with
// what was stored last, and its parts agree with each other.
func TestACacheAgreesWithAMap(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 4, 64} {
		t.Run(fmt.Sprint(shards, " shards"), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(shards)))
			c := newCache(1000, shards)
			last := map[int]int{} // versions; a key that is not there was deleted
			for step := range 200_000 {
				key := int(r.Int64N(300))
				switch op := r.IntN(100); {
				case op < 50:
					if v, ok := c.Get(key); ok && (last[key] == 0 || v.version != last[key]) {
						t.Fatalf("step %d: key %d has version %d, want %d", step, key, v.version, last[key])
					}
				case op < 90:
					weight := int64(r.IntN(20))
					if op == 50 {
						weight *= 100
					}
					last[key] = step + 1
					capacity := c.Stats().Capacity
					if ok := c.Set(item{key, step + 1}, weight); ok != (max(weight, 1) <= capacity) || ok != c.Has(key) {
						t.Fatalf("step %d: Set of weight %d into %d: %t, Has: %t", step, weight, capacity, ok, c.Has(key))
					}
				case op < 99:
					had := c.Has(key)
					if c.Delete(key) != had || c.Has(key) {
						t.Fatalf("step %d: Delete of what Has says is %t", step, had)
					}
					delete(last, key)
				default:
					c.Resize(r.Int64N(2000) - 100)
				}
				if step%1000 == 0 {
					check(t, c)
				}
			}
			check(t, c)
		})
	}
}

// Hot entries survive any number of others that are asked for once.
func TestAScanDoesNotFlushHotEntries(t *testing.T) {
	t.Parallel()
	c := newCache(1000, 1)
	for round := range 3 {
		for hot := range 500 {
			if _, ok := c.Get(hot); !ok && round < 2 {
				c.Set(item{hot, 1}, 1)
			}
		}
	}
	for scanned := range 100_000 {
		c.Set(item{1000 + scanned, 1}, 1)
	}
	kept := 0
	for hot := range 500 {
		if c.Has(hot) {
			kept++
		}
	}
	if kept != 500 {
		t.Errorf("%d of 500 hot entries survived a scan of 100,000", kept)
	}
	check(t, c)
}

// An entry that is asked for again soon after it went comes to stay.
func TestAnEntryThatComesBackStays(t *testing.T) {
	t.Parallel()
	c := newCache(100, 1)
	for i := range 101 {
		c.Set(item{i, 1}, 1)
	}
	gone := 0
	for c.Has(gone) {
		gone++
	}
	if gone == 100 {
		t.Fatal("the newest entry went")
	}
	c.Set(item{gone, 2}, 1)
	for i := range 1000 {
		c.Set(item{200 + i, 1}, 1)
	}
	if !c.Has(gone) {
		t.Error("the entry that came back went with those that were asked for once")
	}
	if c.Has(100) {
		t.Error("an entry that came after it and that nobody asked for is still there")
	}
}

// round asks for keys once each, stores what is missing, and returns how many
// were there.
func round(c *Cache[int, item], first, n int) (hits int) {
	for key := first; key < first+n; key++ {
		if _, ok := c.Get(key); ok {
			hits++
		} else {
			c.Set(item{key, 1}, 1)
		}
	}
	return hits
}

// Of a loop through more than the cache holds nearly as much stays as it holds.
func TestALoopLargerThanTheCacheIsHit(t *testing.T) {
	t.Parallel()
	const capacity = 1000
	for _, shards := range []int{1, 4} {
		for _, loop := range []int{capacity * 11 / 10, capacity * 2, capacity * 4} {
			c := newCache(capacity, shards)
			hits := 0
			for range 20 {
				hits = round(c, 0, loop)
			}
			if hits < capacity*3/4 {
				t.Errorf("%d shards: of %d keys in turn %d are hit, the cache holds %d", shards, loop, hits, capacity)
			}
			check(t, c)
		}
	}
}

// What was hot makes place for what is.
func TestOldFavouritesGo(t *testing.T) {
	t.Parallel()
	const capacity = 1000
	c := newCache(capacity, 1)
	for range 50 {
		round(c, 0, capacity*9/10)
	}
	hits := 0
	for range 50 {
		hits = round(c, 10_000, capacity*9/10)
	}
	if hits < capacity*7/10 {
		t.Errorf("of %d keys that are hot now %d are hit", capacity*9/10, hits)
	}
	check(t, c)
}

// Heavy entries that are asked for once do not empty the shards they come to.
func TestHeavyEntriesFlushLittle(t *testing.T) {
	t.Parallel()
	c := newCache(1600, 16)
	hits := 0
	for i := range 20 {
		hits = round(c, 0, 500)
		for j := range 100 {
			c.Set(item{1000 + 100*i + j, 1}, 100) // the share of a whole shard
		}
	}
	if hits < 450 {
		t.Errorf("%d of 500 hot entries are hit among heavy ones", hits)
	}
	check(t, c)
}

// Writing an entry again does not make it a stranger.
func TestAReplacedEntryKeepsItsPlace(t *testing.T) {
	t.Parallel()
	c := newCache(100, 1)
	c.Set(item{1, 1}, 1)
	c.Get(1)
	for i := range 100 {
		c.Set(item{1000 + i, 1}, 1)
	}
	c.Set(item{1, 2}, 5)
	for i := range 1000 {
		c.Set(item{2000 + i, 1}, 1)
	}
	if v, ok := c.Get(1); !ok || v.version != 2 {
		t.Errorf("the hot entry that was replaced: %+v, %t", v, ok)
	}
}

// However unevenly keys fall on the shards, all of the capacity is there for
// them, and an entry may have all of it.
func TestAllShardsShareOneCapacity(t *testing.T) {
	t.Parallel()
	c := newCache(64, 64)
	for i := range 64 {
		c.Set(item{i, 1}, 1)
	}
	if s := c.Stats(); s.Entries != 64 || s.Evictions != 0 {
		t.Errorf("64 entries into a capacity of 64: %+v", s)
	}
	if !c.Set(item{100, 1}, 64) || c.Stats().Entries != 1 {
		t.Errorf("an entry of all of the capacity: %+v", c.Stats())
	}
	check(t, c)
}

func TestManyUseACacheAtOnce(t *testing.T) {
	t.Parallel()
	c := newCache(500, 4)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(worker), 0))
			for step := range 20_000 {
				key := r.IntN(400)
				switch r.IntN(10) {
				case 0:
					c.Delete(key)
				case 1, 2, 3:
					c.Set(item{key, step}, r.Int64N(30))
				case 4:
					if step%100 == 0 {
						c.Resize(100 + r.Int64N(500))
					}
				default:
					if v, ok := c.Get(key); ok && v.key != key {
						t.Errorf("key %d has the value of %d", key, v.key)
					}
				}
				if s := c.used.Load(); s > 600 {
					t.Errorf("%d used of at most 600", s)
				}
			}
		})
	}
	all.Wait()
	c.Resize(500)
	check(t, c)
}

// Memory that many entries took is given back when there are few.
func TestTheIndexShrinksWithItsEntries(t *testing.T) {
	t.Parallel()
	c := newCache(100_000, 1)
	for i := range 100_000 {
		c.Set(item{i, 1}, 1)
	}
	c.Resize(100)
	s := &c.shards[0]
	if len(s.pages) > 3 || len(s.index.places) > minShrink {
		t.Errorf("%d entries have %d pages and an index of %d places", s.len, len(s.pages), len(s.index.places))
	}
	check(t, c)
}

// Two keys with one hash throw each other out, and are never taken for one
// another.
func TestKeysWithOneHashAreNotMixedUp(t *testing.T) {
	t.Parallel()
	c := newCache(100, 1)
	c.Set(item{1, 1}, 10)
	s, hash := c.shard(1)
	at, _ := s.lookup(hash)
	s.slot(at).value = item{2, 1} // as if 2 had the hash of 1
	if _, ok := c.Get(1); ok || c.Has(1) || c.Delete(1) {
		t.Error("the value of another key was found")
	}
	c.Set(item{1, 2}, 20)
	if v, ok := c.Get(1); !ok || v != (item{1, 2}) || c.Stats().Weight != 20 {
		t.Errorf("%+v, %t, %+v", v, ok, c.Stats())
	}
	check(t, c)
}

func TestAHitAllocatesNothing(t *testing.T) {
	c := New(Options[string, string]{Capacity: 1 << 20, Key: func(v string) string { return v[:3] }})
	c.Set("key and more", 10)
	if n := testing.AllocsPerRun(1000, func() { c.Get("key") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestGhostsAreRememberedForHalfAsLongAgainAsThereAreEntries(t *testing.T) {
	t.Parallel()
	const entries, kept = 1000, 1500
	r := rand.New(rand.NewPCG(1, 1))
	var g ghosts
	var hashes []uint64
	for range 5 * entries {
		hashes = append(hashes, r.Uint64())
		g.remember(hashes[len(hashes)-1], passed, entries)
	}
	early, late := 0, 0
	for i := range hashes {
		switch known := g.forget(hashes[i]) == passed; {
		case i < 5*entries-kept && known:
			late++
		case i >= 5*entries-kept && !known:
			early++
		}
	}
	if early > kept/10 || late > 0 {
		t.Errorf("of %d ghosts %d were forgotten early, and %d older ones are still known", kept, early, late)
	}
	if g.forget(hashes[len(hashes)-1]) != unknown {
		t.Error("a ghost is known after it was forgotten")
	}
}

func FuzzCache(f *testing.F) {
	f.Add(uint8(1), []byte{0, 1, 2, 3, 250, 251, 252, 3, 2, 1})
	f.Fuzz(func(t *testing.T, shards uint8, ops []byte) {
		c := newCache(40, int(shards%8))
		for i, op := range ops {
			key := int(op % 16)
			switch op / 16 {
			case 0, 1, 2, 3:
				c.Get(key)
			case 14:
				c.Delete(key)
			case 15:
				c.Resize(int64(key) * 4)
			default:
				c.Set(item{key, i}, int64(op/16))
			}
		}
		check(t, c)
	})
}

func BenchmarkHit(b *testing.B) {
	const keys = 1 << 16
	c := newCache(keys, 16)
	for i := range keys {
		c.Set(item{i, 1}, 1)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := rand.New(rand.NewPCG(1, 2))
		for pb.Next() {
			c.Get(int(r.Uint32() % keys))
		}
	})
}

func TestGetIfCountsOnlyWhatItReturns(t *testing.T) {
	t.Parallel()
	c := newCache(100, 1)
	c.Set(item{1, 7}, 1)
	before := c.Stats()
	for _, key := range []int{1, 2} {
		if _, ok := c.GetIf(key, func(v item) bool { return v.version != 7 }); ok {
			t.Errorf("%d is there", key)
		}
	}
	if after := c.Stats(); after != before {
		t.Errorf("what was not wanted was counted: %+v", after)
	}
	if v, ok := c.GetIf(1, func(v item) bool { return v.version == 7 }); !ok || v.version != 7 {
		t.Errorf("%+v, %t", v, ok)
	}
	if after := c.Stats(); after.Hits != before.Hits+1 || after.Misses != before.Misses {
		t.Errorf("a hit was counted as %+v", after)
	}
	check(t, c)
}
