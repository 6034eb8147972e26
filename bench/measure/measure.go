// Package measure says what a piece of work cost this process: processor time,
// time that passed, memory. It knows nothing of what is measured.
package measure

import (
	"math"
	"runtime"
	"runtime/metrics"
	"slices"
	"syscall"
	"testing"
	"time"
)

// A Cost is what some operations took together.
type Cost struct {
	Ops    int64
	Bytes  int64 // that the operations moved; 0 where that says nothing
	Wall   time.Duration
	User   time.Duration // of all threads, the garbage collector's included
	System time.Duration
	Allocs int64
}

// Of runs work once and returns what it took. Ops and Bytes are the caller's.
func Of(ops, bytes int64, work func()) Cost {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	user, system := used()
	start := time.Now()
	work()
	wall := time.Since(start)
	userAfter, systemAfter := used()
	runtime.ReadMemStats(&after)
	return Cost{ops, bytes, wall, userAfter - user, systemAfter - system, int64(after.Mallocs - before.Mallocs)}
}

// used returns the processor time of this process so far. What the kernel does
// later on its own threads, such as writing dirty pages back, is not in it.
func used() (user, system time.Duration) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it fails for wrong arguments only
	}
	return time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
}

// CPU is the processor time.
func (c Cost) CPU() time.Duration { return c.User + c.System }

// PerOp returns the processor time of one operation, in nanoseconds.
func (c Cost) PerOp() float64 { return float64(c.CPU()) / float64(c.Ops) }

// WallPerOp returns the time that passed for one operation, in nanoseconds.
func (c Cost) WallPerOp() float64 { return float64(c.Wall) / float64(c.Ops) }

// AllocsPerOp returns how often an operation allocated.
func (c Cost) AllocsPerOp() float64 { return float64(c.Allocs) / float64(c.Ops) }

// PerGiB returns the processor time of a GiB, in seconds.
func (c Cost) PerGiB() float64 { return c.CPU().Seconds() / float64(c.Bytes) * (1 << 30) }

// MBps returns the bytes a second of time that passed, in units of 10^6.
func (c Cost) MBps() float64 { return float64(c.Bytes) / c.Wall.Seconds() / 1e6 }

// Report adds the processor time to what a benchmark reports, which other work
// on the machine changes less than the time that passes.
func (c Cost) Report(b *testing.B) { b.ReportMetric(c.PerOp(), "cpu-ns/op") }

// Median returns the middle one of a figure of some samples.
func Median[S any](samples []S, figure func(S) float64) float64 {
	if len(samples) == 0 {
		return math.NaN()
	}
	all := make([]float64, len(samples))
	for i, s := range samples {
		all[i] = figure(s)
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// Heap returns the bytes of the heap that are in use, after what nobody needs
// was collected.
func Heap() int64 {
	runtime.GC()
	runtime.GC() // what only pools held goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// LongestPause runs work and returns the longest time that the garbage collector
// stopped the process meanwhile, rounded up to a bucket of the runtime's
// histogram.
func LongestPause(work func()) time.Duration {
	before := pauses()
	work()
	after := pauses()
	longest := 0.0
	for i, n := range after.Counts {
		if n > before.Counts[i] {
			longest = after.Buckets[i+1]
		}
	}
	return time.Duration(longest * float64(time.Second))
}

func pauses() *metrics.Float64Histogram {
	sample := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(sample)
	h := sample[0].Value.Float64Histogram()
	return &metrics.Float64Histogram{Counts: slices.Clone(h.Counts), Buckets: h.Buckets}
}
