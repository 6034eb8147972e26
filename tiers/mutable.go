package tiers

import (
	"context"
	"time"

	"github.com/micelio/micelio/internal/mutant"
	"github.com/micelio/micelio/object"
)

// getMutable asks the upstream what is current, after the reader arrived, and
// serves exactly that: the cached bytes if they are it, a flight that already
// carries it, or the answer itself.
//
// Nothing here trusts what the cache believes about the key, so it does not
// matter who else writes it, through which node, or how old the cached copy is.
// Only a key with a staleness budget may be answered without asking, for as
// long as the budget allows. RAM has been looked at: have is what it had.
func (c *Cache) getMutable(ctx context.Context, key object.Key, have holding, opt object.GetOptions) (*object.Object, error) {
	if obj, err, ok := c.openFresh(ctx, key, have, opt); ok {
		return obj, err
	}
	for looks := 1; ; looks++ {
		v, joined := c.ask(ctx, key, have, opt, looks > maxLooks)
		have = holding{}
		if joined {
			c.stats.SharedValidations.Add(1)
		}
		f := v.flight
		select {
		case <-f.ready:
		case <-ctx.Done():
			f.leave()
			return nil, ctx.Err()
		}
		switch {
		case f.current != nil:
			obj, err, ok := c.openCurrent(ctx, v, opt)
			f.leave()
			if ok {
				return obj, err
			}
		case f.other != nil:
			other := f.other
			entered := other.enter()
			f.leave()
			if entered {
				c.stats.Joined.Add(1)
				return c.openFlight(ctx, other, opt, true)
			}
			// It has landed meanwhile, and the next question is about its copy.
		default:
			return c.openFlight(ctx, f, opt, joined)
		}
	}
}

// openCurrent serves a version that the upstream has just called current. It
// returns false if what was asked about cannot be served: it was another
// write's, or its bytes are damaged or gone.
func (c *Cache) openCurrent(ctx context.Context, v *validation, opt object.GetOptions) (*object.Object, error, bool) {
	current := *v.flight.current
	switch {
	case v.stale:
		return nil, nil, false
	case !v.held: // then the upstream was asked about the client's copy
		return nil, &object.NotModifiedError{Info: current}, true
	}
	c.stats.Revalidated.Add(1)
	if other := v.have.flight; other != nil && other.enter() {
		obj, err := c.openFlight(ctx, other, opt, true)
		return obj, err, true
	}
	h := holding{entry: v.have.entry}
	if !h.some() {
		h = c.seeEntry(v.flight.key)
	}
	if !h.some() {
		var err error
		if h, err = c.lift(ctx, v.flight.key, true); err != nil { // prepare has counted it
			return nil, err, true
		}
	}
	if !h.some() {
		return nil, nil, false
	}
	return c.openSeen(ctx, h, sight(v.info, v.sent), opt)
}

// openSeen opens a copy, which it takes over, if it is the version that was
// seen. Its age is the time since then.
func (c *Cache) openSeen(ctx context.Context, h holding, seen sighting, opt object.GetOptions) (*object.Object, error, bool) {
	if !seen.of(h.info()) {
		h.close()
		return nil, nil, false
	}
	obj, err := c.open(ctx, h, opt)
	if lost(err) {
		return nil, nil, false
	}
	if err == nil {
		obj.Age = max(time.Since(seen.at), 0)
	}
	return obj, err, true
}

// openFresh serves a copy of a key with a staleness budget without asking, if
// the upstream called it current so lately that the budget allows it.
func (c *Cache) openFresh(ctx context.Context, key object.Key, have holding, opt object.GetOptions) (*object.Object, error, bool) {
	h, seen, ok := c.findFresh(key, have, func() holding {
		h, _ := c.lift(ctx, key, false) // whose ctx has ended is told so elsewhere
		return h
	})
	if !ok {
		return nil, nil, false
	}
	obj, err, ok := c.openSeen(ctx, h, seen, opt)
	if ok {
		c.stats.Unvalidated.Add(1)
	}
	return obj, err, ok
}

// describeFresh is openFresh for a Head.
func (c *Cache) describeFresh(key object.Key) (object.Info, bool) {
	if c.staleness(key) <= 0 {
		return object.Info{}, false
	}
	var h holding
	if e, ok := c.ram.Get(key); ok {
		h = holdEntry(e)
	}
	h, seen, ok := c.findFresh(key, h, func() holding { return c.findStored(key, false) })
	if !ok {
		return object.Info{}, false
	}
	info := h.info()
	h.close()
	info.Age = max(time.Since(seen.at), 0)
	if ok = seen.of(info); ok {
		c.stats.Unvalidated.Add(1)
	}
	return info, ok
}

// findFresh returns a copy that may be served without asking: the one that RAM
// had, if any, or one from elsewhere; onDisk looks on the SSD.
func (c *Cache) findFresh(key object.Key, h holding, onDisk func() holding) (holding, sighting, bool) {
	budget := c.staleness(key)
	if budget <= 0 {
		return holding{}, sighting{}, false
	}
	seen, ok := c.fresh.last(key)
	if !ok || time.Since(seen.at) > budget {
		return holding{}, sighting{}, false
	}
	if !h.some() {
		h = onDisk()
	}
	if !h.some() {
		h = c.findArriving(key)
	}
	return h, seen, h.some()
}

// staleness returns the budget of a mutable key.
func (c *Cache) staleness(key object.Key) time.Duration {
	if c.mutants.Has(mutant.NoValidate) {
		return forEver
	}
	if c.budgets == nil {
		return 0
	}
	return c.budgets(key)
}

const forEver time.Duration = 1<<63 - 1
