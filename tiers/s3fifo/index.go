package s3fifo

import "math/bits"

// An index leads from hashes to slots: a table of open addresses with linear
// probing, 8 bytes a place. A place has the lower half of a hash, whose upper
// bits say where it belongs, so that the table can grow and close gaps without a
// look at the slots. A lookup touches one cache line nearly always.
type index struct {
	places []place // a power of two; nil if it never held anything
	shift  uint    // of a tag, to get where it belongs
	len    int
}

// A place holds a tag and the number of a slot plus one; 0 if it is free.
type place struct{ tag, slot uint32 }

const leastPlaces = 8

// first returns where the search for a hash begins, and its tag.
func (x *index) first(hash uint64) (at, tag uint32) {
	tag = uint32(hash)
	return tag >> x.shift, tag
}

// next returns the place after one.
func (x *index) next(at uint32) uint32 { return (at + 1) & uint32(len(x.places)-1) }

// add enters a slot for a hash.
func (x *index) add(hash uint64, slot uint32) {
	if x.len >= len(x.places)-len(x.places)/4 {
		x.resize(max(2*len(x.places), leastPlaces))
	}
	x.put(uint32(hash), slot+1)
	x.len++
}

func (x *index) put(tag, slot uint32) {
	at := tag >> x.shift
	for x.places[at].slot != 0 {
		at = x.next(at)
	}
	x.places[at] = place{tag, slot}
}

// at returns the place of a slot that is known to be there.
func (x *index) at(hash uint64, slot uint32) uint32 {
	at, _ := x.first(hash)
	for x.places[at].slot != slot+1 {
		at = x.next(at)
	}
	return at
}

// move gives the hash of a slot that is there another slot.
func (x *index) move(hash uint64, from, to uint32) { x.places[x.at(hash, from)].slot = to + 1 }

// remove takes a slot out, and closes the gap: what stands behind it moves up,
// unless it stands where it belongs.
func (x *index) remove(hash uint64, slot uint32) {
	gap := x.at(hash, slot)
	x.len--
	mask := uint32(len(x.places) - 1)
	for at := x.next(gap); x.places[at].slot != 0; at = x.next(at) {
		home := x.places[at].tag >> x.shift
		if (at-home)&mask >= (at-gap)&mask {
			x.places[gap] = x.places[at]
			gap = at
		}
	}
	x.places[gap] = place{}
	if len(x.places) > minShrink && x.len < len(x.places)/8 {
		x.resize(len(x.places) / 4)
	}
}

func (x *index) resize(n int) {
	old := x.places
	x.places, x.shift = make([]place, n), uint(32-bits.Len(uint(n-1)))
	for _, p := range old {
		if p.slot != 0 {
			x.put(p.tag, p.slot)
		}
	}
}
