package s3fifo

import "sync"

const (
	// maxFreq is how often an entry in the main queue can be passed over when it
	// was asked for that often.
	maxFreq = 3

	// pageSlots is how many slots are allocated at once. A shard of few entries
	// starts with a page of as many as it needs.
	pageSlots = 256

	// minShrink is the least number of places in an index in which slack matters.
	minShrink = 1 << 11
)

// none is the number of no slot.
const none = ^uint32(0)

// A shard is a part of a cache under one lock.
type shard[K comparable, V any] struct {
	mu          sync.Mutex // guards the following
	key         func(V) K
	shared      *shared
	index       index
	pages       [][]slot[V] // slots, the first len of which are entries
	len         int
	small, main queue
	ghosts      ghosts
	tally       tally
	owed        float64 // steps of the hand, not yet made
	arrivals    uint32  // entries that ever came into the small queue

	hits, misses, evictions int64

	_ [64]byte // the next shard's lock is in another cache line
}

// A slot is an entry: a value and its place in a queue. Slots move, so that they
// know each other by number.
type slot[V any] struct {
	value      V
	hash       uint64
	weight     int64
	next, prev uint32 // towards the tail, towards the head
	arrival    uint32 // into the small queue
	freq       uint8  // how often it was asked for, up to maxFreq
	main       bool   // which queue it is in
	declined   bool   // it came back, and main had no place for it
}

// A queue is a list of slots, in at the head and out at the tail.
type queue struct {
	head, tail uint32
	weight     int64
	len        int
}

// past is what a shard knows of an entry that is being replaced.
type past struct {
	known bool
	main  bool
	freq  uint8
}

func (p past) or(q past) past {
	if p.known {
		return p
	}
	return q
}

func (s *shard[K, V]) init(key func(V) K, all *shared) {
	s.key, s.shared = key, all
	s.small, s.main = queue{head: none, tail: none}, queue{head: none, tail: none}
}

func (s *shard[K, V]) slot(at uint32) *slot[V] { return &s.pages[at/pageSlots][at%pageSlots] }

// find returns the slot of key.
func (s *shard[K, V]) find(key K, hash uint64) (uint32, bool) {
	at, ok := s.lookup(hash)
	return at, ok && s.key(s.slot(at).value) == key
}

// lookup returns the slot of a hash.
func (s *shard[K, V]) lookup(hash uint64) (uint32, bool) {
	x := &s.index
	if x.len == 0 {
		return none, false
	}
	for at, tag := x.first(hash); ; at = x.next(at) {
		p := x.places[at]
		if p.slot == 0 {
			return none, false
		}
		if p.tag == tag && s.slot(p.slot-1).hash == hash {
			return p.slot - 1, true
		}
	}
}

func (s *shard[K, V]) queueOf(e *slot[V]) *queue {
	if e.main {
		return &s.main
	}
	return &s.small
}

// hit counts that an entry was asked for. Most hits of what is hot write nothing
// to the entry.
func (s *shard[K, V]) hit(e *slot[V]) {
	s.hits++
	if e.main {
		s.tally.mainHits++
	} else if e.freq == 0 && int(s.arrivals-e.arrival) > s.small.len/2 {
		s.tally.lateHits++
	}
	if e.freq < maxFreq {
		e.freq++
	}
}

// insert stores a value whose hash is not in the index. One that replaces
// another keeps its queue and what is known of it; one that was thrown out of
// the small queue lately comes into the main one, if there is a place.
func (s *shard[K, V]) insert(value V, hash uint64, weight int64, was past) {
	e := slot[V]{value: value, hash: hash, weight: weight, freq: was.freq, main: was.main}
	if !was.known {
		how := s.ghosts.forget(hash)
		s.tally.back[how]++
		if how == passed || how == declined {
			e.main = s.place(weight)
			e.declined = !e.main
		}
		s.arrived(weight)
	}
	if !e.main {
		s.arrivals++
		e.arrival = s.arrivals
	}
	at := s.grow()
	*s.slot(at) = e
	s.index.add(hash, at)
	s.push(at)
}

// arrived counts an entry that is no replacement.
func (s *shard[K, V]) arrived(weight int64) {
	n := &s.tally
	n.arrivals++
	n.heaviest = max(n.heaviest, weight)
	if n.arrivals < max(fewArrivals, s.len/talliesPerTurn) {
		return
	}
	n.small, n.main = float64(s.small.len), float64(s.main.len)
	s.shared.tuner.add(n, s.shared.shards, &s.shared.weights)
	*n = tally{}
}

// hasRoom reports whether the main queues of all shards together have room for
// so much within their share. Heavy entries are too few in a shard for shares
// of its own.
func (s *shard[K, V]) hasRoom(weight int64) bool {
	return s.shared.mainIsWithin(1-s.shared.tuner.smallShare(), weight)
}

