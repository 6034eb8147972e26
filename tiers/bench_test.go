package tiers_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/micelio/micelio/object"
)

// discard reads like a server does: into one buffer, without WriteTo.
type discard struct{ buf []byte }

func (d discard) drain(b *testing.B, obj *object.Object, err error) {
	if err != nil {
		b.Fatal(err)
	}
	for {
		if _, err := obj.Body.Read(d.buf); err == io.EOF {
			break
		} else if err != nil {
			b.Fatal(err)
		}
	}
	obj.Body.Close()
}

func benchmarkHit(b *testing.B, key object.Key, body []byte, ram, ssd int64) {
	r := newRig(b, ram, ssd)
	r.put(key, body)
	r.want(key, body, "")
	r.settle()
	r.want(key, body, "")
	d := discard{make([]byte, 64<<10)}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		obj, err := r.cache.Get(context.Background(), key, object.GetOptions{})
		d.drain(b, obj, err)
	}
}

func BenchmarkRAMHit4KiB(b *testing.B) {
	key, body := blob(1, 4<<10)
	benchmarkHit(b, key, body, 64*mib, 0)
}

func BenchmarkSSDHit(b *testing.B) {
	for _, size := range []int{4 << 10, 4 * mib, 64 * mib} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			key, body := blob(1, size)
			benchmarkHit(b, key, body, 0, 1<<30)
		})
	}
}

func BenchmarkMutableHit4KiB(b *testing.B) {
	benchmarkHit(b, "sessions/1/head", random(1, 4<<10), 64*mib, 0)
}

func BenchmarkParallelRAMHit4KiB(b *testing.B) {
	key, body := blob(1, 4<<10)
	r := newRig(b, 64*mib, 0)
	r.put(key, body)
	r.want(key, body, "")
	r.settle()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		d := discard{make([]byte, 64<<10)}
		for pb.Next() {
			obj, err := r.cache.Get(context.Background(), key, object.GetOptions{})
			d.drain(b, obj, err)
		}
	})
}

func BenchmarkColdFill(b *testing.B) {
	for name, kind := range keyKinds {
		for _, ssd := range []int64{0, 1 << 30} {
			b.Run(fmt.Sprintf("64MiB,%s,ssd=%t", name, ssd > 0), func(b *testing.B) {
				r := newRig(b, mib, ssd)
				key, body := kind(1, 64*mib)
				r.put(key, body)
				d := discard{make([]byte, 64<<10)}
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					obj, err := r.cache.Get(context.Background(), key, object.GetOptions{})
					d.drain(b, obj, err)
					b.StopTimer()
					r.settle()
					r.ssd.Delete(key)
					b.StartTimer()
				}
			})
		}
	}
}

func BenchmarkPut4KiB(b *testing.B) {
	for _, ssd := range []int64{0, 1 << 30} {
		b.Run(fmt.Sprintf("ssd=%t", ssd > 0), func(b *testing.B) {
			r := newRig(b, 64*mib, ssd)
			body := random(1, 4<<10)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.cache.Put(context.Background(), "sessions/1/head", object.ReaderSource(bytes.NewReader(body), 4<<10), object.PutOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
