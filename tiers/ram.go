package tiers

import (
	"sync"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers/s3fifo"
)

// A RAM is the policy of the memory tier: what stays and what goes. It is safe
// for concurrent use and never does I/O.
type RAM interface {
	// Get returns the entry of key. What it refers to is immutable.
	Get(key object.Key) (Entry, bool)

	// GetLasting is Get of a key of a class that is never validated, into an Info
	// that is zero; others are not found. It counts only what it finds, and keeps
	// nothing of the key.
	GetLasting(key object.Key, info *object.Info) (bytes []byte, born time.Time, ok bool)

	// Has reports whether Get would find an entry, and counts nothing.
	Has(key object.Key) bool

	// Peek is Get for those who only want to know what there is. It counts as no
	// use of the entry.
	Peek(key object.Key) (Entry, bool)

	// Set offers an entry, whose bytes and metadata belong to the tier from then
	// on. The tier may decline it, but then drops what it held for the key.
	Set(e *Entry)

	// Delete drops the entry of key.
	Delete(key object.Key)

	// MaxObject returns the largest object worth offering, in bytes; -1 if none is.
	MaxObject() int64

	// Reserve takes n bytes off what entries may have, for objects on their way,
	// or gives -n back. When it returns, entries take no more than what is left
	// to them; half of the capacity always is, less what is ceded, and all of a
	// tiny one.
	Reserve(n int64)

	// Cede takes n bytes off the capacity, besides what is reserved, or gives -n
	// back. When it returns, entries take no more than what is left to them.
	// Whoever calls it takes at most a quarter of the capacity, and nothing of a
	// tiny one.
	Cede(n int64)

	// Hottest returns up to n objects of the tier, the most asked for first. It
	// counts as no request for them.
	Hottest(n int) []Held

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

	Quarantined int64 // times that a part of the disk could not be begun, and was put aside for a while
}

const (
	// ramObjectLimit keeps large values out of memory: they stream from the
	// SSD as fast, and a few of them would flush thousands of small ones.
	ramObjectLimit = 1 << 20

	// ramObjectShare is the largest part of the budget one object may take.
	ramObjectShare = 64

	// smallBudget is the budget below which one object may take all of it: the
	// share rule would otherwise turn a tiny tier off.
	smallBudget = 64 << 10
)

// NewRAM returns a memory tier that holds at most capacity bytes, all that an
// entry costs included, and keeps what is asked for again (see package s3fifo).
// A capacity of 0 or less is a tier that holds nothing.
func NewRAM(capacity int64) RAM {
	if capacity <= 0 {
		return OffRAM{}
	}
	r := &ram{
		capacity: capacity,
		limit:    min(ramObjectLimit, max(capacity/ramObjectShare, min(capacity, smallBudget))),
		entries:  s3fifo.New(s3fifo.Options[object.Key, record]{Capacity: capacity, Key: record.key}),
	}
	if capacity >= smallBudget {
		r.sizes = newAllocSizes()
	}
	return r
}

// A ram is the memory tier.
type ram struct {
	capacity int64
	limit    int64      // size of the largest object
	sizes    allocSizes // nil in a tiny tier
	entries  *s3fifo.Cache[object.Key, record]

	mu       sync.Mutex // guards the following, and that the last resize is the right one
	reserved int64
	ceded    int64
}

// A record is an entry as it is held: three pointers to what the garbage
// collector need not look into, of which one is nearly always nil.
type record struct {
	description string            // without the user metadata
	user        map[string]string // nil if there is none
	bytes       []byte
}

func (r record) key() object.Key { return describedKey(r.description) }

func (r record) lasting() bool { return describesLasting(r.description) }

func (r *ram) Get(key object.Key) (Entry, bool) {
	rec, ok := r.entries.Get(key)
	return rec.entry(ok)
}

func (r *ram) Peek(key object.Key) (Entry, bool) {
	rec, ok := r.entries.Peek(key)
	return rec.entry(ok)
}

// entry returns what the tier gives out, if the record was found.
func (r record) entry(found bool) (Entry, bool) {
	if !found {
		return Entry{}, false
	}
	e := Entry{Bytes: r.bytes}
	if err := e.recall(r.description); err != nil {
		return Entry{}, false // never: nobody but Set wrote it
	}
	e.Info.User = r.user
	return e, true
}

func (r *ram) GetLasting(key object.Key, info *object.Info) (bytes []byte, born time.Time, ok bool) {
	rec, ok := r.entries.GetIf(key, record.lasting)
	if !ok {
		return nil, born, false
	}
	if born, err := recallInfo(info, rec.description); err == nil { // always: nobody but Set wrote it
		info.User = rec.user
		return rec.bytes, born, true
	}
	return nil, born, false
}

func (r *ram) Has(key object.Key) bool { return r.entries.Has(key) }

func (r *ram) Set(e *Entry) {
	var buf [512]byte // holds most descriptions, so that only the string is allocated
	description, err := describe(buf[:0], &e.Info, e.Born, e.lasting, nil)
	if err != nil || int64(len(e.Bytes)) > r.limit {
		r.entries.Delete(e.Info.Key)
		return
	}
	rec := record{description: string(description), user: e.Info.User, bytes: e.Bytes}
	r.entries.Set(rec, r.cost(rec))
}

func (r *ram) Delete(key object.Key) { r.entries.Delete(key) }

func (r *ram) MaxObject() int64 { return r.limit }

func (r *ram) Reserve(n int64) {
	if r.sizes == nil {
		return // whoever sets a few bytes means objects
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reserved += n
	r.resizeLocked()
}

func (r *ram) Cede(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ceded += n
	r.resizeLocked()
}

func (r *ram) resizeLocked() {
	r.entries.Resize(r.capacity - r.ceded - min(max(r.reserved, 0), r.capacity/2))
}

func (r *ram) Hottest(n int) []Held {
	var hottest []Held
	for _, rec := range r.entries.Hottest(n) {
		hottest = append(hottest, Held{rec.key(), int64(len(rec.bytes))})
	}
	return hottest
}

func (r *ram) Stats() TierStats {
	s := r.entries.Stats()
	return TierStats{
		Entries: s.Entries, Bytes: s.Weight, Capacity: r.capacity,
		Hits: s.Hits, Misses: s.Misses, Evictions: s.Evictions, Declined: s.Declined,
	}
}

// OffRAM is a memory tier that holds nothing.
type OffRAM struct{}

// Get reports a miss.
func (OffRAM) Get(object.Key) (Entry, bool) { return Entry{}, false }

// GetLasting finds nothing.
func (OffRAM) GetLasting(object.Key, *object.Info) (bytes []byte, born time.Time, ok bool) {
	return nil, born, false
}

// Peek finds nothing.
func (OffRAM) Peek(object.Key) (Entry, bool) { return Entry{}, false }

// Has reports a miss.
func (OffRAM) Has(object.Key) bool { return false }

// Set declines.
func (OffRAM) Set(*Entry) {}

// Delete does nothing.
func (OffRAM) Delete(object.Key) {}

// MaxObject says that no object is worth offering.
func (OffRAM) MaxObject() int64 { return -1 }

// Reserve does nothing.
func (OffRAM) Reserve(int64) {}

// Cede does nothing.
func (OffRAM) Cede(int64) {}

// Hottest returns nothing.
func (OffRAM) Hottest(int) []Held { return nil }

// Stats returns zeros.
func (OffRAM) Stats() TierStats { return TierStats{} }

var (
	_ RAM = (*ram)(nil)
	_ RAM = OffRAM{}
)