// place makes a place in main for one of this weight that comes back, and
// reports whether it did: there is room, or the hand, which goes a few steps,
// finds entries that were not asked for since it last passed. They go at once,
// up to the weight of the new one; if that is not enough, other shards will help.
func (s *shard[K, V]) place(weight int64) bool {
	if s.main.tail == none || s.hasRoom(weight) {
		return true
	}
	s.owed += s.shared.tuner.handPace()
	steps := int(s.owed)
	s.owed -= float64(steps)
	var freed int64
	for freed < weight && s.main.tail != none {
		if s.slot(s.main.tail).freq == 0 {
			freed += s.drop(s.main.tail, evicted)
		} else if steps > 0 {
			steps--
			s.pass()
		} else {
			break
		}
	}
	s.shared.used.Add(-freed)
	return freed > 0
}

// pass moves the hand over an entry of main that was asked for.
func (s *shard[K, V]) pass() {
	at := s.main.tail
	s.unlink(at)
	s.slot(at).freq--
	s.push(at)
}

// grow returns the number of a new slot at the end.
func (s *shard[K, V]) grow() uint32 {
	at := uint32(s.len)
	if page := s.len / pageSlots; page == len(s.pages) {
		n := pageSlots
		if page == 0 {
			n = 8 // and then twice as many, up to a whole page
		}
		s.pages = append(s.pages, make([]slot[V], n))
	} else if within := s.len % pageSlots; within == len(s.pages[page]) {
		larger := make([]slot[V], 2*within)
		copy(larger, s.pages[page])
		s.pages[page] = larger
	}
	s.len++
	return at
}

// remove takes an entry out of its queue and the index, moves the last slot into
// its place, and returns its weight.
func (s *shard[K, V]) remove(at uint32) int64 {
	s.unlink(at)
	e := s.slot(at)
	weight := e.weight
	s.index.remove(e.hash, at)
	s.len--
	last := uint32(s.len)
	if at != last {
		moved := s.slot(last)
		*e = *moved
		s.index.move(e.hash, last, at)
		s.relink(at)
	}
	*s.slot(last) = slot[V]{} // what it points to can go
	s.shrink()
	return weight
}

// shrink gives back the memory of entries that have gone: all pages but one
// spare.
func (s *shard[K, V]) shrink() {
	if used := (s.len + pageSlots - 1) / pageSlots; len(s.pages) > used+1 {
		s.pages[len(s.pages)-1] = nil
		s.pages = s.pages[:len(s.pages)-1]
	}
}

// evict lets one entry go and returns its weight, 0 if there is none, or only
// such as had better go from other shards, unless it must. Those that
// were asked for while they waited move on instead, and so do others as long as
// main is smaller than its share: an entry that might be asked for again is
// better than an empty place, and where requests go round in a loop larger than
// the cache, it is the only way for any to stay.
func (s *shard[K, V]) evict(must bool) int64 {
	for s.len > 0 {
		at := s.small.tail
		switch overfull := !s.hasRoom(0); {
		case overfull && s.main.tail != none, must && at == none:
			return s.evictMain()
		case !must && (overfull || at == none):
			return 0
		}
		e := s.slot(at)
		if e.freq > 0 || s.hasRoom(e.weight) {
			s.unlink(at)
			e.freq, e.main = 0, true
			s.push(at)
			continue
		}
		how := passed
		if e.declined {
			how = declined
		}
		return s.drop(at, how)
	}
	return 0
}

// evictMain lets an entry of main go that was not asked for since the hand last
// passed it.
func (s *shard[K, V]) evictMain() int64 {
	for s.slot(s.main.tail).freq > 0 {
		s.pass()
	}
	return s.drop(s.main.tail, evicted)
}

// drop lets an entry go and remembers it.
func (s *shard[K, V]) drop(at uint32, how exit) int64 {
	s.ghosts.remember(s.slot(at).hash, how, s.len)
	s.tally.gone[how]++
	s.evictions++
	return s.remove(at)
}

// push puts a slot at the head of its queue.
func (s *shard[K, V]) push(at uint32) {
	e := s.slot(at)
	q := s.queueOf(e)
	e.prev, e.next = none, q.head
	q.head = at
	q.weight += e.weight
	if e.main {
		s.shared.main.Add(e.weight)
	}
	q.len++
	s.relink(at)
}

// relink tells a slot's neighbours in its queue, or the queue, where it is.
func (s *shard[K, V]) relink(at uint32) {
	e := s.slot(at)
	q := s.queueOf(e)
	if e.prev == none {
		q.head = at
	} else {
		s.slot(e.prev).next = at
	}
	if e.next == none {
		q.tail = at
	} else {
		s.slot(e.next).prev = at
	}
}

// unlink takes a slot out of its queue.
func (s *shard[K, V]) unlink(at uint32) {
	e := s.slot(at)
	q := s.queueOf(e)
	if e.prev == none {
		q.head = e.next
	} else {
		s.slot(e.prev).next = e.next
	}
	if e.next == none {
		q.tail = e.prev
	} else {
		s.slot(e.next).prev = e.prev
	}
	q.weight -= e.weight
	if e.main {
		s.shared.main.Add(-e.weight)
	}
	q.len--
}
