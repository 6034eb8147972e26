package main

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/micelio/micelio/bench/measure"
	"github.com/micelio/micelio/bench/trace"
)

// The workloads.
const (
	hitName  = "hit"
	setName  = "set"
	zipfName = "zipf"
)

// valueSize is that of all objects but those of the collections of garbage.
const valueSize = 4 << 10

// keyOf returns a key as the forge has them.
func keyOf(i uint64) string {
	var raw [32]byte
	binary.BigEndian.PutUint64(raw[:], trace.Mix(i))
	b := make([]byte, 0, keyLength)
	b = append(b, "artifacts/sha256:"...)
	return string(hex.AppendEncode(b, raw[:]))
}

// A stage is what all contenders play on: keys, and the order in which they are
// asked for. It is not changed after it was made.
type stage struct {
	entries int      // that a cache holds
	keys    []string // eight times as many
	zipf    []uint32 // the n-th key is asked for 1/n as often as the first
}

const crowd = 8

func newStage(entries int) *stage {
	s := &stage{entries: entries, keys: make([]string, crowd*entries), zipf: make([]uint32, 1<<20)}
	sums := make([]float64, len(s.keys))
	sum := 0.0
	for i := range s.keys {
		s.keys[i] = keyOf(uint64(i))
		sum += math.Pow(float64(i+1), -1)
		sums[i] = sum
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range s.zipf {
		s.zipf[i] = uint32(sort.SearchFloat64s(sums, r.Float64()*sum))
	}
	return s
}

// A player makes the requests of one goroutine of one workload.
type player struct {
	*stage
	cache  cache
	copies bool
	buf    []byte // in place of a new one, where values are copied
	from   int    // in the order of requests
	hits   int64
}

// value returns what is stored: an object that came from somewhere.
func (p *player) value() []byte {
	if p.copies {
		return p.buf
	}
	return make([]byte, valueSize)
}

// playHits asks for keys that are there.
func (p *player) playHits(n int) {
	r := rand.New(rand.NewPCG(uint64(p.from), 3))
	for range n {
		if p.cache.Get(p.keys[r.Uint32()%uint32(p.entries)]) {
			p.hits++
		}
	}
}

// playSets stores keys that were not there lately.
func (p *player) playSets(n int) {
	for i := range n {
		p.cache.Set(p.keys[(p.from+i)%len(p.keys)], p.value())
	}
}

// playZipf asks, and stores what it does not get.
func (p *player) playZipf(n int) {
	for i := range n {
		key := p.keys[p.zipf[(p.from+i)%len(p.zipf)]]
		if p.cache.Get(key) {
			p.hits++
		} else {
			p.cache.Set(key, p.value())
		}
	}
}

func (p *player) play(workload string, n int) {
	switch workload {
	case hitName:
		p.playHits(n)
	case setName:
		p.playSets(n)
	default:
		p.playZipf(n)
	}
}

// A sample is what one contender took for one workload.
type sample struct {
	measure.Cost
	hits int64
}

func (s sample) hitRatio() float64 { return 100 * float64(s.hits) / float64(s.Ops) }

// run plays ops requests of a workload to a new cache that is warm, with one
// goroutine on each of the cores.
func (s *stage) run(c contender, workload string, cores, ops int) sample {
	entries := s.entries
	if workload == hitName {
		entries += entries / 4 // all have to find room, however it is shared out
	}
	cache := c.New(entries, valueSize)
	defer cache.Close()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	warm := &player{stage: s, cache: cache, copies: c.copies, buf: make([]byte, valueSize)}
	switch workload {
	case hitName:
		warm.playSets(s.entries)
	case setName:
		warm.playSets(2 * s.entries)
	default:
		warm.playZipf(crowd * s.entries)
	}
	cache.Settle()
	runtime.GC()
	var hits atomic.Int64
	cost := measure.Of(int64(ops), int64(ops)*valueSize, func() {
		var players sync.WaitGroup
		for i := range cores {
			players.Go(func() {
				p := *warm
				p.buf, p.hits = make([]byte, valueSize), 0
				p.from = crowd*s.entries + i*ops/cores
				n := (i+1)*ops/cores - i*ops/cores
				p.play(workload, n)
				hits.Add(p.hits)
			})
		}
		players.Wait()
		cache.Settle()
	})
	return sample{cost, hits.Load()}
}
