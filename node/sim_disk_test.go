package node

import (
	"context"
	"sync"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// A simDisk is the disk of a simulated node: it outlives the node's starts. Real
// files would hold the simulated time up, and are tested with the tier itself.
type simDisk struct {
	mu     sync.Mutex // guards the following
	copies map[object.Key]*simCopy
}

// A simCopy is a whole object.
type simCopy struct {
	info  object.Info
	bytes []byte
	born  time.Time
	seen  *simLife // that has seen it match its digest
}

// wipe loses everything.
func (d *simDisk) wipe() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.copies = nil
}

// A simSSD is the disk as one start of a node uses it.
type simSSD struct {
	tiers.Off
	disk *simDisk
	life *simLife
}

func (s *simSSD) Get(key object.Key) (tiers.Stored, bool) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	c, ok := s.disk.copies[key]
	if !ok {
		return nil, false
	}
	return &simStored{c, s}, true
}

func (s *simSSD) Peek(key object.Key) (tiers.Stored, bool) { return s.Get(key) }

func (s *simSSD) Has(key object.Key) bool {
	_, ok := s.Get(key)
	return ok
}

func (s *simSSD) put(c *simCopy) bool {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	if s.life.dead() {
		return false
	}
	if s.disk.copies == nil {
		s.disk.copies = make(map[object.Key]*simCopy)
	}
	s.disk.copies[c.info.Key] = c
	return true
}

func (s *simSSD) Put(e *tiers.Entry) bool {
	return s.put(&simCopy{info: e.Info, bytes: append([]byte(nil), e.Bytes...), born: e.Born})
}

func (s *simSSD) Create(info object.Info) (tiers.Spool, bool) {
	return &simSpool{ssd: s, copy: &simCopy{info: info, born: time.Now().Add(-info.Age)}}, true
}

func (s *simSSD) Delete(key object.Key) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	if !s.life.dead() {
		delete(s.disk.copies, key)
	}
}

func (s *simSSD) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// A simStored is an open copy.
type simStored struct {
	*simCopy
	ssd *simSSD
}

func (s *simStored) Info() object.Info {
	info := s.info
	info.Tier, info.Age = object.TierSSD, time.Since(s.born)
	return info
}

func (s *simStored) ReadAt(p []byte, off int64) (int, error) { return copy(p, s.bytes[off:]), nil }
func (s *simStored) Complete() bool                          { return true }
func (s *simStored) Present(int64) (present, missing int64) {
	return int64(len(s.bytes)), int64(len(s.bytes))
}
func (s *simStored) Fill(int64, int64) (tiers.Spool, bool) { return nil, false }
func (s *simStored) Drop()                                 { s.ssd.Delete(s.info.Key) }
func (s *simStored) Close() error                          { return nil }

// Generation says that no bytes of the copy are kept elsewhere.
func (s *simStored) Generation() uint64 { return 0 }
func (s *simStored) Touch(int64) bool   { return false }

// Proven reports whether this start of the node has seen the copy to be right.
func (s *simStored) Proven() bool {
	s.ssd.disk.mu.Lock()
	defer s.ssd.disk.mu.Unlock()
	return s.seen == s.ssd.life
}

func (s *simStored) Prove() {
	s.ssd.disk.mu.Lock()
	defer s.ssd.disk.mu.Unlock()
	s.seen = s.ssd.life
}

// A simSpool is a copy that is being written.
type simSpool struct {
	ssd *simSSD

	mu   sync.Mutex // guards the following
	copy *simCopy
}

func (s *simSpool) Write(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.copy.bytes = append(s.copy.bytes, p...)
	return nil
}

func (s *simSpool) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if off > int64(len(s.copy.bytes)) {
		return 0, tiers.ErrAbsent
	}
	return copy(p, s.copy.bytes[off:]), nil
}

func (s *simSpool) Commit(info object.Info) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if int64(len(s.copy.bytes)) != info.Size {
		return tiers.ErrDamaged
	}
	s.ssd.put(&simCopy{info: info, bytes: s.copy.bytes, born: time.Now().Add(-info.Age)})
	return nil
}

func (s *simSpool) Abort() {}
