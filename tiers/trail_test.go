package tiers_test

import (
	"context"
	"testing"

	"github.com/micelio/micelio/internal/trail"
	"github.com/micelio/micelio/object"
)

// Whoever is asked for what the tiers lack hears for whose request that is, however
// the read goes: whole, in part, from the end, validated. The others who wait for the
// same answer change nothing about it.
func TestTheUpstreamIsAskedForTheFirstReadersRequest(t *testing.T) {
	origin := &authority{}
	asked := make(chan trail.Trail, 10)
	origin.onAnswer(func(ctx context.Context, _ object.GetOptions) {
		got, _ := trail.From(ctx)
		asked <- got
	})
	r := newRigIn(t, origin, t.TempDir(), 8*mib, 0)
	large := make([]byte, 20*mib)
	for key, c := range map[object.Key]struct {
		body []byte
		rng  object.Range
	}{
		"cache/builds/sha256:1/whole":  {body: []byte("small")},
		"cache/builds/sha256:1/part":   {body: large, rng: object.Bytes(9*mib, 10)},
		"cache/builds/sha256:1/suffix": {body: large, rng: object.Suffix(10)},
		"sessions/1":                   {body: []byte("mutable")},
	} {
		if _, err := origin.Memory.Put(t.Context(), key, object.BytesSource(c.body), object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		want := trail.Begin("request of " + string(key))
		obj, err := r.cache.Get(trail.With(t.Context(), want), key, object.GetOptions{Range: c.rng})
		if err != nil {
			t.Fatal(err)
		}
		obj.Body.Close()
		if got := <-asked; got != want {
			t.Errorf("%q: the upstream was asked for %+v, want %+v", key, got, want)
		}
	}
}
