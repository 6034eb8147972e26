package node

import (
	"testing"

	"github.com/micelio/micelio/object"
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
