package seglog

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxFaults failed writes in a row stop writing for pauseAfterFaults, and so
	// many failed reads stop reading: a dying disk is then asked seldom instead
	// of on every miss.
	maxFaults        = 3
	pauseAfterFaults = 30 * time.Second
)

// A health is a circuit breaker for writes, or for reads.
type health struct {
	paused atomic.Int64 // nothing is asked before, in nanoseconds of Unix time
	faults atomic.Int64 // in a row
	hung   atomic.Int64 // writes that nobody waits for any more
}

func (h *health) ok() bool {
	until := h.paused.Load()
	if h.hung.Load() > 0 {
		return false
	}
	return until == 0 || time.Now().UnixNano() >= until
}

func (h *health) good() {
	if h.faults.Load() != 0 {
		h.faults.Store(0)
	}
}

// bad counts a fault and reports whether it opened the breaker.
func (h *health) bad() bool {
	if h.faults.Add(1) < maxFaults {
		return false
	}
	h.faults.Store(0)
	h.paused.Store(time.Now().Add(pauseAfterFaults).UnixNano())
	return true
}

// answers ends a write that hung. The disk is left alone for a while all the same.
func (h *health) answers() {
	h.paused.Store(time.Now().Add(pauseAfterFaults).UnixNano())
	h.hung.Add(-1)
}

// failed counts a failed disk operation.
func (s *Store) failed(err error) {
	s.count.errors.Add(1)
	if s.health.bad() {
		s.log.Error("the cache disk fails; nothing is written for a while", "pause", pauseAfterFaults, "err", err)
	}
}

// readFailed counts a failed read that says nothing about what is on the disk.
func (s *Store) readFailed(err error) {
	s.count.errors.Add(1)
	if s.reading.bad() {
		s.log.Error("the cache disk fails; nothing is read for a while", "pause", pauseAfterFaults, "err", err)
	}
}

// readFull fills p from a file. An end that comes too early is damage, and any
// other error is the disk's.
func readFull(f File, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == io.EOF:
		return fmt.Errorf("%w: the file ends at %d", ErrDamaged, off+int64(n))
	}
	return err
}

// An admission spends the write budget: a bucket that fills at the rate of the
// budget and holds ten seconds of it. While it is more than half full everything
// is written, then only what is asked for a second time, then nothing.
type admission struct {
	rate int64

	mu    sync.Mutex // guards the following
	level int64
	at    time.Time // when level was right
	seen  *[seenSlots]uint32
}

const (
	admissionBurst = 10 // seconds
	seenSlots      = 16 << 10
)

func (a *admission) init(rate int64) {
	rate = min(rate, 1<<62/admissionBurst) // or the bucket overflows
	a.rate, a.level, a.at = rate, rate*admissionBurst, time.Now()
	if rate > 0 {
		a.seen = new([seenSlots]uint32)
	}
}

// admit reports whether n bytes of an object may be written.
func (s *Store) admit(id ID, n int64) bool {
	a := &s.gate
	if a.rate <= 0 {
		return true
	}
	full := a.rate * admissionBurst
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	// In whole milliseconds, and at most as many as fill the bucket: no overflow.
	if ms := min(now.Sub(a.at).Milliseconds(), admissionBurst*1000); ms > 0 {
		a.level, a.at = min(a.level+a.rate/1000*ms+a.rate%1000*ms/1000, full), now
	}
	if a.level <= 0 || (a.level < full/2 && !a.again(id)) {
		s.count.declined.Add(1)
		return false
	}
	a.level -= n
	return true
}

// again reports whether an id was seen lately, and remembers it.
func (a *admission) again(id ID) bool {
	slot := &a.seen[(uint(id[1])|uint(id[2])<<8)%seenSlots]
	print := uint32(id[4]) | uint32(id[5])<<8 | uint32(id[6])<<16 | uint32(id[7])<<24
	if *slot == print {
		return true
	}
	*slot = print
	return false
}
