package tiers

import (
	"context"

	"github.com/micelio/micelio/object"
)

// writes are the writes of one key that are under way.
type writes struct {
	active int
	mixed  bool // two of them overlapped
}

// Put writes to the upstream first and keeps a copy of what passed by when the
// upstream has said yes.
func (c *Cache) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return object.Info{}, err
	}
	c.beginWrite(key)
	tee := c.newTee(key, src)
	info, err := c.upstream.Put(ctx, key, tee, opt)
	if err == nil {
		c.drop(key)
		tee.keep(info)
	} else {
		tee.giveUp()
	}
	c.endWrite(key, err != nil)
	return info, err
}

// Delete deletes at the upstream first.
func (c *Cache) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	if _, err := object.ParseKey(string(key)); err != nil {
		return err
	}
	c.beginWrite(key)
	err := c.upstream.Delete(ctx, key, opt)
	c.endWrite(key, true)
	return err
}

// beginWrite makes sure that nothing fetched before this write is kept.
func (c *Cache) beginWrite(key object.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.writes[key]
	if w == nil {
		w = &writes{}
		c.writes[key] = w
	}
	w.active++
	w.mixed = w.mixed || w.active > 1
	c.forgetLocked(key)
}

// endWrite does so again for what was fetched during the write, and drops what
// is cached if the write brought nothing to keep, or overlapped with another:
// then nobody here knows which of them won. A dropped copy costs a fill.
func (c *Cache) endWrite(key object.Key, drop bool) {
	c.mu.Lock()
	w := c.writes[key]
	drop = drop || w.mixed
	if w.active--; w.active == 0 {
		delete(c.writes, key)
	}
	c.forgetLocked(key)
	c.mu.Unlock()
	if drop {
		c.drop(key)
	}
}

// forgetLocked takes the flight of a key off the list and keeps it from
// publishing. Its readers go on: they arrived before the write was answered.
func (c *Cache) forgetLocked(key object.Key) {
	if f := c.flights[key]; f != nil {
		f.forget()
		delete(c.flights, key)
	}
}
