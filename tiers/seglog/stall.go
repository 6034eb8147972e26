package seglog

import (
	"errors"
	"sync/atomic"
	"time"
)

// maxStall is how long anybody waits for the disk. Disks that are well answer in
// milliseconds, busy ones in a second or two; one that takes longer is dying, or
// a volume behind a network that is gone, and may take minutes or for ever.
const maxStall = 5 * time.Second

var errStalled = errors.New("seglog: the disk hangs")

// An attempt is something that the disk does, and somebody who waits for it. One
// that did not hang is used again.
type attempt struct {
	ended   atomic.Bool // by the disk or by the one who waits, whoever was first
	done    chan error
	timeout *time.Timer
}

// attempt returns one whose time begins to run.
func (s *Store) attempt() *attempt {
	if a, ok := s.attempts.Get().(*attempt); ok {
		a.ended.Store(false)
		a.timeout.Reset(maxStall)
		return a
	}
	return &attempt{done: make(chan error, 1), timeout: time.NewTimer(maxStall)}
}

// soon does something to a segment that nobody else writes at this place, and
// waits for maxStall at most. If it returns errStalled, do is still under way. It
// has the segment pinned as long as that lasts, what it uses must not be changed,
// and late, which may be nil, is called when it has come to its end. Until then
// nothing else is begun, so that nothing is overtaken.
//
// The system cannot be told to give up a write, so the goroutine of one that
// hangs belongs to nobody. Without Run there is nobody else to spare, and the
// caller does it himself.
func (s *Store) soon(seg *segment, do func() error, late func()) error {
	if !s.running.Load() {
		return do()
	}
	if s.health.hung.Load() > 0 {
		return errPaused
	}
	a := s.attempt()
	seg.refs.Add(1)
	go func() {
		defer s.unpin(seg)
		err := do()
		if a.ended.CompareAndSwap(false, true) {
			a.done <- err
			return
		}
		if late != nil {
			late()
		}
		s.health.answers()
	}()
	select {
	case err := <-a.done:
		a.timeout.Stop()
		s.attempts.Put(a)
		return err
	case <-a.timeout.C:
	}
	s.health.hung.Add(1)
	if !a.ended.CompareAndSwap(false, true) {
		s.health.hung.Add(-1)
		return <-a.done
	}
	s.log.Error("the cache disk hangs; nothing is written until it answers", "segment", seg.n)
	return errStalled
}

// writeAt writes into a segment that the caller has pinned, as soon does.
func (s *Store) writeAt(seg *segment, p []byte, off int64, late func()) error {
	return s.soon(seg, func() error {
		_, err := seg.file.WriteAt(p, off)
		return err
	}, late)
}

// writeSync is writeAt that waits until all of the segment is on the disk.
func (s *Store) writeSync(seg *segment, p []byte, off int64) error {
	return s.soon(seg, func() error {
		if _, err := seg.file.WriteAt(p, off); err != nil {
			return err
		}
		return seg.file.Sync()
	}, nil)
}
