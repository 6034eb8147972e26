package main

import (
	"context"
	"io"
	"log"
	"runtime"
	"sync"
	"time"

	"github.com/Yiling-J/theine-go"
	"github.com/allegro/bigcache/v3"
	"github.com/coocood/freecache"
	"github.com/dgraph-io/ristretto/v2"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/maypok86/otter/v2"
	phuslu "github.com/phuslu/lru"
	golangfifo "github.com/scalalang2/golang-fifo/s3fifo"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/tiers"
	"github.com/micelio/micelio/tiers/s3fifo"
)

// A cache is what is measured. It is safe for concurrent use.
type cache interface {
	// Get reports whether there is a value, which a caller could use.
	Get(key string) bool

	// Set stores a value, which belongs to the cache from then on unless the
	// contender copies.
	Set(key string, value []byte)

	// Settle waits for what the cache does later.
	Settle()

	Close()
}

// A contender makes caches.
type contender struct {
	name   string
	copies bool // a value is copied in and out, so that a caller can use its buffer again
	bound  string
	only   string // the one workload that it can be measured with; "": all

	// New returns a cache for so many values of a size, in bytes.
	New func(entries, size int) cache
}

const (
	tierName   = "micelio RAM tier"
	getName    = "micelio Cache.Get"
	policyName = "micelio s3fifo alone"

	keyLength = len("artifacts/sha256:") + 64
)

func contenders() []contender {
	return []contender{
		{name: tierName, bound: "bytes", New: newTier},
		{name: getName, bound: "bytes", only: hitName, New: newCacheGet},
		{name: policyName, bound: "weight", New: newPolicy},
		{name: "otter v2.4.0", bound: "weight", New: newOtter},
		{name: "theine v0.6.3", bound: "weight", New: newTheine},
		{name: "ristretto v2.4.2", bound: "weight", New: newRistretto},
		{name: "golang-lru v2.0.7", bound: "entries", New: newLRU},
		{name: "phuslu/lru v1.0.18", bound: "entries", New: newPhuslu},
		{name: "golang-fifo S3-FIFO v1.2.0", bound: "entries", New: newGolangFIFO},
		{name: "freecache v1.2.7", bound: "bytes", copies: true, New: newFreecache},
		{name: "bigcache v3.1.0", bound: "bytes", copies: true, New: newBigcache},
	}
}

// immediate is what caches have in common that put nothing off.
type immediate struct{}

func (immediate) Settle() {}
func (immediate) Close()  {}

// A tier is our RAM tier: its entries carry what a node must know of an object,
// where the libraries have the key and the value.
type tier struct {
	immediate
	tiers.RAM
}

func newTier(entries, size int) cache {
	one := tier{RAM: tiers.NewRAM(1 << 30)}
	one.Set(keyOf(0), make([]byte, size))
	return tier{RAM: tiers.NewRAM(int64(entries) * one.Stats().Bytes)}
}

func (t tier) Get(key string) bool { _, ok := t.RAM.Get(object.Key(key)); return ok }
func (t tier) Set(key string, value []byte) {
	t.RAM.Set(&tiers.Entry{
		Info:  object.Info{Key: object.Key(key), Size: int64(len(value)), ETag: "0123456789abcdef0123456789abcdef"},
		Bytes: value,
	})
}

// A cacheGet is a whole Cache around the tier: what a request costs that is a hit.
type cacheGet struct {
	tier
	cache *tiers.Cache
	stop  func()
}

func newCacheGet(entries, size int) cache {
	t := newTier(entries, size).(tier)
	classes, err := object.NewClasses(nil, []string{"artifacts/**"}) // the values do not hash to the keys
	if err != nil {
		log.Panic(err)
	}
	c := tiers.New(tiers.Config{Upstream: new(objecttest.Memory), Classes: classes, RAM: t.RAM})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = c.Run(ctx) }) // it ends with ctx, and never fails
	return cacheGet{t, c, func() { cancel(); running.Wait() }}
}

func (c cacheGet) Close() { c.stop() }

// Set goes through the cache, which marks what it need not validate.
func (c cacheGet) Set(key string, value []byte) {
	_, err := c.cache.Put(context.Background(), object.Key(key), object.BytesSource(value), object.PutOptions{})
	if err != nil {
		log.Panic(err) // the upstream is a map
	}
}

func (c cacheGet) Get(key string) bool {
	obj, err := c.cache.Get(context.Background(), object.Key(key), object.GetOptions{})
	if err != nil {
		return false
	}
	n, err := obj.Body.(io.WriterTo).WriteTo(io.Discard) // as a connection takes it
	obj.Body.Close()
	return err == nil && n == obj.Length
}

// A policy is the policy of our tier, with nothing but key and value.
type policy struct {
	immediate
	*s3fifo.Cache[string, pair]
}

type pair struct {
	key   string
	value []byte
}

