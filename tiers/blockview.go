package tiers

import "github.com/micelio/micelio/object"

// A blockReader reads blocks of one copy on the disk for one reader.
type blockReader struct {
	memory *blocks
	copy   Stored
	id     blockID // of the block that was looked for last
	end    int64   // of what the reader wants
	size   int64   // of the object
	digest bool    // the object has one: blocks are kept only while the copy is proven
	block  *block  // pinned, nil if the last one was not there
}

// blocksOf returns a reader of blocks, nil if a copy has none: bytes that are still
// to be proven come from where the proof is about, the disk.
func (c *Cache) blocksOf(s Stored, info object.Info, end int64) *blockReader {
	generation, digest := s.Generation(), !c.digestOf(info).IsZero()
	if generation == 0 || c.blocks.most == 0 || digest && !s.Proven() {
		return nil
	}
	return &blockReader{
		memory: c.blocks, copy: s, id: blockID{info.Key, generation, -1}, end: end, size: info.Size, digest: digest,
	}
}

// view returns bytes from offset pos on that are in memory, or are now because they
// are read again, nil if there are none. They stay as they are until the next call
// of view or close.
func (r *blockReader) view(pos int64) []byte {
	if at := pos / memoryBlock * memoryBlock; at != r.id.at {
		r.close()
		r.id.at = at
		if !r.copy.Touch(at) {
			return nil
		}
		if r.block = r.memory.pin(r.id); r.block == nil && pos == at {
			r.block = r.fill()
		}
	}
	if r.block == nil {
		return nil
	}
	return r.block.data[pos-r.id.at : min(int64(r.block.n), r.end-r.id.at)]
}

// fill reads a block of which all is wanted from the disk, if it is one to be kept.
// A short one at the end would take too much memory for what it has.
func (r *blockReader) fill() *block {
	n := min(memoryBlock, r.size-r.id.at)
	if r.id.at+n > r.end || n < memoryBlock/2 {
		return nil
	}
	b := r.memory.claim(r.id)
	if b == nil {
		return nil
	}
	for at := int64(0); at < n; {
		m, err := r.copy.ReadAt(b.data[at:n], r.id.at+at)
		if err != nil {
			r.memory.discard(b) // whoever reads on meets it again
			return nil
		}
		at += int64(m)
	}
	if r.digest && !r.copy.Proven() { // a part was fetched again meanwhile
		r.memory.discard(b)
		return nil
	}
	r.memory.keep(b, int(n))
	return b
}

func (r *blockReader) close() {
	if r.block != nil {
		r.memory.unpin(r.block)
		r.block = nil
	}
}
