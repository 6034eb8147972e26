package tiers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/micelio/micelio/internal/mutant"
	"github.com/micelio/micelio/internal/trail"
	"github.com/micelio/micelio/object"
)

// A flight is one read of the upstream that any number of readers follow. It
// runs on the cache's context, so that no reader's departure cancels another's
// bytes, and ends when the object is whole, the upstream fails or nobody is
// left who wants it.
//
// Its life has two phases. Until ready is closed nobody knows whether there is
// an object; what is known then never changes. After it, head grows until it
// reaches info.Size or err is set.
type flight struct {
	cache  *Cache
	key    object.Key
	opt    object.GetOptions // of the upstream read
	seq    uint64            // order of starts; see Cache.getShared
	born   time.Time
	since  time.Time       // when it was asked for
	ctx    context.Context // of the upstream read
	stop   context.CancelFunc
	shared bool          // listed from the start, under a key whose bytes never change
	alone  bool          // for one reader: never listed, never published
	part   bool          // asked for as a part of the object: see parts.go
	suffix int64         // so many bytes of its end were asked for; 0 if it is another part
	expect object.Digest // of the bytes, zero if any will do
	asks   *validation   // what it asks is current, nil if its key never changes

	starved chan struct{} // closed when it has to wait for memory; nil unless it is a part

	ready   chan struct{} // closed when the following are set
	begun   bool          // there is an object, and its bytes come
	info    object.Info
	tier    object.Tier  // where the upstream found it
	source  *fillCounts  // of what comes from there
	other   *flight      // follow that one: it already carries this version
	current *object.Info // the upstream has what opt.IfNoneMatch named
	small   []byte       // the whole object if it is small, else nil
	spool   Spool        // nil if the object is small or the disk declined it
	skip    int64        // bytes of the answer before what it brings

	mu        sync.Mutex    // guards the following
	err       error         // why it ended early
	forgotten bool          // it must not publish: a write has passed it
	doomed    bool          // it has been abandoned
	landing   bool          // it is publishing
	from, to  int64         // what it brings of the object; final when it is ready
	waited    chan struct{} // closed when landing ends, nil if nobody waits for that
	head      int64         // bytes that readers may see
	spooled   int64         // bytes that can be read from spool
	torn      bool          // the disk failed: nothing more goes to spool
	budget    int64         // bytes of Cache.memory held
	window    window        // of a large object
	followers map[*follower]struct{}
	waiting   int           // readers that wait for ready
	refs      int           // the flight itself and its readers: at 0 spool and window go
	grown     chan struct{} // closed when there are more bytes or an error, nil if no reader waits
	moved     chan struct{} // closed when a reader has moved, nil if the fill does not wait
}

// finishSmall is the size up to which a flight whose readers all left is
// finished anyway: what is left costs less than asking again.
const finishSmall = 8 << 20

var (
	errBehind    = errors.New("reader fell behind")
	errAbandoned = errors.New("nobody waits for it")
	errStopped   = fmt.Errorf("tiers: the cache has stopped: %w", object.ErrUnavailable)
)

// newFlight makes a flight that somebody's read needs. It is not the reader's: it
// goes on without them, but whoever is asked can tell for whose request it began.
func (c *Cache) newFlight(first context.Context, key object.Key, opt object.GetOptions) *flight {
	ctx, stop := context.WithCancel(trail.Copy(context.Background(), first))
	now := time.Now()
	return &flight{
		cache: c, key: key, opt: opt, born: now, since: now, ctx: ctx, stop: stop,
		ready: make(chan struct{}), followers: make(map[*follower]struct{}), refs: 1,
	}
}

