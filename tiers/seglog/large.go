package seglog

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// maxChunk is the largest chunk, in bytes. What a chunk is bigger, the fewer
// entries the index has; what it is smaller, the finer the log can forget.
const maxChunk = 4 << 20

// A Writer writes a large object from some chunk on to the end or as far as it
// comes, in order. Write, Commit and Abort are for one goroutine; others
// may call ReadAt meanwhile.
type Writer struct {
	s    *Store
	lg   *large
	fill bool // into a published object: complete chunks are seen at once
	page atomic.Pointer[chunkTop]

	mu   sync.Mutex // guards the following against ReadAt
	pos  int64      // in the object: the next byte to write
	ext  grant      // of the chunk that is being written
	at   int64      // where that begins in the object
	live bool       // ext is held
	sums []uint32   // of its blocks
}

// Create begins a large object. It returns nil if the store declines it. The
// object replaces what there is under its id when it is committed.
func (s *Store) Create(id ID, size int64) *Writer {
	if !s.admit(id, size) {
		return nil
	}
	return s.create(id, size)
}

// create is Create of an object whose bytes are on the budget of somebody else.
func (s *Store) create(id ID, size int64) *Writer {
	if size <= 0 || size > s.capacity/maxShare || !s.health.ok() {
		return nil
	}
	gen := s.lsn.Add(1)
	lg := newLarge(id, gen, size, s.chunkSize)
	sh := s.shard(id)
	sh.mu.Lock()
	sh.building[gen] = lg
	sh.mu.Unlock()
	return &Writer{s: s, lg: lg}
}

// maxShare is the part of the store that one object may take: a half.
const maxShare = 2

