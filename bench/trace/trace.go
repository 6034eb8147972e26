// Package trace holds the sequences of requests that caches are judged by:
// public traces in the formats of their authors, and synthetic ones that are the
// same on every machine. It runs no cache.
package trace

// A Trace is requests in order. It is not changed after it was made.
type Trace struct {
	Name  string // as in tables
	About string // one sentence: where it comes from, what it shows

	Keys []uint64

	// Sizes has the size in bytes of each key, or is nil where all objects
	// count as one.
	Sizes func(key uint64) int64

	// Capacities are the cache sizes to run: objects, or bytes if Sizes is set.
	Capacities []int64
}

// Weight returns what key counts against the capacity.
func (t *Trace) Weight(key uint64) int64 {
	if t.Sizes == nil {
		return 1
	}
	return t.Sizes(key)
}

// Distinct returns how many keys the trace has.
func (t *Trace) Distinct() int {
	seen := make(map[uint64]struct{})
	for _, key := range t.Keys {
		seen[key] = struct{}{}
	}
	return len(seen)
}

// Mix spreads x over 64 bits, one to one, so that neighbours in a trace are not
// neighbours in a hash table. It is the finalizer of SplitMix64 (Steele et al.,
// OOPSLA '14).
func Mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
