package seglog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Options say how a Store is made.
type Options struct {
	// Capacity is what all files of the store together may take, in bytes. At
	// least MinCapacity, and at most 512 TiB.
	Capacity int64

	// WriteRate bounds what is written over time, in bytes a second, because
	// flash wears out: 0 means no bound. Short bursts may exceed it.
	WriteRate int64

	// Preallocate takes the whole capacity off the disk at the start, so that
	// a full disk is noticed then. Otherwise segments are allocated when they
	// are first needed, and the store stays as large as it has become if the
	// disk is full.
	Preallocate bool

	// Patience is how long a write waits for room that is being made. 0 means
	// DefaultPatience.
	Patience time.Duration

	Log *slog.Logger // nil: discard
}

const (
	// MinCapacity is the smallest store, in bytes: four segments of the
	// smallest size, which are a MiB less their share of the manifest.
	MinCapacity = 4 << 20

	minSegments = 4
	minSegment  = 1<<20 - page
	maxSegment  = 256 << 20

	// A store has about 64 segments until they reach their largest size, and
	// at most maxSegments, each of which is an open file.
	usualSegments = 64
	maxSegments   = 8192

	// hugeSegment is the largest segment that 32 bits of offset reach in units,
	// and maxCapacity what so many of them hold.
	hugeSegment = unit << 32
	maxCapacity = maxSegments*hugeSegment + page
)

// A Store is a log of objects on a disk. It is safe for concurrent use.
type Store struct {
	fs        FS
	log       *slog.Logger
	capacity  int64
	writeRate int64
	id        uint64
	segSize   int64
	chunkSize int64
	maxBatch  int64
	reserve   int // segments to keep ready
	patience  time.Duration
	segs      []*segment

	seed    uint64 // of the hash of the index
	shards  [shardCount]shard
	lsn     atomic.Uint64 // the last sequence number given
	buffers bufferPools
	health  health // of writes
	reading health // of reads

	attempts sync.Pool // of *attempt
	gate     admission
	wake     chan struct{} // to Run

	running   atomic.Bool  // Run is
	ran       atomic.Bool  // Run has begun
	cramped   atomic.Bool  // Run found no way to make room
	impatient atomic.Int64 // nobody waits for Run before, in nanoseconds of Unix time
	unsynced  atomic.Bool  // there are tombstones that may not be on the disk
	allocated atomic.Int64 // segments that have disk space
	count     counts

	mu       sync.Mutex // guards the following
	closed   bool
	active   *segment   // records go here; nil if there is none
	free     []*segment // prepared and empty, in the order of their seq
	filled   []*segment // in the order of their seq
	drained  []*segment // emptied, but somebody may still read there
	unburied map[ID]uint64
	tidied   chan struct{} // closed when Run has done what there was to do

	putMu   sync.Mutex // guards the following
	open    *batch     // nil if nobody waits
	writing bool       // somebody has the duty to write
	spare   []byte

	// Of Open and then of Run.
	seq        uint64     // of the segment begun last
	unborn     []*segment // without disk space
	growAfter  time.Time  // nothing is asked of unborn ones before
	evictAfter time.Time  // nothing is emptied before
	moving     []byte     // a chunk on its way to another segment
	scrubbing  scrubState
}

type counts struct {
	damaged, errors, evicted, reinserted atomic.Int64
	declined, quarantined, written       atomic.Int64
}

var (
	errNoRoom  = errors.New("seglog: no segment is ready")
	errBusy    = errors.New("seglog: too much waits to be written")
	errPaused  = errors.New("seglog: the disk fails")
	errRevoked = errors.New("seglog: the segment has been emptied")
)

