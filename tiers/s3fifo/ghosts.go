package s3fifo

// ghosts are fingerprints of entries that left the small queue lately, as many
// as there are entries: a table of small sets, in which the oldest of a set goes
// for a new one. It has no pointers and 16 bytes for each entry, and forgets
// some a little early, in sets that are crowded.
type ghosts struct {
	sets  [][ghostWays]ghost // a power of two of them
	clock uint32             // how many were remembered
	keep  uint32             // how many back one counts
}

// A ghost is a part of a hash and when it was remembered; all zero if there is
// none.
type ghost struct{ print, at uint32 }

const (
	ghostWays = 8

	// minGhosts lets a cache of a few entries remember something.
	minGhosts = 16
)

// set returns the set of a hash: the bits that chose the shard are the upper
// ones, and the fingerprint has those in the middle.
func (g *ghosts) set(hash uint64) (*[ghostWays]ghost, uint32) {
	return &g.sets[hash&uint64(len(g.sets)-1)], uint32(hash>>24) | 1
}

// remember adds a hash, where there are so many entries.
func (g *ghosts) remember(hash uint64, entries int) {
	g.keep = uint32(max(entries, minGhosts))
	if want := tableSize(g.keep); want > len(g.sets) || want < len(g.sets)/4 {
		g.rehash(want)
	}
	g.clock++
	set, print := g.set(hash)
	oldest := 0
	for i := range set {
		if set[i].print == print || set[i].print == 0 {
			oldest = i
			break
		}
		if g.clock-set[i].at > g.clock-set[oldest].at {
			oldest = i
		}
	}
	set[oldest] = ghost{print, g.clock}
}

// tableSize returns how many sets hold so many ghosts with room to spare.
func tableSize(n uint32) int {
	size := 1
	for size*ghostWays < int(n)+int(n)/4 {
		size *= 2
	}
	return size
}

// forget removes a hash and reports whether it was there.
func (g *ghosts) forget(hash uint64) bool {
	if len(g.sets) == 0 {
		return false
	}
	set, print := g.set(hash)
	for i := range set {
		if set[i].print == print {
			known := g.clock-set[i].at < g.keep
			set[i] = ghost{}
			return known
		}
	}
	return false
}

// rehash changes the number of sets. Where a ghost belongs depends on bits that
// are not kept, so a table that doubles keeps each in both of its new sets, and
// one that shrinks begins anew.
func (g *ghosts) rehash(want int) {
	old := g.sets
	g.sets = make([][ghostWays]ghost, want)
	if len(old) == 0 || want < len(old) {
		return
	}
	for i := range g.sets {
		g.sets[i] = old[i&(len(old)-1)]
	}
}
