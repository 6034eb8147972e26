package seglog

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// cpu returns the processor time that this process has used.
func cpu() time.Duration {
	var use syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// reportCPU reports the processor time of an operation, which other work on the
// machine changes less than the time that passes.
func reportCPU(b *testing.B, before time.Duration) {
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-us/op")
}

func numbered(i int) (id ID) {
	binary.BigEndian.PutUint64(id[:], uint64(i)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id[8:], uint64(i))
	return id
}

func benchStore(b *testing.B, dir string, capacity int64) *Store {
	b.Helper()
	disk, err := OpenDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	s, err := Open(disk, Options{Capacity: capacity})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkOpenMillion is a start with a million objects of 100 bytes.
func BenchmarkOpenMillion(b *testing.B) {
	const million = 1_000_000
	dir := b.TempDir()
	s := benchStore(b, dir, 2<<30)
	stop := running(b, s)
	meta, data := make([]byte, 150), make([]byte, 100)
	for i := range million {
		if !s.Put(numbered(i), meta, data) {
			b.Fatal("declined")
		}
	}
	stop()
	s.Close()
	var before, after runtime.MemStats
	for b.Loop() {
		b.StopTimer()
		s = nil
		runtime.GC()
		runtime.ReadMemStats(&before)
		b.StartTimer()
		start := cpu()
		s = benchStore(b, dir, 2<<30)
		b.StopTimer()
		b.ReportMetric((cpu() - start).Seconds(), "cpu-s")
		runtime.GC()
		runtime.ReadMemStats(&after)
		if n := s.Stats().Objects; n != million {
			b.Fatalf("%d objects came back", n)
		}
		b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/million, "B/object")
		s.Close()
		b.StartTimer()
	}
}

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := benchStore(b, b.TempDir(), 2<<30)
			defer s.Close()
			defer running(b, s)()
			meta, data := make([]byte, 200), make([]byte, size)
			b.SetBytes(int64(size))
			before, i := cpu(), 0
			for b.Loop() {
				s.Put(numbered(i), meta, data)
				i++
			}
			reportCPU(b, before)
		})
	}
}

func BenchmarkGet(b *testing.B) {
	const objects = 10_000
	for _, size := range []int{4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := benchStore(b, b.TempDir(), 2<<30)
			defer s.Close()
			defer running(b, s)()
			meta, data := make([]byte, 200), make([]byte, size)
			for i := range objects {
				s.Put(numbered(i), meta, data)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			before, i := cpu(), 0
			for b.Loop() {
				h, ok := s.Get(numbered(i % objects))
				if !ok {
					b.Fatal("miss")
				}
				h.Close()
				i++
			}
			reportCPU(b, before)
		})
	}
}

func BenchmarkLarge(b *testing.B) {
	const size = 64 << 20
	s := benchStore(b, b.TempDir(), 2<<30)
	defer s.Close()
	defer running(b, s)()
	buf := make([]byte, 256<<10)
	b.Run("write", func(b *testing.B) {
		b.SetBytes(size)
		before, i := cpu(), 0
		for b.Loop() {
			w := s.Create(numbered(i%8), size)
			for at := 0; at < size; at += len(buf) {
				if err := w.Write(buf); err != nil {
					b.Fatal(err)
				}
			}
			if err := w.Commit(nil); err != nil {
				b.Fatal(err)
			}
			i++
		}
		reportCPU(b, before)
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(size)
		before := cpu()
		for b.Loop() {
			h, ok := s.Get(numbered(0))
			if !ok {
				b.Fatal("miss")
			}
			for at := int64(0); at < size; {
				n, err := h.ReadAt(buf, at)
				if err != nil {
					b.Fatal(err)
				}
				at += int64(n)
			}
			h.Close()
		}
		reportCPU(b, before)
	})
}
