package tiers

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"

	"github.com/micelio/micelio/object"
)

// A body streams one version of an object to one reader. If the place it reads
// from lets it down, it goes on elsewhere at the same byte of the same version.
type body struct {
	ctx      context.Context
	cache    *Cache
	info     object.Info
	pos, end int64
	src      source
	resumed  int // how often it went on elsewhere

	cachedOnly bool // it never goes on elsewhere: see GetCached

	// prove says that the reader was promised a proof of the whole object that
	// nobody above gives: what is read elsewhere must be proven there.
	prove bool

	// seen is a hash of what was handed out, nil if that is proven already. A
	// flight proves its bytes only at its end, and a reader who leaves it
	// before must not mix them with another's. The seed is random, so that no
	// upstream can know what would collide.
	seen *maphash.Hash
}

// A source is a place that has the bytes of one version. Its methods are called
// by one goroutine.
type source interface {
	// readAt copies at least one byte from offset pos on into p.
	readAt(ctx context.Context, p []byte, pos int64) (int, error)
	close()
}

// maxResumes bounds how often one body looks for another source, so that a
// failing disk or a very slow reader cannot make it ask the upstream for ever.
const maxResumes = 3

func (b *body) Read(p []byte) (int, error) {
	if b.pos == b.end {
		return 0, io.EOF
	}
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if b.src == nil {
		return 0, errors.New("tiers: read of a closed body")
	}
	if len(p) == 0 {
		return 0, nil
	}
	p = p[:min(int64(len(p)), b.end-b.pos)]
	for {
		n, err := b.src.readAt(b.ctx, p, b.pos)
		b.pos += int64(n)
		if b.seen != nil {
			b.seen.Write(p[:n])
		}
		if n > 0 || err == nil {
			return n, nil
		}
		if !errors.Is(err, errBehind) && !lost(err) {
			return 0, err
		}
		if b.cachedOnly {
			return 0, fmt.Errorf("tiers: %q at byte %d is not here any more: %w: %w", b.info.Key, b.pos, object.ErrUnavailable, err)
		}
		if err := b.resume(err); err != nil {
			return 0, err
		}
	}
}

// View returns the next bytes where they are in memory, if they are in a block of a
// copy on the disk, see bulk.Viewer.
func (b *body) View(most int64) []byte {
	d, ok := b.src.(*diskSource)
	if !ok || d.blocks == nil || b.pos == b.end || b.ctx.Err() != nil {
		return nil
	}
	p := d.blocks.view(b.pos)
	p = p[:min(int64(len(p)), most)]
	b.pos += int64(len(p))
	return p
}

// resume goes on from the upstream. If a proof was promised only a flight that
// brings the whole object again can give it.
func (b *body) resume(cause error) error {
	b.src.close()
	b.src = nil
	if b.resumed++; b.resumed > maxResumes {
		return fmt.Errorf("tiers: %q at byte %d: %w: %w", b.info.Key, b.pos, object.ErrUnavailable, cause)
	}
	b.cache.stats.Resumes.Add(1)
	var err error
	switch {
	case !b.prove:
		b.src, err = b.cache.directly(b.ctx, b.info, b.pos, b.end)
	case b.seen == nil:
		b.src, err = b.cache.privateFlight(b.ctx, b.info, b.pos)
	default:
		if b.src, err = b.cache.privateFlight(b.ctx, b.info, 0); err == nil {
			err = b.compare()
		}
	}
	if errors.Is(err, object.ErrNotFound) || errors.Is(err, object.ErrPrecondition) {
		// It has been replaced. That is no answer to this read, which has begun.
		err = fmt.Errorf("tiers: rest of %q is gone: %w: %v", b.info.Key, object.ErrUnavailable, err)
	}
	return err
}

// compare reads the new source up to where the reader is, and makes sure that
// it has brought the same bytes so far.
func (b *body) compare() error {
	buf := b.cache.chunks.get()
	defer buf.release()
	var again maphash.Hash
	again.SetSeed(b.seen.Seed())
	for at := int64(0); at < b.pos; {
		n, err := b.src.readAt(b.ctx, buf.data[:min(chunkSize, b.pos-at)], at)
		if err != nil {
			return err
		}
		again.Write(buf.data[:n])
		at += int64(n)
	}
	if again.Sum64() != b.seen.Sum64() {
		b.cache.stats.BadDigests.Add(1)
		return fmt.Errorf("tiers: upstream has sent %q in two ways: %w", b.info.Key, object.ErrDigest)
	}
	return nil
}

func (b *body) Close() error {
	if b.src != nil {
		b.src.close()
		b.src = nil
	}
	return nil
}
