package seglog

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// A batch is records that one write brings to the disk. Whoever adds the first
// record while no write is under way writes at once; those who come meanwhile
// share the next write, which one of them does: there is no timer, an idle store
// writes at once and a busy one in large pieces.
type batch struct {
	buf  []byte
	recs []batched
	lead chan struct{} // given to one waiter, who must write
	done chan struct{} // closed when it is written
	err  error
}

type batched struct {
	at      int // in buf
	h       header
	publish func(loc) bool // called when the record is on the disk: whether it counts
}

// maxBatch bounds what waits to be written, in bytes. A store that is so far
// behind declines more, but for descriptions and tombstones, which are small and
// complete what has cost much.
const maxBatch = 1 << 20

// add brings a record to the disk and then calls publish with its place, which
// says whether the record still counts: one that was passed meanwhile is wiped
// out. It returns an error if the record was not written.
func (s *Store) add(h header, meta, data []byte, publish func(loc) bool) error {
	s.putMu.Lock()
	b := s.open
	if b == nil {
		b = &batch{buf: s.spare, lead: make(chan struct{}, 1), done: make(chan struct{})}
		s.open, s.spare = b, nil
	}
	n := int64(len(b.buf)+headerSize+len(meta)+len(data)) + footerLen(len(b.recs)+1) // of a segment
	if len(b.recs) > 0 && n > s.maxBatch && (data != nil || n > s.maxBatch*3/2) {
		s.putMu.Unlock()
		s.count.declined.Add(1)
		return errBusy
	}
	at := len(b.buf)
	b.buf = encodeRecord(b.buf, h, meta, data)
	h.metaLen, h.dataLen = uint32(len(meta)), uint32(len(data))
	b.recs = append(b.recs, batched{at, h, publish})
	if !s.writing {
		s.writing = true
		s.putMu.Unlock()
		s.write(b)
		return b.err
	}
	s.putMu.Unlock()
	select {
	case <-b.done:
	case <-b.lead:
		s.write(b)
	}
	return b.err
}

// write writes the open batch, which is b, and passes the duty on.
func (s *Store) write(b *batch) {
	s.putMu.Lock()
	s.open = nil
	s.putMu.Unlock()
	b.err = s.writeBatch(b, s.allocSoon)
	s.putMu.Lock()
	if cap(b.buf) <= 2*maxBatch && !errors.Is(b.err, errStalled) {
		s.spare = b.buf[:0]
	}
	b.buf = nil
	if s.open != nil {
		s.open.lead <- struct{}{}
	} else {
		s.writing = false
	}
	s.putMu.Unlock()
	close(b.done)
}

// addAlone is add for Run, which must not wait for itself, nor for somebody who
// waits for it.
func (s *Store) addAlone(h header, meta, data []byte, publish func(loc) bool) error {
	b := &batch{buf: encodeRecord(nil, h, meta, data)}
	h.metaLen, h.dataLen = uint32(len(meta)), uint32(len(data))
	b.recs = []batched{{0, h, publish}}
	return s.writeBatch(b, s.alloc)
}

