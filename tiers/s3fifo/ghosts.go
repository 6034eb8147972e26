package s3fifo

// ghosts are fingerprints of entries that went lately, half as many again as
// there are entries: a table of small sets, in which the oldest of a set goes
// for a new one. It has no pointers and some 24 bytes for each entry, and
// forgets some a little early, in sets that are crowded.
type ghosts struct {
	sets  [][ghostWays]ghost // a power of two of them
	clock uint32             // how many left the small queue
	keep  uint32             // how many back one counts
}

// A ghost is a part of a hash, how the entry went in the two lowest bits, and
// when that was; all zero if there is none.
type ghost struct{ print, at uint32 }

// An exit is how an entry went.
type exit uint32

const (
	unknown  exit = iota // long ago, or never
	passed               // through the small queue, unasked for
	declined             // the same, after it came back and main had no place for it
	evicted              // from main

	exits    = 4
	exitMask = exits - 1
)

const (
	ghostWays = 8

	// minGhosts lets a cache of a few entries remember something.
	minGhosts = 16
)

// set returns the set of a hash: the bits that chose the shard are the upper
// ones, and the fingerprint has those in the middle.
func (g *ghosts) set(hash uint64) (*[ghostWays]ghost, uint32) {
	return &g.sets[hash&uint64(len(g.sets)-1)], uint32(hash>>24) &^ exitMask
}

// remember adds a hash, where there are so many entries. Only those that leave
// the small queue make others older: they are the measure of time.
func (g *ghosts) remember(hash uint64, how exit, entries int) {
	g.keep = uint32(max(entries+entries/2, minGhosts))
	if want := tableSize(g.keep); want > len(g.sets) || want < len(g.sets)/4 {
		g.rehash(want)
	}
	if how != evicted {
		g.clock++
	}
	set, print := g.set(hash)
	oldest := 0
	for i := range set {
		if set[i].print == 0 || set[i].print&^exitMask == print {
			oldest = i
			break
		}
		if g.clock-set[i].at > g.clock-set[oldest].at {
			oldest = i
		}
	}
	set[oldest] = ghost{print | uint32(how), g.clock}
}

// tableSize returns how many sets hold so many ghosts with room to spare.
func tableSize(n uint32) int {
	size := 1
	for size*ghostWays < int(n)+int(n)/4 {
		size *= 2
	}
	return size
}

// forget removes a hash and returns how its entry went.
func (g *ghosts) forget(hash uint64) exit {
	if len(g.sets) == 0 {
		return unknown
	}
	set, print := g.set(hash)
	for i := range set {
		if how := exit(set[i].print & exitMask); how != unknown && set[i].print&^exitMask == print {
			if g.clock-set[i].at >= g.keep {
				how = unknown
			}
			set[i] = ghost{}
			return how
		}
	}
	return unknown
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
