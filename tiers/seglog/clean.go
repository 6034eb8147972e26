package seglog

import (
	"context"
	"errors"
	"time"
)

// reinsertShare is the part of a segment that may be appended again when it is
// emptied: a fifth, so that at most a quarter more is written than came in.
const reinsertShare = 5

// Run keeps empty segments ready, so that no writer ever waits for one, ends
// segments with their footers, verifies what lies unread, and tries again what
// failed. It returns when ctx ends. Without Run the store takes what fits into
// the segments that are ready, and then declines.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	s.running.Store(true)
	s.ran.Store(true)
	defer s.tellTidied()
	defer s.running.Store(false)
	for {
		if s.health.hung.Load() == 0 {
			s.tidy(ctx)
		}
		s.tellTidied()
		select {
		case <-s.wake:
		case <-tick.C:
			s.everySecond(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

const tickEvery = time.Second

// tellTidied wakes those who wait for room.
func (s *Store) tellTidied() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.tidied)
	s.tidied = make(chan struct{})
}

// everySecond does what nothing wakes Run for.
func (s *Store) everySecond(ctx context.Context) {
	if s.health.hung.Load() > 0 {
		return
	}
	s.buryAgain()
	if s.unsynced.Swap(false) && !s.syncTombstones() {
		s.unsynced.Store(true)
	}
	s.scrub(ctx, tickEvery)
}

// tidy does what there is to do.
func (s *Store) tidy(ctx context.Context) {
	s.sealFilled()
	s.reviveDrained()
	for ctx.Err() == nil && s.wantsRoom() {
		if !s.grow() && (time.Now().Before(s.evictAfter) || !s.evict()) {
			s.cramped.Store(true)
			return
		}
		s.reviveDrained()
	}
	s.cramped.Store(false)
	for ctx.Err() == nil && s.wantsMore() && s.grow() {
	}
}

// growAhead is how much may be begun before it is needed, in bytes. Small
// segments are filled faster than a disk that syncs for others begins them.
const growAhead = 8 << 20

// wantsMore reports whether segments that were never used should be begun ahead.
// That takes no room from anything, as emptying one would.
func (s *Store) wantsMore() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.free) < s.reserve+int(growAhead/s.segSize)
}

// wantsRoom reports whether fewer segments are ready than should be.
func (s *Store) wantsRoom() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.free)+len(s.drained) < s.reserve
}

// sealFilled writes the footers of segments in which nothing is being written.
func (s *Store) sealFilled() {
	s.mu.Lock()
	var ready []*segment
	for _, seg := range s.filled {
		if seg.outstanding == 0 && !seg.isSealed() {
			ready = append(ready, seg)
		}
	}
	s.mu.Unlock()
	for _, seg := range ready {
		if err := s.seal(seg); err != nil {
			s.failed(err) // it is emptied without one, or sealed the next time
			return
		}
	}
}

// grow begins a segment that was never used, or tries one again that failed.
func (s *Store) grow() bool {
	if len(s.unborn) == 0 || time.Now().Before(s.growAfter) {
		return false
	}
	seg := s.unborn[0]
	s.unborn = s.unborn[1:]
	if err := s.prepare(seg); err != nil {
		s.cannotGrow(seg, err)
		return false
	}
	return true
}

// cannotGrow puts a segment aside that could not be prepared, to be tried again
// after a pause, behind the others. The store goes on with those it has.
func (s *Store) cannotGrow(seg *segment, err error) {
	s.count.errors.Add(1)
	s.count.quarantined.Add(1)
	s.unborn = append(s.unborn, seg)
	s.growAfter = time.Now().Add(pauseAfterFaults)
	s.log.Warn("the cache disk gives no more space; going on with what there is", "segment", seg.n,
		"bytes", s.allocated.Load()*s.segSize, "again in", pauseAfterFaults, "err", err)
}

// evict empties the segment that was filled first. If the disk fails to forget
// it, nothing more is emptied for a while: a disk that cannot be written can
// still be read.
func (s *Store) evict() bool {
	s.mu.Lock()
	if len(s.filled) == 0 {
		s.mu.Unlock()
		return false
	}
	victim := s.filled[0]
	s.mu.Unlock()
	if !s.health.ok() {
		return false
	}
	if err := s.erase(victim); err != nil {
		s.failed(err)
		s.evictAfter = time.Now().Add(pauseAfterFaults)
		return false
	}
	known := s.vacate(victim)
	s.mu.Lock()
	s.filled = s.filled[1:] // only Run takes them off
	victim.life.Store(0)
	late := victim.unsealed()[known:]
	s.drained = append(s.drained, victim)
	s.mu.Unlock()
	s.takeOut(victim, late)
	return true
}

// vacate takes what is in a segment out of the index, and returns how many
// entries it knew that no footer has. If somebody still writes there, more may
// come until the segment's life ends; after that they take out themselves what
// they brought.
func (s *Store) vacate(victim *segment) (known int) {
	if !victim.isSealed() {
		entries := victim.unsealed()
		s.empty(victim, entries)
		return len(entries)
	}
	entries, err := readFooter(victim.file, victim.life.Load(), s.segSize)
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			s.readFailed(err)
		}
		s.damaged(err) // it cannot be read again: it is erased
		s.count.evicted.Add(s.sweep(victim.n))
		return 0
	}
	s.empty(victim, entries)
	return 0
}

// empty takes the records of a segment out of the index, and appends those again
// that were read since they were written.
//
// Descriptions go first: without its own, a large object whose chunks are all in
// other segments would be lost.
func (s *Store) empty(victim *segment, entries []entry) {
	budget := s.segSize / reinsertShare
	for i := range entries {
		if entries[i].kind == kindDesc {
			s.emptyEntry(victim, &entries[i], &budget)
		}
	}
	for i := range entries {
		if k := entries[i].kind; k == kindInline || k == kindChunk {
			s.emptyEntry(victim, &entries[i], &budget)
		}
	}
}

