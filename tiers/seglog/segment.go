package seglog

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A segment is one file of the log.
type segment struct {
	n    uint32
	file File // nil until it is first prepared

	spacious bool // it has disk space, and counts in Store.allocated; of Open and then of Run

	// life is the nonce of the records that may be read and written, 0 while
	// there are none. refs counts the reads and writes under way: a segment
	// whose life has ended is used again when they are done.
	life atomic.Uint64
	refs atomic.Int32

	// Guarded by Store.mu.
	seq         uint64
	head        int64 // the next free byte
	promised    int   // records that room was given to
	outstanding int   // of those, not yet written or given up

	mu      sync.Mutex // guards the following
	entries []entry    // of complete records, until the footer has them
	sealed  bool       // the footer has them
}

// A grant is room in a segment for records of one write. Its owner has the
// segment pinned, and ends with settle.
type grant struct {
	seg   *segment
	off   int64
	nonce uint64
}

// alloc finds room for n bytes of so many records. It returns false if there
// is none without waiting.
func (s *Store) alloc(n int64, records int, align int64) (grant, bool) {
	return s.allocLeaving(0, n, records, align)
}

// allocLeaving is alloc that leaves so many segments free. Writers leave one to
// Run: it appends again what was read, and under a storm of writes that would
// be what is lost.
func (s *Store) allocLeaving(spare int, n int64, records int, align int64) (grant, bool) {
	if page+n+footerLen(records) > s.segSize {
		return grant{}, false // no segment would do
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		if a := s.active; a != nil {
			off := roundUp(a.head, align)
			if off+n+footerLen(a.promised+records) <= s.segSize {
				a.head, a.promised = off+n, a.promised+records
				a.outstanding += records
				a.refs.Add(1)
				return grant{a, off, a.life.Load()}, true
			}
			s.active = nil
			s.filled = append(s.filled, a)
			s.poke()
		}
		if len(s.free) <= spare {
			return grant{}, false
		}
		s.active, s.free = s.free[0], s.free[1:]
		s.poke()
	}
	return grant{}, false
}

// DefaultPatience is how long a write waits for a segment that Run is getting
// ready. That takes milliseconds; a disk that takes longer is no help to a cache,
// and after one such wait nobody waits for a while, which is impatience.
const (
	DefaultPatience = time.Second
	impatience      = 10 * time.Second
)

// allocSoon is alloc for a writer that has outpaced Run for a moment, or came
// before it has begun.
func (s *Store) allocSoon(n int64, records int, align int64) (grant, bool) {
	running, spare := s.running.Load(), 1
	if !running {
		spare = 0 // nobody appends again what was read
	}
	g, ok := s.allocLeaving(spare, n, records, align)
	if ok || !running && s.ran.Load() || time.Now().UnixNano() < s.impatient.Load() {
		return g, ok
	}
	timeout := time.NewTimer(s.patience)
	defer timeout.Stop()
	s.poke()
	for {
		s.mu.Lock()
		tidied := s.tidied
		s.mu.Unlock()
		if g, ok := s.allocLeaving(1, n, records, align); ok {
			return g, true
		}
		select {
		case <-tidied:
			if g, ok := s.allocLeaving(1, n, records, align); ok || !s.running.Load() || s.cramped.Load() {
				return g, ok
			}
		case <-timeout.C:
			s.impatient.Store(time.Now().Add(impatience).UnixNano())
			return grant{}, false
		}
	}
}

// settle ends the writes of a grant: its complete records, which the index has,
// will be in the footer. The caller has the segment pinned if there are any. If
// its life has ended they are taken out of the index again: whoever emptied it
// could not know of them.
func (s *Store) settle(g grant, records int, complete ...entry) {
	s.mu.Lock()
	done, alive := false, g.seg.life.Load() == g.nonce // lives begin and end under the lock
	if alive {
		g.seg.mu.Lock()
		g.seg.entries = append(g.seg.entries, complete...)
		g.seg.mu.Unlock()
		g.seg.outstanding -= records
		done = g.seg.outstanding == 0 && g.seg != s.active
	}
	s.mu.Unlock()
	if done {
		s.poke()
	}
	if !alive {
		s.takeOut(g.seg, complete)
	}
}

