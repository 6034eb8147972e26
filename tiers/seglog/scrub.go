package seglog

import (
	"context"
	"errors"
	"time"
)

const (
	// scrubRate is how much is verified in a second, in bytes: a disk of a
	// terabyte takes a day and a half, and does not notice.
	scrubRate = 8 << 20

	// scrubEvery is how often all of the store is read.
	scrubEvery = 24 * time.Hour
)

// A scrubState is how far the reading of all that lies there has come.
type scrubState struct {
	began   time.Time // this round
	seq     uint64    // of the segment that is read, or was last
	entries []entry   // of it, that are still to be read
	seg     *segment
	nonce   uint64
}

// scrub verifies some more records: what nobody reads would otherwise rot
// unnoticed until it is wanted.
func (s *Store) scrub(ctx context.Context, span time.Duration) {
	st := &s.scrubbing
	budget := int64(span.Seconds() * scrubRate)
	for budget > 0 && ctx.Err() == nil && s.reading.ok() {
		if len(st.entries) == 0 && !s.scrubNext() {
			return
		}
		e := &st.entries[0]
		st.entries = st.entries[1:]
		if !st.seg.pin(st.nonce) {
			st.entries = nil // it has been emptied
			continue
		}
		budget -= s.scrubEntry(st.seg, st.nonce, e)
		s.unpin(st.seg)
	}
}

// scrubNext goes on to the next segment with a footer. It returns false when
// all have been read, until the next round is due.
func (s *Store) scrubNext() bool {
	st := &s.scrubbing
	now := time.Now()
	s.mu.Lock()
	var next *segment
	for _, seg := range s.filled { // the oldest first
		if seg.seq > st.seq && seg.isSealed() {
			next = seg
			break
		}
	}
	s.mu.Unlock()
	if next == nil {
		if st.began.IsZero() {
			st.began = now
		}
		if now.Sub(st.began) >= scrubEvery {
			st.began, st.seq = now, 0
		}
		return false
	}
	if st.seq == 0 {
		st.began = now
	}
	st.seq, st.seg, st.nonce = next.seq, next, next.life.Load()
	entries, err := readFooter(next.file, st.nonce, s.segSize)
	switch { // its records are still in the index, and say for themselves what they are
	case errors.Is(err, ErrDamaged):
		s.damaged(err)
		return false
	case err != nil:
		s.readFailed(err)
		return false
	}
	st.entries = entries
	return len(entries) > 0
}

// scrubEntry verifies a record that is still wanted, and returns what that
// cost in bytes.
func (s *Store) scrubEntry(seg *segment, nonce uint64, e *entry) int64 {
	sh := s.shard(e.id)
	sh.mu.Lock()
	live, _ := sh.holdsLocked(e, seg.n)
	lg := sh.largeLocked(e.id, e.gen)
	sh.mu.Unlock()
	if !live {
		return unit
	}
	var err error
	if e.kind == kindChunk {
		err = s.scrubChunk(lg, grant{seg, int64(e.off) * unit, nonce}, int(e.chunk))
	} else {
		buf := s.buffers.get(int(e.len))
		defer buf.release()
		b := buf.b[:e.len]
		if err = readFull(seg.file, b, int64(e.off)*unit); err == nil {
			_, _, err = openRecord(b, nonce, e.id, e.lsn)
		}
	}
	switch {
	case err == nil:
	case !errors.Is(err, ErrDamaged):
		s.readFailed(err) // whoever reads it finds out whether it can be read
	default:
		sh.mu.Lock()
		mine := sh.removeLocked(e, seg.n)
		sh.mu.Unlock()
		if mine {
			s.damaged(err)
		}
	}
	return int64(e.len)
}

func (s *Store) scrubChunk(lg *large, ext grant, i int) error {
	top, err := s.readTop(lg, i, ext)
	if err != nil {
		return err
	}
	buf := s.buffers.get(MaxInline)
	defer buf.release()
	for off := top.at; off < top.at+top.len; {
		n, err := s.readBlocks(ext, top, buf.b, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}
