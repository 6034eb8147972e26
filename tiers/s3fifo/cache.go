package s3fifo

import (
	"hash/maphash"
	"math/bits"
	"runtime"
	"sync/atomic"
)

// Options say how a Cache is made.
type Options[K comparable, V any] struct {
	// Capacity is the most that the weights of all entries may sum up to.
	Capacity int64

	// Shards is how many parts with a lock of their own the cache has, rounded
	// up to a power of two. 0: as many as the capacity and the processors ask
	// for. All share one capacity.
	Shards int

	// Key returns the key that is part of a value. It is called under locks,
	// and must do nothing but look.
	Key func(V) K
}

const (
	// shardWeight is the least capacity worth a lock of its own. The policy
	// needs a few hundred entries in a shard to tell them apart.
	shardWeight = 16 << 20

	// maxShards bounds how many locks there are for each processor.
	maxShards = 64
)

// A Cache holds values by the key that they carry. It is safe for concurrent
// use.
type Cache[K comparable, V any] struct {
	key    func(V) K
	seed   maphash.Seed
	shift  int // of a hash, to get the number of a shard
	shards []shard[K, V]
	shared
	turn     atomic.Uint64 // which shard lets an entry go next
	declined atomic.Int64
}

// shared is what all shards share. A hit neither reads nor writes it.
type shared struct {
	weights
	tuner  tuner
	shards int
}

// weights are sums over all shards.
type weights struct {
	capacity atomic.Int64
	used     atomic.Int64 // all entries and those about to be stored: at most capacity, when it was claimed
	main     atomic.Int64 // all entries in main queues
}

// mainIsWithin reports whether the main queues with so much more would have at
// most this share of the capacity.
func (w *weights) mainIsWithin(share float64, more int64) bool {
	return float64(w.main.Load()+more) <= share*float64(w.capacity.Load())
}

// Stats is what a Cache holds and has done.
type Stats struct {
	Entries   int64
	Weight    int64 // of all entries
	Capacity  int64 // most that Weight can reach
	Hits      int64
	Misses    int64
	Evictions int64 // entries that had to go for others
	Declined  int64 // entries heavier than the capacity
}

// New returns an empty Cache.
func New[K comparable, V any](o Options[K, V]) *Cache[K, V] {
	n := o.Shards
	if n <= 0 {
		n = int(min(max(o.Capacity/shardWeight, 1), int64(maxShards*runtime.GOMAXPROCS(0))))
	}
	log := bits.Len(uint(n - 1))
	c := &Cache[K, V]{key: o.Key, seed: maphash.MakeSeed(), shift: 64 - log, shards: make([]shard[K, V], 1<<log)}
	c.capacity.Store(max(o.Capacity, 0))
	c.shared.shards = len(c.shards)
	c.tuner.init(len(c.shards))
	for i := range c.shards {
		c.shards[i].init(c.key, &c.shared)
	}
	return c
}

func (c *Cache[K, V]) shard(key K) (*shard[K, V], uint64) {
	hash := maphash.Comparable(c.seed, key)
	return &c.shards[hash>>c.shift], hash // a shift by 64 is 0
}

// Get returns the value of key. It allocates nothing.
func (c *Cache[K, V]) Get(key K) (v V, ok bool) {
	s, hash := c.shard(key)
	s.mu.Lock()
	at, ok := s.find(key, hash)
	if ok {
		e := s.slot(at)
		s.hit(e)
		v = e.value
	} else {
		s.misses++
	}
	s.mu.Unlock()
	return v, ok
}

// GetIf returns the value of key if it is wanted. It counts as Get does, but only
// what it returns: for callers that go on to ask with Get otherwise. It allocates
// nothing, keeps nothing of the key, and calls wanted under a lock.
func (c *Cache[K, V]) GetIf(key K, wanted func(V) bool) (v V, ok bool) {
	s, hash := c.shard(key)
	s.mu.Lock()
	if at, found := s.find(key, hash); found {
		if e := s.slot(at); wanted(e.value) {
			s.hit(e)
			v, ok = e.value, true
		}
	}
	s.mu.Unlock()
	return v, ok
}

