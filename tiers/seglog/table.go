package seglog

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// A table holds the places of a shard's small objects, whose hashes begin with
// the same bits: a hash table with open addressing, 32 bytes an entry and without
// pointers. It is many parts, each of which is an array sorted by hash, with gaps:
// an entry lies at its home or as little behind it as those with smaller hashes
// allow. So a search ends at the first larger hash, a removal leaves no mark
// behind, and a part that grows is copied from one end to the other.
//
// Parts grow alone and by a quarter. However large the index is, a write waits
// for the copy of one 4096th of it, and no more than that is there twice; and an
// eighth to a third of the slots are empty, not up to a half and more.
//
// A table is empty when it has its seed. It is not safe for concurrent use.
type table struct {
	seed  uint64 // of the hash: an odd number
	len   int
	parts [partCount]part
}

const (
	shardBits = 6
	partBits  = 6
	partCount = 1 << partBits

	// A part with more than 7 entries on 8 homes grows, by a quarter: at 7/8 a
	// search looks at four slots and at 9/10 at five. One with less than 3 on 8
	// shrinks.
	fullEighths  = 7
	emptyEighths = 3

	// usualTenths of the homes are taken in a part whose size was chosen for the
	// entries that it has got, or is about to get.
	usualTenths = 8

	minHomes = 3
	minTail  = 2
	maxTail  = 16
)

// A part is slots and how many of them are homes. Those behind are for what the
// last homes cannot hold.
type part struct {
	slots []slot
	homes uint32
	len   uint32
}

// A slot is an entry, or empty if where is 0: no record begins in a segment's
// first page.
type slot struct {
	hash  uint64 // the first half of the ID, scrambled
	id    uint64 // the second
	lsn   uint64
	where uint64 // off, seg, len in units, flags
}

const (
	// The bits of a slot's where. 32 are left for off.
	flagBits = 2
	lenBits  = 15
	segBits  = 15

	slotSegments = 1 << segBits
	slotUnits    = 1 << lenBits // more than are in maxRecord
)

// scramble returns the hash of an ID: its first half times an odd number that
// nobody can guess, so that nobody can choose keys that lie close together. It
// has an inverse, so that the hash and the other half are the ID.
func scramble(id ID, seed uint64) uint64 { return binary.LittleEndian.Uint64(id[:]) * seed }

// slotOf returns the slot of an entry.
func (t *table) slotOf(id ID, l loc) slot {
	return slot{
		hash: scramble(id, t.seed), id: binary.LittleEndian.Uint64(id[8:]), lsn: l.lsn,
		where: ((uint64(l.off)<<segBits|uint64(l.seg))<<lenBits|uint64(l.len/unit))<<flagBits | uint64(l.flags),
	}
}

func (s *slot) seg() uint32 { return uint32(s.where>>(lenBits+flagBits)) % slotSegments }

func (s *slot) loc() loc {
	return loc{
		lsn: s.lsn, seg: s.seg(), off: uint32(s.where >> (segBits + lenBits + flagBits)),
		len: uint32(s.where>>flagBits) % slotUnits * unit, flags: uint32(s.where) % (1 << flagBits),
	}
}

func (t *table) part(hash uint64) *part { return &t.parts[hash>>(64-shardBits-partBits)%partCount] }

// get returns the entry of id.
func (t *table) get(id ID) (loc, bool) {
	key := t.slotOf(id, loc{})
	p := t.part(key.hash)
	at, ok := p.find(&key)
	if !ok {
		return loc{}, false
	}
	return p.slots[at].loc(), true
}

// set stores an entry in place of what there is under id.
func (t *table) set(id ID, l loc) {
	s := t.slotOf(id, l)
	p := t.part(s.hash)
	at, ok := p.find(&s)
	if ok {
		p.slots[at] = s
		return
	}
	if (p.len+1)*8 > p.homes*fullEighths {
		p.resize(max(p.homes+p.homes/4+1, minHomes), minTail)
		at, _ = p.find(&s)
	}
	p.insert(at, s)
	t.len++
}

