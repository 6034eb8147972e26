package tiers

import (
	"sync"
	"sync/atomic"
)

const (
	// chunkSize is the unit in which a flight moves bytes to the spool and
	// forgets them: a multiple of BlockSize, large enough that a write costs
	// little more per byte than memory does.
	chunkSize = 4 * BlockSize

	// windowChunks is how many chunks a large flight keeps in memory. Readers
	// this close to the head never touch the disk.
	windowChunks = 4

	// keptBehind is how many bytes a window keeps behind the fastest reader
	// where there is no spool, for others who read at about its pace.
	keptBehind = chunkSize
)

// A chunk is a piece of an object in memory, shared by the flight that fills it
// and the readers that copy from it. The last one to release it returns it to
// the pool.
type chunk struct {
	refs atomic.Int32
	pool *chunkPool
	data [chunkSize]byte
}

func (c *chunk) release() {
	if c.refs.Add(-1) == 0 {
		c.pool.put(c)
	}
}

// A chunkPool recycles chunks, which the garbage collector would otherwise
// have to collect at the rate of the network. A few are kept for good, because
// a sync.Pool gives its content back at every second collection, and fresh
// memory costs more than what is then read into it.
type chunkPool struct {
	kept chan *chunk
	more sync.Pool
}

// keptChunks is how many idle chunks a cache keeps: 4 MiB.
const keptChunks = 16

func newChunkPool() *chunkPool { return &chunkPool{kept: make(chan *chunk, keptChunks)} }

// get returns a chunk that the caller must release.
func (p *chunkPool) get() *chunk {
	var c *chunk
	select {
	case c = <-p.kept:
	default:
		if c, _ = p.more.Get().(*chunk); c == nil {
			c = &chunk{pool: p}
		}
	}
	c.refs.Store(1)
	return c
}

func (p *chunkPool) put(c *chunk) {
	select {
	case p.kept <- c:
	default:
		p.more.Put(c)
	}
}

// A window holds the last chunks of an object. Its user guards it.
type window struct {
	first  int64 // number of chunks[0], counted from the start of the object
	chunks []*chunk
}

// at returns the chunk that holds offset off with a reference for the caller,
// nil if it has gone by.
func (w *window) at(off int64) *chunk {
	i := off/chunkSize - w.first
	if i < 0 || i >= int64(len(w.chunks)) {
		return nil
	}
	c := w.chunks[i]
	c.refs.Add(1)
	return c
}

func (w *window) push(c *chunk) { w.chunks = append(w.chunks, c) }

func (w *window) full() bool { return len(w.chunks) >= windowChunks }

// firstEnd returns the offset behind the oldest chunk.
func (w *window) firstEnd() int64 { return (w.first + 1) * chunkSize }

// shift lets the oldest chunk go.
func (w *window) shift() {
	w.chunks[0].release()
	copy(w.chunks, w.chunks[1:])
	w.chunks = w.chunks[:len(w.chunks)-1]
	w.first++
}

// clear lets all chunks go.
func (w *window) clear() {
	for len(w.chunks) > 0 {
		w.shift()
	}
}