// Has reports whether Get would find a value. It counts nothing.
func (c *Cache[K, V]) Has(key K) bool {
	s, hash := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.find(key, hash)
	return ok
}

// Peek returns the value of key. It counts as no use of it.
func (c *Cache[K, V]) Peek(key K) (v V, ok bool) {
	s, hash := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.find(key, hash)
	if ok {
		v = s.slot(at).value
	}
	return v, ok
}

// Set stores a value in place of what there is under its key. It reports false
// if the value is heavier than the cache; then there is nothing under the key.
// A weight below 1 counts as 1.
func (c *Cache[K, V]) Set(value V, weight int64) bool {
	weight = max(weight, 1)
	key := c.key(value)
	s, hash := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	was := c.takeOut(s, key, hash)
	for weight <= c.capacity.Load() {
		if c.claim(weight) {
			// Somebody may have stored the key while the lock was free.
			was = was.or(c.takeOut(s, key, hash))
			s.insert(value, hash, weight, was)
			return true
		}
		// All shards make room in turn, and not the one that needs it: else a
		// few heavy entries would empty theirs. Never hold two locks.
		s.mu.Unlock()
		c.evictAnywhere()
		s.mu.Lock()
	}
	c.takeOut(s, key, hash)
	c.declined.Add(1)
	return false
}

// claim takes weight off what is left of the capacity, if there is so much.
func (c *Cache[K, V]) claim(weight int64) bool {
	for {
		used := c.used.Load()
		if used+weight > c.capacity.Load() {
			return false
		}
		if c.used.CompareAndSwap(used, used+weight) {
			return true
		}
	}
}

// takeOut removes what is stored under key and returns what was known of it.
// Another key with the same hash goes too: 64 bits make that a curiosity, and
// an index without keys half as large.
func (c *Cache[K, V]) takeOut(s *shard[K, V], key K, hash uint64) past {
	at, ok := s.lookup(hash)
	if !ok {
		return past{}
	}
	e := s.slot(at)
	was := past{}
	if c.key(e.value) == key {
		was = past{known: true, main: e.main, freq: e.freq}
	}
	c.used.Add(-s.remove(at))
	return was
}

// Delete drops the value of key and reports whether there was one.
func (c *Cache[K, V]) Delete(key K) bool {
	s, hash := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.find(key, hash)
	if ok {
		c.used.Add(-s.remove(at))
	}
	return ok
}

// Resize changes the capacity. When it returns, the cache weighs no more.
func (c *Cache[K, V]) Resize(capacity int64) {
	c.capacity.Store(max(capacity, 0))
	for c.used.Load() > c.capacity.Load() {
		c.evictAnywhere()
	}
}

// evictAnywhere lets an entry of some shard go, each in its turn. If it finds
// none, somebody else has claimed all there is and is about to store it.
func (c *Cache[K, V]) evictAnywhere() {
	for _, must := range []bool{false, true} {
		for range c.shards {
			s := &c.shards[c.turn.Add(1)%uint64(len(c.shards))]
			s.mu.Lock()
			freed := s.evict(must)
			c.used.Add(-freed)
			s.mu.Unlock()
			if freed > 0 {
				return
			}
		}
	}
	runtime.Gosched()
}

// Stats returns what the cache holds and has done. Weight is exact when nobody
// uses the cache.
func (c *Cache[K, V]) Stats() Stats {
	sum := Stats{Weight: c.used.Load(), Capacity: c.capacity.Load(), Declined: c.declined.Load()}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		sum.Entries += int64(s.len)
		sum.Hits += s.hits
		sum.Misses += s.misses
		sum.Evictions += s.evictions
		s.mu.Unlock()
	}
	return sum
}
