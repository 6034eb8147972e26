package tiers_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// The rest of testSSD: objects in part, and many at once.

func ssdKeepsParts(t *testing.T, ssd tiers.SSD) {
	unit := ssd.PartSize()
	if unit < tiers.BlockSize || unit&(unit-1) != 0 {
		t.Fatalf("parts of %d bytes", unit)
	}
	body := random(5, int(3*unit+1000))
	info := object.Info{Key: "key", Size: int64(len(body)), ETag: "etag"}
	s, ok := ssd.Begin(info)
	if ok != holds(ssd) {
		t.Fatalf("wanted: %t", ok)
	}
	if !ok {
		return
	}
	defer s.Close()
	wantPresent := func(off, present, missing int64) {
		t.Helper()
		if p, m := s.Present(off); p != present || m != missing {
			t.Errorf("at %d: there up to %d, missing up to %d; want %d and %d", off, p, m, present, missing)
		}
	}
	fill := func(from, to int64) {
		t.Helper()
		spool, ok := s.Fill(from, to-from)
		if !ok {
			t.Fatal("a part is not wanted")
		}
		if err := writes(spool, body[from:to]); err != nil {
			t.Fatal(err)
		}
		spool.Abort() // the parts that are whole stay
	}
	wantPresent(0, 0, info.Size)
	fill(unit, 2*unit)
	wantPresent(0, 0, unit)
	wantPresent(unit, 2*unit, unit)
	wantPresent(2*unit, 2*unit, info.Size)
	if s.Complete() || ssd.Has("key") || s.Proven() {
		t.Errorf("with one part of four it is complete: %t, there: %t, proven: %t", s.Complete(), ssd.Has("key"), s.Proven())
	}
	if got, err := fetched(s, unit, 2*unit); err != nil || !bytes.Equal(got, body[unit:2*unit]) {
		t.Errorf("%d bytes of the part that is there, %v", len(got), err)
	}
	if n, err := s.ReadAt(make([]byte, tiers.BlockSize), 0); !errors.Is(err, tiers.ErrAbsent) {
		t.Errorf("%d bytes of a part that is not there, %v", n, err)
	}
	again, ok := ssd.Begin(info)
	if !ok {
		t.Fatal("it cannot be begun again")
	}
	if present, _ := again.Present(unit); present != 2*unit {
		t.Errorf("begun again, it has the part up to %d", present)
	}
	again.Close()
	fill(0, unit)
	fill(2*unit, info.Size)
	if got, err := fetched(s, 0, info.Size); err != nil || !bytes.Equal(got, body) || !s.Complete() || !ssd.Has("key") || s.Proven() {
		t.Errorf("%d bytes of all, %v; complete: %t, there: %t, proven: %t", len(got), err, s.Complete(), ssd.Has("key"), s.Proven())
	}
	s.Prove()
	if !s.Proven() {
		t.Error("not proven by Prove")
	}
	s.Drop()
	if again, ok := ssd.Get("key"); ok {
		again.Close()
		t.Error("found after Drop")
	}
}

func ssdKeepsVersionsApart(t *testing.T, ssd tiers.SSD) {
	unit := ssd.PartSize()
	body := random(6, int(2*unit))
	info := object.Info{Key: "key", Size: 2 * unit, ETag: "one"}
	one, ok := ssd.Begin(info)
	if !ok {
		return
	}
	defer one.Close()
	spool, ok := one.Fill(0, unit)
	if !ok || writes(spool, body[:unit]) != nil {
		t.Fatal("a part is not taken")
	}
	info.ETag = "two"
	two, ok := ssd.Begin(info)
	if !ok {
		t.Fatal("another version is not wanted")
	}
	defer two.Close()
	if present, _ := two.Present(0); present != 0 {
		t.Errorf("another version has the first one's bytes up to %d", present)
	}
	if spool, ok := one.Fill(unit, unit); ok { // it may be taken, and must not be seen
		writes(spool, body[unit:])
	}
	if present, missing := two.Present(0); present != 0 || missing != 2*unit {
		t.Errorf("the first version's bytes are seen in the other: there up to %d, missing up to %d", present, missing)
	}
	ssd.Delete("key")
	if spool, ok := two.Fill(0, unit); ok {
		writes(spool, body[:unit])
	}
	if s, ok := ssd.Get("key"); ok {
		s.Close()
		t.Error("filled into life after its deletion")
	}
}