// run is the flight. It is called once, by a goroutine of Cache.Run.
func (f *flight) run(ctx context.Context) {
	defer f.release()
	defer f.stop()
	defer context.AfterFunc(ctx, f.stop)()
	if f.asks != nil {
		f.asks.prepare()
	}
	asked := time.Now()
	obj, err := f.cache.upstream.Get(f.ctx, f.key, f.opt)
	if err != nil {
		f.noObject(err)
		return
	}
	defer obj.Body.Close()
	if f.asks != nil {
		f.asks.changed()
	}
	if !f.asked(obj) {
		f.fail(fmt.Errorf("tiers: upstream answered another part of %q: %w", f.key, object.ErrUnavailable))
		return
	}
	f.cache.learn(f.asks, obj.Info)
	if f.other = f.cache.listVersion(f, obj.Info); f.other != nil {
		f.announce()
		return
	}
	if err := f.begin(obj); err != nil {
		f.fail(err)
		return
	}
	f.announce()
	f.cache.abandon(f) // its readers may have left before anybody knew its size
	body := obj.Body
	if f.whole() && !f.info.SHA256.IsZero() {
		body = object.VerifyBody(body, obj.Size, f.info.SHA256)
	}
	if f.small != nil {
		err = f.fillSmall(body)
	} else if err = skipped(body, f.skip); err == nil {
		err = f.fillLarge(body)
	}
	f.end(err, time.Since(asked))
}

// noObject ends a flight whose upstream read brought no body.
func (f *flight) noObject(err error) {
	var nm *object.NotModifiedError
	if errors.As(err, &nm) {
		f.current = &nm.Info
		if f.asks != nil {
			f.asks.unchanged(nm.Info)
		}
		f.cache.unlist(f)
		f.announce()
		return
	}
	if f.asks != nil && f.asks.held && notFound(err) {
		f.cache.drop(f.key) // no copy is worth its place any more
	}
	if f.asks == nil && notFound(err) {
		// Whoever answered, it is the origin's word in the end.
		f.cache.stats.origin.Absent.Add(1)
	}
	f.fail(err)
}

// announce says that what is known will not change any more.
func (f *flight) announce() {
	close(f.ready)
	if f.asks != nil {
		f.cache.answered(f.asks)
	}
}

// begin decides where the bytes will go.
func (f *flight) begin(obj *object.Object) error {
	c := f.cache
	f.info, f.tier, f.born = obj.Info, obj.Tier, time.Now().Add(-obj.Age)
	f.source = c.stats.from(obj.Tier)
	f.info.Node = "" // whoever answered: from now on it is this node that does
	want := f.expect
	if class, digest := c.classes.Of(f.key); class == object.Verified {
		want = digest
	}
	if !want.IsZero() {
		if !f.info.SHA256.IsZero() && f.info.SHA256 != want {
			c.stats.BadDigests.Add(1)
			return fmt.Errorf("tiers: upstream has %s under %q: %w", f.info.SHA256, f.key, object.ErrDigest)
		}
		f.info.SHA256 = want
	}
	f.skip = f.settleSpan(obj)
	small := f.whole() && obj.Size <= max(c.ram.MaxObject(), chunkSize)
	budget := int64(windowChunks * chunkSize)
	if small {
		budget = max(obj.Size, minFlight)
	}
	budget = min(budget, c.memorySize)
	if err := f.acquire(budget); err != nil {
		return err
	}
	switch {
	case small:
		f.small = make([]byte, obj.Size)
	case f.alone: // its one reader sets the pace, and nobody else will want it
	case !f.whole():
		f.window.first = f.from / chunkSize
		f.spool = f.partSpool()
	default:
		if spool, ok := c.ssd.Create(f.info); ok {
			f.spool = spool
		}
	}
	f.begun = true
	return nil
}

// end publishes a whole object, or breaks the followers. It took so long from the
// question to the upstream on.
func (f *flight) end(err error, took time.Duration) {
	c := f.cache
	if err == nil {
		c.publish(f)
		f.shrink()
		f.source.Done.Add(1)
		c.filled(f.source.tier, took)
		c.unlist(f)
		return
	}
	if f.spool != nil {
		f.spool.Abort()
	}
	if f.isDoomed() {
		f.source.Abandoned.Add(1)
	} else {
		f.source.Failed.Add(1)
		if errors.Is(err, object.ErrDigest) {
			c.stats.BadDigests.Add(1)
		}
	}
	f.fail(fmt.Errorf("tiers: fill %q: %w", f.key, err))
}

// shrink gives back the memory of a flight that has landed: what is on the disk
// or in the RAM tier need not count here until the slowest reader is done.
func (f *flight) shrink() {
	f.mu.Lock()
	var budget int64
	onDisk := f.spool != nil && f.spooled == f.to
	if inRAM := f.small != nil && f.info.Size <= f.cache.ram.MaxObject() && !f.forgotten; onDisk || inRAM {
		f.window.clear()
		budget, f.budget = f.budget, 0
	}
	f.mu.Unlock()
	f.cache.giveBack(budget)
}