// remove takes the entry of id out and reports whether there was one.
func (t *table) remove(id ID) bool {
	key := t.slotOf(id, loc{})
	p := t.part(key.hash)
	at, ok := p.find(&key)
	if !ok {
		return false
	}
	p.remove(at)
	p.shrink()
	t.len--
	return true
}

// reserve gives an empty table room for about n entries.
func (t *table) reserve(n int) {
	for i := range t.parts {
		if each := n / partCount; each > 0 {
			t.parts[i].resize(homesFor(uint32(each)), minTail)
		}
	}
}

// fit gives back room that nothing came to.
func (t *table) fit() {
	for i := range t.parts {
		t.parts[i].shrink()
	}
}

// sweep takes the entries of one part out whose records are in a segment, and
// returns how many.
func (t *table) sweep(i int, seg uint32) (removed int) {
	p := &t.parts[i]
	for at := len(p.slots) - 1; at >= 0; at-- { // what a removal moves was looked at
		if s := &p.slots[at]; s.where != 0 && s.seg() == seg {
			p.remove(at)
			removed++
		}
	}
	p.shrink()
	t.len -= removed
	return removed
}

// home returns where the entries of a hash belong: what comes after the bits
// that chose shard and part says how far along, so that a larger hash is never
// at home before a smaller one.
func (p *part) home(hash uint64) int {
	at, _ := bits.Mul64(hash<<(shardBits+partBits), uint64(p.homes))
	return int(at)
}

// find returns the slot of a key or, with false, the one that it should have.
func (p *part) find(key *slot) (at int, ok bool) {
	for at = p.home(key.hash); at < len(p.slots); at++ {
		s := &p.slots[at]
		if s.where == 0 || s.hash > key.hash {
			return at, false
		}
		if s.hash == key.hash && s.id == key.id {
			return at, true
		}
	}
	return at, false
}

// insert puts a new entry at the place that find returned, and moves those that
// follow up to the next gap.
func (p *part) insert(at int, s slot) {
	gap := at
	for gap < len(p.slots) && p.slots[gap].where != 0 {
		gap++
	}
	if gap == len(p.slots) {
		p.resize(p.homes, 2*(len(p.slots)-int(p.homes))) // moves nothing
	}
	copy(p.slots[at+1:gap+1], p.slots[at:gap])
	p.slots[at] = s
	p.len++
}

// remove empties a slot, and moves those that follow closer to their homes.
func (p *part) remove(at int) {
	end := at + 1
	for end < len(p.slots) && p.slots[end].where != 0 && p.home(p.slots[end].hash) < end {
		end++
	}
	copy(p.slots[at:end-1], p.slots[at+1:end])
	p.slots[end-1] = slot{}
	p.len--
}

// resize copies a part to an array of so many homes and at least so many slots
// behind them.
func (p *part) resize(homes uint32, tail int) {
	old := p.slots
	tail = max(tail, min(int(homes)/8, maxTail))
	p.homes = homes
	p.slots = slices.Grow([]slot(nil), int(homes)+tail)
	p.slots = p.slots[:cap(p.slots)] // what the allocator rounds up
	next := 0
	for i := range old {
		s := &old[i]
		if s.where == 0 {
			continue
		}
		next = max(next, p.home(s.hash))
		if next == len(p.slots) {
			p.slots = append(p.slots, slot{})
			p.slots = p.slots[:cap(p.slots)]
		}
		p.slots[next] = *s
		next++
	}
}

// shrink makes a part smaller that has become nearly empty.
func (p *part) shrink() {
	switch {
	case p.len == 0:
		*p = part{}
	case p.homes > minHomes && p.len*8 < p.homes*emptyEighths:
		p.resize(homesFor(p.len), minTail)
	}
}

// homesFor returns how many homes a part of n entries should have.
func homesFor(n uint32) uint32 { return max(n*10/usualTenths+1, minHomes) }
