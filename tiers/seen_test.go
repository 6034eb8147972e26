package tiers_test

import (
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

func TestCopiesAreDescribedAndNotUsed(t *testing.T) {
	t.Parallel()
	r := newRig(t, 64*mib, 256*mib)
	small, body := blob(1, 100_000)
	info := r.put(small, body)
	if got := r.cache.Copies(small); len(got) != 0 {
		t.Errorf("of what nobody has read: %+v", got)
	}
	r.want(small, body, object.TierOrigin)
	r.settle()
	large, more := derived(2, 3*partSize)
	r.put(large, more)
	r.wantPart(large, more, object.Bytes(partSize+10, 1000))
	until(r.cache.MemoryFree)
	before := r.cache.Stats()

	got := r.cache.Copies(small)
	if len(got) != 2 || got[0].Info.Tier != object.TierRAM || got[1].Info.Tier != object.TierSSD {
		t.Fatalf("got %+v", got)
	}
	for _, c := range got {
		if !c.Whole || c.Info.ETag != info.ETag || c.Info.Size != int64(len(body)) || c.Info.Age < 0 {
			t.Errorf("got %+v", c)
		}
	}
	if got := r.cache.Copies(large); len(got) != 1 || got[0].Whole || got[0].Info.Tier != object.TierSSD || got[0].Info.Size != int64(len(more)) {
		t.Errorf("of a part: %+v", got)
	}
	if after := r.cache.Stats(); after.RAM.Hits != before.RAM.Hits || after.SSD.Hits != before.SSD.Hits || after.RAM.Misses != before.RAM.Misses {
		t.Errorf("looking was counted: %+v, before %+v", after, before)
	}
}

func TestFlightsAreSeenWithTheirReaders(t *testing.T) {
	t.Parallel()
	r := newRig(t, 64*mib, 256*mib)
	release := r.origin.holdBodies(3 * mib)
	defer release()
	key, body := derived(1, 5*mib)
	r.put(key, body)
	first, second := r.open(t.Context(), key, object.Range{}), r.open(t.Context(), key, object.Range{})
	var seen []tiers.Flight
	until(func() bool {
		seen, _ = r.cache.Flights(10)
		return len(seen) == 1 && seen[0].Bytes == 3*mib
	})
	if f := seen[0]; f.Key != key || f.From != object.TierOrigin || f.Size != 5*mib || f.Readers != 2 || f.Age <= 0 {
		t.Errorf("got %+v", f)
	}
	if few, all := r.cache.Flights(0); len(few) != 0 || all != 1 {
		t.Errorf("got %+v of %d", few, all)
	}
	release()
	r.wantNext(first, body)
	r.wantNext(second, body)
	r.settle()
	if seen, all := r.cache.Flights(10); len(seen) != 0 || all != 0 {
		t.Errorf("after all: %+v", seen)
	}
}
