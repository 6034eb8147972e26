package tiers_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"syscall"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// cpuTime returns what the process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchKeys makes keys as the forge has them.
func benchKeys(n int) []object.Key {
	keys := make([]object.Key, n)
	for i := range keys {
		keys[i] = object.Key(fmt.Sprintf("artifacts/sha256:%064x", i))
	}
	return keys
}

// BenchmarkRAMTierHit is a hit of the memory tier alone, on one of 65,536 keys.
func BenchmarkRAMTierHit(b *testing.B) {
	ram := tiers.NewRAM(1 << 30)
	keys := benchKeys(1 << 16)
	shared := make([]byte, 4<<10)
	for _, key := range keys {
		ram.Set(&tiers.Entry{Info: object.Info{Key: key, Size: int64(len(shared)), ETag: "0123456789abcdef0123456789abcdef"}, Bytes: shared})
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime()
	b.RunParallel(func(pb *testing.PB) {
		r := rand.New(rand.NewPCG(1, 2))
		for pb.Next() {
			if _, ok := ram.Get(keys[r.Uint32()%uint32(len(keys))]); !ok {
				b.Fatal("a miss")
			}
		}
	})
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
}

// BenchmarkGCOfTenMillionEntries is one collection of garbage while the memory
// tier holds ten million entries of 16 bytes: its CPU time, the longest time that
// it stopped the process, and the memory an entry takes. It needs 5 GiB.
func BenchmarkGCOfTenMillionEntries(b *testing.B) {
	if testing.Short() {
		b.Skip("needs 5 GiB of memory")
	}
	const entries = 10_000_000
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ram := tiers.NewRAM(16 << 30)
	for i := range entries {
		key := object.Key(fmt.Sprintf("artifacts/sha256:%064x", i))
		ram.Set(&tiers.Entry{Info: object.Info{Key: key, Size: 16, ETag: "0123456789abcdef0123456789abcdef"}, Bytes: make([]byte, 16)})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	start := cpuTime()
	b.ResetTimer()
	for b.Loop() {
		runtime.GC()
	}
	b.ReportMetric(float64(cpuTime()-start)/float64(b.N)/1e6, "cpu-ms/gc")
	b.ReportMetric(longestPause().Seconds()*1e6, "longest-pause-µs")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/entries, "B/entry")
	b.ReportMetric(float64(ram.Stats().Bytes)/entries, "charged-B/entry")
	runtime.KeepAlive(ram)
}

// longestPause returns the upper bound of the longest time that the garbage
// collector has stopped the process.
func longestPause() time.Duration {
	sample := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(sample)
	h := sample[0].Value.Float64Histogram()
	longest := 0.0
	for i, n := range h.Counts {
		if n > 0 {
			longest = h.Buckets[i]
		}
	}
	return time.Duration(longest * float64(time.Second))
}
