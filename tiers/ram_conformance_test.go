package tiers_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

func TestTheMemoryTierConforms(t *testing.T) { testRAM(t, tiers.NewRAM) }

func TestNoMemoryTierConforms(t *testing.T) {
	testRAM(t, func(int64) tiers.RAM { return tiers.OffRAM{} })
	if n := tiers.NewRAM(0).MaxObject(); n != -1 {
		t.Errorf("a tier without capacity wants objects of %d bytes", n)
	}
}

// testRAM holds a memory tier to what the interface says. A tier may hold
// nothing at all.
func testRAM(t *testing.T, open func(capacity int64) tiers.RAM) {
	for name, claim := range map[string]func(*testing.T, tiers.RAM){
		"an entry comes back as it was":         ramReturnsEntries,
		"a key has its last entry or none":      ramReplacesEntries,
		"bytes held are bounded at any instant": ramIsBounded,
		"reserved bytes are not used":           ramReserves,
		"counters add up":                       ramCounts,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claim(t, open(8*mib))
		})
	}
}

func ramReturnsEntries(t *testing.T, ram tiers.RAM) {
	born := time.Unix(1_700_000_000, 42)
	for i, size := range []int{0, 1, 4096, 100_000, 131_072} {
		e := entry(object.Key(fmt.Sprint("key/", i)), size)
		copy(e.Bytes, random(uint64(i), size))
		e.Born = born
		e.Info.ETag, e.Info.Version, e.Info.ContentType = "etag", "version", "text/\xe9"
		e.Info.Modified = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
		e.Info.SHA256 = object.Digest{1, 31: 9}
		if i%2 == 0 {
			e.Info.User = map[string]string{"a": "1", "b": "2"}
		}
		want := bytes.Clone(e.Bytes)
		ram.Set(e)
		got, ok := ram.Get(e.Info.Key)
		if ok != ram.Has(e.Info.Key) || !ok && int64(size) <= ram.MaxObject() {
			t.Errorf("%d bytes: found: %t, there: %t, limit %d", size, ok, ram.Has(e.Info.Key), ram.MaxObject())
		}
		if !ok {
			continue
		}
		if !bytes.Equal(got.Bytes, want) || !got.Born.Equal(born) {
			t.Errorf("%d bytes come back as %d others, of %v", size, len(got.Bytes), got.Born)
		}
		if diff := cmp.Diff(e.Info, got.Info); diff != "" {
			t.Errorf("%d bytes come back under another description (-set +got):\n%s", size, diff)
		}
	}
}

func ramReplacesEntries(t *testing.T, ram tiers.RAM) {
	r := rand.New(rand.NewPCG(1, 1))
	last := map[object.Key]int{}
	for step := range 20_000 {
		key := object.Key(fmt.Sprint(r.IntN(100)))
		switch r.IntN(4) {
		case 0:
			ram.Delete(key)
			delete(last, key)
		case 1:
			e := entry(key, r.IntN(200_000)) // some are too large
			e.Info.Version = fmt.Sprint(step)
			ram.Set(e)
			last[key] = step
		default:
			e, ok := ram.Get(key)
			if want, known := last[key]; ok && (!known || e.Info.Version != fmt.Sprint(want) || int64(len(e.Bytes)) != e.Info.Size) {
				t.Fatalf("step %d: %q has version %s of %d bytes, want %d", step, key, e.Info.Version, e.Info.Size, want)
			}
		}
	}
}

func ramIsBounded(t *testing.T, ram tiers.RAM) {
	var workers, watcher sync.WaitGroup
	done := make(chan struct{})
	watcher.Go(func() {
		for {
			if s := ram.Stats(); s.Bytes > s.Capacity || s.Bytes < 0 {
				t.Errorf("%d bytes of %d", s.Bytes, s.Capacity)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for worker := range 4 {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 2000 {
				key := object.Key(fmt.Sprint(r.IntN(500)))
				if r.IntN(5) == 0 {
					ram.Delete(key)
				} else {
					ram.Set(entry(key, r.IntN(100_000)))
				}
			}
		})
	}
	workers.Wait()
	close(done)
	watcher.Wait()
}

func ramReserves(t *testing.T, ram tiers.RAM) {
	for i := range 1000 {
		ram.Set(entry(object.Key(fmt.Sprint(i)), 10_000))
	}
	capacity := ram.Stats().Capacity
	for _, share := range []int64{4, 2, 1} { // all of it can be asked for; half is never given
		ram.Reserve(capacity / share)
		if s := ram.Stats(); s.Bytes > max(capacity-capacity/share, capacity-capacity/2) {
			t.Errorf("%d bytes of %d are held although %d are reserved", s.Bytes, capacity, capacity/share)
		}
		ram.Reserve(-capacity / share)
	}
	if s := ram.Stats(); s.Capacity > 0 && s.Bytes < capacity/2-100_000 {
		t.Errorf("only %d bytes of %d are left", s.Bytes, capacity)
	}
	for i := range 1000 {
		ram.Set(entry(object.Key(fmt.Sprint(i)), 10_000))
	}
	if s := ram.Stats(); s.Capacity > 0 && s.Bytes < capacity-100_000 {
		t.Errorf("%d bytes of %d are held when nothing is reserved any more", s.Bytes, capacity)
	}
}

func ramCounts(t *testing.T, ram tiers.RAM) {
	for i := range 10 {
		ram.Set(entry(object.Key(fmt.Sprint(i)), 1000))
	}
	hits := int64(0)
	for i := range 20 {
		if _, ok := ram.Get(object.Key(fmt.Sprint(i))); ok {
			hits++
		}
		ram.Has(object.Key(fmt.Sprint(i)))
	}
	s := ram.Stats()
	if s.Capacity == 0 {
		if s != (tiers.TierStats{}) {
			t.Errorf("a tier that is off counts %+v", s)
		}
		return
	}
	if s.Entries != 10 || s.Hits != hits || s.Misses != 20-hits || s.Evictions != 0 || s.Bytes < 10_000 {
		t.Errorf("%d hits of 20: %+v", hits, s)
	}
	for i := range 10 {
		ram.Delete(object.Key(fmt.Sprint(i)))
	}
	if s := ram.Stats(); s.Entries != 0 || s.Bytes != 0 {
		t.Errorf("emptied, it counts %+v", s)
	}
}
