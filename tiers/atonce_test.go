package tiers_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
)

func TestWhatIsReadAtOnceIsWhatGetAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t, 64*mib, 64*mib)
	for _, make := range []func(uint64, int) (object.Key, []byte){blob, derived} {
		key, body := make(1, 10_000)
		r.put(key, body)
		var info object.Info
		if _, ok := r.cache.GetAtOnce(key, &info); ok {
			t.Errorf("%s is there before anybody has read it", key)
		}
		r.want(key, body, object.TierOrigin)
		r.settle()
		obj := r.open(t.Context(), key, object.Range{})
		obj.Body.Close()
		before := r.cache.Stats().RAM
		got, ok := r.cache.GetAtOnce(key, &info)
		if !ok || !bytes.Equal(got, body) {
			t.Fatalf("%s: %d bytes, %t", key, len(got), ok)
		}
		if info.Age < obj.Age {
			t.Errorf("Age is %v, and was %v before", info.Age, obj.Age)
		}
		want := obj.Info
		want.Age = info.Age
		if diff := cmp.Diff(want, info); diff != "" {
			t.Errorf("it is described in another way: -Get +GetAtOnce\n%s", diff)
		}
		before.Hits++
		if after := r.cache.Stats().RAM; after != before {
			t.Errorf("counted as %+v, want %+v", after, before)
		}
		if err := r.cache.Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, ok := r.cache.GetAtOnce(key, new(object.Info)); ok {
			t.Errorf("%s is there after it was deleted", key)
		}
	}
}

func TestNothingElseIsReadAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, 64*mib, 64*mib)
	large, body := blob(2, 3*mib) // on the disk alone
	r.put(large, body)
	r.want(large, body, object.TierOrigin)
	r.put("sessions/1/head", body[:100]) // of a class that is validated
	r.want("sessions/1/head", body[:100], object.TierOrigin)
	r.settle()
	r.wantHeld("sessions/1/head", object.TierRAM, object.TierSSD)
	before := r.cache.Stats().RAM
	for _, key := range []object.Key{large, "sessions/1/head", "", "no//key", "cache/x/sha256:1/out"} {
		if _, ok := r.cache.GetAtOnce(key, new(object.Info)); ok {
			t.Errorf("%q is answered", key)
		}
	}
	if after := r.cache.Stats().RAM; after != before {
		t.Errorf("what is asked for with Get next is counted: %+v, before that %+v", after, before)
	}
}
