package tiers_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
)

func TestAHotReadAnswersFromMemoryAndAsksNobody(t *testing.T) { // not in parallel: allocations are counted
	r := newRig(t, 64*mib, 0)
	key, body := blob(1, 4<<10)
	if _, _, ok := r.cache.GetHot(key); ok {
		t.Error("what nobody has read is in memory")
	}
	r.put(key, body)
	r.want(key, body, object.TierOrigin)
	r.settle()
	r.wantGets(1)
	r.origin.down.Store(true)
	want, err := r.cache.Get(t.Context(), key, object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want.Body.Close()
	before := r.cache.Stats().RAM
	info, got, ok := r.cache.GetHot(key)
	want.Age, info.Age = 0, 0
	if diff := cmp.Diff(want.Info, info); !ok || diff != "" || !bytes.Equal(got, body) {
		t.Errorf("%v, %d bytes\n-get +hot\n%s", ok, len(got), diff)
	}
	if _, _, ok := r.cache.GetHot("no//key"); ok {
		t.Error("an invalid key is in memory")
	}
	after := r.cache.Stats().RAM
	if after.Hits != before.Hits+1 || after.Misses != before.Misses {
		t.Errorf("hits went from %d to %d, misses from %d to %d", before.Hits, after.Hits, before.Misses, after.Misses)
	}
	if n := testing.AllocsPerRun(100, func() { r.cache.GetHot(key) }); n != 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
	r.wantGets(0)
	r.origin.down.Store(false)
	if err := r.cache.Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := r.cache.GetHot(key); ok {
		t.Error("it is there after its DELETE")
	}
}

func TestAHotReadKnowsMemoryAndLastingKeysOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, 64*mib, 0)
	r.put("sessions/1/head", []byte("body"))
	r.want("sessions/1/head", []byte("body"), object.TierOrigin)
	r.settle()
	r.wantHeld("sessions/1/head", object.TierRAM)
	if _, _, ok := r.cache.GetHot("sessions/1/head"); ok {
		t.Error("a mutable key is answered unvalidated")
	}
	disk := newRig(t, 0, 64*mib)
	key, body := blob(1, 4<<10)
	disk.put(key, body)
	disk.want(key, body, object.TierOrigin)
	disk.settle()
	disk.wantHeld(key, object.TierSSD)
	if _, _, ok := disk.cache.GetHot(key); ok {
		t.Error("the disk was read")
	}
}
