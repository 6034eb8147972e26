package main

import (
	"runtime"
	"time"

	"github.com/micelio/micelio/bench/measure"
)

// A burden is what a cache of many small entries costs the garbage collector.
type burden struct {
	kept    float64       // part of the entries that are there, in per cent
	perItem float64       // bytes of the heap for each of them
	cpu     time.Duration // of a collection
	pause   time.Duration // the longest of some collections
}

const (
	smallValue  = 16
	collections = 3
)

// weigh fills a cache with entries of 16 bytes and collects garbage.
func weigh(c contender, entries int) burden {
	before := measure.Heap()
	cache := c.New(entries+entries/8, smallValue)
	for i := range entries {
		cache.Set(keyOf(uint64(i)), make([]byte, smallValue))
		if i%1024 == 0 {
			cache.Settle() // those who drop what comes too fast are not compared here
		}
	}
	cache.Settle()
	grown := measure.Heap() - before
	const probes = 10_000
	found := 0
	for i := range probes {
		if cache.Get(keyOf(uint64(i) * uint64(entries) / probes)) {
			found++
		}
	}
	b := burden{kept: 100 * float64(found) / probes}
	b.perItem = float64(grown) / (float64(entries) * b.kept / 100)
	b.pause = measure.LongestPause(func() {
		var costs []measure.Cost
		for range collections {
			costs = append(costs, measure.Of(1, 0, runtime.GC))
		}
		b.cpu = time.Duration(measure.Median(costs, measure.Cost.PerOp))
	})
	cache.Close()
	return b
}