func ssdServesWhatIsOpen(t *testing.T, ssd tiers.SSD) {
	for _, size := range []int{1000, mib} {
		body, other := random(7, size), random(8, size)
		info := object.Info{Key: "key", Size: int64(size)}
		stores(ssd, info, body)
		s, ok := ssd.Get("key")
		if !ok {
			continue
		}
		stores(ssd, info, other)
		if got, err := fetched(s, 0, int64(size)); !bytes.Equal(got, body[:len(got)]) || err != nil && !errors.Is(err, tiers.ErrAbsent) {
			t.Errorf("replaced, an open copy of %d bytes has %d, %v", size, len(got), err)
		}
		ssd.Delete("key")
		if got, err := fetched(s, 0, int64(size)); !bytes.Equal(got, body[:len(got)]) || err != nil && !errors.Is(err, tiers.ErrAbsent) {
			t.Errorf("deleted, an open copy of %d bytes has %d, %v", size, len(got), err)
		}
		s.Close()
	}
}

func ssdIsBounded(t *testing.T, ssd tiers.SSD) {
	var workers sync.WaitGroup
	for worker := range 4 {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(2, uint64(worker)))
			for range 150 { // 4 x 150 of 80 KB on average: three times what there is
				n := r.Uint64N(200)
				key, size := object.Key(fmt.Sprint(n)), int(n*n*13%500_000)
				if r.IntN(3) > 0 {
					stores(ssd, object.Info{Key: key}, random(n, size))
				}
				if s, ok := ssd.Get(key); ok {
					got, err := fetched(s, 0, int64(size))
					if want := random(n, size); !bytes.Equal(got, want[:len(got)]) || err != nil && !errors.Is(err, tiers.ErrAbsent) {
						t.Errorf("%s: %d bytes of %d, %v", key, len(got), size, err)
					}
					s.Close()
				}
				if s := ssd.Stats(); s.Bytes > s.Capacity {
					t.Errorf("%d bytes of %d", s.Bytes, s.Capacity)
				}
			}
		})
	}
	workers.Wait()
	if s := ssd.Stats(); s.Capacity > 0 && (s.Evictions == 0 || s.Errors != 0 || s.Damaged != 0) {
		t.Errorf("after three times what there is room for: %+v", s)
	}
}

func ssdCounts(t *testing.T, ssd tiers.SSD) {
	for i := range 10 {
		stores(ssd, object.Info{Key: object.Key(fmt.Sprint(i))}, random(1, 1000))
	}
	hits := int64(0)
	for i := range 20 {
		key := object.Key(fmt.Sprint(i))
		if s, ok := ssd.Get(key); ok {
			hits++
			s.Close()
		}
		ssd.Has(key)
	}
	s := ssd.Stats()
	if !holds(ssd) {
		if s != (tiers.TierStats{}) {
			t.Errorf("a tier that is off counts %+v", s)
		}
		return
	}
	if hits != 10 || s.Hits != hits || s.Misses != 20-hits || s.Entries != 10 || s.Written < 10_000 || s.Bytes == 0 {
		t.Errorf("%d hits of 20: %+v", hits, s)
	}
	for i := range 10 {
		ssd.Delete(object.Key(fmt.Sprint(i)))
	}
	if s := ssd.Stats(); s.Entries != 0 {
		t.Errorf("emptied, it counts %+v", s)
	}
}