// takeOut takes records of a segment out of the index, if they are there.
func (s *Store) takeOut(seg *segment, entries []entry) {
	for i := range entries {
		e := &entries[i]
		sh := s.shard(e.id)
		sh.mu.Lock()
		removed := sh.removeLocked(e, seg.n)
		sh.mu.Unlock()
		if removed {
			s.count.evicted.Add(1)
		}
	}
}

// pin keeps a segment from being used again, if it still lives the life that
// the caller knows.
func (seg *segment) pin(nonce uint64) bool {
	seg.refs.Add(1)
	if nonce != 0 && seg.life.Load() == nonce {
		return true
	}
	seg.refs.Add(-1)
	return false
}

// hold pins the segment of a record that the index has, whose shard the caller
// has locked, and returns the nonce of its life. It returns false if that has
// just ended.
func (seg *segment) hold() (nonce uint64, ok bool) {
	nonce = seg.life.Load()
	return nonce, seg.pin(nonce)
}

// unpin ends pin, hold or alloc.
func (s *Store) unpin(seg *segment) {
	if seg.refs.Add(-1) == 0 && seg.life.Load() == 0 {
		s.poke()
	}
}

// poke tells Run that there is something to do.
func (s *Store) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func segmentName(n uint32) string { return fmt.Sprintf("segment-%05d", n) }

// space gives a segment its file, and that its space on the disk.
func (s *Store) space(seg *segment) error {
	file := seg.file
	err := s.soon(seg, func() (err error) {
		if file == nil {
			if file, err = s.fs.Open(segmentName(seg.n)); err != nil {
				file = nil
				return err
			}
		}
		size, err := file.Size()
		if err != nil || size == s.segSize {
			return err
		}
		return file.Allocate(s.segSize)
	}, func() {
		if seg.file == nil && file != nil {
			file.Close() // the next attempt opens it again
		}
	})
	if errors.Is(err, errStalled) || errors.Is(err, errPaused) {
		return err // file is not ours to look at
	}
	if seg.file = file; file != nil {
		s.countSpace(seg, err == nil)
	}
	return err
}

// countSpace takes note of whether a segment has disk space. One that could not
// be begun keeps what it has got.
func (s *Store) countSpace(seg *segment, has bool) {
	switch {
	case has && !seg.spacious:
		s.allocated.Add(1)
	case !has && seg.spacious:
		s.allocated.Add(-1)
	}
	seg.spacious = has
}

// erase ends the life of what a segment has on the disk: without its header no
// start looks at it. It is synced, and done in the order in which segments were
// filled, so that no tombstone goes before what it must kill.
func (s *Store) erase(seg *segment) error {
	return s.writeSync(seg, make([]byte, page), 0)
}

// prepare gives a segment a new life: a header, and nothing in it.
func (s *Store) prepare(seg *segment) error {
	if err := s.space(seg); err != nil {
		return err
	}
	h := segmentHeader{store: s.id, number: seg.n, seq: s.seq + 1, nonce: randomWord(), size: s.segSize}
	if err := s.writeSync(seg, h.encode(), 0); err != nil {
		return err
	}
	s.seq = h.seq
	s.mu.Lock()
	seg.mu.Lock()
	seg.entries, seg.sealed = nil, false
	seg.mu.Unlock()
	seg.seq, seg.head, seg.promised, seg.outstanding = h.seq, page, 0, 0
	seg.life.Store(h.nonce)
	s.free = append(s.free, seg)
	s.mu.Unlock()
	return nil
}

// seal writes the footer of a full segment.
func (s *Store) seal(seg *segment) error {
	foot := encodeFooter(seg.life.Load(), seg.unsealed())
	if err := s.writeSync(seg, foot, s.segSize-int64(len(foot))); err != nil {
		return err
	}
	seg.mu.Lock()
	seg.entries, seg.sealed = nil, true
	seg.mu.Unlock()
	return nil
}

// unsealed returns the entries of complete records that no footer has.
func (seg *segment) unsealed() []entry {
	seg.mu.Lock()
	defer seg.mu.Unlock()
	return seg.entries // appended to, never changed
}

func (seg *segment) isSealed() bool {
	seg.mu.Lock()
	defer seg.mu.Unlock()
	return seg.sealed
}

// randomWord returns a number that nobody can guess and that is not 0.
func randomWord() uint64 {
	var b [8]byte
	for {
		rand.Read(b[:]) // never fails
		if n := binary.LittleEndian.Uint64(b[:]); n != 0 {
			return n
		}
	}
}
