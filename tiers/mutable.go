package tiers

import (
	"context"

	"github.com/micelio/micelio/object"
)

// getMutable asks the upstream what is current, after the reader arrived, and
// serves exactly that (have is what RAM has, if anything): the cached bytes if they are it, a flight that already
// carries it, or the answer itself.
//
// Nothing here trusts what the cache believes about the key, so it does not
// matter who else writes it, through which node, or how old the cached copy is.
func (c *Cache) getMutable(ctx context.Context, key object.Key, have holding, opt object.GetOptions) (*object.Object, error) {
	if !have.some() {
		have = c.findStored(key)
	}
	if !have.some() {
		have = c.findArriving(key)
	}
	for {
		f := c.newFlight(key, object.GetOptions{IfNoneMatch: known(have, opt)})
		f.enter()
		c.stats.Validations.Add(1)
		c.start(f)
		select {
		case <-f.ready:
		case <-ctx.Done():
			f.leave()
			have.close()
			return nil, ctx.Err()
		}
		switch {
		case f.current != nil:
			current := *f.current
			f.leave()
			c.stats.Revalidated.Add(1)
			if obj, err, ok := c.openCurrent(ctx, have, current, opt); ok {
				return obj, err
			}
			have = holding{} // fetch it
		case f.other != nil:
			other := f.other
			entered := other.enter()
			f.leave()
			have.close()
			have = holding{}
			if entered {
				c.stats.Joined.Add(1)
				return c.openFlight(ctx, other, opt, true)
			}
			have = c.find(key) // it has landed meanwhile
		default:
			have.close()
			obj, err := c.openFlight(ctx, f, opt, false)
			if have.some() && notFound(err) {
				c.drop(key) // no copy is worth its place any more
			}
			return obj, err
		}
	}
}

// known returns the version to ask the upstream about: what we have, or else
// what the client has.
func known(have holding, opt object.GetOptions) object.Match {
	if have.some() {
		return object.MatchETag(have.info().ETag)
	}
	if e, ok := opt.IfNoneMatch.ETag(); ok && !opt.IfMatch.IsSet() {
		return object.MatchETag(e)
	}
	return object.Match{}
}

// openCurrent serves a version that the upstream has just called current. It
// returns false, and gives up what we have, if that is not the same write (the
// same bytes may have been written again with other attributes) or damaged.
func (c *Cache) openCurrent(ctx context.Context, have holding, current object.Info, opt object.GetOptions) (*object.Object, error, bool) {
	if !have.some() { // then the upstream was asked about the client's copy
		return nil, &object.NotModifiedError{Info: current}, true
	}
	if info := have.info(); info.ETag != current.ETag || info.Version != current.Version {
		have.close()
		return nil, nil, false
	}
	obj, err := c.open(ctx, have, opt)
	return obj, err, !lost(err)
}
