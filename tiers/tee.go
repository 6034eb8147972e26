package tiers

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/micelio/micelio/object"
)

// A tee is the source of a Put whose bytes are kept as they pass: small ones in
// memory, large ones of known size on the disk. Whatever stands in the way of
// keeping them costs the copy, never the write.
//
// It also makes the write wait for its turn before it hands out the end of its
// bytes, so that the upstream has all of them, however slowly they came, and
// nobody else had to wait for that.
type tee struct {
	object.Source
	ctx   context.Context // of the write
	write *writing
	cache *Cache

	// mu guards the following: an upstream may answer while something below
	// it still reads the source.
	mu     sync.Mutex
	opened bool
	over   bool   // nothing is collected any more
	size   int64  // bytes that passed
	small  []byte // what passed of a small object
	budget int64  // bytes of Cache.memory held for small; its limit
	spool  Spool  // where a large one goes
	chunk  *chunk // the spool's next chunk; nil if the disk has failed
	filled int    // bytes in chunk
}

func (c *Cache) newTee(ctx context.Context, w *writing, src object.Source) *tee {
	return &tee{Source: src, ctx: ctx, write: w, cache: c}
}

// Open starts to collect. A source that is opened again is not collected: what
// passed the first time need not be what is stored in the end.
func (t *tee) Open() (io.ReadCloser, error) {
	r, err := t.Source.Open()
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.opened || t.over { // over: somebody below came too late
		t.stopLocked()
	} else {
		t.opened = true
		t.beginLocked()
	}
	return &teeReader{ReadCloser: r, t: t}, nil
}

// beginLocked takes what collecting needs.
func (t *tee) beginLocked() {
	c := t.cache
	limit := max(c.ram.MaxObject(), chunkSize)
	switch size := t.Size(); {
	case size > limit:
		spool, ok := c.ssd.Create(object.Info{Key: t.write.key, Size: size})
		if !ok {
			t.over = true
			return
		}
		t.spool, t.chunk = spool, c.chunks.get()
	default:
		if size >= 0 {
			limit = size
		}
		if !c.tryAcquire(limit) {
			t.over = true
			return
		}
		t.budget = limit
		t.small = make([]byte, 0, max(size, 0))
	}
}

type teeReader struct {
	io.ReadCloser
	t   *tee
	got int64
}

func (r *teeReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.t.collect(p[:n])
	r.got += int64(n)
	if err == io.EOF || err == nil && r.got == r.t.Size() {
		if err := r.t.write.takeTurn(r.t.ctx); err != nil {
			return 0, err
		}
	}
	return n, err
}

func (t *tee) collect(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.size += int64(len(p))
	if t.over {
		return
	}
	if t.spool == nil {
		if t.size > t.budget {
			t.stopLocked()
			return
		}
		t.small = append(t.small, p...)
		return
	}
	for len(p) > 0 && !t.over {
		n := copy(t.chunk.data[t.filled:], p)
		p, t.filled = p[n:], t.filled+n
		if t.filled == chunkSize {
			t.flushLocked()
		}
	}
}

// flushLocked writes the chunk. The lock is held over this one I/O: the reader
// that brings the bytes is the only one who ever waits for it.
func (t *tee) flushLocked() {
	if t.filled > 0 && t.spool.Write(t.chunk.data[:t.filled]) != nil {
		t.chunk = nil // not to be used again: the disk may still be reading it
		t.stopLocked()
	}
	t.filled = 0
}

// stopLocked gives up what was collected.
func (t *tee) stopLocked() {
	if t.over {
		return
	}
	t.over = true
	if t.spool != nil {
		t.spool.Abort()
	}
	t.closeLocked()
}

func (t *tee) closeLocked() {
	if t.chunk != nil {
		t.chunk.release()
	}
	t.small = nil
	t.cache.giveBack(t.budget)
	t.budget = 0
}

// keep puts what passed into the tiers if it is what the upstream stored.
func (t *tee) keep(info object.Info) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.opened || t.over || t.size != info.Size {
		t.stopLocked()
		return
	}
	info.Node = "" // from now on it is this node that answers
	if t.spool == nil {
		whole := t.small
		if cap(whole) > len(whole) { // it grew, and has room to spare that nobody would count
			whole = bytes.Clone(whole)
		}
		t.cache.keep(&Entry{Info: info, Bytes: whole, Born: time.Now()})
	} else if t.flushLocked(); t.over || t.spool.Commit(info) != nil {
		t.stopLocked()
		return
	}
	t.over = true
	t.closeLocked()
}

// giveUp keeps nothing.
func (t *tee) giveUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopLocked()
}
