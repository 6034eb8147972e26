package s3fifo

import "sync"

const (
	// smallShare is the part of a shard that new entries wait in: a tenth, as in
	// the paper.
	smallShare = 10

	// maxFreq is how often an entry in the main queue can be passed over when it
	// was asked for that often.
	maxFreq = 3

	// pageSlots is how many slots are allocated at once. A shard of few entries
	// starts with a page of as many as it needs.
	pageSlots = 256

	// minShrink is the least number of entries in whose index slack matters.
	minShrink = 1 << 10
)

// none is the number of no slot.
const none = ^uint32(0)

// A shard is a part of a cache under one lock.
type shard[K comparable, V any] struct {
	mu          sync.Mutex // guards the following
	key         func(V) K
	index       map[uint64]uint32 // from hashes to slots
	peak        int               // most entries that index has had: maps never shrink
	pages       [][]slot[V]       // slots, the first len of which are entries
	len         int
	small, main queue
	ghosts      ghosts

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
	freq       uint8  // how often it was asked for, up to maxFreq
	main       bool   // which queue it is in
}

// A queue is a list of slots, in at the head and out at the tail.
type queue struct {
	head, tail uint32
	weight     int64
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

func (s *shard[K, V]) init(key func(V) K) {
	s.key = key
	s.index = make(map[uint64]uint32)
	s.small, s.main = queue{head: none, tail: none}, queue{head: none, tail: none}
}

func (s *shard[K, V]) slot(at uint32) *slot[V] { return &s.pages[at/pageSlots][at%pageSlots] }

// find returns the slot of key.
func (s *shard[K, V]) find(key K, hash uint64) (uint32, bool) {
	at, ok := s.index[hash]
	return at, ok && s.key(s.slot(at).value) == key
}

func (s *shard[K, V]) queueOf(e *slot[V]) *queue {
	if e.main {
		return &s.main
	}
	return &s.small
}

// insert stores a value whose hash is not in the index. One that replaces
// another keeps its queue and what is known of it; one that was thrown out of
// the small queue lately comes into the main one.
func (s *shard[K, V]) insert(value V, hash uint64, weight int64, was past) {
	at := s.grow()
	e := s.slot(at)
	*e = slot[V]{value: value, hash: hash, weight: weight, freq: was.freq, main: was.main}
	if !was.known {
		e.main = s.ghosts.forget(hash)
	}
	s.index[hash] = at
	s.peak = max(s.peak, len(s.index))
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
	delete(s.index, e.hash)
	s.len--
	last := uint32(s.len)
	if at != last {
		moved := s.slot(last)
		*e = *moved
		s.index[e.hash] = at
		s.relink(at)
	}
	*s.slot(last) = slot[V]{} // what it points to can go
	s.shrink()
	return weight
}

// shrink gives back the memory of entries that have gone: all pages but one
// spare, and a map that is three quarters empty.
func (s *shard[K, V]) shrink() {
	if used := (s.len + pageSlots - 1) / pageSlots; len(s.pages) > used+1 {
		s.pages[len(s.pages)-1] = nil
		s.pages = s.pages[:len(s.pages)-1]
	}
	if s.peak > minShrink && len(s.index) < s.peak/4 {
		index := make(map[uint64]uint32, len(s.index))
		for hash, at := range s.index {
			index[hash] = at
		}
		s.index, s.peak = index, len(index)
	}
}

// evict lets one entry go and returns its weight, 0 if there is none. Those that
// were asked for while they waited move on instead.
func (s *shard[K, V]) evict() int64 {
	for s.len > 0 {
		fromSmall := s.main.tail == none || s.small.weight > (s.small.weight+s.main.weight)/smallShare
		if fromSmall && s.small.tail != none {
			at := s.small.tail
			if e := s.slot(at); e.freq > 0 {
				s.unlink(at)
				e.freq, e.main = 0, true
				s.push(at)
				continue
			}
			s.ghosts.remember(s.slot(at).hash, s.len)
			s.evictions++
			return s.remove(at)
		}
		at := s.main.tail
		if e := s.slot(at); e.freq > 0 {
			s.unlink(at)
			e.freq--
			s.push(at)
			continue
		}
		s.evictions++
		return s.remove(at)
	}
	return 0
}

// push puts a slot at the head of its queue.
func (s *shard[K, V]) push(at uint32) {
	e := s.slot(at)
	q := s.queueOf(e)
	e.prev, e.next = none, q.head
	q.head = at
	q.weight += e.weight
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
}
