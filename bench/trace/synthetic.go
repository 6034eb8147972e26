package trace

import (
	"math"
	"math/rand/v2"
	"sort"
)

const (
	zipfKeys     = 1 << 20
	zipfRequests = 2_000_000
)

// Synthetic returns traces that are made up, the same on every machine.
func Synthetic() []*Trace {
	few, many := []int64{1000, 10_000, 50_000, 200_000}, int64(1)<<20
	return []*Trace{
		{
			Name: "zipf 0.9", About: "2 million requests for a million keys, the n-th of which is asked for 1/n^0.9 as often as the first",
			Keys: zipf(0.9, zipfKeys, zipfRequests), Capacities: few,
		},
		{
			Name: "zipf 1.0", About: "the same with 1/n",
			Keys: zipf(1, zipfKeys, zipfRequests), Capacities: few,
		},
		{
			Name: "zipf and scans", About: "zipf 1.0; after each 100,000 requests 50,000 for keys that nobody asks for again",
			Keys: withScans(zipf(1, zipfKeys, zipfRequests/2), 100_000, 50_000), Capacities: few,
		},
		{
			Name: "mixed sizes", About: "zipf 0.9 over 200,000 objects of 1 KiB to 4 MiB, lognormal around 16 KiB; the hit ratio is of bytes",
			Keys: zipf(0.9, 200_000, zipfRequests/2), Sizes: lognormal,
			Capacities: []int64{64 * many, 256 * many, 1024 * many, 4096 * many},
		},
	}
}

// zipf returns requests for keys 0 to keys-1, mixed up.
func zipf(s float64, keys, requests int) []uint64 {
	sums := make([]float64, keys)
	sum := 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -s)
		sums[i] = sum
	}
	r := rand.New(rand.NewPCG(1, 2))
	trace := make([]uint64, requests)
	for i := range trace {
		trace[i] = Mix(uint64(sort.SearchFloat64s(sums, r.Float64()*sum)))
	}
	return trace
}

// withScans puts a scan of new keys behind every so many requests.
func withScans(keys []uint64, every, length int) []uint64 {
	var trace []uint64
	next := uint64(1) << 40
	for len(keys) > 0 {
		n := min(every, len(keys))
		trace = append(trace, keys[:n]...)
		keys = keys[n:]
		for range length {
			trace = append(trace, Mix(next))
			next++
		}
	}
	return trace
}

// lognormal returns the size of a key, in bytes.
func lognormal(key uint64) int64 {
	r := rand.New(rand.NewPCG(key, 3))
	const median, spread = 16 << 10, 1.7
	return int64(min(max(median*math.Exp(spread*r.NormFloat64()), 1<<10), 4<<20))
}
