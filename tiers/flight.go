package tiers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

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
	cache *Cache
	key   object.Key
	opt   object.GetOptions // of the upstream read
	seq   uint64            // order of starts; see Cache.getShared
	born  time.Time
	ctx   context.Context // of the upstream read
	stop  context.CancelFunc
	alone bool // for one reader: never shared, never published

	ready   chan struct{} // closed when the following are set
	begun   bool          // there is an object, and its bytes come
	info    object.Info
	tier    object.Tier  // where the upstream found it
	other   *flight      // follow that one: it already carries this version
	current *object.Info // the upstream has what opt.IfNoneMatch named
	small   []byte       // the whole object if it is small, else nil
	spool   Spool        // nil if the object is small or the disk declined it
	budget  int64        // bytes of Cache.memory held

	mu        sync.Mutex // guards the following
	err       error      // why it ended early
	forgotten bool       // it must not publish: a write has passed it
	head      int64      // bytes that readers may see
	spooled   int64      // bytes that can be read from spool
	window    window     // of a large object
	followers map[*follower]struct{}
	waiting   int           // readers that wait for ready
	refs      int           // the flight itself and its readers: at 0 spool and window go
	changed   chan struct{} // closed at the next change, nil if nobody waits for one
}

// finishSmall is the size up to which a flight whose readers all left is
// finished anyway: what is left costs less than asking again.
const finishSmall = 8 << 20

var (
	errBehind    = errors.New("reader fell behind")
	errAbandoned = errors.New("nobody waits for it")
)

func (c *Cache) newFlight(key object.Key, opt object.GetOptions) *flight {
	ctx, stop := context.WithCancel(context.Background())
	return &flight{
		cache: c, key: key, opt: opt, born: time.Now(), ctx: ctx, stop: stop,
		ready: make(chan struct{}), followers: make(map[*follower]struct{}), refs: 1,
	}
}

// run is the flight. It is called once, by a goroutine of Cache.Run.
func (f *flight) run(ctx context.Context) {
	defer f.release()
	defer f.stop()
	defer context.AfterFunc(ctx, f.stop)()
	obj, err := f.cache.upstream.Get(f.ctx, f.key, f.opt)
	if err != nil {
		f.noObject(err)
		return
	}
	defer obj.Body.Close()
	if obj.Offset != 0 || obj.Length != obj.Size {
		f.fail(fmt.Errorf("tiers: upstream answered a part of %q: %w", f.key, object.ErrUnavailable))
		return
	}
	if f.other = f.cache.listVersion(f, obj.Info); f.other != nil {
		close(f.ready)
		return
	}
	if err := f.begin(obj); err != nil {
		f.fail(err)
		return
	}
	close(f.ready)
	body := obj.Body
	if !f.info.SHA256.IsZero() {
		body = object.VerifyBody(body, obj.Size, f.info.SHA256)
	}
	if f.small != nil {
		err = f.fillSmall(body)
	} else {
		err = f.fillLarge(body)
	}
	f.end(err)
}

// noObject ends a flight whose upstream read brought no body.
func (f *flight) noObject(err error) {
	var nm *object.NotModifiedError
	if errors.As(err, &nm) {
		f.current = &nm.Info
		f.cache.unlist(f)
		close(f.ready)
		return
	}
	f.fail(err)
}

// begin decides where the bytes will go.
func (f *flight) begin(obj *object.Object) error {
	c := f.cache
	f.info, f.tier = obj.Info, obj.Tier
	class, digest := c.classes.Of(f.key)
	if class == object.Verified {
		if !f.info.SHA256.IsZero() && f.info.SHA256 != digest {
			c.stats.BadDigests.Add(1)
			return fmt.Errorf("tiers: upstream has %s under %q: %w", f.info.SHA256, f.key, object.ErrDigest)
		}
		f.info.SHA256 = digest
	}
	small := obj.Size <= max(c.ram.MaxObject(), chunkSize)
	budget := int64(windowChunks * chunkSize)
	if small {
		budget = max(obj.Size, minFlight)
	}
	budget = min(budget, c.memorySize)
	if err := c.memory.Acquire(f.ctx, budget); err != nil {
		return err
	}
	f.budget = budget
	if small {
		f.small = make([]byte, obj.Size)
	} else if spool, ok := c.ssd.Create(f.info); ok {
		f.spool = spool
	}
	f.begun = true
	return nil
}

// end publishes a whole object, or breaks the followers.
func (f *flight) end(err error) {
	c := f.cache
	if err == nil {
		c.publish(f)
		c.unlist(f)
		c.stats.Fills.Add(1)
		return
	}
	if f.spool != nil {
		f.spool.Abort()
	}
	switch {
	case errors.Is(err, errAbandoned):
		c.stats.AbandonedFills.Add(1)
	case errors.Is(err, object.ErrDigest):
		c.stats.BadDigests.Add(1)
	}
	c.stats.FailedFills.Add(1)
	f.fail(fmt.Errorf("tiers: fill %q: %w", f.key, err))
}

// fail ends a flight early, before or after it is ready. The cache forgets it
// first, so that whoever sees the failure and asks again gets another one.
func (f *flight) fail(err error) {
	if f.ctx.Err() != nil && !errors.Is(err, object.ErrDigest) {
		// Its own context's error would look like the reader's.
		err = fmt.Errorf("tiers: the fill of %q was stopped: %w", f.key, object.ErrUnavailable)
	}
	f.cache.unlist(f)
	f.mu.Lock()
	f.err = err
	f.wakeLocked()
	f.mu.Unlock()
	select {
	case <-f.ready:
	default:
		close(f.ready)
	}
}

func (f *flight) wakeLocked() {
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// changeLocked returns a channel that is closed at the next change.
func (f *flight) changeLocked() <-chan struct{} {
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	return f.changed
}

// failure returns why the flight ended early, nil if it did not.
func (f *flight) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// enter announces a reader. It returns false if the flight is over and what it
// held is gone.
func (f *flight) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refs == 0 {
		return false
	}
	f.refs++
	f.waiting++
	return true
}

// leave takes back enter for a reader that will not follow.
func (f *flight) leave() {
	f.mu.Lock()
	f.waiting--
	f.mu.Unlock()
	f.cache.abandon(f)
	f.release()
}

// release drops one reference. What the flight holds in memory goes with the
// last one: until then a reader may still copy from it.
func (f *flight) release() {
	f.mu.Lock()
	f.refs--
	last := f.refs == 0
	f.mu.Unlock()
	if !last {
		return
	}
	f.window.clear()
	if f.spool != nil {
		f.spool.Close()
	}
	f.cache.memory.Release(f.budget)
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
	kept := f.small != nil || f.spool != nil
	return !kept || f.forgotten || (f.info.Size > finishSmall && f.head < f.info.Size/2)
}

// forget keeps the flight from publishing what it carries.
func (f *flight) forget() {
	f.mu.Lock()
	f.forgotten = true
	f.mu.Unlock()
}
