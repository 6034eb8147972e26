package tiers

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers/seglog"
)

// LogOptions say how a Log is made.
type LogOptions struct {
	Capacity    int64 // what its files may take of the disk, in bytes
	WriteRate   int64 // bound of what is written over time, in bytes a second; 0: none
	Preallocate bool  // take all of the capacity at the start
	Log         *slog.Logger

	// Patience is how long a write waits for room that is being made, 0 for a
	// second: what a busy disk takes longer for is not worth a copy.
	Patience time.Duration
}

// MinLogCapacity is the smallest Log, in bytes.
const MinLogCapacity = seglog.MinCapacity

// A Log is an SSD tier on a log of segments. The directory belongs to one
// process at a time.
type Log struct {
	store        *seglog.Store
	dir          string
	log          *slog.Logger
	beginning    sync.Mutex // held by Begin, so that two do not begin one object
	hits, misses atomic.Int64
}

// OpenLog opens the tier in dir, creating it if needed, with what an earlier
// process left there. It fails if dir cannot be used or another process uses
// it; what is damaged is begun anew.
func OpenLog(dir string, opt LogOptions) (*Log, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	disk, err := seglog.OpenDir(dir)
	if err != nil {
		return nil, fmt.Errorf("tiers: open %s: %w", dir, err)
	}
	return openLogOn(disk, dir, opt)
}

// openLogOn opens the tier on a disk, which is that of dir and its own from then on.
func openLogOn(disk seglog.FS, dir string, opt LogOptions) (*Log, error) {
	store, err := seglog.Open(disk, seglog.Options{
		Capacity: opt.Capacity, WriteRate: opt.WriteRate, Preallocate: opt.Preallocate, Log: opt.Log, Patience: opt.Patience,
	})
	if err != nil {
		return nil, fmt.Errorf("tiers: open %s: %w", dir, err)
	}
	return &Log{store: store, dir: dir, log: opt.Log}, nil
}

func logID(key object.Key) seglog.ID {
	sum := sha256.Sum256([]byte(key))
	return seglog.ID(sum[:16])
}

// Get opens the copy of key. One that cannot be trusted is dropped.
func (l *Log) Get(key object.Key) (Stored, bool) {
	s, ok := l.get(key)
	if !ok {
		l.misses.Add(1)
		return nil, false
	}
	l.hits.Add(1)
	return s, true
}

// Peek opens the copy of key, and counts nothing.
func (l *Log) Peek(key object.Key) (Stored, bool) {
	h, ok := l.store.Peek(logID(key))
	if s, ok := l.recall(key, h, ok); ok {
		return s, true
	}
	return nil, false
}

func (l *Log) get(key object.Key) (*logCopy, bool) {
	h, ok := l.store.Get(logID(key))
	return l.recall(key, h, ok)
}

// recall returns the copy that the log was found to have, if it can be trusted.
func (l *Log) recall(key object.Key, h *seglog.Handle, ok bool) (*logCopy, bool) {
	if !ok {
		return nil, false
	}
	e, err := recallStored(h.Meta(), h.Size())
	if err == nil && e.Info.Key != key {
		err = fmt.Errorf("%w: it is another key's", ErrDamaged)
	}
	if err != nil {
		l.log.Warn("dropped a copy", "key", key, "err", err)
		h.Drop()
		h.Close()
		return nil, false
	}
	return &logCopy{Handle: h, info: e.Info, born: e.Born}, true
}

// Has reports whether the index knows all of key's copy.
func (l *Log) Has(key object.Key) bool { return l.store.HasAll(logID(key)) }

// Put stores a small object.
func (l *Log) Put(e *Entry) bool {
	meta, err := describedStored(e.Info, e.Born)
	if err != nil || int64(len(e.Bytes)) != e.Info.Size {
		l.store.Delete(logID(e.Info.Key))
		return false
	}
	return l.store.Put(logID(e.Info.Key), meta, e.Bytes)
}