// Open opens the store in dir with what an earlier process left there. Files
// that are no segments of it, and segments that cannot be trusted, are begun
// anew. The Store owns dir and closes it; if Open fails it is closed already.
func Open(dir FS, opt Options) (*Store, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Patience <= 0 {
		opt.Patience = DefaultPatience
	}
	if opt.Capacity < MinCapacity {
		return nil, errors.Join(fmt.Errorf("seglog: %d bytes are too few, at least %d", opt.Capacity, int64(MinCapacity)), dir.Close())
	}
	if opt.Capacity > maxCapacity {
		return nil, errors.Join(fmt.Errorf("seglog: %d bytes are too many, at most %d", opt.Capacity, int64(maxCapacity)), dir.Close())
	}
	s := &Store{
		fs: dir, log: opt.Log, capacity: opt.Capacity, writeRate: opt.WriteRate, patience: opt.Patience,
		seed: randomWord() | 1, wake: make(chan struct{}, 1), unburied: make(map[ID]uint64), tidied: make(chan struct{}),
	}
	for i := range s.shards {
		s.shards[i] = shard{
			inline: table{seed: s.seed}, large: make(map[ID]*large),
			building: make(map[uint64]*large), pending: make(map[ID]uint64),
		}
	}
	s.gate.init(opt.WriteRate)
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("seglog: %w", err), s.Close())
	}
	for s.wantsRoom() && s.grow() {
	}
	if opt.Preallocate {
		for _, seg := range s.unborn {
			if err := s.space(seg); err != nil {
				return nil, errors.Join(fmt.Errorf("seglog: no room for %d bytes: %w", opt.Capacity, err), s.Close())
			}
		}
	}
	return s, nil
}

// geometry returns the sizes of segments and chunks of a store of capacity
// bytes.
func geometry(capacity int64) (segSize, chunkSize int64) {
	segSize = min(max(capacity/usualSegments, minSegment), maxSegment)
	segSize = max(segSize, capacity/maxSegments)
	segSize = segSize / page * page
	if segSize < capacity/maxSegments { // rounded down too far
		segSize += page
	}
	chunkSize = BlockSize
	for chunkSize < maxChunk && 2*chunkSize <= segSize/8 {
		chunkSize *= 2
	}
	return segSize, chunkSize
}

// Close ends the log so that the next Open reads footers only, and gives the
// directory free. Nobody may use the Store or its handles afterwards; Run must
// have returned. It is idempotent.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	if len(s.unburied) > 0 && s.health.hung.Load() == 0 {
		s.mu.Unlock()
		s.tidy(context.Background())
		s.buryAgain()
		s.mu.Lock()
	}
	if len(s.unburied) > 0 {
		s.distrustLocked()
	}
	s.closed = true
	segs := append(s.free, s.filled...)
	if s.active != nil {
		segs = append(segs, s.active)
	}
	s.mu.Unlock()
	for _, seg := range segs {
		if s.health.hung.Load() > 0 {
			break
		}
		if !seg.isSealed() && s.seal(seg) != nil {
			break // the next start searches it
		}
	}
	var errs []error
	for _, seg := range s.segs {
		if seg != nil && seg.file != nil {
			errs = append(errs, seg.file.Close())
		}
	}
	return errors.Join(append(errs, s.fs.Close())...)
}

// distrustLocked makes the next start begin anew, because tombstones could not
// be written: what was deleted must not come back.
func (s *Store) distrustLocked() {
	if err := s.fs.Remove(manifestName); err != nil {
		s.log.Error("deleted objects may come back to the cache after a restart", "err", err)
	}
	clear(s.unburied)
}

// Stats is what a Store holds and has done since it was opened.
type Stats struct {
	Objects     int64 // in the index
	Bytes       int64 // of disk, all files together
	Capacity    int64 // most that Bytes can reach
	Evicted     int64 // records that went with their segments
	Reinserted  int64 // records that were read and so were written again
	Declined    int64 // records there was no room or no budget for
	Damaged     int64 // records, and whole segments and manifests at the start, that failed a check
	Errors      int64 // failed disk operations
	Quarantined int64 // times that a segment could not be begun
	Written     int64 // bytes
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	var objects int64
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		objects += int64(sh.inline.len + len(sh.large))
		sh.mu.Unlock()
	}
	c := &s.count
	return Stats{
		Objects: objects, Bytes: s.allocated.Load()*s.segSize + page, Capacity: s.capacity,
		Evicted: c.evicted.Load(), Reinserted: c.reinserted.Load(), Declined: c.declined.Load(), Damaged: c.damaged.Load(),
		Errors: c.errors.Load(), Quarantined: c.quarantined.Load(), Written: c.written.Load(),
	}
}
