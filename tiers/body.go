package tiers

import (
	"context"
	"errors"
	"fmt"
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
		if n > 0 || err == nil {
			return n, nil
		}
		if !errors.Is(err, errBehind) && !errors.Is(err, ErrDamaged) {
			return 0, err
		}
		if err := b.resume(err); err != nil {
			return 0, err
		}
	}
}

// resume goes on from the upstream. The prefix that the reader already has came
// from a verified copy or flight; so must the rest if the key promises proof,
// and only a flight of its own can give that.
func (b *body) resume(cause error) error {
	b.src.close()
	b.src = nil
	if b.resumed++; b.resumed > maxResumes {
		return fmt.Errorf("tiers: %q at byte %d: %w: %w", b.info.Key, b.pos, object.ErrUnavailable, cause)
	}
	b.cache.stats.Resumes.Add(1)
	var err error
	if class, _ := b.cache.classes.Of(b.info.Key); class == object.Verified {
		b.src, err = b.cache.privateFlight(b.ctx, b.info, b.pos)
	} else {
		b.src, err = b.cache.directly(b.ctx, b.info, b.pos, b.end)
	}
	return err
}

func (b *body) Close() error {
	if b.src != nil {
		b.src.close()
		b.src = nil
	}
	return nil
}

// A follower is the source of a reader of a flight.
type follower struct {
	f   *flight
	pos int64  // guarded by f.mu
	buf *chunk // blocks read back from the spool
	at  int64  // offset of buf
	n   int    // bytes in buf
}

// follow turns a reader that waits for the flight into one that reads it.
func (f *flight) follow(pos int64) *follower {
	r := &follower{f: f, pos: pos}
	f.mu.Lock()
	f.waiting--
	f.followers[r] = struct{}{}
	f.mu.Unlock()
	return r
}

func (r *follower) readAt(ctx context.Context, p []byte, pos int64) (int, error) {
	f := r.f
	for {
		f.mu.Lock()
		if r.pos != pos {
			r.pos = pos
			f.wakeLocked() // the fill may be waiting for its fastest reader
		}
		switch {
		case pos < f.head && f.small != nil:
			head := f.head
			f.mu.Unlock()
			return copy(p, f.small[pos:head]), nil
		case pos < f.head:
			n, c, spooled := f.head-pos, f.window.at(pos), f.spooled
			f.mu.Unlock()
			if c != nil {
				off := pos % chunkSize
				copied := copy(p[:min(int64(len(p)), n)], c.data[off:])
				c.release()
				return copied, nil
			}
			if pos < spooled {
				return r.readSpool(p, pos, spooled)
			}
			return 0, errBehind
		case f.err != nil:
			defer f.mu.Unlock()
			return 0, f.err
		}
		wait := f.changeLocked()
		f.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// readSpool copies from the disk what the window no longer has.
func (r *follower) readSpool(p []byte, pos, spooled int64) (int, error) {
	if r.buf == nil {
		r.buf = r.f.cache.chunks.get()
	}
	if pos < r.at || pos >= r.at+int64(r.n) {
		r.at, r.n = pos/chunkSize*chunkSize, 0
		n, err := r.f.spool.ReadAt(r.buf.data[:min(chunkSize, roundUp(spooled-r.at))], r.at)
		if err != nil {
			return 0, err
		}
		r.n = n
	}
	return copy(p, r.buf.data[pos-r.at:r.n]), nil
}

func (r *follower) close() {
	f := r.f
	f.mu.Lock()
	delete(f.followers, r)
	f.wakeLocked()
	f.mu.Unlock()
	if r.buf != nil {
		r.buf.release()
	}
	f.cache.abandon(f)
	f.release()
}

// roundUp returns n rounded up to whole blocks.
func roundUp(n int64) int64 { return (n + BlockSize - 1) / BlockSize * BlockSize }

// A diskSource reads a copy on the SSD.
type diskSource struct {
	copy   Stored
	chunks *chunkPool
	end    int64 // of what the reader wants: no block behind it is read
	buf    *chunk
	at     int64
	n      int
}

func (d *diskSource) readAt(_ context.Context, p []byte, pos int64) (int, error) {
	if d.buf == nil {
		d.buf = d.chunks.get()
	}
	if pos < d.at || pos >= d.at+int64(d.n) {
		d.at, d.n = pos/BlockSize*BlockSize, 0
		n, err := d.copy.ReadAt(d.buf.data[:min(chunkSize, roundUp(d.end-d.at))], d.at)
		if err != nil {
			return 0, err
		}
		d.n = n
	}
	return copy(p, d.buf.data[pos-d.at:d.n]), nil
}

func (d *diskSource) close() {
	if d.buf != nil {
		d.buf.release()
	}
	d.copy.Close()
}

// A streamSource passes the upstream's bytes through. It is read in order.
type streamSource struct{ body io.ReadCloser }

func (s *streamSource) readAt(_ context.Context, p []byte, _ int64) (int, error) {
	n, err := s.body.Read(p)
	if n > 0 {
		return n, nil
	}
	if err == io.EOF {
		return 0, io.ErrUnexpectedEOF
	}
	return 0, err
}

func (s *streamSource) close() { s.body.Close() }

// A memoryBody is bytes in memory on their way to a reader.
type memoryBody struct{ bytes []byte }

func (m *memoryBody) Read(p []byte) (int, error) {
	if len(m.bytes) == 0 {
		return 0, io.EOF
	}
	n := copy(p, m.bytes)
	m.bytes = m.bytes[n:]
	return n, nil
}

// WriteTo writes all that is left in one call, without a copy.
func (m *memoryBody) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(m.bytes)
	m.bytes = m.bytes[n:]
	return int64(n), err
}

func (m *memoryBody) Close() error { return nil }
