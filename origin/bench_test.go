package origin_test

import (
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/object"
)

// benchSize is the size of the objects in the benchmarks: a typical source file.
const benchSize = 4 << 10

func BenchmarkPut(b *testing.B) {
	body := object.BytesSource(make([]byte, benchSize))
	attrs := object.Attrs{ContentType: "text/plain"}
	for name, opt := range map[string]object.PutOptions{
		"plain": {}, "version": {Version: "0123456789abcdef0123456789abcdef"}, "attributes": {Attrs: attrs}, "create": {IfNoneMatch: object.MatchAny()},
	} {
		b.Run(name, func(b *testing.B) {
			l := openLocal(b, b.TempDir())
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := l.Put(b.Context(), object.Key(fmt.Sprintf("sessions/1/files/%d", i)), body, opt); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPutParallel(b *testing.B) {
	l := openLocal(b, b.TempDir())
	body := object.BytesSource(make([]byte, benchSize))
	b.SetBytes(benchSize)
	b.ReportAllocs()
	b.SetParallelism(16)
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := l.Put(b.Context(), object.Key(fmt.Sprintf("sessions/1/files/%d", n.Add(1))), body, object.PutOptions{}); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkGet(b *testing.B) {
	l := openLocal(b, b.TempDir())
	const objects = 100
	fillBench(b, l, objects)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		obj, err := l.Get(b.Context(), benchKey(i%objects), object.GetOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, obj.Body); n != benchSize || err != nil {
			b.Fatal(n, err)
		}
		obj.Body.Close()
	}
}

func BenchmarkHead(b *testing.B) {
	l := openLocal(b, b.TempDir())
	fillBench(b, l, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Head(b.Context(), benchKey(0), object.HeadOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList(b *testing.B) {
	l := openLocal(b, b.TempDir())
	const objects = 1000
	fillBench(b, l, objects)
	b.ReportAllocs()
	for b.Loop() {
		seen := 0
		for _, err := range l.List(b.Context(), object.ListOptions{Prefix: "sessions/"}) {
			if err != nil {
				b.Fatal(err)
			}
			seen++
		}
		if seen != objects {
			b.Fatal(seen)
		}
	}
}

func benchKey(i int) object.Key { return object.Key(fmt.Sprintf("sessions/%d/files/%d", i%10, i)) }

func fillBench(b *testing.B, store object.Store, objects int) {
	b.Helper()
	for i := range objects {
		if _, err := store.Put(b.Context(), benchKey(i), object.BytesSource(make([]byte, benchSize)), object.PutOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
