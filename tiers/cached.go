package tiers

import (
	"context"

	"github.com/micelio/micelio/internal/mutant"
	"github.com/micelio/micelio/object"
)

// GetCached answers as Get does from what is here at this moment: from RAM, from
// the SSD, or from a flight that has begun. It never asks the upstream, starts
// nothing, moves no copy up, and does not wait for a flight of which nobody
// knows yet whether there is an object. It reports false if it has not all that
// opt selects, whatever the reason. A body that cannot go on from here ends with
// an error that matches object.ErrUnavailable.
//
// It is for another node that would otherwise ask its own upstream. Two nodes may
// do so of each other at once, and neither can wait for the other: a flight has
// begun only when whoever it asked has answered, so who follows whom is a matter
// of who began first.
//
// Of mutable keys it has nothing: no copy of them is good without the upstream's
// word. Bytes of a verified key are not proven here: who asked has the name to
// prove them by.
func (c *Cache) GetCached(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, bool) {
	if !c.lasting(key) || ctx.Err() != nil {
		return nil, false
	}
	if c.ram.Has(key) { // a question of others is no miss of ours
		if e, ok := c.ram.Get(key); ok {
			obj, err := e.open(opt)
			return obj, err == nil
		}
	}
	if s, ok := c.ssd.Get(key); ok {
		if obj, ok := c.openCachedCopy(ctx, s, opt); ok {
			return obj, true
		}
	}
	return c.openCachedFlight(ctx, key, opt)
}

// HeadCached is GetCached without the bytes.
func (c *Cache) HeadCached(key object.Key) (object.Info, bool) {
	if !c.lasting(key) {
		return object.Info{}, false
	}
	if c.ram.Has(key) {
		if e, ok := c.ram.Get(key); ok {
			return e.info(), true
		}
	}
	if s, ok := c.ssd.Get(key); ok {
		defer s.Close()
		return s.Info(), true
	}
	return object.Info{}, false
}

// lasting reports whether a key's bytes never change.
func (c *Cache) lasting(key object.Key) bool {
	if _, err := object.ParseKey(string(key)); err != nil {
		return false
	}
	class, _ := c.classes.Of(key)
	return class != object.Mutable || c.mutants.Has(mutant.Peek)
}

// openCachedCopy opens what opt selects of a copy on disk, which it takes over.
func (c *Cache) openCachedCopy(ctx context.Context, s Stored, opt object.GetOptions) (*object.Object, bool) {
	info := s.Info()
	offset, length, err := selected(info, opt)
	if err == nil && !s.Complete() {
		if present, _ := s.Present(offset); present < offset+length {
			err = ErrAbsent
		}
	}
	if err != nil {
		s.Close()
		return nil, false
	}
	end := offset + length
	src := &diskSource{copy: s, chunks: c.chunks, size: info.Size, end: end, blocks: c.blocksOf(s, info, end)}
	return c.cachedObject(ctx, &object.Object{Info: info, Offset: offset, Length: length}, src), true
}

// openCachedFlight follows a flight that has begun and brings all that opt
// selects.
func (c *Cache) openCachedFlight(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, bool) {
	c.mu.Lock()
	flights := append([]*flight{}, c.parts[key]...)
	if f := c.flights[key]; f != nil {
		flights = append(flights, f)
	}
	c.mu.Unlock()
	for _, f := range flights {
		if !f.isReady() || !f.begun {
			continue
		}
		offset, length, err := selected(f.info, opt)
		if err != nil || offset+length > f.to || !f.passes(offset) || !f.enter() {
			continue
		}
		info := f.info
		info.Tier = object.TierFill
		c.stats.Joined.Add(1)
		return c.cachedObject(ctx, &object.Object{Info: info, Offset: offset, Length: length}, f.follow(offset)), true
	}
	return nil, false
}

func (c *Cache) cachedObject(ctx context.Context, obj *object.Object, src source) *object.Object {
	obj.Body = &body{
		ctx: ctx, cache: c, info: obj.Info, pos: obj.Offset, end: obj.Offset + obj.Length, src: src, cachedOnly: true,
	}
	return obj
}