// refuse ends a flight that Run does not start any more.
func (f *flight) refuse() {
	f.fail(errStopped)
	f.stop()
	f.release()
}

// fail ends a flight early, before or after it is ready. The cache forgets it
// first, so that whoever sees the failure and asks again gets another one.
func (f *flight) fail(err error) {
	switch {
	case errors.Is(err, object.ErrDigest):
	case f.ctx.Err() != nil:
		err = fmt.Errorf("tiers: the fill of %q was stopped: %w", f.key, object.ErrUnavailable)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		// A context of somebody below. Its error would look like the reader's own.
		err = fmt.Errorf("tiers: the fill of %q: %w: %v", f.key, object.ErrUnavailable, err)
	}
	f.cache.unlist(f)
	f.mu.Lock()
	f.err = err
	wakeLocked(&f.grown)
	f.mu.Unlock()
	select {
	case <-f.ready:
	default:
		f.announce()
	}
}

// waitLocked returns a channel of a flight that the next wakeLocked closes.
// Readers wait for the fill and the fill for readers on two of them: thousands
// of readers who woke each other would do nothing else.
func waitLocked(c *chan struct{}) <-chan struct{} {
	if *c == nil {
		*c = make(chan struct{})
	}
	return *c
}

func wakeLocked(c *chan struct{}) {
	if *c != nil {
		close(*c)
		*c = nil
	}
}

// failure returns why the flight ended early, nil if it did not.
func (f *flight) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// enter announces a reader. It returns false if the flight is over and what it
// held is gone, or about to be.
func (f *flight) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refs == 0 || f.doomed || f.err != nil {
		return false
	}
	f.refs++
	f.waiting++
	f.cache.stats.Waiting.Add(1)
	return true
}

// leave takes back enter for a reader that will not follow.
func (f *flight) leave() {
	f.mu.Lock()
	f.waiting--
	f.mu.Unlock()
	f.cache.stats.Waiting.Add(-1)
	f.cache.abandon(f)
	f.release()
}

// release drops one reference. What the flight holds in memory goes with the
// last one: until then a reader may still copy from it.
func (f *flight) release() {
	f.mu.Lock()
	f.refs--
	last, budget := f.refs == 0, f.budget
	if last {
		f.window.clear()
	}
	f.mu.Unlock()
	if !last {
		return
	}
	if f.spool != nil {
		f.spool.Abort() // for one that was never ended
	}
	if f.asks != nil {
		f.asks.have.close()
	}
	f.cache.giveBack(budget)
}

// desertedLocked reports whether nobody reads the flight and what is left of it
// is not worth having. Of a shared one that is not known before its size.
func (f *flight) desertedLocked(shared bool) bool {
	if f.waiting > 0 || len(f.followers) > 0 {
		return false
	}
	select {
	case <-f.ready:
	default:
		return !shared
	}
	if !f.begun || f.err != nil {
		return false // it has ended
	}
	kept := f.small != nil || (f.spool != nil && !f.torn)
	if !kept || f.forgotten {
		return true
	}
	all, done := f.to-f.from, f.head-f.from
	return all > finishSmall && done < all/2 && !f.cache.wholeFills
}

func (f *flight) isDoomed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.doomed
}

// forget keeps the flight from publishing what it carries. If it is just doing
// so, it returns a channel that is closed when that has been undone.
func (f *flight) forget() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgotten = true
	if f.landing && f.waited == nil {
		f.waited = make(chan struct{})
	}
	return f.waited
}

// land claims the right to publish. It returns false if a write was quicker.
func (f *flight) land() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.landing = !f.forgotten || f.cache.mutants.Has(mutant.NoFence)
	return f.landing
}

// landed ends what land began, with undo if a write has come meanwhile.
func (f *flight) landed(undo func()) {
	f.mu.Lock()
	again := f.forgotten
	f.landing = again
	f.mu.Unlock()
	if !again {
		return
	}
	if !f.cache.mutants.Has(mutant.NoFence) {
		undo()
	}
	f.mu.Lock()
	f.landing = false
	if f.waited != nil {
		close(f.waited)
		f.waited = nil
	}
	f.mu.Unlock()
}
