package tiers

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/micelio/micelio/object"
)

// Parts of large objects: a read of a range of an object that is not cached
// fetches the units around it, and the disk keeps them. A later read takes what
// is there from the disk and fetches what is missing, part by part; when
// nothing is missing any more the copy is like any other.

// minPart is the least that is fetched of an object, in bytes. An object that is
// no larger comes whole, with one request, whatever was asked for: its first
// unit is all of it.
const minPart = 4 << 20

// asked reports whether the upstream answered what the flight asked for.
func (f *flight) asked(obj *object.Object) bool {
	switch {
	case f.suffix > 0:
		return obj.Offset == max(obj.Size-f.suffix, 0) && obj.Offset+obj.Length == obj.Size
	case f.part:
		return obj.Offset == f.from && obj.Offset+obj.Length == min(f.to, obj.Size)
	}
	return obj.Offset == 0 && obj.Length == obj.Size
}

// settleSpan sets what the flight brings, now that it is known how long the
// object is, and returns how many bytes of the answer come before that: the end
// of an object begins anywhere, but parts on the disk in multiples of a unit.
func (f *flight) settleSpan(obj *object.Object) (skip int64) {
	from, unit := obj.Offset, f.cache.gapUnit
	if f.suffix > 0 {
		from = (from + unit - 1) / unit * unit
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from, f.head, f.spooled, f.to = from, from, from, obj.Offset+obj.Length
	return from - obj.Offset
}

// whole reports whether a flight that has begun brings all of the object.
func (f *flight) whole() bool { return f.from == 0 && f.to == f.info.Size }

// partSpool returns where the bytes of a part go, nil if the disk declines them.
// Of a key that may change it keeps whole objects only.
func (f *flight) partSpool() Spool {
	c := f.cache
	if class, _ := c.classes.Of(f.key); class == object.Mutable || !f.land() {
		return nil
	}
	stored, ok := c.ssd.Begin(f.info)
	f.landed(func() { c.drop(f.key) })
	if !ok {
		return nil
	}
	defer stored.Close()
	spool, ok := stored.Fill(f.from, f.to-f.from)
	if !ok {
		return nil
	}
	return spool
}

// joinPart returns a flight that brings byte pos of an object soon, be it of all
// of it or of a part, and announces a reader to it, or starts one that brings
// the bytes from from to to. If info is nil, nothing is known of the object. What
// is started goes on when ctx, the reader's, has ended.
func (c *Cache) joinPart(ctx context.Context, key object.Key, info *object.Info, from, to, pos int64) (f *flight, joined bool) {
	c.mu.Lock()
	if f := c.passingLocked(key, info, pos); f != nil {
		c.mu.Unlock()
		c.stats.Joined.Add(1)
		return f, true
	}
	opt := object.GetOptions{Range: object.Bytes(from, to-from)}
	if to == math.MaxInt64 {
		opt.Range = object.From(from)
	}
	if info != nil {
		opt.IfMatch = object.MatchETag(info.ETag)
	}
	f = c.newPartLocked(ctx, key, opt)
	f.from, f.to, f.head, f.spooled = from, to, from, from
	c.mu.Unlock()
	c.start(f)
	return f, false
}

// passingLocked returns a flight that joinPart can join, entered, or nil.
func (c *Cache) passingLocked(key object.Key, info *object.Info, pos int64) *flight {
	if f := c.flights[key]; f != nil && info != nil {
		if same, known := f.brings(*info); known && same && f.passes(pos) && f.enter() {
			return f
		}
	}
	for _, f := range c.parts[key] {
		if f.passes(pos) && (info == nil || f.mayBring(*info)) && f.enter() {
			return f
		}
	}
	return nil
}

// joinSuffix is joinPart for the last n bytes of an object of unknown size. One
// request asks for so many more that they hold the first unit whole in which a
// byte of them is.
func (c *Cache) joinSuffix(ctx context.Context, key object.Key, n int64) (f *flight, joined bool) {
	ask := n + c.partUnit - 1
	c.mu.Lock()
	for _, f := range c.parts[key] {
		if f.endsWith(n, ask) && f.enter() {
			c.mu.Unlock()
			c.stats.Joined.Add(1)
			return f, true
		}
	}
	f = c.newPartLocked(ctx, key, object.GetOptions{Range: object.Suffix(ask)})
	f.suffix = ask
	c.mu.Unlock()
	c.start(f)
	return f, false
}

// joinFirst returns a flight that brings the first bytes of an object of which
// nothing was known when it started, and perhaps all of them, and announces a
// reader to it. It returns nil if there is none, or one that is sure to bring all.
func (c *Cache) joinFirst(key object.Key) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flights[key] != nil {
		return nil
	}
	for _, f := range c.parts[key] {
		if !f.opt.IfMatch.IsSet() && f.passes(0) && f.enter() {
			c.stats.Joined.Add(1)
			return f
		}
	}
	return nil
}

