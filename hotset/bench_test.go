package hotset

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
)

// A quick is a Store below that costs nothing.
type quick struct {
	object.Store
	obj *object.Object
}

func (q quick) Get(context.Context, object.Key, object.GetOptions) (*object.Object, error) {
	return q.obj, nil
}

// quickly returns a Store over one that costs nothing, and keys of the length that
// a forge's have.
func quickly(tb testing.TB) (*Store, []object.Key) {
	classes, err := object.NewClasses(object.DefaultVerified, object.DefaultImmutable)
	if err != nil {
		tb.Fatal(err)
	}
	s := New(Config{
		Below: quick{obj: &object.Object{Info: object.Info{Node: "owner", Size: 1 << 40}}}, Capacity: 8 << 20,
		Class: classes.Of, Elsewhere: func(object.Key) bool { return true },
	})
	keys := make([]object.Key, 1<<16)
	for i := range keys {
		keys[i] = object.Key(fmt.Sprintf("artifacts/sha256:%064x", i))
	}
	return s, keys
}

// copied puts a copy into the table that lives for an hour.
func copied(s *Store, key object.Key) {
	hash := s.copies.hash(key)
	ends := time.Now().Add(time.Hour)
	s.copies.placeOf(hash, key).Store(&hotCopy{hash: hash, info: object.Info{Key: key, Size: 4096}, bytes: make([]byte, 4096), renew: ends, ends: ends})
}

// What a read of a key that is not hot costs more than without this package, and
// what one costs that a copy answers.
func BenchmarkRead(b *testing.B) {
	for _, name := range []string{"cold", "cold beside 256 copies", "mutable", "hot"} {
		b.Run(name, func(b *testing.B) {
			s, keys := quickly(b)
			pick := func(i int) object.Key { return keys[i%len(keys)] }
			switch name {
			case "cold beside 256 copies":
				for i := range 256 {
					copied(s, object.Key(fmt.Sprint("other", i)))
				}
			case "mutable":
				for i := range keys {
					keys[i] = object.Key(fmt.Sprintf("sessions/%064x/head", i))
				}
			case "hot":
				copied(s, keys[0])
				pick = func(int) object.Key { return keys[0] }
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if _, err := s.Get(context.Background(), pick(i), object.GetOptions{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// A read allocates nothing, but for the answer that a copy gives.
func TestReadsDoNotAllocate(t *testing.T) {
	s, keys := quickly(t)
	for range 2 * counters { // until the sketch is full
		for _, key := range keys[:2*counters] {
			s.note(s.copies.hash(key), key)
		}
	}
	i := 0
	get := func() {
		i++
		_, _ = s.Get(context.Background(), keys[i%len(keys)], object.GetOptions{})
	}
	if n := testing.AllocsPerRun(10_000, get); n != 0 {
		t.Errorf("a cold read allocates %v times", n)
	}
	copied(s, keys[0])
	if n := testing.AllocsPerRun(10_000, func() { _, _ = s.Get(context.Background(), keys[0], object.GetOptions{}) }); n != 1 {
		t.Errorf("a hot read allocates %v times, want 1", n)
	}
	if n := testing.AllocsPerRun(10_000, func() { _, _ = s.Head(context.Background(), keys[0], object.HeadOptions{}) }); n != 0 {
		t.Errorf("a hot HEAD allocates %v times", n)
	}
}
