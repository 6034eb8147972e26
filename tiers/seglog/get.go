package seglog

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// ErrAbsent means that a part of a large object is not in the store.
var ErrAbsent = errors.New("part is not here")

// A Handle is an object, open for reading. It is safe for concurrent use, and
// must be closed.
type Handle struct {
	s    *Store
	id   ID
	size int64
	meta []byte

	// Of a small object: its bytes, and where they were found.
	data []byte
	buf  *buffer
	at   place

	lg   *large                   // of a large one
	page atomic.Pointer[chunkTop] // of the chunk that was read last
}

// Get opens an object. A small one is read whole, and verified, now. What
// cannot be trusted is dropped, and counts as not there. So does what the disk
// fails to read, but that stays, unless the disk fails again when it comes to
// it the next time.
func (s *Store) Get(id ID) (*Handle, bool) { return s.find(id, true) }

// Peek is Get for those who only want to know what there is: it counts as no use
// of the object.
func (s *Store) Peek(id ID) (*Handle, bool) { return s.find(id, false) }

func (s *Store) find(id ID, use bool) (*Handle, bool) {
	if !s.reading.ok() {
		return nil, false
	}
	sh := s.shard(id)
	sh.mu.Lock()
	l, ok := sh.inline.get(id)
	lg := sh.large[id]
	switch {
	case ok:
		if use && l.flags&flagHit == 0 {
			l.flags |= flagHit
			sh.inline.set(id, l)
		}
	case lg != nil:
		l = lg.desc
	default:
		sh.mu.Unlock()
		return nil, false
	}
	struck := sh.failed[id] == l.place()
	seg := s.segs[l.seg]
	nonce, ok := seg.hold() // under the lock: what the index has is not written again yet
	sh.mu.Unlock()
	if !ok {
		return nil, false
	}
	h, err := s.read(id, l, lg, nonce)
	s.unpin(seg)
	if err != nil {
		s.lose(id, l.place(), err)
		return nil, false
	}
	s.reading.good()
	if struck {
		sh.mu.Lock()
		delete(sh.failed, id)
		sh.mu.Unlock()
	}
	return h, true
}

// read reads the record of an object, or the description of a large one.
func (s *Store) read(id ID, l loc, lg *large, nonce uint64) (*Handle, error) {
	seg := s.segs[l.seg]
	buf := s.buffers.get(int(l.len))
	b := buf.b[:l.len]
	if err := readFull(seg.file, b, int64(l.off)*unit); err != nil {
		buf.release()
		return nil, err
	}
	meta, data, err := openRecord(b, nonce, id, l.lsn)
	if err != nil {
		buf.release()
		return nil, err
	}
	h := &Handle{s: s, id: id, size: int64(len(data)), meta: meta, data: data, buf: buf, at: l.place(), lg: lg}
	if lg != nil {
		h.size = lg.size
	}
	return h, nil
}

// openRecord checks a record that is no chunk and returns its contents.
func openRecord(b []byte, nonce uint64, id ID, lsn uint64) (meta, data []byte, err error) {
	h, err := parseHeader(b, nonce)
	if err != nil {
		return nil, nil, err
	}
	if h.id != id || h.lsn != lsn {
		return nil, nil, fmt.Errorf("%w: another record", ErrDamaged)
	}
	return h.body(b)
}

// lose drops an object whose record could not be read. If that is the disk's
// fault, only the second time in a row: a disk that is away for a moment would
// otherwise cost one record after the other, and a bad sector be read for ever.
func (s *Store) lose(id ID, at place, err error) {
	sh := s.shard(id)
	if !errors.Is(err, ErrDamaged) {
		s.readFailed(err)
		if !sh.failAgain(id, at) {
			return
		}
	}
	sh.mu.Lock()
	var mine bool
	if l, ok := sh.inline.get(id); ok {
		mine = l.place() == at
	} else if lg := sh.large[id]; lg != nil {
		mine = lg.desc.place() == at
	}
	if mine {
		sh.forgetLocked(id)
	}
	sh.mu.Unlock()
	if mine {
		s.damaged(err)
	}
}

// failAgain notes that the disk failed to read the record at a place, and
// reports whether it had failed the last time.
func (sh *shard) failAgain(id ID, at place) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.failed[id] == at {
		delete(sh.failed, id)
		return true
	}
	if sh.failed == nil || len(sh.failed) >= maxFailed {
		sh.failed = make(map[ID]place)
	}
	sh.failed[id] = at
	return false
}

// damaged counts a record that was lost, and says why.
func (s *Store) damaged(err error) {
	s.count.damaged.Add(1)
	s.log.Warn("dropped a damaged record", "err", err)
}

// Meta returns the description, which is valid until Close.
func (h *Handle) Meta() []byte { return h.meta }

// Size returns the size of the object in bytes.
func (h *Handle) Size() int64 { return h.size }

