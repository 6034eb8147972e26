package tiers

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/micelio/micelio/object"
)

// openStored gives obj the body of a copy on disk, which it takes over. Small
// ones move up to RAM. Digests are proven once in each process, because nothing
// guards the disk in between: before the first byte of a part or of a small
// object, along the way of a large one.
func (c *Cache) openStored(ctx context.Context, h holding, obj *object.Object) (*object.Object, error) {
	s, end := h.stored, obj.Offset+obj.Length
	if obj.Size <= c.ram.MaxObject() { // seldom: see lift
		defer s.Close()
		if err := c.promoting.slots.Acquire(ctx, 1); err != nil {
			return nil, err
		}
		defer c.promoting.slots.Release(1)
		e, err := c.readSmall(ctx, s)
		if err != nil {
			return nil, err
		}
		c.remember(e, h.fence)
		return newMemoryObject(obj.Info, e.Bytes, obj.Offset, obj.Length), nil
	}
	c.largest.note(obj.Key, obj.Size)
	b := &body{
		ctx: ctx, cache: c, info: obj.Info, pos: obj.Offset, end: end,
		src: &diskSource{copy: s, chunks: c.chunks, size: obj.Size, end: end, blocks: c.blocksOf(s, obj.Info, end)},
	}
	obj.Body = b
	want, whole := c.digestOf(obj.Info), obj.Length == obj.Size
	switch {
	case want.IsZero():
	case s.Proven():
		b.prove = whole
	case whole:
		obj.Body = &proving{ReadCloser: object.VerifyBody(b, obj.Size, want), copy: s, cache: c}
	case obj.Size > finishSmall:
		// Nobody waits until gigabytes are hashed for a part of them: the
		// checksums of its blocks have to do.
	default:
		if err := c.prove(ctx, s, want); err != nil {
			b.Close()
			return nil, err
		}
	}
	return obj, nil
}

// digestOf returns what the bytes must hash to. What a copy says about itself
// counts only where the key does not name it.
func (c *Cache) digestOf(info object.Info) object.Digest {
	if class, digest := c.classes.Of(info.Key); class == object.Verified {
		return digest
	}
	return info.SHA256
}

// prove reads a copy to its end and compares its digest.
func (c *Cache) prove(ctx context.Context, s Stored, want object.Digest) error {
	buf := c.chunks.get()
	defer buf.release()
	sum := sha256.New()
	for at, size := int64(0), s.Info().Size; at < size; {
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
	if object.Digest(sum.Sum(nil)) != want {
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
	parts *partsSource // what it is read from, nil if that is the copy
}

func (p *proving) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	switch {
	case err == io.EOF:
		if p.parts == nil || !p.parts.foreign {
			p.copy.Prove()
		}
	case err != nil:
		err = p.cache.disproved(p.copy, err)
	}
	return n, err
}
