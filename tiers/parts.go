package tiers

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

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
	if f.part {
		return obj.Offset == f.from && obj.Offset+obj.Length == min(f.to, obj.Size)
	}
	return obj.Offset == 0 && obj.Length == obj.Size
}

// whole reports whether a flight that has begun brings all of the object.
func (f *flight) whole() bool { return f.from == 0 && f.to == f.info.Size }

// partSpool returns where the bytes of a part go, nil if the disk declines them.
func (f *flight) partSpool() Spool {
	c := f.cache
	if !f.land() {
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

// joinPart returns a flight that brings byte pos of an object, and announces a
// reader to it, or starts one that brings the bytes from from to to. If info is
// nil, nothing is known of the object.
func (c *Cache) joinPart(key object.Key, info *object.Info, from, to, pos int64) (f *flight, joined bool) {
	c.mu.Lock()
	for _, f := range c.parts[key] {
		if f.passes(pos) && (info == nil || !f.carriesOther(*info)) && f.enter() {
			c.mu.Unlock()
			c.stats.Joined.Add(1)
			return f, true
		}
	}
	opt := object.GetOptions{Range: object.Bytes(from, to-from)}
	if to == math.MaxInt64 {
		opt.Range = object.From(from)
	}
	if info != nil {
		opt.IfMatch = object.MatchETag(info.ETag)
	}
	f = c.newFlight(key, opt)
	f.part, f.from, f.to, f.head, f.spooled = true, from, to, from, from
	f.seq = c.seq.Add(1)
	f.forgotten = c.writes[key] != nil
	f.enter()
	c.parts[key] = append(c.parts[key], f)
	c.mu.Unlock()
	c.start(f)
	return f, false
}

// passes reports whether the flight is going to bring a byte soon.
func (f *flight) passes(pos int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.from <= pos && pos < f.to && pos <= f.head+farAhead
}

// sameBytes reports whether two descriptions of an immutable object are of the
// same bytes. Writes of the same bytes differ in their Version, which says
// something about attributes only.
func sameBytes(a, b object.Info) bool { return a.ETag == b.ETag && a.Size == b.Size }

// carriesOther reports whether the flight is known to bring another version.
func (f *flight) carriesOther(info object.Info) bool {
	select {
	case <-f.ready:
		return !f.begun || !sameBytes(f.info, info)
	default:
		return false
	}
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

// openCold answers a read of a part of an object of which the tiers have
// nothing. It returns false if the whole object is to be fetched: that is so if
// it is arriving already, or if nobody knows where the part begins.
func (c *Cache) openCold(ctx context.Context, key object.Key, opt object.GetOptions, arrival uint64) (*object.Object, error, bool) {
	offset, length, err := opt.Range.Resolve(math.MaxInt64)
	if !opt.Range.IsSet() || c.wholeFills || err != nil || offset > maxKnownOffset || c.arriving(key) {
		return nil, nil, false
	}
	from, to := offset/c.partUnit*c.partUnit, int64(math.MaxInt64)
	if end := offset + length; end <= maxKnownOffset {
		to = (end + c.partUnit - 1) / c.partUnit * c.partUnit
	}
	if from == 0 && to == math.MaxInt64 {
		return nil, nil, false // that is all of it, which those who ask for the whole can follow
	}
	for {
		f, joined := c.joinPart(key, nil, from, to, offset)
		obj, err := c.openPartFlight(ctx, f, opt, joined)
		if joined && notFound(err) && f.seq <= arrival {
			continue // it may be older than a write that this reader knows about
		}
		return obj, err, true
	}
}

// maxKnownOffset is beyond the end of any object: offsets above it are counted
// from an end that is not known.
const maxKnownOffset = 1 << 60

// arriving reports whether a flight brings all of the object.
func (c *Cache) arriving(key object.Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flights[key] != nil
}

// openPartFlight waits for a flight of a part, which the caller has entered, and
// opens the object that it belongs to.
func (c *Cache) openPartFlight(ctx context.Context, f *flight, opt object.GetOptions, joined bool) (*object.Object, error) {
	if err := f.await(ctx); err != nil {
		return nil, err
	}
	if f.whole() {
		return c.openFlight(ctx, f, opt, joined)
	}
	info := f.info
	info.Tier, info.Age = f.tier, max(time.Since(f.born), 0)
	if joined {
		info.Tier = object.TierFill
	}
	offset, length, err := selected(info, opt)
	if err != nil {
		f.leave()
		return nil, err
	}
	src := &partsSource{cache: c, info: info, end: offset + length, flight: f.follow(offset)}
	if stored, ok := c.ssd.Get(f.key); ok {
		if sameBytes(stored.Info(), info) {
			src.disk = &diskSource{copy: stored, chunks: c.chunks, size: src.info.Size}
		} else {
			stored.Close()
		}
	}
	return c.partsObject(ctx, &object.Object{Info: info, Offset: offset, Length: length}, src), nil
}

// await waits until a flight that the caller has entered has an object. If it
// returns an error the flight is left.
func (f *flight) await(ctx context.Context) error {
	select {
	case <-f.ready:
	case <-ctx.Done():
		f.leave()
		return ctx.Err()
	}
	if !f.begun {
		defer f.leave()
		return f.failure()
	}
	return nil
}

// openPartly gives obj the body of a copy, which it takes over, that is not
// whole. If the authority has another version by now, the copy is dropped and
// the error matches ErrAbsent.
func (c *Cache) openPartly(ctx context.Context, stored Stored, obj *object.Object) (*object.Object, error) {
	if class, _ := c.classes.Of(obj.Key); class == object.Mutable {
		stored.Close()
		return nil, ErrAbsent // it is fetched again, in whole
	}
	src := &partsSource{cache: c, info: obj.Info, end: obj.Offset + obj.Length, disk: &diskSource{copy: stored, chunks: c.chunks, size: obj.Size}}
	if obj.Length > 0 {
		if err := src.turnTo(ctx, obj.Offset); err != nil {
			src.close()
			if replaced(err) {
				c.drop(obj.Key)
				return nil, fmt.Errorf("%w: %w", ErrAbsent, err)
			}
			return nil, err
		}
	}
	if src.flight != nil {
		obj.Tier = src.flight.f.tier
	}
	return c.partsObject(ctx, obj, src), nil
}

// errOtherVersion means that the upstream has replaced what is being read.
var errOtherVersion = fmt.Errorf("upstream has another version: %w", object.ErrUnavailable)

func replaced(err error) bool {
	return errors.Is(err, errOtherVersion) || errors.Is(err, object.ErrPrecondition) || notFound(err)
}

// partsObject gives obj its body. A whole one whose digest is known is proven
// along the way.
func (c *Cache) partsObject(ctx context.Context, obj *object.Object, src *partsSource) *object.Object {
	b := &body{ctx: ctx, cache: c, info: obj.Info, pos: obj.Offset, end: obj.Offset + obj.Length, src: src}
	obj.Body = b
	if want := c.digestOf(obj.Info); obj.Length == obj.Size && !want.IsZero() {
		obj.Body = object.VerifyBody(b, obj.Size, want)
		if src.disk != nil {
			obj.Body = &proving{ReadCloser: obj.Body, copy: src.disk.copy, cache: c}
		}
	}
	return obj
}

// A partsSource reads an object of which the disk has some parts, and flights
// bring the others.
type partsSource struct {
	cache  *Cache
	info   object.Info
	end    int64       // of what the reader wants
	disk   *diskSource // nil if the disk has nothing and takes nothing
	flight *follower   // of the part that is read, nil if that is on the disk
	losses int         // how often what was to be there was not
}

func (s *partsSource) readAt(ctx context.Context, p []byte, pos int64) (int, error) {
	for {
		if err := s.turnTo(ctx, pos); err != nil {
			if replaced(err) { // no answer to this read, which has begun
				err = fmt.Errorf("tiers: rest of %q is gone: %w: %v", s.info.Key, object.ErrUnavailable, err)
			}
			return 0, err
		}
		var n int
		var err error
		if s.flight != nil {
			n, err = s.flight.readAt(ctx, p[:min(int64(len(p)), s.flight.f.to-pos)], pos)
		} else {
			n, err = s.disk.readAt(ctx, p, pos)
		}
		if !lost(err) && !errors.Is(err, errBehind) {
			return n, err
		}
		s.leaveFlight()
		if s.losses++; s.losses > maxResumes {
			return 0, err // the body goes on by itself
		}
	}
}

// turnTo makes sure that there is a place to read byte pos from.
func (s *partsSource) turnTo(ctx context.Context, pos int64) error {
	if s.flight != nil {
		if f := s.flight.f; f.from <= pos && pos < f.to {
			return nil
		}
		s.leaveFlight()
	}
	missing := s.end
	if s.disk != nil {
		var present int64
		if present, missing = s.disk.copy.Present(pos); present > pos {
			s.disk.end = min(s.end, present)
			return nil
		}
	}
	unit := s.cache.gapUnit
	to := min((min(missing, s.end)+unit-1)/unit*unit, s.info.Size)
	f, _ := s.cache.joinPart(s.info.Key, &s.info, pos/unit*unit, to, pos)
	if err := f.await(ctx); err != nil {
		return err
	}
	if f.carriesOther(s.info) || pos >= f.to {
		f.leave()
		return fmt.Errorf("tiers: part of %q: %w", s.info.Key, errOtherVersion)
	}
	s.flight = f.follow(pos)
	return nil
}

func (s *partsSource) leaveFlight() {
	if s.flight != nil {
		s.flight.close()
		s.flight = nil
	}
}

func (s *partsSource) close() {
	s.leaveFlight()
	if s.disk != nil {
		s.disk.close()
	}
}
