package tiers

import (
	"container/list"
	"sync"
	"time"

	"github.com/micelio/micelio/object"
)

// A RAM is the policy of the memory tier: what stays and what goes. It is safe
// for concurrent use and never does I/O.
type RAM interface {
	// Get returns the entry of key, to be treated as immutable.
	Get(key object.Key) (*Entry, bool)

	// Has reports whether Get would find an entry, and counts nothing.
	Has(key object.Key) bool

	// Set offers an entry, whose bytes belong to the tier from then on. The
	// tier may decline it, but then drops what it held for the key.
	Set(e *Entry)

	// Delete drops the entry of key.
	Delete(key object.Key)

	// MaxObject returns the largest object worth offering, in bytes; -1 if none is.
	MaxObject() int64

	// Stats returns what the tier holds and has done.
	Stats() TierStats
}

// An Entry is a whole object in memory.
type Entry struct {
	Info  object.Info
	Bytes []byte
	Born  time.Time // when the bytes came from the authority

	lasting bool // the key is of a class that is never validated; set by Cache
}

// TierStats is what a tier holds and has done since it was opened.
type TierStats struct {
	Entries   int64
	Bytes     int64 // held, overhead included
	Capacity  int64 // most that Bytes can reach
	Hits      int64
	Misses    int64
	Evictions int64 // entries that had to go for others
	Damaged   int64 // entries dropped because they failed a check
	Errors    int64 // failed disk operations; each cost a miss

	// Of a disk tier:
	Declined   int64 // copies there was no room or no write budget for
	Reinserted int64 // records written again because they had been read
	Written    int64 // bytes
}

const (
	// entryOverhead is what an entry costs besides its key, attributes and
	// bytes: the Entry, its list element and its share of the map. Measured
	// with 100,000 entries of one byte, then rounded up.
	entryOverhead = 512

	// ramObjectLimit keeps large values out of memory: they stream from the
	// SSD as fast, and a few of them would flush thousands of small ones.
	ramObjectLimit = 1 << 20

	// ramObjectShare is the largest part of the budget one object may take.
	ramObjectShare = 64
)

// NewLRU returns a RAM tier that holds at most capacity bytes, entry overhead
// included, and evicts what was used longest ago. A capacity of 0 or less is a
// tier that holds nothing.
func NewLRU(capacity int64) RAM {
	return &lru{
		capacity: max(capacity, 0),
		limit:    min(ramObjectLimit, max(capacity/ramObjectShare, min(capacity, smallBudget))),
		entries:  make(map[object.Key]*list.Element),
	}
}

// smallBudget is the budget below which one object may take all of it: the
// share rule would otherwise turn a tiny tier off.
const smallBudget = 64 << 10

// An lru guards everything by one mutex: a hit holds it for a map lookup and
// two pointer swaps.
type lru struct {
	capacity int64
	limit    int64

	mu      sync.Mutex // guards the following
	entries map[object.Key]*list.Element
	order   list.List // of *Entry, most recently used first
	stats   TierStats
}

// cost is what an entry counts against the budget. The object's own bytes are
// the tier's promise in a configuration of a few bytes, where overhead would
// leave room for nothing; it is counted from smallBudget on. Below, an empty
// object counts as one byte, so that there cannot be any number of them.
func (r *lru) cost(e *Entry) int64 {
	n := int64(len(e.Bytes))
	if r.capacity < smallBudget {
		return max(n, 1)
	}
	n += entryOverhead + int64(len(e.Info.Key)+len(e.Info.ETag)+len(e.Info.Version)+len(e.Info.ContentType)+
		len(e.Info.ContentEncoding)+len(e.Info.ContentLanguage)+len(e.Info.ContentDisposition)+len(e.Info.CacheControl))
	for k, v := range e.Info.User {
		n += int64(len(k) + len(v) + 32)
	}
	return n
}

func (r *lru) Get(key object.Key) (*Entry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	el, ok := r.entries[key]
	if !ok {
		r.stats.Misses++
		return nil, false
	}
	r.stats.Hits++
	r.order.MoveToFront(el)
	return el.Value.(*Entry), true
}

func (r *lru) Has(key object.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.entries[key]
	return ok
}

func (r *lru) Set(e *Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if el, ok := r.entries[e.Info.Key]; ok {
		r.removeLocked(el)
	}
	cost := r.cost(e)
	if int64(len(e.Bytes)) > r.limit || cost > r.capacity {
		return
	}
	for r.stats.Bytes+cost > r.capacity {
		r.removeLocked(r.order.Back())
		r.stats.Evictions++
	}
	r.entries[e.Info.Key] = r.order.PushFront(e)
	r.stats.Bytes += cost
}

func (r *lru) Delete(key object.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if el, ok := r.entries[key]; ok {
		r.removeLocked(el)
	}
}

func (r *lru) removeLocked(el *list.Element) {
	e := r.order.Remove(el).(*Entry)
	delete(r.entries, e.Info.Key)
	r.stats.Bytes -= r.cost(e)
}

func (r *lru) MaxObject() int64 {
	if r.capacity == 0 {
		return -1
	}
	return r.limit
}

func (r *lru) Stats() TierStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Entries, s.Capacity = int64(len(r.entries)), r.capacity
	return s
}
