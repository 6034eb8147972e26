package node

import (
	"runtime"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

// BenchmarkRoutedGet measures what the router adds to a read of another node: to
// find the owner, to attend to it, and to be ready to hedge.
func BenchmarkRoutedGet(b *testing.B) {
	p := newPlan(b, object.Immutable)
	p.put(b, "k", []byte("body"))
	b.ReportAllocs()
	for b.Loop() {
		obj, err := p.Get(b.Context(), "k", object.GetOptions{})
		if err != nil {
			b.Fatal(err)
		}
		obj.Body.Close()
	}
}

// BenchmarkQuickGet measures a read of another node on a quick lane, with all
// that the router adds to it, from many callers at once.
func BenchmarkQuickGet(b *testing.B) {
	p := newPlan(b, object.Immutable)
	c := laneClient(b, "k")
	p.lane = func(ring.Member) *peer.Client { return c }
	b.ReportAllocs()
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		var a peer.Answer
		for pb.Next() {
			for p.quick("k", &a) != quickAnswered {
				runtime.Gosched()
			}
			a.Release()
		}
	})
}
