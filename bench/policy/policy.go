// Package policy puts caches behind one interface, to be judged by the same
// requests. Those that do part of their work later get the time for it after
// each store: what is compared is what they keep, not how soon.
package policy

import (
	"time"

	"github.com/Yiling-J/theine-go"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"
	"github.com/scalalang2/golang-fifo/s3fifo"
	"github.com/scalalang2/golang-fifo/sieve"

	ours "github.com/micelio/micelio/tiers/s3fifo"
)

// A Cache is what is judged. It belongs to one goroutine.
type Cache interface {
	Get(key uint64) bool
	Set(key uint64, weight int64)
	Close()
}

// A Policy makes caches.
type Policy struct {
	Name string

	// New returns a cache of this capacity: of keys, or of bytes where weighed
	// is set. It returns nil if there is no such cache.
	New func(capacity int64, weighed bool) Cache
}

// Ours is the name of our own policy, and LRU of the one to beat.
const (
	Ours = "micelio"
	LRU  = "LRU"
)

// All returns the policies, ours first.
func All() []Policy {
	return []Policy{
		{Ours, newOurs},
		{"otter v2.4.0", newOtter},
		{"theine v0.6.3", newTheine},
		{"ristretto v2.4.2", newRistretto},
		{"golang-fifo S3-FIFO v1.2.0", func(n int64, weighed bool) Cache {
			if weighed {
				return nil
			}
			return fifo{s3fifo.New[uint64, struct{}](int(n), 0*time.Second)}
		}},
		{"golang-fifo SIEVE v1.2.0", func(n int64, weighed bool) Cache {
			if weighed {
				return nil
			}
			return fifo{sieve.New[uint64, struct{}](int(n), 0*time.Second)}
		}},
		{LRU, func(n int64, _ bool) Cache { return newLRU(n) }},
	}
}

type oursCache struct{ *ours.Cache[uint64, uint64] }

func newOurs(capacity int64, _ bool) Cache {
	return oursCache{ours.New(ours.Options[uint64, uint64]{Capacity: capacity, Key: func(v uint64) uint64 { return v }})}
}

func (c oursCache) Get(key uint64) bool          { _, ok := c.Cache.Get(key); return ok }
func (c oursCache) Set(key uint64, weight int64) { c.Cache.Set(key, weight) }
func (c oursCache) Close()                       {}

type otterCache struct{ *otter.Cache[uint64, int64] }

func newOtter(capacity int64, weighed bool) Cache {
	o := &otter.Options[uint64, int64]{Executor: func(fn func()) { fn() }}
	if weighed {
		o.MaximumWeight, o.Weigher = uint64(capacity), func(_ uint64, weight int64) uint32 { return uint32(weight) }
	} else {
		o.MaximumSize = int(capacity)
	}
	return otterCache{otter.Must(o)}
}

func (c otterCache) Get(key uint64) bool { _, ok := c.GetIfPresent(key); return ok }
func (c otterCache) Set(key uint64, weight int64) {
	c.Cache.Set(key, weight)
	c.CleanUp()
}
func (c otterCache) Close() {}

type theineCache struct {
	*theine.Cache[uint64, struct{}]
}

func newTheine(capacity int64, _ bool) Cache {
	c, err := theine.NewBuilder[uint64, struct{}](capacity).Build()
	if err != nil {
		panic(err) // the capacity is a constant of a trace
	}
	return theineCache{c}
}

func (c theineCache) Get(key uint64) bool { _, ok := c.Cache.Get(key); return ok }
func (c theineCache) Set(key uint64, weight int64) {
	c.Cache.Set(key, struct{}{}, weight)
	c.Wait()
}

type ristrettoCache struct {
	*ristretto.Cache[uint64, struct{}]
}

func newRistretto(capacity int64, weighed bool) Cache {
	entries := capacity
	if weighed {
		entries = capacity / (32 << 10)
	}
	c, err := ristretto.NewCache(&ristretto.Config[uint64, struct{}]{
		NumCounters: 10 * entries, MaxCost: capacity, BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		panic(err)
	}
	return ristrettoCache{c}
}

func (c ristrettoCache) Get(key uint64) bool { _, ok := c.Cache.Get(key); return ok }
func (c ristrettoCache) Set(key uint64, weight int64) {
	c.Cache.Set(key, struct{}{}, weight)
	c.Wait()
}

type fifo struct {
	cache interface {
		Get(uint64) (struct{}, bool)
		Set(uint64, struct{})
		Close()
	}
}

func (c fifo) Get(key uint64) bool     { _, ok := c.cache.Get(key); return ok }
func (c fifo) Set(key uint64, _ int64) { c.cache.Set(key, struct{}{}) }
func (c fifo) Close()                  { c.cache.Close() }
