package tiers

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/micelio/micelio/internal/mutant"
	"github.com/micelio/micelio/object"
)

// Freshness is what is known, for keys with a staleness budget, about when the
// upstream last called a version current. A read may use it instead of asking,
// unless the key is being written here: then nobody knows what is current.
//
// Times are those of the monotonic clock, from before the question was sent.
// Nothing of it outlives the process.
type freshness struct {
	seed    maphash.Seed
	mutants mutant.Set
	groups  [freshGroups]freshGroup
}

const (
	freshGroups = 64

	// maxFresh bounds the keys of a group: a key that is not known is asked
	// about, no more. All groups together may take some 10 MB.
	maxFresh = 512
)

type freshGroup struct {
	mu      sync.Mutex // guards the following
	gen     uint64     // grows when a write of the group begins or ends
	known   map[object.Key]sighting
	writing map[object.Key]int
}

// A sighting is a version that was current at a moment not before at.
type sighting struct {
	etag    object.ETag
	version string
	at      time.Time
}

func sight(info object.Info, at time.Time) sighting { return sighting{info.ETag, info.Version, at} }

// of reports whether info is that version.
func (s sighting) of(info object.Info) bool { return s.etag == info.ETag && s.version == info.Version }

func newFreshness(mutants mutant.Set) *freshness {
	f := &freshness{seed: maphash.MakeSeed(), mutants: mutants}
	for i := range f.groups {
		f.groups[i].known, f.groups[i].writing = make(map[object.Key]sighting), make(map[object.Key]int)
	}
	return f
}

func (f *freshness) group(key object.Key) *freshGroup {
	return &f.groups[maphash.String(f.seed, string(key))%freshGroups]
}

// last returns the last sighting of a key, false if there is none that may be
// used.
func (f *freshness) last(key object.Key) (sighting, bool) {
	g := f.group(key)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.writing[key] > 0 && !f.mutants.Has(mutant.HitDuringWrite) {
		return sighting{}, false
	}
	s, ok := g.known[key]
	return s, ok
}

// now returns a token of this moment for learn.
func (f *freshness) now(key object.Key) uint64 {
	g := f.group(key)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gen
}

// learn notes a sighting, unless a write of the key has begun or ended since the
// token was taken: what was asked before a write says nothing after it.
func (f *freshness) learn(key object.Key, token uint64, s sighting) {
	g := f.group(key)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gen == token && g.writing[key] == 0 || f.mutants.Has(mutant.NoFence) {
		g.setLocked(key, s)
	}
}

// writeBegins forgets a key until its writes have ended.
func (f *freshness) writeBegins(key object.Key) {
	g := f.group(key)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gen++
	g.writing[key]++
	if !f.mutants.Has(mutant.HitDuringWrite) {
		delete(g.known, key)
	}
}

// writeEnds notes what a write has made current, nil if that is not known.
func (f *freshness) writeEnds(key object.Key, s *sighting) {
	g := f.group(key)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gen++
	if g.writing[key]--; g.writing[key] == 0 {
		delete(g.writing, key)
	}
	delete(g.known, key)
	if s != nil {
		g.setLocked(key, *s)
	}
}

func (g *freshGroup) setLocked(key object.Key, s sighting) {
	if _, ok := g.known[key]; !ok && len(g.known) >= maxFresh {
		for other := range g.known { // any one
			delete(g.known, other)
			break
		}
	}
	g.known[key] = s
}
