package tiers

import (
	"context"
	"errors"
	"hash/maphash"
	"time"

	"github.com/micelio/micelio/object"
)

// Get answers from RAM, from the SSD, from a flight, or by starting one. Mutable
// keys are validated at the upstream first, whatever is cached.
func (c *Cache) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e, held := c.ram.Get(key)
	if held && e.lasting { // nothing else needs to be known of a key that got so far
		return e.open(opt)
	}
	if _, err := object.ParseKey(string(key)); err != nil {
		return nil, err
	}
	if class, _ := c.classes.Of(key); class == object.Mutable {
		var have holding
		if held {
			have = holdEntry(e)
		}
		return c.getMutable(ctx, key, have, opt)
	}
	return c.getShared(ctx, key, opt)
}

// getShared reads a key whose bytes never change, so that any copy and any
// flight will do. Only a "not found" must be news: one from a flight that began
// before this read may be older than a write that this reader knows about.
func (c *Cache) getShared(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	arrival := c.seq.Load()
	for looks := 1; ; looks++ {
		var from holding
		if looks > 1 { // or it was not in RAM
			from = c.findEntry(key)
		}
		if !from.some() && looks <= maxLooks {
			var err error
			if from, err = c.lift(ctx, key, false); err != nil {
				return nil, err
			}
		}
		if from.some() {
			if obj, err := c.open(ctx, from, opt); !lost(err) {
				return obj, err
			}
			continue // the copy is gone: look again
		}
		if obj, err, ok := c.openCold(ctx, key, opt, arrival); ok {
			return obj, err
		}
		f, joined := c.join(ctx, key, looks < maxLooks)
		if f == nil {
			continue // it has just been published
		}
		if joined {
			c.stats.Joined.Add(1)
		}
		obj, err := c.openFlight(ctx, f, opt, joined)
		if joined && notFound(err) && f.seq <= arrival {
			continue
		}
		return obj, err
	}
}

// maxLooks is how often a read looks into the tiers before it fetches the
// object whatever they say they have: a process that is out of file descriptors
// has copies that it cannot open, and a failing disk some that it cannot read.
const maxLooks = 3

// A holding is a version that the tiers have: in memory, on disk or arriving.
// At most one of the pointers is set.
type holding struct {
	entry  *Entry
	stored Stored
	flight *flight // entered
	fence  uint64  // read before the copy on disk was found
	lifted bool    // the entry was just read from the disk
}

// holdEntry makes a holding of an entry, which it copies: only those who need a
// holding pay for the copy.
func holdEntry(e Entry) holding { return holding{entry: &e} }

func (h holding) some() bool { return h.entry != nil || h.stored != nil || h.flight != nil }

// findEntry returns what RAM has of key.
func (c *Cache) findEntry(key object.Key) holding {
	if e, ok := c.ram.Get(key); ok {
		return holdEntry(e)
	}
	return holding{}
}

// seeEntry is findEntry for a read that has looked into RAM before, which counts once.
func (c *Cache) seeEntry(key object.Key) holding {
	if e, ok := c.ram.Peek(key); ok {
		return holdEntry(e)
	}
	return holding{}
}

// findStored returns what the SSD has of key. It counts as one look-up, unless that has
// been counted.
func (c *Cache) findStored(key object.Key, counted bool) holding {
	fence := c.fences.of(key).Load()
	if s, ok := c.lookStored(key, counted); ok {
		return holding{stored: s, fence: fence}
	}
	return holding{}
}

func (c *Cache) lookStored(key object.Key, counted bool) (Stored, bool) {
	if counted {
		return c.ssd.Peek(key)
	}
	return c.ssd.Get(key)
}

// findArriving returns the flight of key if it has got its description.
func (c *Cache) findArriving(key object.Key) holding {
	c.mu.Lock()
	f := c.flights[key]
	c.mu.Unlock()
	if f != nil && f.enter() {
		select {
		case <-f.ready:
			if f.begun && f.failure() == nil {
				return holding{flight: f}
			}
		default:
		}
		f.leave()
	}
	return holding{}
}

func (h holding) info() object.Info {
	switch {
	case h.entry != nil:
		return h.entry.info()
	case h.stored != nil:
		return h.stored.Info()
	}
	return h.flight.info
}

// close gives up a holding that is not opened.
func (h holding) close() {
	switch {
	case h.stored != nil:
		h.stored.Close()
	case h.flight != nil:
		h.flight.leave()
	}
}

// open makes an Object of a holding, which it takes over.
func (c *Cache) open(ctx context.Context, h holding, opt object.GetOptions) (*object.Object, error) {
	if h.flight != nil {
		return c.openFlight(ctx, h.flight, opt, true)
	}
	if h.entry != nil {
		obj, err := h.entry.open(opt)
		if err == nil && h.lifted {
			obj.Tier = object.TierSSD
		}
		return obj, err
	}
	info := h.info()
	offset, length, err := selected(info, opt)
	if err != nil {
		h.close()
		return nil, err
	}
	if !h.stored.Complete() {
		return c.openPartly(ctx, h.stored, &object.Object{Info: info, Offset: offset, Length: length})
	}
	return c.openStored(ctx, h, &object.Object{Info: info, Offset: offset, Length: length})
}

// lost reports whether a read failed because the copy on disk is damaged or has
// gone.
func lost(err error) bool { return errors.Is(err, ErrDamaged) || errors.Is(err, ErrAbsent) }

// selected tests the conditions of a read and resolves its range.
func selected(info object.Info, opt object.GetOptions) (offset, length int64, err error) {
	if err := object.CheckRead(info, opt.IfMatch, opt.IfNoneMatch); err != nil {
		return 0, 0, err
	}
	return opt.Range.Resolve(info.Size)
}

// farAhead is how far before the head of a large flight a range may begin and
// still wait for it. Beyond, fetching the part is quicker.
const farAhead = 8 << 20

// openFlight waits for the flight that the caller has entered to be ready and
// returns the part that opt selects, to be read while it arrives.
func (c *Cache) openFlight(ctx context.Context, f *flight, opt object.GetOptions, joined bool) (*object.Object, error) {
	if err := f.await(ctx, nil); err != nil {
		return nil, err
	}
	obj, err := f.answer(opt, joined)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	far := f.small == nil && obj.Offset > f.head+farAhead
	f.mu.Unlock()
	if far && c.openAhead(ctx, obj) {
		f.leave()
		return obj, nil
	}
	b := &body{ctx: ctx, cache: c, info: obj.Info, pos: obj.Offset, end: obj.Offset + obj.Length}
	if f.small == nil && obj.Length == obj.Size && !obj.SHA256.IsZero() {
		b.prove, b.seen = true, new(maphash.Hash)
	}
	b.src = f.follow(obj.Offset)
	obj.Body = b
	return obj, nil
}

// answer describes what a reader, who has entered the flight and waited for it,
// gets of its object, without a body. If it returns an error the flight is left.
func (f *flight) answer(opt object.GetOptions, joined bool) (*object.Object, error) {
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
	return &object.Object{Info: info, Offset: offset, Length: length}, nil
}
