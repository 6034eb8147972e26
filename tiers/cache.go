package tiers

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/micelio/micelio/internal/mutant"
	"github.com/micelio/micelio/object"
)

// Config is what a Cache is made of.
type Config struct {
	Upstream object.Store    // the authority, or what stands before it
	Classes  *object.Classes // which keys may be served without asking it
	RAM      RAM             // nil: none
	SSD      SSD             // nil: none; closed by whoever opened it

	// FillMemory bounds the bytes of objects on their way that are held in
	// memory: large fills hold a window of 1 MiB, small ones the object. A
	// fill that finds none free waits. What is in use comes out of what the
	// RAM tier may have, see RAM.Reserve. 0 means DefaultFillMemory.
	FillMemory int64

	// WholeFills says that a read of a part of a large object that is not
	// cached fetches all of it. Otherwise it fetches the parts it needs.
	WholeFills bool

	// Staleness returns how old a sighting of a mutable key's current version
	// may be for a read to be answered without asking Upstream: what is read
	// was current at most so long before the read arrived. 0 means that every
	// read asks. nil: 0 for all keys.
	Staleness func(object.Key) time.Duration

	// Filled, if not nil, is called after each flight that brought all it was to
	// bring: from the peer, the CDN or the origin, and how long that took from the
	// question to the last byte. It is called by the flight, by several at once,
	// and must not block.
	Filled func(from object.Tier, took time.Duration)

	Mutants mutant.Set // for tests: how to break the protocol

	Log *slog.Logger // nil: discard
}

// DefaultFillMemory lets 64 large objects, or thousands of small ones, arrive
// at once.
const DefaultFillMemory = 64 << 20

// A Cache is a Store that keeps copies of another one's objects in RAM and on
// SSD. It is safe for concurrent use. Reads that miss need Run.
type Cache struct {
	upstream   object.Store
	classes    *object.Classes
	ram        RAM
	ssd        SSD
	log        *slog.Logger
	memory     *semaphore.Weighted
	memorySize int64
	wholeFills bool
	partUnit   int64 // parts of objects of which nothing is known are fetched in multiples of it
	gapUnit    int64 // what is missing of others in multiples of this, in bytes
	chunks     *chunkPool
	blocks     *blocks
	stats      counters
	onFilled   func(object.Tier, time.Duration) // nil: nobody wants to know
	seq        atomic.Uint64                    // flights started for shared keys; grows under mu
	fences     fences                           // grow under mu
	promoting  *promotions
	largest    mostRead // of objects that stay on the disk
	fresh      *freshness
	budgets    func(object.Key) time.Duration // nil: none
	mutants    mutant.Set

	wake chan struct{} // to Run: there are jobs

	mu        sync.Mutex               // guards the following
	jobs      []*flight                // for Run to start
	stopped   bool                     // Run takes no more
	flights   map[object.Key]*flight   // of whole objects
	parts     map[object.Key][]*flight // of parts of them
	questions map[object.Key]*questions
	writes    map[object.Key]*writes
}

var _ object.Store = (*Cache)(nil)

// New returns a Cache. It does nothing by itself; see Run.
func New(cfg Config) *Cache {
	if cfg.RAM == nil {
		cfg.RAM = OffRAM{}
	}
	if cfg.SSD == nil {
		cfg.SSD = Off{}
	}
	if cfg.FillMemory <= 0 {
		cfg.FillMemory = DefaultFillMemory
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cache{
		upstream: cfg.Upstream, classes: cfg.Classes, ram: cfg.RAM, ssd: cfg.SSD, log: cfg.Log,
		memory: semaphore.NewWeighted(cfg.FillMemory), memorySize: cfg.FillMemory,
		chunks: newChunkPool(), blocks: newBlocks(cfg.RAM, cfg.SSD), fences: newFences(), promoting: newPromotions(), wake: make(chan struct{}, 1),
		wholeFills: cfg.WholeFills, partUnit: max(minPart, cfg.SSD.PartSize()), gapUnit: max(chunkSize, cfg.SSD.PartSize()),
		fresh: newFreshness(cfg.Mutants), budgets: cfg.Staleness, mutants: cfg.Mutants,
		flights: make(map[object.Key]*flight), parts: make(map[object.Key][]*flight),
		questions: make(map[object.Key]*questions), writes: make(map[object.Key]*writes), onFilled: cfg.Filled,
	}
	c.stats.name()
	return c
}

// Run carries the flights and keeps the SSD tier in order until ctx ends, then
// breaks what is under way and returns when all has ended. It is called once.
func (c *Cache) Run(ctx context.Context) error {
	var flights sync.WaitGroup
	defer flights.Wait()
	flights.Go(func() {
		if err := c.ssd.Run(ctx); err != nil {
			c.log.Error("the SSD tier is not kept in order any more", "err", err)
		}
	})
	for {
		for _, f := range c.takeJobs(false) {
			flights.Go(func() { f.run(ctx) })
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			for _, f := range c.takeJobs(true) {
				f.refuse()
			}
			return nil
		}
	}
}

// takeJobs returns the flights that are to be started. The last call says that
// there will be no other.
func (c *Cache) takeJobs(last bool) []*flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	jobs := c.jobs
	c.jobs, c.stopped = nil, last
	return jobs
}

// start hands a flight to Run. It takes no context: others may have joined the
// flight already, and must not lose it with the reader who started it.
func (c *Cache) start(f *flight) {
	c.mu.Lock()
	stopped := c.stopped
	if !stopped {
		c.jobs = append(c.jobs, f)
	}
	c.mu.Unlock()
	if stopped {
		f.refuse()
		return
	}
	select {
	case c.wake <- struct{}{}:
	default: // Run has been told, and takes all jobs there are
	}
}

