package tiers

import "context"

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
	wakeLocked(&f.moved) // the fill may be waiting for a reader this far ahead
	f.mu.Unlock()
	return r
}

func (r *follower) readAt(ctx context.Context, p []byte, pos int64) (int, error) {
	f := r.f
	for {
		f.mu.Lock()
		if r.pos != pos {
			r.pos = pos
			wakeLocked(&f.moved) // the fill may be waiting for its fastest reader
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
		wait := waitLocked(&f.grown)
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
	if pos < r.at || pos >= r.at+int64(r.n) {
		if n := direct(int(min(int64(len(p)), spooled-pos)), pos, r.f.to); n > 0 {
			return r.f.spool.ReadAt(p[:n], pos)
		}
	}
	if r.buf == nil {
		r.buf = r.f.cache.chunks.get()
	}
	if pos < r.at || pos >= r.at+int64(r.n) {
		r.at, r.n = pos/BlockSize*BlockSize, 0
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
	wakeLocked(&f.moved)
	f.mu.Unlock()
	if r.buf != nil {
		r.buf.release()
	}
	f.cache.stats.Waiting.Add(-1)
	f.cache.abandon(f)
	f.release()
}

// roundUp returns n rounded up to whole blocks.
func roundUp(n int64) int64 { return (n + BlockSize - 1) / BlockSize * BlockSize }