// Large reports whether parts of the object can be absent.
func (h *Handle) Large() bool { return h.lg != nil }

// Bytes returns the bytes of a small object, valid until Close.
func (h *Handle) Bytes() []byte { return h.data }

// Complete reports whether all of the object is there at this moment.
func (h *Handle) Complete() bool {
	if h.lg == nil {
		return true
	}
	sh := h.s.shard(h.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return h.lg.complete()
}

// Present returns how far what is there reaches from off on, and how far what
// is not there reaches if that is nothing, both as offsets in the object.
func (h *Handle) Present(off int64) (present, missing int64) {
	if h.lg == nil {
		return h.size, off
	}
	sh := h.s.shard(h.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	lg, size := h.lg, h.s.chunkSize
	first := int(off / size)
	i := first
	for i < len(lg.chunks) && lg.chunks[i].seg != absent {
		i++
	}
	j := i
	for j < len(lg.chunks) && lg.chunks[j].seg == absent {
		j++
	}
	present, missing = off, off
	if i > first {
		return min(int64(i)*size, lg.size), off
	}
	return present, min(int64(j)*size, lg.size)
}

// Proven reports whether this process has seen the whole object match its
// digest: it wrote it, or Prove was called.
func (h *Handle) Proven() bool {
	sh := h.s.shard(h.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if h.lg != nil {
		return h.lg.desc.flags&flagProven != 0
	}
	l, ok := sh.inline.get(h.id)
	return ok && l.place() == h.at && l.flags&flagProven != 0
}

// Prove says that the whole object has matched its digest.
func (h *Handle) Prove() {
	sh := h.s.shard(h.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if h.lg != nil {
		h.lg.desc.flags |= flagProven
		return
	}
	if l, ok := sh.inline.get(h.id); ok && l.place() == h.at {
		l.flags |= flagProven
		sh.inline.set(h.id, l)
	}
}

// Generation returns a number that is this object's alone, of all that the store
// ever had under any id, 0 for a small one.
func (h *Handle) Generation() uint64 {
	if h.lg == nil {
		return 0
	}
	return h.lg.gen
}

// Touch counts as a read of offset off, for bytes that a caller still has from an
// earlier one. It reports false if they are not there any more, or the object has
// been deleted or replaced.
func (h *Handle) Touch(off int64) bool {
	if h.lg == nil || off < 0 || off >= h.size {
		return false
	}
	sh := h.s.shard(h.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	c := &h.lg.chunks[off/h.s.chunkSize]
	if h.lg.dead || c.seg == absent {
		return false
	}
	c.hit = true
	return true
}

// Drop takes the object out of the store because its content is wrong.
func (h *Handle) Drop() {
	sh := h.s.shard(h.id)
	sh.mu.Lock()
	mine := h.lg != nil && sh.large[h.id] == h.lg
	if l, ok := sh.inline.get(h.id); ok {
		mine = l.place() == h.at
	}
	if mine {
		sh.forgetLocked(h.id)
	}
	sh.mu.Unlock()
	if mine {
		h.s.count.damaged.Add(1)
		h.s.bury(h.id, h.s.lsn.Add(1), h.s.add)
	}
}

// ReadAt fills p from offset off, at most to the end of a chunk, with bytes
// whose checksums were right, and returns how many: whole blocks, or all up to
// the end of the object. off must be a multiple of BlockSize, and p hold at
// least a block or the rest of the object. The error matches ErrAbsent if the
// bytes are not there or the disk fails to read them, and ErrDamaged if they were
// not what had been written; then they are not there any more.
func (h *Handle) ReadAt(p []byte, off int64) (int, error) {
	if off >= h.size {
		return 0, io.EOF
	}
	if h.lg != nil {
		return h.s.readLarge(h.lg, p, off, &h.page)
	}
	if off%BlockSize != 0 {
		return 0, fmt.Errorf("seglog: unaligned read at %d", off)
	}
	return copy(p, h.data[off:]), nil
}

// Close gives the object free. It is idempotent, but not safe to call while
// other methods run.
func (h *Handle) Close() error {
	if h.buf != nil {
		h.buf.release()
		h.buf, h.meta, h.data = nil, nil, nil
	}
	return nil
}

// Buffers of records come in powers of two. What a Handle holds is not
// accounted by the store: callers close handles of small objects at once.
const (
	minBuffer = 12 // 4 KiB
	maxBuffer = 19 // 512 KiB: the largest record fits
)

type buffer struct {
	b    []byte
	pool *sync.Pool
}

func (b *buffer) release() { b.pool.Put(b) }

type bufferPools [maxBuffer - minBuffer + 1]sync.Pool

func (p *bufferPools) get(n int) *buffer {
	class := 0
	for n > 1<<(minBuffer+class) {
		class++
	}
	pool := &p[class]
	if b, ok := pool.Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, 1<<(minBuffer+class)), pool}
}