// Create begins a large object.
func (l *Log) Create(info object.Info) (Spool, bool) {
	w := l.store.Create(logID(info.Key), info.Size)
	if w == nil {
		return nil, false
	}
	return &logSpool{Writer: w, info: info, born: time.Now().Add(-info.Age)}, true
}

// Begin opens or begins a large object in parts.
func (l *Log) Begin(info object.Info) (Stored, bool) {
	l.beginning.Lock()
	defer l.beginning.Unlock()
	if s, ok := l.get(info.Key); ok {
		if sameBytes(s.info, info) && s.Large() {
			return s, true
		}
		s.Close()
	}
	meta, err := describedStored(info, time.Now().Add(-info.Age))
	if err != nil || !l.store.Begin(logID(info.Key), info.Size, meta) {
		return nil, false
	}
	s, ok := l.get(info.Key)
	if !ok {
		return nil, false
	}
	return s, true
}

// PartSize returns the size of chunks.
func (l *Log) PartSize() int64 { return l.store.ChunkSize() }

// Delete drops the copy of key, and sees to it that it does not come back.
func (l *Log) Delete(key object.Key) { l.store.Delete(logID(key)) }

// Run keeps room for new copies, verifies old ones, and removes what the layout
// of earlier versions left in the directory.
func (l *Log) Run(ctx context.Context) error {
	var sweeping sync.WaitGroup
	defer sweeping.Wait()
	sweeping.Go(func() { l.removeOldLayout(ctx) })
	return l.store.Run(ctx)
}

// oldLayout is the directory of a file for each object, which earlier versions
// kept: it would eat the disk besides the log.
const oldLayout = "v1"

// removeOldLayout removes file by file, because a million of them take minutes
// and a node may have to stop meanwhile.
func (l *Log) removeOldLayout(ctx context.Context) {
	root := filepath.Join(l.dir, oldLayout)
	filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			os.Remove(path)
		}
		return ctx.Err()
	})
	if ctx.Err() == nil {
		os.RemoveAll(root)
	}
}

// Stats returns what the tier holds and did.
func (l *Log) Stats() TierStats {
	s := l.store.Stats()
	return TierStats{
		Entries: s.Objects, Bytes: s.Bytes, Capacity: s.Capacity, Hits: l.hits.Load(), Misses: l.misses.Load(),
		Evictions: s.Evicted, Damaged: s.Damaged, Errors: s.Errors,
		Declined: s.Declined, Reinserted: s.Reinserted, Written: s.Written, Quarantined: s.Quarantined,
	}
}

// Close ends the log and gives the directory free. It is idempotent.
func (l *Log) Close() error { return l.store.Close() }

// A logCopy is a Stored in a Log.
type logCopy struct {
	*seglog.Handle
	info object.Info
	born time.Time
}

func (c *logCopy) Info() object.Info {
	info := c.info
	if !c.born.IsZero() {
		info.Age = max(time.Since(c.born), 0)
	}
	return info
}

func (c *logCopy) Fill(from, n int64) (Spool, bool) {
	w := c.Handle.Fill(from, n)
	if w == nil {
		return nil, false
	}
	return &logSpool{Writer: w, info: c.info}, true
}

// A logSpool is a Spool in a Log.
type logSpool struct {
	*seglog.Writer
	info object.Info
	born time.Time
}

func (s *logSpool) Commit(info object.Info) error {
	if info.Size != s.info.Size || info.Key != s.info.Key {
		return fmt.Errorf("tiers: commit of %q as %q", s.info.Key, info.Key)
	}
	meta, err := describedStored(info, s.born)
	if err != nil {
		return err
	}
	return s.Writer.Commit(meta)
}

var (
	_ SSD    = (*Log)(nil)
	_ Stored = (*logCopy)(nil)
	_ Spool  = (*logSpool)(nil)
)
