package seglog

import "sync"

// shardCount divides the index: a lookup locks one of so many parts.
const shardCount = 1 << shardBits

// A loc is where a record is.
type loc struct {
	lsn   uint64
	seg   uint32
	off   uint32 // in units
	len   uint32 // in bytes
	flags uint32
}

const (
	flagHit    = 1 << iota // read since it was written
	flagProven             // the whole object matched its digest in this process
)

// A place is a loc without what can change while the record stays where it is.
type place struct {
	lsn      uint64
	seg, off uint32
}

func (l loc) place() place { return place{l.lsn, l.seg, l.off} }

// A shard is a part of the index. Its mutex also guards the chunks and flags of
// its large objects.
type shard struct {
	mu       sync.Mutex
	inline   table
	large    map[ID]*large
	building map[uint64]*large // by gen: large objects that are not published
	pending  map[ID]uint64     // lsn of the last write under way, if nothing has passed it

	// failed has the records, but for chunks, that the disk failed to read the
	// last time: a few, because it is not asked for more then.
	failed map[ID]place
}

// maxFailed bounds shard.failed. What is forgotten has one more try.
const maxFailed = 16

// A large object is one of several records.
type large struct {
	id   ID
	gen  uint64
	size int64

	// Guarded by the shard's mutex.
	desc    loc
	chunks  []chunkLoc
	present int  // chunks that are there
	dead    bool // replaced, deleted, dropped or never finished
}

// A chunkLoc is where a chunk is.
type chunkLoc struct {
	seg uint32 // absent: it is nowhere
	off uint32 // in units
	hit bool   // read since it was written

	failed bool // the disk failed to read it the last time
}

const absent = ^uint32(0)

func newLarge(id ID, gen uint64, size, chunkSize int64) *large {
	lg := &large{id: id, gen: gen, size: size, chunks: make([]chunkLoc, (size+chunkSize-1)/chunkSize)}
	for i := range lg.chunks {
		lg.chunks[i].seg = absent
	}
	return lg
}

// setChunk says where a chunk is, or with absent that it is nowhere.
func (lg *large) setChunk(i int, c chunkLoc) {
	if lg.chunks[i].seg != absent {
		lg.present--
	}
	if c.seg != absent {
		lg.present++
	}
	lg.chunks[i] = c
}

// complete reports whether all chunks are there.
func (lg *large) complete() bool { return lg.present == len(lg.chunks) }

func (s *Store) shard(id ID) *shard { return &s.shards[scramble(id, s.seed)>>(64-shardBits)] }

// setLocked puts a small object into the index in place of what there is.
func (sh *shard) setLocked(id ID, l loc) {
	if lg := sh.large[id]; lg != nil {
		lg.dead = true
		delete(sh.large, id)
	}
	sh.inline.set(id, l)
}

// forgetLocked takes an object out of the index and reports whether it was
// there.
func (sh *shard) forgetLocked(id ID) bool {
	inline := sh.inline.remove(id)
	lg := sh.large[id]
	if lg != nil {
		lg.dead = true
		delete(sh.large, id)
	}
	return inline || lg != nil
}

// lsnLocked returns the sequence number of what the index has of id, 0 if that
// is nothing.
func (sh *shard) lsnLocked(id ID) uint64 {
	if l, ok := sh.inline.get(id); ok {
		return l.lsn
	}
	if lg := sh.large[id]; lg != nil {
		return lg.desc.lsn
	}
	return 0
}

// largeLocked finds a large object by its gen, published or not.
func (sh *shard) largeLocked(id ID, gen uint64) *large {
	if lg := sh.building[gen]; lg != nil {
		return lg
	}
	if lg := sh.large[id]; lg != nil && lg.gen == gen {
		return lg
	}
	return nil
}

// holdsLocked returns what the index has at the place of an entry: whether it is
// live, and whether it was read since it was written.
func (sh *shard) holdsLocked(e *entry, seg uint32) (live, hit bool) {
	at := place{e.lsn, seg, e.off}
	switch e.kind {
	case kindInline:
		l, ok := sh.inline.get(e.id)
		return ok && l.place() == at, l.flags&flagHit != 0
	case kindDesc:
		lg := sh.large[e.id]
		return lg != nil && lg.desc.place() == at, lg != nil && lg.present > 0 // it must outlive the chunks
	case kindChunk:
		lg := sh.largeLocked(e.id, e.gen)
		if lg == nil || int(e.chunk) >= len(lg.chunks) {
			return false, false
		}
		c := lg.chunks[e.chunk]
		return c.seg == seg && c.off == e.off, c.hit
	}
	return false, false
}

// removeLocked takes the record of an entry out of the index if it is there.
func (sh *shard) removeLocked(e *entry, seg uint32) bool {
	if live, _ := sh.holdsLocked(e, seg); !live {
		return false
	}
	if e.kind == kindChunk {
		sh.largeLocked(e.id, e.gen).setChunk(int(e.chunk), chunkLoc{seg: absent})
		return true
	}
	return sh.forgetLocked(e.id)
}

// sweep takes everything that is in a segment out of the index, without
// knowing what it is. It looks at all of the index, and never for long under a
// lock. Nothing may come to the segment meanwhile.
func (s *Store) sweep(seg uint32) (removed int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		for part := range sh.inline.parts {
			sh.mu.Lock()
			removed += int64(sh.inline.sweep(part, seg))
			sh.mu.Unlock()
		}
		sh.mu.Lock()
		for id, lg := range sh.large {
			if lg.desc.seg == seg {
				sh.forgetLocked(id)
				removed++
				continue
			}
			lg.leaveLocked(seg)
		}
		for _, lg := range sh.building {
			lg.leaveLocked(seg)
		}
		sh.mu.Unlock()
	}
	return removed
}

// leaveLocked forgets the chunks that are in a segment.
func (lg *large) leaveLocked(seg uint32) {
	for i := range lg.chunks {
		if lg.chunks[i].seg == seg {
			lg.setChunk(i, chunkLoc{seg: absent})
		}
	}
}

// Has reports whether the index knows the object. It does no I/O.
func (s *Store) Has(id ID) bool {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, ok := sh.inline.get(id); ok {
		return true
	}
	return sh.large[id] != nil
}

// HasAll reports whether the index knows the object and no part of it is
// absent. It does no I/O.
func (s *Store) HasAll(id ID) bool {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, ok := sh.inline.get(id); ok {
		return true
	}
	lg := sh.large[id]
	return lg != nil && lg.complete()
}