// Fill returns a Writer of the chunks from offset from on, nil if the store
// declines them or the object is gone. Complete chunks are seen at once.
func (h *Handle) Fill(from, n int64) *Writer {
	s := h.s
	if h.lg == nil || from%s.chunkSize != 0 || from >= h.size || !s.health.ok() || !s.admit(h.id, n) {
		return nil
	}
	sh := s.shard(h.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if h.lg.dead {
		return nil
	}
	h.lg.desc.flags &^= flagProven
	return &Writer{s: s, lg: h.lg, fill: true, pos: from}
}

// ChunkSize returns the unit in which parts of large objects are kept, in
// bytes: a multiple of BlockSize.
func (s *Store) ChunkSize() int64 { return s.chunkSize }

// Write appends p. Every call but the last brings a multiple of BlockSize bytes.
// After an error the Writer is good for nothing but Abort and ReadAt, and p must
// not be changed any more: a disk that hangs may still be reading it.
func (w *Writer) Write(p []byte) error {
	if w.pos%BlockSize != 0 || w.pos+int64(len(p)) > w.lg.size {
		return fmt.Errorf("seglog: write of %d bytes at %d of %d", len(p), w.pos, w.lg.size)
	}
	for len(p) > 0 {
		n := int(min(int64(len(p)), w.chunkEnd()-w.pos))
		if err := w.writePart(p[:n]); err != nil {
			w.release()
			return err
		}
		p = p[n:]
	}
	return nil
}

// chunkEnd returns the offset behind the chunk that is being written.
func (w *Writer) chunkEnd() int64 {
	return min((w.pos/w.s.chunkSize+1)*w.s.chunkSize, w.lg.size)
}

// writePart writes into one chunk.
func (w *Writer) writePart(p []byte) error {
	s := w.s
	begin := w.pos / s.chunkSize * s.chunkSize
	if !w.live {
		g, ok := s.allocSoon(page+roundUp(w.chunkEnd()-begin, page), 1, page)
		if !ok {
			s.count.declined.Add(1)
			return errNoRoom
		}
		s.unpin(g.seg) // pinned for each write: a slow object must not keep a segment
		w.mu.Lock()
		w.ext, w.at, w.live, w.sums = g, begin, true, nil
		w.mu.Unlock()
	}
	if !w.ext.seg.pin(w.ext.nonce) {
		return errRevoked
	}
	defer s.unpin(w.ext.seg)
	if err := s.writeAt(w.ext.seg, p, w.ext.off+page+w.pos-begin, nil); err != nil {
		s.failed(err)
		return err
	}
	w.mu.Lock()
	for i := 0; i < len(p); i += BlockSize {
		w.sums = append(w.sums, checksum(p[i:min(i+BlockSize, len(p))]))
	}
	w.pos += int64(len(p))
	w.mu.Unlock()
	s.count.written.Add(int64(len(p)))
	if w.pos == min(begin+s.chunkSize, w.lg.size) {
		return w.endChunk(begin)
	}
	return nil
}

// endChunk writes the header of a chunk whose bytes are written, and makes it
// known. The caller has pinned the segment.
func (w *Writer) endChunk(begin int64) error {
	s, lg := w.s, w.lg
	h := header{
		kind: kindChunk, nonce: w.ext.nonce, id: lg.id, lsn: lg.gen, gen: lg.gen, size: uint64(lg.size),
		chunk: uint32(begin / s.chunkSize), dataLen: uint32(w.pos - begin),
	}
	buf := s.buffers.get(page)
	chunkPage(buf.b, h, w.sums)
	if err := s.writeAt(w.ext.seg, buf.b[:page], w.ext.off, nil); err != nil {
		s.failed(err)
		return err // without the buffer: it may still be read
	}
	buf.release()
	s.health.good()
	e := entryOf(&h, w.ext.off)
	sh := s.shard(lg.id)
	sh.mu.Lock()
	if i := int(h.chunk); !w.fill || lg.chunks[i].seg == absent { // of a dead one too: somebody may be reading it
		lg.setChunk(i, chunkLoc{seg: w.ext.seg.n, off: e.off})
	}
	sh.mu.Unlock()
	w.mu.Lock()
	w.live = false
	w.mu.Unlock()
	s.settle(w.ext, 1, e)
	return nil
}

// Commit makes the object visible under its description, in place of what there
// was. It must be whole.
func (w *Writer) Commit(meta []byte) error {
	if w.fill || w.pos != w.lg.size {
		return errors.New("seglog: commit of an incomplete object")
	}
	return w.s.publish(w.lg, meta, flagProven)
}

// publish writes the description of a large object and puts it into the index.
func (s *Store) publish(lg *large, meta []byte, flags uint32) error {
	if len(meta) > MaxMeta {
		return fmt.Errorf("seglog: description of %d bytes", len(meta))
	}
	sh := s.shard(lg.id)
	lsn := sh.begin(lg.id, &s.lsn)
	h := header{kind: kindDesc, id: lg.id, lsn: lsn, gen: lg.gen, size: uint64(lg.size)}
	published := false
	err := s.add(h, meta, nil, func(l loc) bool {
		l.flags = flags
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if sh.pending[lg.id] != lsn || lg.dead {
			return false
		}
		delete(sh.pending, lg.id)
		delete(sh.building, lg.gen)
		sh.forgetLocked(lg.id)
		lg.desc = l
		sh.large[lg.id] = lg
		published = true
		return true
	})
	if err != nil {
		sh.cancel(lg.id, lsn)
		return err
	}
	if !published {
		return errors.New("seglog: replaced while it was committed")
	}
	return nil
}

// Begin makes a large object visible of which nothing is there yet, to be
// filled in parts. It returns false if the store declines it.
func (s *Store) Begin(id ID, size int64, meta []byte) bool {
	w := s.create(id, size)
	if w == nil {
		return false
	}
	if s.publish(w.lg, meta, 0) != nil {
		w.Abort()
		return false
	}
	return true
}

// Abort gives up what is not published. It is idempotent, and does nothing after
// Commit.
func (w *Writer) Abort() {
	w.release()
	if w.fill {
		return
	}
	sh := w.s.shard(w.lg.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.building[w.lg.gen] == w.lg {
		delete(sh.building, w.lg.gen)
		w.lg.dead = true
	}
}

// release gives up the chunk that is being written.
func (w *Writer) release() {
	w.mu.Lock()
	live, ext := w.live, w.ext
	w.live = false
	w.mu.Unlock()
	if live {
		w.s.settle(ext, 1)
	}
}

// ReadAt reads what was written, as Handle.ReadAt does.
func (w *Writer) ReadAt(p []byte, off int64) (int, error) {
	w.mu.Lock()
	if !w.live || off < w.at {
		w.mu.Unlock()
		return w.s.readLarge(w.lg, p, off, &w.page)
	}
	ext, top := w.ext, chunkTop{at: w.at, len: w.pos - w.at, sums: w.sums} // sums are appended to, never changed
	w.mu.Unlock()
	if !ext.seg.pin(ext.nonce) {
		return 0, ErrAbsent
	}
	defer w.s.unpin(ext.seg)
	n, err := w.s.readBlocks(ext, &top, p, off)
	if err != nil && err != io.EOF && !errors.Is(err, errUnaligned) && !errors.Is(err, ErrDamaged) {
		w.s.readFailed(err)
		err = fmt.Errorf("%w: %w", ErrAbsent, err)
	}
	return n, err
}

// A chunkTop is what the first page of a chunk says.
type chunkTop struct {
	where chunkLoc
	at    int64 // of the chunk in the object
	len   int64
	sums  []uint32
}

// readLarge reads from one chunk of a large object. The chunk's page is kept in
// cache for the next read.
func (s *Store) readLarge(lg *large, p []byte, off int64, cache *atomic.Pointer[chunkTop]) (int, error) {
	if off >= lg.size {
		return 0, io.EOF
	}
	if !s.reading.ok() {
		return 0, ErrAbsent
	}
	i := int(off / s.chunkSize)
	sh := s.shard(lg.id)
	sh.mu.Lock()
	c := lg.chunks[i]
	if c.seg == absent {
		sh.mu.Unlock()
		return 0, ErrAbsent
	}
	lg.chunks[i].hit = true
	seg := s.segs[c.seg]
	nonce, ok := seg.hold()
	sh.mu.Unlock()
	if !ok {
		return 0, ErrAbsent
	}
	defer s.unpin(seg)
	struck := c.failed
	c.hit, c.failed = false, false
	ext := grant{seg, int64(c.off) * unit, nonce}
	top := cache.Load()
	if top == nil || top.where != c || top.at != int64(i)*s.chunkSize {
		var err error
		if top, err = s.readTop(lg, i, ext); err != nil {
			return 0, s.loseChunk(lg, i, c, err)
		}
		top.where = c
		cache.Store(top)
	}
	n, err := s.readBlocks(ext, top, p, off)
	switch {
	case err == nil:
		s.reading.good()
		if struck {
			s.markChunk(lg, i, c, false)
		}
	case err != io.EOF && !errors.Is(err, errUnaligned):
		err = s.loseChunk(lg, i, c, err)
	}
	return n, err
}

// markChunk notes whether the disk failed to read a chunk, and returns what was
// noted before, false if it is not there any more.
func (s *Store) markChunk(lg *large, i int, c chunkLoc, failed bool) (before bool) {
	sh := s.shard(lg.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := &lg.chunks[i]
	if now.seg != c.seg || now.off != c.off {
		return false
	}
	before, now.failed = now.failed, failed
	return before
}

// readTop reads the first page of a chunk, whose segment is pinned.
func (s *Store) readTop(lg *large, i int, ext grant) (*chunkTop, error) {
	buf := s.buffers.get(page)
	defer buf.release()
	if err := readFull(ext.seg.file, buf.b[:page], ext.off); err != nil {
		return nil, err
	}
	h, err := parseHeader(buf.b, ext.nonce)
	if err != nil {
		return nil, err
	}
	at := int64(i) * s.chunkSize
	if h.kind != kindChunk || h.id != lg.id || h.gen != lg.gen || h.chunk != uint32(i) ||
		int64(h.dataLen) != min(s.chunkSize, lg.size-at) {
		return nil, fmt.Errorf("%w: another chunk", ErrDamaged)
	}
	sums, err := h.chunkSums(buf.b)
	if err != nil {
		return nil, err
	}
	return &chunkTop{at: at, len: int64(h.dataLen), sums: sums}, nil
}

var errUnaligned = errors.New("seglog: unaligned read")

// readUnit is how much is read before it is summed up, in bytes: what comes from
// the page cache is then still in the processor's own. 1 MiB that is read and
// then summed up costs a fifth more on a machine that is busy, which 64 KiB do
// too, for their system calls.
const readUnit = 2 * BlockSize

// readBlocks reads whole blocks of a chunk, or up to its end, and verifies them.
func (s *Store) readBlocks(ext grant, top *chunkTop, p []byte, off int64) (int, error) {
	n := top.at + top.len - off
	if n <= 0 {
		return 0, io.EOF
	}
	if n > int64(len(p)) {
		n = int64(len(p) / BlockSize * BlockSize)
	}
	if off%BlockSize != 0 || n == 0 {
		return 0, fmt.Errorf("%w of %d bytes at %d", errUnaligned, len(p), off)
	}
	at, sums := ext.off+page+off-top.at, top.sums[(off-top.at)/BlockSize:]
	for i := int64(0); i < n; i += readUnit {
		if err := readFull(ext.seg.file, p[i:min(i+readUnit, n)], at+i); err != nil {
			return 0, err
		}
		for j := i; j < min(i+readUnit, n); j += BlockSize {
			if checksum(p[j:min(j+BlockSize, n)]) != sums[j/BlockSize] {
				return 0, fmt.Errorf("%w: block at %d", ErrDamaged, off+j)
			}
		}
	}
	return int(n), nil
}

// loseChunk forgets a chunk that could not be read. If that is the disk's fault,
// only the second time in a row, as lose does.
func (s *Store) loseChunk(lg *large, i int, c chunkLoc, err error) error {
	wrong := errors.Is(err, ErrDamaged)
	if !wrong {
		s.readFailed(err)
		if !s.markChunk(lg, i, c, true) {
			return fmt.Errorf("%w: %w", ErrAbsent, err)
		}
	}
	sh := s.shard(lg.id)
	sh.mu.Lock()
	now := lg.chunks[i]
	mine := now.seg == c.seg && now.off == c.off
	if mine {
		lg.setChunk(i, chunkLoc{seg: absent})
	}
	dead := lg.dead
	sh.mu.Unlock()
	if dead && wrong {
		return ErrAbsent // nobody told it that its segment was emptied
	}
	if mine {
		s.damaged(err)
	}
	if wrong {
		return err
	}
	return fmt.Errorf("%w: %w", ErrAbsent, err)
}
