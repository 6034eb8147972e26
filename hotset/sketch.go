package hotset

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/object"
)

// A sketch tells which keys are read most. It is SpaceSaving (Metwally, Agrawal
// and El Abbadi, ICDT '05) with exponential decay in its forward form (Cormode et
// al., ICDE '09): a read at time t counts 2^(t/halfLife), so that all older ones
// together fade against it and none has to be touched.
//
// Of each key that it knows it has a count that is never too low, and a slack, by
// how much that may be too high. No slack is larger than the weight of all reads
// divided by the number of counters; so a scan, whose keys come in with the slack
// of those that they push out, never looks hot, and every key with more than that
// share of the reads is known.
//
// Not every read is noted: of a node with a million reads a second one of 256 is,
// and counts 256 times. How many are passed over follows from the rate, so that
// noting takes no part of a busy node that could be measured, and of an idle one
// nothing is missed.
type sketch struct {
	mask atomic.Uint32 // of mask+1 reads one is noted: a power of two

	mu    sync.Mutex       // guards the following
	start time.Time        // when a read counts 1
	total float64          // weight of all reads, those of keys that are not noted too
	at    map[uint64]int32 // hash of a key: its place in counters
	all   []counter
	heap  []int32 // places in all, that with the lowest count first
}

// A counter is what the sketch knows of one key. Counts are in weights at start.
type counter struct {
	hash         uint64
	key          object.Key // "" until a second read is noted
	count, slack float64
	heap         int32 // its place there
}

const (
	// counters bounds the keys that a sketch knows, and its error to a 1024th of
	// all reads. With keys it takes some 200 KiB.
	counters = 1024

	// halfLife is how long a read takes to count half. A key that begins to be
	// read a thousand times a second passes the threshold of 32 in 0.1 s, and one
	// that is not read any more falls below from there in 10.
	halfLife = 2 * time.Second

	// maxNotes is how many reads a second are noted at most, over time. It leaves
	// a key with a 256th of all reads some 46 notes that count: its rate is right
	// within 15 % in two of three cases.
	maxNotes = 4096

	// maxExponent bounds how large weights grow before all are scaled down.
	maxExponent = 64
)

func newSketch() *sketch {
	return &sketch{start: time.Now(), at: make(map[uint64]int32, counters)}
}

// draw reports whether a read is to be noted, and how many it then stands for.
// It takes no lock.
func (s *sketch) draw() (reads uint32, ok bool) {
	mask := s.mask.Load()
	if mask != 0 && rand.Uint32()&mask != 0 {
		return 0, false
	}
	return mask + 1, true
}

// An estimate is what the sketch knows of a key, in reads a second over the last
// seconds. The true rate is at least Rate and at most Rate+Slack, but for what
// chance adds where not every read is noted.
type estimate struct {
	rate, slack float64
	total       float64 // of all keys
}

// note counts reads of a key and returns what is known of it now. It keeps no part
// of the caller's string, which may be one of a whole request, and a copy of it
// only if it comes again: most keys do not.
func (s *sketch) note(hash uint64, key object.Key, reads uint32) estimate {
	s.mu.Lock()
	defer s.mu.Unlock()
	weight, perSecond := s.weighLocked(reads)
	i, ok := s.at[hash]
	switch {
	case ok:
		if c := &s.all[i]; c.key == "" {
			c.key = object.Key(strings.Clone(string(key)))
		}
	case len(s.all) < counters:
		i = int32(len(s.all))
		s.all = append(s.all, counter{hash: hash, heap: i})
		s.heap = append(s.heap, i)
		s.at[hash] = i
		s.upLocked(i)
	default:
		i = s.heap[0]
		c := &s.all[i]
		delete(s.at, c.hash)
		s.at[hash] = i
		c.hash, c.key, c.slack = hash, "", c.count
	}
	c := &s.all[i]
	c.count += weight
	s.downLocked(c.heap)
	return s.estimateLocked(c, perSecond)
}

// pass counts reads of keys that nobody wants to know of: they are part of the
// whole.
func (s *sketch) pass(reads uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.weighLocked(reads)
}

// of returns what is known of a key, nothing if it is not among the most wanted.
func (s *sketch) of(hash uint64) estimate {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, perSecond := s.weighLocked(0)
	i, ok := s.at[hash]
	if !ok {
		return estimate{total: s.total * perSecond}
	}
	return s.estimateLocked(&s.all[i], perSecond)
}

func (s *sketch) estimateLocked(c *counter, perSecond float64) estimate {
	return estimate{(c.count - c.slack) * perSecond, c.slack * perSecond, s.total * perSecond}
}

// weighLocked adds so many reads at this moment to the total. It returns their
// weight, and what turns a weight into a rate: a steady read of rate r leaves
// r*halfLife/ln 2.
func (s *sketch) weighLocked(reads uint32) (weight, perSecond float64) {
	exponent := float64(time.Since(s.start)) / float64(halfLife)
	if exponent > maxExponent {
		s.scaleLocked(math.Exp2(-exponent))
		s.start, exponent = time.Now(), 0
	}
	one := math.Exp2(exponent)
	weight, perSecond = float64(reads)*one, math.Ln2/halfLife.Seconds()/one
	s.total += weight
	mask := uint32(0)
	for rate := s.total * perSecond; rate > maxNotes*float64(mask+1) && mask < 1<<20-1; {
		mask = mask<<1 | 1
	}
	if s.mask.Load() != mask {
		s.mask.Store(mask)
	}
	return weight, perSecond
}

// scaleLocked multiplies all weights. Their order stays.
func (s *sketch) scaleLocked(by float64) {
	s.total *= by
	for i := range s.all {
		s.all[i].count *= by
		s.all[i].slack *= by
	}
}

// A wanted is one of the keys that are read most.
type wanted struct {
	hash uint64
	key  object.Key
	estimate
}

// top returns up to n keys, those that are surely read most first, and the rate of
// all reads. Keys of which one read was noted are not among them.
func (s *sketch) top(n int) ([]wanted, float64) {
	s.mu.Lock()
	_, perSecond := s.weighLocked(0)
	total := s.total * perSecond
	out := make([]wanted, 0, len(s.all))
	for i := range s.all {
		if c := &s.all[i]; c.key != "" {
			out = append(out, wanted{c.hash, c.key, s.estimateLocked(c, perSecond)})
		}
	}
	s.mu.Unlock()
	slices.SortFunc(out, func(a, b wanted) int { return cmp.Compare(b.rate, a.rate) })
	return out[:min(n, len(out))], total
}

// upLocked lets the last of the heap rise to its place.
func (s *sketch) upLocked(i int32) {
	for i > 0 {
		parent := (i - 1) / 2
		if s.all[s.heap[parent]].count <= s.all[s.heap[i]].count {
			return
		}
		s.swapLocked(i, parent)
		i = parent
	}
}

// downLocked lets a counter that has grown sink to its place.
func (s *sketch) downLocked(i int32) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && int(child) < len(s.heap); child++ {
			if s.all[s.heap[child]].count < s.all[s.heap[least]].count {
				least = child
			}
		}
		if least == i {
			return
		}
		s.swapLocked(i, least)
		i = least
	}
}

func (s *sketch) swapLocked(i, j int32) {
	s.heap[i], s.heap[j] = s.heap[j], s.heap[i]
	s.all[s.heap[i]].heap, s.all[s.heap[j]].heap = i, j
}
