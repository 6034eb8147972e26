package tiers

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"

	"github.com/micelio/micelio/internal/mutant"
	"github.com/micelio/micelio/object"
)

// writes are the writes of one key that are under way.
type writes struct {
	active int
	mixed  bool // two of them overlapped

	// turn is held by the one write that is being decided at the authority.
	// Those of a mutable key are decided one after the other, in the order in
	// which their bytes are complete: two at once would only refuse each other.
	// A channel, because its waiters are served in order and may leave.
	turn chan struct{}
}

// Put writes to the upstream first and keeps a copy of what passed by when the
// upstream has said yes.
func (c *Cache) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return object.Info{}, err
	}
	class, digest := c.classes.Of(key)
	if class == object.Verified {
		if !opt.SHA256.IsZero() && opt.SHA256 != digest {
			return object.Info{}, fmt.Errorf("tiers: put %q with digest %s: %w", key, opt.SHA256, object.ErrDigest)
		}
		opt.SHA256 = digest // nothing is kept under this name that was not checked
	}
	if class == object.Mutable && opt.Base == "" {
		opt.Base = c.believed(key)
	}
	w := c.beginWrite(key, class)
	defer w.end()
	tee := c.newTee(ctx, w, src)
	info, err := c.upstream.Put(ctx, key, tee, opt)
	if err == nil {
		c.drop(key)
		tee.keep(info)
		w.made(info)
	} else {
		tee.giveUp()
		w.drop = errors.Is(err, object.ErrUnknownOutcome)
	}
	return info, err
}

// Delete deletes at the upstream first.
func (c *Cache) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	if _, err := object.ParseKey(string(key)); err != nil {
		return err
	}
	class, _ := c.classes.Of(key)
	w := c.beginWrite(key, class)
	defer w.end()
	if err := w.takeTurn(ctx); err != nil {
		return err
	}
	if class == object.Mutable && opt.Base == "" {
		opt.Base = c.believed(key)
	}
	err := c.upstream.Delete(ctx, key, opt)
	w.drop = err == nil || errors.Is(err, object.ErrUnknownOutcome)
	return err
}

// believed returns the version of a key's copy in memory, "" if there is none: most
// likely it is what a write replaces.
func (c *Cache) believed(key object.Key) object.ETag {
	if !c.ram.Has(key) { // a write that finds nothing is no miss
		return ""
	}
	e, _ := c.ram.Get(key)
	return e.Info.ETag
}

// forgetLocked takes the flights of a key off the list and keeps them from
// publishing. Their readers go on: they arrived before the write was answered.
// If one is publishing at this moment the caller must wait for the channels that
// are returned, where they are not nil, or what it publishes could be seen after
// the write.
func (c *Cache) forgetLocked(key object.Key) []<-chan struct{} {
	c.fences.of(key).Add(1)
	landing := c.forgetPartsLocked(key)
	f := c.flights[key]
	if f == nil {
		return landing
	}
	delete(c.flights, key)
	return append(landing, f.forget())
}

// fences count the writes of groups of keys, so that a copy that was found
// before a write is not put into memory after it.
type fences struct {
	seed   maphash.Seed
	counts *[fenceGroups]atomic.Uint64
}

// fenceGroups makes it unlikely that a write of another key is in the way: all
// that costs is that a copy stays on the disk until its next read.
const fenceGroups = 1024

func newFences() fences { return fences{maphash.MakeSeed(), new([fenceGroups]atomic.Uint64)} }

func (f fences) of(key object.Key) *atomic.Uint64 {
	return &f.counts[maphash.String(f.seed, string(key))%fenceGroups]
}

// remember puts a copy from the disk into memory, unless the object has been
// written since fence was read, before the copy was found.
func (c *Cache) remember(e *Entry, fence uint64) {
	key := e.Info.Key
	class, _ := c.classes.Of(key)
	e.lasting = class != object.Mutable
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writes[key] == nil && c.fences.of(key).Load() == fence || c.mutants.Has(mutant.NoFence) {
		c.ram.Set(e)
	}
}
