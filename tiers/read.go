package tiers

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/micelio/micelio/object"
)

// Get answers from RAM, from the SSD, from a flight, or by starting one. Mutable
// keys are validated at the upstream first, whatever is cached.
func (c *Cache) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if class, _ := c.classes.Of(key); class == object.Mutable {
		return c.getMutable(ctx, key, opt)
	}
	return c.getShared(ctx, key, opt)
}

// getShared reads a key whose bytes never change, so that any copy and any
// flight will do. Only a "not found" must be news: one from a flight that began
// before this read may be older than a write that this reader knows about.
func (c *Cache) getShared(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	c.mu.Lock()
	arrival := c.seq
	c.mu.Unlock()
	for {
		if from := c.find(key); from != nil {
			if obj, err := c.open(ctx, from, opt); !errors.Is(err, ErrDamaged) {
				return obj, err
			}
			continue // the damaged copy is gone: look again
		}
		f, joined := c.join(ctx, key)
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

// A holding is a version that the tiers have: in memory, on disk or arriving.
// Exactly one field is set.
type holding struct {
	entry  *Entry
	stored Stored
	flight *flight // entered
}

// find returns what RAM or the SSD have of key, nil if nothing.
func (c *Cache) find(key object.Key) *holding {
	if e, ok := c.ram.Get(key); ok {
		return &holding{entry: e}
	}
	if s, ok := c.ssd.Get(key); ok {
		return &holding{stored: s}
	}
	return nil
}

// findAny is find, or else a flight that has got its description.
func (c *Cache) findAny(key object.Key) *holding {
	if h := c.find(key); h != nil {
		return h
	}
	c.mu.Lock()
	f := c.flights[key]
	c.mu.Unlock()
	if f != nil && f.enter() {
		select {
		case <-f.ready:
			if f.begun && f.failure() == nil {
				return &holding{flight: f}
			}
		default:
		}
		f.leave()
	}
	return nil
}

func (h *holding) info() object.Info {
	switch {
	case h.entry != nil:
		return h.entry.info()
	case h.stored != nil:
		return h.stored.Info()
	}
	return h.flight.info
}

// close gives up a holding that is not opened.
func (h *holding) close() {
	switch {
	case h == nil:
	case h.stored != nil:
		h.stored.Close()
	case h.flight != nil:
		h.flight.leave()
	}
}

func (e *Entry) info() object.Info {
	info := e.Info
	info.Tier, info.Age = object.TierRAM, max(time.Since(e.Born), 0)
	return info
}

// open makes an Object of a holding, which it takes over.
func (c *Cache) open(ctx context.Context, h *holding, opt object.GetOptions) (*object.Object, error) {
	if h.flight != nil {
		return c.openFlight(ctx, h.flight, opt, true)
	}
	info := h.info()
	offset, length, err := selected(info, opt)
	if err != nil {
		h.close()
		return nil, err
	}
	obj := &object.Object{Info: info, Offset: offset, Length: length}
	if h.entry != nil {
		obj.Body = &memoryBody{h.entry.Bytes[offset : offset+length]}
		return obj, nil
	}
	if obj.Body, err = c.openStored(ctx, h.stored, obj); err != nil {
		return nil, err
	}
	return obj, nil
}

// selected tests the conditions of a read and resolves its range.
func selected(info object.Info, opt object.GetOptions) (offset, length int64, err error) {
	if err := object.CheckRead(info, opt.IfMatch, opt.IfNoneMatch); err != nil {
		return 0, 0, err
	}
	return opt.Range.Resolve(info.Size)
}

// openStored returns the body of a copy on disk. Small ones move up to RAM.
// Digests are proven once in each process, because nothing guards the disk in
// between: before the first byte of a part or of a small object, along the way
// of a large one.
func (c *Cache) openStored(ctx context.Context, s Stored, obj *object.Object) (io.ReadCloser, error) {
	info := s.Info()
	if info.Size <= c.ram.MaxObject() {
		defer s.Close()
		return c.promote(ctx, s, obj)
	}
	end := obj.Offset + obj.Length
	b := &body{
		ctx: ctx, cache: c, info: info, pos: obj.Offset, end: end,
		src: &diskSource{copy: s, chunks: &c.chunks, end: end},
	}
	if info.SHA256.IsZero() || s.Proven() {
		return b, nil
	}
	if obj.Length == obj.Size {
		return &proving{ReadCloser: object.VerifyBody(b, info.Size, info.SHA256), copy: s, cache: c}, nil
	}
	if err := c.prove(ctx, s); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// prove reads a copy to its end and compares its digest.
func (c *Cache) prove(ctx context.Context, s Stored) error {
	buf := c.chunks.get()
	defer buf.release()
	sum := sha256.New()
	info := s.Info()
	for at := int64(0); at < info.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.ReadAt(buf.data[:], at)
		if err != nil {
			return err
		}
		sum.Write(buf.data[:n])
		at += int64(n)
	}
	if object.Digest(sum.Sum(nil)) != info.SHA256 {
		return c.disproved(s, object.ErrDigest)
	}
	s.Prove()
	return nil
}

// disproved drops a copy whose bytes are not what its digest says.
func (c *Cache) disproved(s Stored, err error) error {
	if errors.Is(err, object.ErrDigest) {
		c.stats.BadDigests.Add(1)
		s.Drop()
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// A proving body marks a copy as proven when it has been read to its end.
type proving struct {
	io.ReadCloser
	copy  Stored
	cache *Cache
}

func (p *proving) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	switch {
	case err == io.EOF:
		p.copy.Prove()
	case err != nil:
		err = p.cache.disproved(p.copy, err)
	}
	return n, err
}

// promote reads a small copy into memory, keeps it there and returns the part
// that obj selects.
func (c *Cache) promote(ctx context.Context, s Stored, obj *object.Object) (io.ReadCloser, error) {
	info := s.Info()
	if !info.SHA256.IsZero() && !s.Proven() {
		if err := c.prove(ctx, s); err != nil {
			return nil, err
		}
	}
	buf := c.chunks.get()
	defer buf.release()
	whole := make([]byte, 0, info.Size)
	for int64(len(whole)) < info.Size {
		n, err := s.ReadAt(buf.data[:], int64(len(whole)))
		if err != nil {
			return nil, err
		}
		whole = append(whole, buf.data[:n]...)
	}
	c.ram.Set(&Entry{Info: info, Bytes: whole, Born: time.Now().Add(-info.Age)})
	return &memoryBody{whole[obj.Offset : obj.Offset+obj.Length]}, nil
}

// farAhead is how far before the head of a large flight a range may begin and
// still wait for it. Beyond, asking the upstream for the part is quicker.
const farAhead = 8 << 20

// openFlight waits for the flight that the caller has entered to be ready and
// returns the part that opt selects, to be read while it arrives.
func (c *Cache) openFlight(ctx context.Context, f *flight, opt object.GetOptions, joined bool) (*object.Object, error) {
	select {
	case <-f.ready:
	case <-ctx.Done():
		f.leave()
		return nil, ctx.Err()
	}
	if !f.begun {
		defer f.leave()
		return nil, f.failure()
	}
	info := f.info
	info.Tier, info.Age = f.tier, 0
	if joined {
		info.Tier, info.Age = object.TierFill, time.Since(f.born)
	}
	offset, length, err := selected(info, opt)
	if err != nil {
		f.leave()
		return nil, err
	}
	f.mu.Lock()
	far := f.small == nil && offset > f.head+farAhead
	f.mu.Unlock()
	b := &body{ctx: ctx, cache: c, info: info, pos: offset, end: offset + length}
	if far {
		f.leave()
		info.Tier = f.tier
		if b.src, err = c.directly(ctx, info, offset, offset+length); err != nil {
			return nil, err
		}
	} else {
		b.src = f.follow(offset)
	}
	return &object.Object{Info: info, Offset: offset, Length: length, Body: b}, nil
}

// directly reads a part of one version from the upstream, past all tiers.
func (c *Cache) directly(ctx context.Context, info object.Info, from, to int64) (source, error) {
	obj, err := c.upstream.Get(ctx, info.Key, object.GetOptions{
		Range: object.Bytes(from, to-from), IfMatch: object.MatchETag(info.ETag),
	})
	if err != nil {
		return nil, fmt.Errorf("tiers: rest of %q from byte %d: %w", info.Key, from, err)
	}
	if obj.Offset != from || obj.Length != to-from {
		obj.Body.Close()
		return nil, fmt.Errorf("tiers: upstream answered another part of %q: %w", info.Key, object.ErrUnavailable)
	}
	return &streamSource{obj.Body}, nil
}

// privateFlight fetches a verified object again, for one reader who has the
// bytes before pos.
func (c *Cache) privateFlight(ctx context.Context, info object.Info, pos int64) (source, error) {
	f := c.newFlight(info.Key, object.GetOptions{IfMatch: object.MatchETag(info.ETag)})
	f.alone, f.forgotten = true, true
	f.enter()
	c.start(ctx, f)
	select {
	case <-f.ready:
	case <-ctx.Done():
		f.leave()
		return nil, ctx.Err()
	}
	if !f.begun {
		defer f.leave()
		return nil, fmt.Errorf("tiers: rest of %q from byte %d: %w", info.Key, pos, f.failure())
	}
	return f.follow(pos), nil
}
