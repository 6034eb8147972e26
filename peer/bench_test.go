package peer

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

// BenchmarkGet measures client and handler together, in one process.
func BenchmarkGet(b *testing.B) {
	benchmarkGet(b, nil, 4<<10, 4<<20)
}

// BenchmarkGetProven is BenchmarkGet with a secret, so that the difference is
// what four proofs cost: one made and one checked on each side.
func BenchmarkGetProven(b *testing.B) {
	benchmarkGet(b, [][]byte{ourSecret}, 4<<10)
}

func benchmarkGet(b *testing.B, secrets [][]byte, sizes ...int) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			c := poolOf(b, secretly(secrets...)).Client(serve(b, newStrict(new(objecttest.Memory), secrets...)))
			put(b, c, "artifacts/key", string(make([]byte, size)))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			used := cpuTime(b)
			b.RunParallel(func(pb *testing.PB) {
				buffer := make([]byte, bufferSize)
				for pb.Next() {
					obj, err := c.Get(b.Context(), "artifacts/key", object.GetOptions{})
					if err != nil {
						b.Error(err)
						return
					}
					n, err := io.CopyBuffer(discard{}, obj.Body, buffer)
					if obj.Body.Close(); err != nil || n != int64(size) {
						b.Errorf("%d bytes, %v", n, err)
						return
					}
				}
			})
			b.ReportMetric(float64(cpuTime(b)-used)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpuTime is what the process has used so far: on a machine that does other
// things too it says more than a clock.
func cpuTime(b *testing.B) time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// discard is io.Discard without its ReadFrom, so that the buffer is the
// benchmark's.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkInfo(b *testing.B) {
	info := fullInfo()
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encodeInfo(info)
		}
	})
	line := string(encodeInfo(info))
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decodeInfo(line); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSmallReads compares the two ways to read a small object, by how many
// reads are under way at once.
func BenchmarkSmallReads(b *testing.B) {
	for _, secret := range []struct {
		name    string
		secrets [][]byte
	}{{"open", nil}, {"secret", [][]byte{ourSecret}}} {
		for _, way := range []string{"http", "quick"} {
			for _, callers := range []int{1, 8, 64} {
				b.Run(fmt.Sprintf("%s/%s/callers=%d", secret.name, way, callers), func(b *testing.B) {
					benchmarkSmallReads(b, secret.secrets, way == "quick", callers)
				})
			}
		}
	}
}

func benchmarkSmallReads(b *testing.B, secrets [][]byte, quick bool, callers int) {
	const keys, size = 256, 4 << 10
	hot, store := hotMemory{}, new(objecttest.Memory)
	var names []object.Key
	for i := range keys {
		key := object.Key(fmt.Sprintf("artifacts/sha256:%064x", i))
		hot.keep(key, size)
		put(b, store, key, string(hot[key].bytes))
		names = append(names, key)
	}
	s := NewQuickServer(hot)
	b.Cleanup(s.Close)
	c := poolOf(b, secretly(secrets...)).Client(serve(b, NewHandler(saying{store, hot}, HandlerConfig{
		Node: "owner", Cluster: testConfig.Cluster, Secrets: secrets, Quick: s,
	})))
	awaitLane(c)
	read := func(key object.Key, a *Answer, buffer []byte) bool {
		if quick {
			defer a.Release()
			return c.Quick(key, a) && len(a.Body) == size
		}
		obj, err := c.Get(b.Context(), key, object.GetOptions{})
		if err != nil {
			return false
		}
		defer obj.Body.Close()
		n, err := io.CopyBuffer(discard{}, obj.Body, buffer)
		return err == nil && n == size
	}
	var all sync.WaitGroup
	var next, failed atomic.Int64
	b.ReportAllocs()
	used := cpuTime(b)
	b.ResetTimer()
	for range callers {
		all.Go(func() {
			var a Answer
			buffer := make([]byte, bufferSize)
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if !read(names[i%keys], &a, buffer) {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(cpuTime(b)-used)/float64(b.N), "cpu-ns/op")
	if n := failed.Load(); n > int64(b.N)/100 { // a busy machine
		b.Errorf("%d of %d reads failed", n, b.N)
	}
}
