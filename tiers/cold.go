package tiers

import (
	"context"
	"errors"
	"github.com/micelio/micelio/object"
	"math"
)

// openCold answers a read of an object of which the tiers have nothing with
// flights of parts. It returns false if the whole object is to be fetched: that
// is so if all of it is wanted, unless its first part is on its way already, or
// if all of it is arriving.
func (c *Cache) openCold(ctx context.Context, key object.Key, opt object.GetOptions, arrival uint64) (*object.Object, error, bool) {
	if c.wholeFills || c.arriving(key) {
		return nil, nil, false
	}
	if n := opt.Range.SuffixLength(); n > 0 {
		if n > maxKnownOffset {
			return nil, nil, false // that is all of it
		}
		return c.openColdPart(ctx, opt, arrival, func() (*flight, bool) { return c.joinSuffix(ctx, key, n) })
	}
	offset, length, err := opt.Range.Resolve(math.MaxInt64)
	if err != nil {
		return nil, nil, false
	}
	from, to := offset/c.partUnit*c.partUnit, int64(math.MaxInt64)
	if end := offset + length; end <= maxKnownOffset {
		to = (end + c.partUnit - 1) / c.partUnit * c.partUnit
	}
	if from == 0 && to == math.MaxInt64 {
		return c.openColdWhole(ctx, key, opt, arrival)
	}
	return c.openColdPart(ctx, opt, arrival, func() (*flight, bool) { return c.joinPart(ctx, key, nil, from, to, offset) })
}

// maxKnownOffset is beyond the end of any object.
const maxKnownOffset = 1 << 60

func (c *Cache) openColdPart(ctx context.Context, opt object.GetOptions, arrival uint64, join func() (*flight, bool)) (*object.Object, error, bool) {
	for {
		f, joined := join()
		obj, err := c.openPartFlight(ctx, f, opt, joined)
		if joined && notFound(err) && f.seq <= arrival {
			continue // it may be older than a write that this reader knows about
		}
		return obj, err, true
	}
}

// openColdWhole follows the flight of the first part if there is one. Of a small
// object that is all there is; the rest of a large one is a part like others, so
// that no byte comes twice, whichever it is.
func (c *Cache) openColdWhole(ctx context.Context, key object.Key, opt object.GetOptions, arrival uint64) (*object.Object, error, bool) {
	f := c.joinFirst(key)
	if f == nil {
		return nil, nil, false
	}
	obj, err := c.openPartFlight(ctx, f, opt, true)
	if errors.Is(err, object.ErrRange) || notFound(err) && f.seq <= arrival {
		return nil, nil, false // an empty object has no part, but is an object
	}
	return obj, err, true
}

// arriving reports whether a flight brings all of the object.
func (c *Cache) arriving(key object.Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flights[key] != nil
}

// openPartFlight waits for a flight of a part, which the caller has entered, and
// opens the object that it belongs to.
func (c *Cache) openPartFlight(ctx context.Context, f *flight, opt object.GetOptions, joined bool) (*object.Object, error) {
	if err := f.await(ctx, nil); err != nil {
		return nil, err
	}
	if f.whole() {
		return c.openFlight(ctx, f, opt, joined)
	}
	obj, err := f.answer(opt, joined)
	if err != nil {
		return nil, err
	}
	src := &partsSource{cache: c, info: obj.Info, end: obj.Offset + obj.Length, flight: f.follow(obj.Offset)}
	return c.partsObject(ctx, obj, src), nil
}

// openAhead gives obj a body of its own part, which the flight that brings all
// of it will not bring soon. It never waits for memory: the caller stays in that
// flight, which holds some and may wait for its readers. If it returns false, for
// whatever reason, that flight is on its way to the same bytes.
func (c *Cache) openAhead(ctx context.Context, obj *object.Object) bool {
	src := &partsSource{cache: c, info: obj.Info, end: obj.Offset + obj.Length, hasty: true}
	if src.turnTo(ctx, obj.Offset) != nil {
		src.close()
		return false
	}
	src.hasty = false
	if src.flight != nil {
		obj.Tier = src.flight.f.tier
	} else {
		obj.Tier = object.TierSSD
	}
	c.partsObject(ctx, obj, src)
	return true
}