func newPolicy(entries, size int) cache {
	return policy{Cache: s3fifo.New(s3fifo.Options[string, pair]{
		Capacity: int64(entries * size), Key: func(p pair) string { return p.key },
	})}
}

func (p policy) Get(key string) bool          { _, ok := p.Cache.Get(key); return ok }
func (p policy) Set(key string, value []byte) { p.Cache.Set(pair{key, value}, int64(len(value))) }

type otterCache struct{ *otter.Cache[string, []byte] }

func newOtter(entries, size int) cache {
	return otterCache{otter.Must(&otter.Options[string, []byte]{
		MaximumWeight: uint64(entries * size), Weigher: func(_ string, v []byte) uint32 { return uint32(len(v)) },
	})}
}

func (c otterCache) Get(key string) bool          { _, ok := c.GetIfPresent(key); return ok }
func (c otterCache) Set(key string, value []byte) { c.Cache.Set(key, value) }
func (c otterCache) Settle()                      { c.CleanUp() }
func (c otterCache) Close()                       { c.StopAllGoroutines() }

type theineCache struct {
	*theine.Cache[string, []byte]
}

func newTheine(entries, size int) cache {
	c, err := theine.NewBuilder[string, []byte](int64(entries * size)).Build()
	if err != nil {
		log.Panic(err)
	}
	return theineCache{c}
}

func (c theineCache) Get(key string) bool          { _, ok := c.Cache.Get(key); return ok }
func (c theineCache) Set(key string, value []byte) { c.Cache.Set(key, value, int64(len(value))) }
func (c theineCache) Settle()                      { c.Wait() }

type ristrettoCache struct {
	*ristretto.Cache[string, []byte]
}

func newRistretto(entries, size int) cache {
	c, err := ristretto.NewCache(&ristretto.Config[string, []byte]{
		NumCounters: int64(10 * entries), MaxCost: int64(entries * size), BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		log.Panic(err)
	}
	return ristrettoCache{c}
}

func (c ristrettoCache) Get(key string) bool          { _, ok := c.Cache.Get(key); return ok }
func (c ristrettoCache) Set(key string, value []byte) { c.Cache.Set(key, value, int64(len(value))) }
func (c ristrettoCache) Settle()                      { c.Wait() }

type lruCache struct {
	immediate
	*lru.Cache[string, []byte]
}

func newLRU(entries, _ int) cache {
	c, err := lru.New[string, []byte](entries)
	if err != nil {
		log.Panic(err)
	}
	return lruCache{Cache: c}
}

func (c lruCache) Get(key string) bool          { _, ok := c.Cache.Get(key); return ok }
func (c lruCache) Set(key string, value []byte) { c.Add(key, value) }

type phusluCache struct {
	immediate
	*phuslu.LRUCache[string, []byte]
}

func newPhuslu(entries, _ int) cache {
	return phusluCache{LRUCache: phuslu.NewLRUCache[string, []byte](entries)}
}

func (c phusluCache) Get(key string) bool          { _, ok := c.LRUCache.Get(key); return ok }
func (c phusluCache) Set(key string, value []byte) { c.LRUCache.Set(key, value) }

type fifoCache struct {
	immediate
	*golangfifo.S3FIFO[string, []byte]
}

func newGolangFIFO(entries, _ int) cache {
	return fifoCache{S3FIFO: golangfifo.New[string, []byte](entries, 0*time.Second)}
}

func (c fifoCache) Get(key string) bool          { _, ok := c.S3FIFO.Get(key); return ok }
func (c fifoCache) Set(key string, value []byte) { c.S3FIFO.Set(key, value) }
func (c fifoCache) Close()                       { c.S3FIFO.Close() }

type freecacheCache struct {
	immediate
	*freecache.Cache
}

func newFreecache(entries, size int) cache {
	const header = 24
	return freecacheCache{Cache: freecache.NewCache(entries * (size + keyLength + header))}
}

func (c freecacheCache) Get(key string) bool { _, err := c.Cache.Get([]byte(key)); return err == nil }
func (c freecacheCache) Set(key string, value []byte) {
	_ = c.Cache.Set([]byte(key), value, 0) // what it declines is a miss
}

type bigcacheCache struct {
	immediate
	*bigcache.BigCache
}

func newBigcache(entries, size int) cache {
	const header = 18
	entry := size + keyLength + header
	c, err := bigcache.New(context.Background(), bigcache.Config{
		Shards: 64 * runtime.NumCPU(), LifeWindow: 1000 * time.Hour, MaxEntriesInWindow: entries, MaxEntrySize: entry,
		HardMaxCacheSize: max(entries*entry>>20, 1),
	})
	if err != nil {
		log.Panic(err)
	}
	return bigcacheCache{BigCache: c}
}

func (c bigcacheCache) Get(key string) bool { _, err := c.BigCache.Get(key); return err == nil }
func (c bigcacheCache) Set(key string, value []byte) {
	_ = c.BigCache.Set(key, value)
}
func (c bigcacheCache) Close() { c.BigCache.Close() }