func (s *Store) emptyEntry(victim *segment, e *entry, budget *int64) {
	sh := s.shard(e.id)
	sh.mu.Lock()
	live, hit := sh.holdsLocked(e, victim.n)
	sh.mu.Unlock()
	if live && hit && int64(e.len) <= *budget && s.reinsert(victim, e) {
		*budget -= int64(e.len)
		s.count.reinserted.Add(1)
		return
	}
	sh.mu.Lock()
	if sh.removeLocked(e, victim.n) {
		s.count.evicted.Add(1)
	}
	sh.mu.Unlock()
}

// reviveDrained prepares emptied segments that nobody reads or writes any more.
func (s *Store) reviveDrained() {
	s.mu.Lock()
	var ready, busy []*segment
	for _, seg := range s.drained {
		if seg.refs.Load() == 0 {
			ready = append(ready, seg)
		} else {
			busy = append(busy, seg)
		}
	}
	s.drained = busy
	s.mu.Unlock()
	for _, seg := range ready {
		if err := s.prepare(seg); err != nil {
			s.evictAfter = time.Now().Add(pauseAfterFaults)
			s.cannotGrow(seg, err)
		}
	}
}

// reinsert appends a record again and moves its index entry there, if that has
// not changed meanwhile.
func (s *Store) reinsert(victim *segment, e *entry) bool {
	moved, err := false, error(nil)
	if e.kind == kindChunk {
		moved, err = s.moveChunk(victim, e)
	} else {
		moved, err = s.moveRecord(victim, e)
	}
	if errors.Is(err, ErrDamaged) {
		s.damaged(err)
	}
	return moved
}

func (s *Store) moveRecord(victim *segment, e *entry) (moved bool, err error) {
	buf := s.buffers.get(int(e.len))
	defer buf.release()
	b := buf.b[:e.len]
	if err := readFull(victim.file, b, int64(e.off)*unit); err != nil {
		return false, err
	}
	nonce := victim.life.Load()
	meta, data, err := openRecord(b, nonce, e.id, e.lsn)
	if err != nil {
		return false, err
	}
	h, err := parseHeader(b, nonce)
	if err != nil {
		return false, err
	}
	sh, from := s.shard(e.id), place{e.lsn, victim.n, e.off}
	err = s.addAlone(h, meta, data, func(l loc) bool {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if old, ok := sh.inline.get(e.id); ok && old.place() == from {
			l.flags = old.flags &^ flagHit
			sh.inline.set(e.id, l)
			moved = true
		} else if lg := sh.large[e.id]; lg != nil && lg.desc.place() == from {
			l.flags = lg.desc.flags
			lg.desc = l
			moved = true
		}
		return moved
	})
	return moved, err
}

// moveChunk copies a chunk. A stale copy needs no tombstone: it has no
// description of its own.
func (s *Store) moveChunk(victim *segment, e *entry) (bool, error) {
	sh := s.shard(e.id)
	sh.mu.Lock()
	lg := sh.largeLocked(e.id, e.gen)
	sh.mu.Unlock()
	if lg == nil {
		return false, nil
	}
	from := grant{victim, int64(e.off) * unit, victim.life.Load()}
	top, err := s.readTop(lg, int(e.chunk), from)
	if err != nil {
		return false, err
	}
	if s.moving == nil {
		s.moving = make([]byte, s.chunkSize)
	}
	data := s.moving[:top.len]
	if _, err := s.readBlocks(from, top, data, top.at); err != nil {
		return false, err
	}
	to, ok := s.alloc(int64(e.len), 1, page)
	if !ok {
		return false, errNoRoom
	}
	defer s.unpin(to.seg)
	h := header{
		kind: kindChunk, nonce: to.nonce, id: e.id, lsn: e.lsn, gen: e.gen, size: e.size,
		chunk: e.chunk, dataLen: uint32(top.len),
	}
	buf := s.buffers.get(page)
	chunkPage(buf.b, h, top.sums)
	if err = s.writeAt(to.seg, data, to.off+page, nil); err == nil {
		err = s.writeAt(to.seg, buf.b[:page], to.off, nil)
	}
	if err != nil {
		s.moving = nil // it may still be read, as may buf
		s.settle(to, 1)
		return false, err
	}
	defer buf.release()
	moved := entryOf(&h, to.off)
	sh.mu.Lock()
	live, _ := sh.holdsLocked(e, victim.n)
	if live {
		lg.setChunk(int(e.chunk), chunkLoc{seg: to.seg.n, off: moved.off})
	}
	sh.mu.Unlock()
	s.settle(to, 1, moved)
	s.count.written.Add(int64(e.len))
	return live, nil
}

// buryAgain writes the tombstones that could not be written.
func (s *Store) buryAgain() {
	s.mu.Lock()
	again := s.unburied
	s.unburied = make(map[ID]uint64)
	s.mu.Unlock()
	for id, lsn := range again {
		s.bury(id, lsn, s.addAlone)
	}
}

// syncTombstones waits until the segment that is being written, and those filled
// last, are on the disk.
func (s *Store) syncTombstones() bool {
	s.mu.Lock()
	var segs []*segment
	if s.active != nil {
		segs = append(segs, s.active)
	}
	for _, seg := range s.filled {
		if !seg.isSealed() {
			segs = append(segs, seg)
		}
	}
	s.mu.Unlock()
	for _, seg := range segs {
		if err := s.soon(seg, seg.file.Sync, nil); err != nil {
			s.failed(err)
			return false
		}
	}
	return true
}