// newPartLocked makes and lists a flight of a part, with a reader.
func (c *Cache) newPartLocked(ctx context.Context, key object.Key, opt object.GetOptions) *flight {
	f := c.newFlight(ctx, key, opt)
	f.part, f.starved = true, make(chan struct{})
	f.seq = c.seq.Add(1)
	f.forgotten = c.writes[key] != nil
	f.enter()
	c.parts[key] = append(c.parts[key], f)
	return f
}

// passes reports whether the flight is going to bring a byte soon, or still has
// it.
func (f *flight) passes(pos int64) bool {
	ready := f.isReady()
	f.mu.Lock()
	defer f.mu.Unlock()
	if pos < f.from || pos >= f.to || pos > f.head+farAhead {
		return false
	}
	return !ready || f.small != nil || pos >= f.window.first*chunkSize || pos < f.spooled
}

// endsWith reports whether the flight brings the last n bytes of its object,
// soon; ask is how many an answer must have for that if the size is not known.
func (f *flight) endsWith(n, ask int64) bool {
	if !f.isReady() {
		return f.suffix >= ask
	}
	return f.begun && f.to == f.info.Size && f.passes(max(f.info.Size-n, 0))
}

func (f *flight) isReady() bool {
	select {
	case <-f.ready:
		return true
	default:
		return false
	}
}

// sameBytes reports whether two descriptions of an immutable object are of the
// same bytes. Writes of the same bytes differ in their Version, which says
// something about attributes only.
func sameBytes(a, b object.Info) bool { return a.ETag == b.ETag && a.Size == b.Size }

// brings reports whether the flight brings these bytes, if that is known yet.
func (f *flight) brings(info object.Info) (same, known bool) {
	if !f.isReady() {
		return false, false
	}
	return f.begun && sameBytes(f.info, info), true
}

// mayBring reports whether the flight of a part brings these bytes, as far as
// is known.
func (f *flight) mayBring(info object.Info) bool {
	if same, known := f.brings(info); known {
		return same
	}
	pinned, ok := f.opt.IfMatch.ETag()
	return !ok || pinned == info.ETag
}

// delistLocked takes a flight off the list of those that can be joined.
func (c *Cache) delistLocked(f *flight) {
	if c.flights[f.key] == f {
		delete(c.flights, f.key)
	}
	if i := slices.Index(c.parts[f.key], f); i >= 0 {
		rest := slices.Delete(c.parts[f.key], i, i+1)
		if c.parts[f.key] = rest; len(rest) == 0 {
			delete(c.parts, f.key)
		}
	}
}

// forgetPartsLocked is forgetLocked for the parts of a key.
func (c *Cache) forgetPartsLocked(key object.Key) (landing []<-chan struct{}) {
	for _, f := range c.parts[key] {
		landing = append(landing, f.forget())
	}
	delete(c.parts, key)
	return landing
}

// errStarved means that a flight waits for memory.
var errStarved = errors.New("no memory for another fill")

// await waits until a flight that the caller has entered has an object. If it
// returns an error the flight is left. It does not wait for one that starves, if
// starved is set.
func (f *flight) await(ctx context.Context, starved <-chan struct{}) error {
	select {
	case <-f.ready:
	case <-ctx.Done():
		f.leave()
		return ctx.Err()
	case <-starved:
		if !f.isReady() {
			f.leave()
			return errStarved
		}
	}
	if !f.begun {
		defer f.leave()
		return f.failure()
	}
	return nil
}