func (s *Store) writeBatch(b *batch, alloc func(n int64, records int, align int64) (grant, bool)) error {
	if !s.health.ok() {
		return errPaused
	}
	g, ok := alloc(int64(len(b.buf)), len(b.recs), unit)
	if !ok {
		s.count.declined.Add(int64(len(b.recs)))
		return errNoRoom
	}
	defer s.unpin(g.seg)
	for _, r := range b.recs {
		setNonce(b.buf[r.at:], g.nonce)
	}
	late := func() { // what was given up is not to be found by the next start
		for i := range b.recs {
			if err := wipe(g, &b.recs[i]); err != nil {
				s.failed(err)
			}
		}
	}
	if err := s.writeAt(g.seg, b.buf, g.off, late); err != nil {
		s.settle(g, len(b.recs))
		s.failed(err)
		return fmt.Errorf("write %d bytes: %w", len(b.buf), err)
	}
	s.health.good()
	entries := make([]entry, 0, len(b.recs))
	for i := range b.recs {
		r := &b.recs[i]
		e := entryOf(&r.h, g.off+int64(r.at))
		if r.publish == nil || r.publish(loc{lsn: e.lsn, seg: g.seg.n, off: e.off, len: e.len}) {
			entries = append(entries, e)
			continue
		}
		// No start must find it: what has passed it may be gone before it. If
		// it cannot be wiped out, a tombstone behind it says so, of its own
		// number: what has passed it has a later one, and lives.
		if err := s.soon(g.seg, func() error { return wipe(g, r) }, nil); err != nil {
			s.failed(err)
			s.buryLater(e.id, e.lsn)
		}
	}
	s.settle(g, len(b.recs), entries...)
	s.count.written.Add(int64(len(b.buf)))
	return nil
}

// wipe makes a record that was written none.
func wipe(g grant, r *batched) error {
	_, err := g.seg.file.WriteAt(make([]byte, headerSize), g.off+int64(r.at))
	return err
}

// Put stores a small object, of at most MaxInline bytes, in place of what there
// is under its id. It returns when the object can be read, and reports false if
// the store declined it or could not write it; then there is nothing under the
// id. It keeps no reference to its arguments.
func (s *Store) Put(id ID, meta, data []byte) bool {
	if len(data) > MaxInline || len(meta) > MaxMeta || !s.admit(id, int64(len(data))) {
		s.Delete(id)
		return false
	}
	sh := s.shard(id)
	lsn := sh.begin(id, &s.lsn)
	h := header{kind: kindInline, id: id, lsn: lsn, size: uint64(len(data))}
	published := false
	err := s.add(h, meta, data, func(l loc) bool {
		l.flags = flagProven // what this process wrote came from a checked stream
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if sh.pending[id] == lsn {
			delete(sh.pending, id)
			sh.setLocked(id, l)
			published = true
		}
		return published
	})
	if err != nil {
		sh.cancel(id, lsn)
		s.Delete(id)
	}
	return published
}

// begin announces a write of id, and gives it its number. The last one announced
// is the one that is published.
func (sh *shard) begin(id ID, last *atomic.Uint64) (lsn uint64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	lsn = last.Add(1)
	sh.pending[id] = lsn
	return lsn
}

// cancel takes begin back.
func (sh *shard) cancel(id ID, lsn uint64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.pending[id] == lsn {
		delete(sh.pending, id)
	}
}

// Delete drops the object, and what is being written of it by Put, for this
// process and those that come after it. Objects that are open stay readable as
// long as their segments last. A tombstone is on the disk a second later: a
// machine that loses power before may come back with the object.
func (s *Store) Delete(id ID) {
	sh := s.shard(id)
	sh.mu.Lock()
	delete(sh.pending, id)
	sh.forgetLocked(id)
	sh.mu.Unlock()
	// Whatever the index knew: a segment that was emptied, and is not written
	// again yet, would bring the object back after a restart.
	s.bury(id, s.lsn.Add(1), s.add)
}

// maxUnburied bounds the tombstones that wait for a disk that fails.
const maxUnburied = 64 << 10

// bury appends a tombstone. One that cannot be written is kept and tried again:
// until then a restart would find what was deleted.
func (s *Store) bury(id ID, lsn uint64, add func(h header, meta, data []byte, publish func(loc) bool) error) {
	if err := add(header{kind: kindTombstone, id: id, lsn: lsn}, nil, nil, nil); err != nil {
		s.buryLater(id, lsn)
		return
	}
	s.unsynced.Store(true)
}

// buryLater leaves a tombstone to Run.
func (s *Store) buryLater(id ID, lsn uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unburied[id] = max(s.unburied[id], lsn); len(s.unburied) > maxUnburied {
		s.distrustLocked()
	}
}
