package seglog

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// indexed returns a store whose index has n objects of which no disk knows.
func indexed(b *testing.B, n int) *Store {
	b.Helper()
	s := openStore(b, newMemFS(), Options{Capacity: MinCapacity})
	for i := range n {
		learnInline(s, i)
	}
	return s
}

func learnInline(s *Store, i int) {
	e := entry{kind: kindInline, id: numbered(i), lsn: uint64(i + 1), off: page / unit, len: 4096}
	s.learn(s.segs[0], &e, nil)
}

// BenchmarkIndex is what the index alone costs: lookups of what is there and of
// what is not, and, in a collection of garbage, its entries.
func BenchmarkIndex(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000, 8_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchIndex(b, n) })
	}
}

func benchIndex(b *testing.B, n int) {
	s := indexed(b, n)
	run := func(name string, op func(i int) bool) {
		b.Run(name, func(b *testing.B) {
			before, i := cpu(), 0
			for b.Loop() {
				if !op(i) {
					b.Fatal("not what there is")
				}
				i++
			}
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
	run("hit", func(i int) bool { return s.Has(numbered(int(uint32(i) * 2654435761 % uint32(n)))) })
	run("miss", func(i int) bool { return !s.Has(numbered(n + i)) })
	run("gc", func(int) bool { runtime.GC(); return true })
	runtime.KeepAlive(s)
}

// BenchmarkIndexGrows fills an index. It reports the memory of an entry when it
// is fullest with memory for what it has, and the longest that one write took.
func BenchmarkIndexGrows(b *testing.B) {
	const n = 8_000_000
	for b.Loop() {
		s := indexed(b, 0)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		longest, start, most := time.Duration(0), cpu(), 0.0
		for i := range n {
			at := time.Now()
			learnInline(s, i)
			longest = max(longest, time.Since(at))
			if i >= n/8 && i%(n/32) == 0 {
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&after)
				most = max(most, float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/float64(i))
				b.StartTimer()
			}
		}
		b.ReportMetric(float64((cpu()-start).Nanoseconds())/n, "cpu-ns/entry")
		b.ReportMetric(float64(longest.Microseconds()), "longest-us")
		b.ReportMetric(most, "most-B/entry")
		runtime.KeepAlive(s)
	}
}
