package tiers

import (
	"runtime"
	"sort"
)

// What an entry of the memory tier costs is all that it keeps from being
// collected: its bytes and description as large as the allocator makes them, its
// metadata, and its place in the index.

const (
	// entryOverhead is an entry's place in the index, in bytes: a slot of 80, up
	// to 22 in a table of numbers that has just doubled, and up to 30 of ghosts.
	// TestTheOverheadOfAnEntryIsCounted measures it.
	entryOverhead = 136

	// A map of strings: its head, and a group of eight pairs with control bytes.
	// Large maps keep groups that are half empty.
	mapOverhead   = 48
	mapGroup      = 8*(16+16) + 8
	mapGroupHolds = 4

	// pageSize is the unit of allocations too large for a size class, in bytes.
	pageSize = 8 << 10
)

// cost returns what an entry counts against the budget, in bytes. In a tiny tier
// that is the object's own bytes, because overhead would leave room for nothing;
// an empty object counts as one byte, so that there cannot be any number of them.
func (r *ram) cost(rec record) int64 {
	if r.sizes == nil {
		return max(int64(len(rec.bytes)), 1)
	}
	n := entryOverhead + r.sizes.of(len(rec.description)) + r.sizes.of(cap(rec.bytes))
	if rec.user != nil {
		n += mapOverhead
		n += int64((len(rec.user)+mapGroupHolds-1)/mapGroupHolds) * mapGroup
		for name, value := range rec.user {
			n += r.sizes.of(len(name)) + r.sizes.of(len(value))
		}
	}
	return n
}

// allocSizes are the sizes of memory that the allocator hands out, ascending, in
// bytes, up to the largest size class.
type allocSizes []int64

// newAllocSizes asks the runtime, because they differ from one release to the
// next.
func newAllocSizes() allocSizes {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var sizes allocSizes
	for _, class := range m.BySize {
		if class.Size > 0 {
			sizes = append(sizes, int64(class.Size))
		}
	}
	return sizes
}

// of returns what an allocation of n bytes takes.
func (a allocSizes) of(n int) int64 {
	want := int64(n)
	if want == 0 {
		return 0
	}
	if want > a[len(a)-1] {
		return (want + pageSize - 1) / pageSize * pageSize
	}
	return a[sort.Search(len(a), func(i int) bool { return a[i] >= want })]
}
