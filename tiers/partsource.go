package tiers

import (
	"context"
	"errors"
	"fmt"

	"github.com/micelio/micelio/object"
)

// A partsSource reads an object of which the disk has some parts, and flights
// bring the others.
type partsSource struct {
	cache  *Cache
	info   object.Info
	end    int64       // of what the reader wants
	disk   *diskSource // nil if the disk has nothing and takes nothing
	flight *follower   // of the part that is read, nil if that is on the disk
	losses int         // how often what was to be there was not
	hasty  bool        // wait for no flight that waits for memory

	// foreign says that some bytes came from a flight of all of the object,
	// which has a copy of its own on the disk.
	foreign bool
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
	if s.findDisk() {
		var present int64
		if present, missing = s.disk.copy.Present(pos); present > pos {
			s.disk.end = min(s.end, present)
			return nil
		}
	}
	unit := s.cache.gapUnit
	to := min((min(missing, s.end)+unit-1)/unit*unit, s.info.Size)
	f, _ := s.cache.joinPart(ctx, s.info.Key, &s.info, pos/unit*unit, to, pos)
	var starved <-chan struct{}
	if s.hasty {
		starved = f.starved
	}
	if err := f.await(ctx, starved); err != nil {
		return err
	}
	if same, _ := f.brings(s.info); !same || pos >= f.to {
		f.leave()
		return fmt.Errorf("tiers: part of %q: %w", s.info.Key, errOtherVersion)
	}
	s.foreign = s.foreign || !f.part
	s.flight = f.follow(pos)
	return nil
}

// findDisk looks for a copy of which some parts may be there, and reports
// whether there is one.
func (s *partsSource) findDisk() bool {
	if s.disk != nil {
		return true
	}
	c := s.cache
	if class, _ := c.classes.Of(s.info.Key); class == object.Mutable {
		return false // the disk has no parts of it
	}
	stored, ok := c.ssd.Get(s.info.Key)
	if !ok {
		return false
	}
	if !sameBytes(stored.Info(), s.info) {
		stored.Close()
		return false
	}
	s.disk = &diskSource{copy: stored, chunks: c.chunks, size: s.info.Size}
	return true
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
		if src.findDisk() {
			obj.Body = &proving{ReadCloser: obj.Body, copy: src.disk.copy, cache: c, parts: src}
		}
	}
	return obj
}
