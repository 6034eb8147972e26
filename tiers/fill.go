package tiers

import (
	"context"
	"errors"
	"io"
)

// minFlight is the least memory a fill is accounted for, in bytes: its
// goroutine, the buffers of its connection and bookkeeping.
const minFlight = 16 << 10

// acquire waits for memory for an object on its way, which the RAM tier then
// does without, until ctx ends.
func (c *Cache) acquire(ctx context.Context, n int64) error {
	if err := c.memory.Acquire(ctx, n); err != nil {
		return err
	}
	c.ram.Reserve(n)
	return nil
}

// tryAcquire is acquire for those who can do without.
func (c *Cache) tryAcquire(n int64) bool {
	if !c.memory.TryAcquire(n) {
		return false
	}
	c.ram.Reserve(n)
	return true
}

// giveBack ends what acquire or tryAcquire began.
func (c *Cache) giveBack(n int64) {
	if n > 0 {
		c.ram.Reserve(-n)
		c.memory.Release(n)
	}
}

// acquire waits for memory for the flight.
func (f *flight) acquire(n int64) error {
	c := f.cache
	if !c.tryAcquire(n) {
		if f.starved != nil {
			close(f.starved)
		}
		if err := c.acquire(f.ctx, n); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.budget = n
	f.mu.Unlock()
	return nil
}

// fillSmall receives a small object into its one buffer.
func (f *flight) fillSmall(body io.Reader) error {
	for f.head < int64(len(f.small)) {
		n, err := body.Read(f.small[f.head:]) // head is written by this goroutine only
		f.advance(n)
		if err != nil && (err != io.EOF || f.head < f.info.Size) {
			return early(err)
		}
	}
	return drained(body)
}

// fillLarge receives a large object chunk by chunk. Chunks go to the spool when
// they are complete and leave the window when it is full.
func (f *flight) fillLarge(body io.Reader) error {
	for f.head < f.to {
		if err := f.makeRoom(); err != nil {
			return err
		}
		c := f.cache.chunks.get()
		f.mu.Lock()
		f.window.push(c)
		f.mu.Unlock()
		want := int(min(chunkSize, f.to-f.head))
		for got := 0; got < want; {
			n, err := body.Read(c.data[got:want])
			got += n
			f.advance(n)
			if err != nil && (err != io.EOF || got < want) {
				return early(err)
			}
		}
		f.spoolChunk(c, want)
	}
	return drained(body)
}

// skipped reads n bytes that nobody wants.
func skipped(body io.Reader, n int64) error {
	_, err := io.CopyN(io.Discard, body, n)
	return early(err)
}

// early turns the end of a body that still owed bytes into an error.
func early(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// drained reads the clean end of a body that has delivered all its bytes. Here
// a verified body says that an empty object is right, and any body that it is
// longer than it announced.
func drained(body io.Reader) error {
	var one [1]byte
	switch n, err := body.Read(one[:]); {
	case n > 0:
		return errors.New("more bytes than announced")
	case err == io.EOF:
		return nil
	default:
		return err
	}
}

// advance shows n more bytes to the readers.
func (f *flight) advance(n int) {
	if n == 0 {
		return
	}
	f.mu.Lock()
	f.head += int64(n)
	wakeLocked(&f.grown)
	f.mu.Unlock()
	f.source.Bytes.Add(int64(n))
}

// spoolChunk writes the first n bytes of a complete chunk to the disk. A disk that
// fails costs the copy, not the flight.
func (f *flight) spoolChunk(c *chunk, n int) {
	if f.spool == nil {
		return
	}
	f.mu.Lock()
	torn := f.torn
	f.mu.Unlock()
	if torn {
		return
	}
	c.refs.Add(1)
	err := f.spool.Write(c.data[:n])
	if err == nil {
		c.release()
	} // else it is never used again: the disk may still be reading it
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.torn = true
		return
	}
	f.spooled += int64(n)
}

// makeRoom frees a place in the window. The oldest chunk may go if it can be
// read from the spool, or if the fastest reader has left it far enough behind:
// the slowest never holds the fill, and finds its bytes elsewhere.
func (f *flight) makeRoom() error {
	for {
		f.mu.Lock()
		end := f.window.firstEnd()
		switch {
		case !f.window.full():
			f.mu.Unlock()
			return nil
		case f.spooled >= end || f.fastestLocked() >= end+keptBehind:
			f.window.shift()
			f.mu.Unlock()
			return nil
		}
		wait := waitLocked(&f.moved)
		f.mu.Unlock()
		if f.cache.abandon(f) {
			return errAbandoned
		}
		select {
		case <-wait:
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		}
	}
}

// fastestLocked returns the position of the follower that is furthest.
func (f *flight) fastestLocked() int64 {
	var pos int64
	for r := range f.followers {
		pos = max(pos, r.pos)
	}
	return pos
}