// Head describes an object. Cached immutable keys are answered without the
// upstream, and mutable ones as far as their staleness budget allows.
func (c *Cache) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return object.Info{}, err
	}
	if class, _ := c.classes.Of(key); class != object.Mutable {
		if info, ok := c.describe(key); ok {
			return info, object.CheckRead(info, opt.IfMatch, opt.IfNoneMatch)
		}
	} else if info, ok := c.describeFresh(key); ok {
		return info, object.CheckRead(info, opt.IfMatch, opt.IfNoneMatch)
	}
	return c.upstream.Head(ctx, key, opt)
}

// describe looks an immutable object up in the tiers.
func (c *Cache) describe(key object.Key) (object.Info, bool) {
	if e, ok := c.ram.Get(key); ok {
		return e.info(), true
	}
	if s, ok := c.ssd.Get(key); ok {
		defer s.Close()
		return s.Info(), true
	}
	return object.Info{}, false
}

// List is the upstream's: what is cached says nothing about what exists.
func (c *Cache) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return c.upstream.List(ctx, opt)
}

// join returns the flight that is fetching key, or starts one, and announces a
// reader to it. It returns nil if the tiers have got the object meanwhile, and
// look is set. What is started goes on when ctx, the reader's, has ended.
func (c *Cache) join(ctx context.Context, key object.Key, look bool) (f *flight, joined bool) {
	c.mu.Lock()
	if f := c.flights[key]; f != nil && f.enter() {
		c.mu.Unlock()
		return f, true
	}
	if look && (c.ram.Has(key) || c.ssd.Has(key)) {
		c.mu.Unlock()
		return nil, false
	}
	f = c.newFlight(ctx, key, object.GetOptions{})
	f.seq = c.seq.Add(1)
	f.shared = true
	f.forgotten = c.writes[key] != nil
	f.enter()
	c.flights[key] = f
	c.mu.Unlock()
	c.start(f)
	return f, false
}

// listVersion makes a flight that found a mutable object known to later
// readers, or returns the one that already carries the same version. Shared
// flights were listed when they started: one that is not any more has been
// passed by a write, and must not come back.
func (c *Cache) listVersion(f *flight, info object.Info) *flight {
	if f.shared || f.alone || f.part {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.flights[f.key]
	if e != nil {
		if info.Version != "" && e.carries(info) {
			return e
		}
		e.forget() // what it carries has been replaced
	}
	f.mu.Lock()
	f.forgotten = f.forgotten || c.writes[f.key] != nil
	f.mu.Unlock()
	c.flights[f.key] = f
	return nil
}

// carries reports whether the flight brings exactly this version.
func (f *flight) carries(info object.Info) bool {
	select {
	case <-f.ready:
		return f.begun && f.failure() == nil && f.info.ETag == info.ETag && f.info.Version == info.Version
	default:
		return false
	}
}

// unlist takes a flight off the list of those that can be joined.
func (c *Cache) unlist(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delistLocked(f)
}

// abandon stops a flight that nobody reads and that is not worth finishing. It
// is forgotten first, so that nobody can join what is about to be cancelled.
func (c *Cache) abandon(f *flight) bool {
	c.mu.Lock()
	f.mu.Lock()
	listed := c.flights[f.key] == f || slices.Contains(c.parts[f.key], f)
	deserted := f.desertedLocked(listed)
	if deserted {
		c.delistLocked(f)
	}
	f.doomed = f.doomed || deserted
	f.forgotten = f.forgotten || deserted // or what it brought all the same could pass a write that does not see it
	f.mu.Unlock()
	c.mu.Unlock()
	if deserted {
		f.stop()
	}
	return deserted
}

// publish puts what a finished flight brought into the tiers, unless a write
// has passed it. A write that comes meanwhile waits until this is undone.
func (c *Cache) publish(f *flight) {
	if !f.whole() || !f.land() {
		if f.spool != nil {
			f.spool.Abort()
		}
		return
	}
	f.mu.Lock()
	whole := f.spooled == f.info.Size
	f.mu.Unlock()
	switch {
	case f.small != nil:
		c.keep(&Entry{Info: f.info, Bytes: f.small, Born: f.born})
	case f.spool == nil:
	case !whole:
		f.spool.Abort()
	default:
		if err := f.spool.Commit(f.info); err != nil {
			c.log.DebugContext(f.ctx, "no copy on disk", "key", f.key, "err", err)
			f.spool.Abort()
		}
	}
	f.landed(func() { c.drop(f.key) })
}

// keep puts a small object into both tiers.
func (c *Cache) keep(e *Entry) {
	class, _ := c.classes.Of(e.Info.Key)
	e.lasting = class != object.Mutable
	c.ram.Set(e)
	c.blocks.press(len(e.Bytes))
	if len(e.Bytes) <= MaxPut {
		c.ssd.Put(e)
		return
	}
	spool, ok := c.ssd.Create(e.Info)
	if !ok {
		return
	}
	for at := 0; at < len(e.Bytes); at += chunkSize {
		if spool.Write(e.Bytes[at:min(at+chunkSize, len(e.Bytes))]) != nil {
			spool.Abort()
			return
		}
	}
	if err := spool.Commit(e.Info); err != nil {
		c.log.Debug("no copy on disk", "key", e.Info.Key, "err", err)
		spool.Abort()
	}
}

// drop removes an object from the tiers.
func (c *Cache) drop(key object.Key) {
	c.ram.Delete(key)
	c.ssd.Delete(key)
	c.blocks.forget(key)
}

// notFound reports an authority's "no".
func notFound(err error) bool { return errors.Is(err, object.ErrNotFound) }
