package tiers_test

import (
	"errors"
	"testing"

	"github.com/micelio/micelio/object"
)

// A forge puts what is there already, with If-None-Match, all day long: that
// must not cost the copy.
func TestARefusedWriteDoesNotCostTheCopy(t *testing.T) {
	r := newRig(t, 64*mib, 64*mib)
	key, body := blob(71, 5000)
	r.put(key, body)
	r.want(key, body, object.TierOrigin)
	r.settle()
	held := r.cache.Holds(key)

	_, err := r.cache.Put(t.Context(), key, object.BytesSource(body), object.PutOptions{IfNoneMatch: object.MatchAny()})
	if !errors.Is(err, object.ErrPrecondition) {
		t.Fatalf("creating it again: %v", err)
	}
	_, err = r.cache.Put(t.Context(), key, object.BytesSource([]byte("other")), object.PutOptions{})
	if !errors.Is(err, object.ErrDigest) {
		t.Fatalf("other bytes: %v", err)
	}
	err = r.cache.Delete(t.Context(), key, object.DeleteOptions{IfMatch: object.MatchETag("another")})
	if !errors.Is(err, object.ErrPrecondition) {
		t.Fatalf("deleting another version: %v", err)
	}
	if len(held) == 0 || len(r.cache.Holds(key)) != len(held) {
		t.Errorf("held in %v before and in %v after", held, r.cache.Holds(key))
	}
	r.want(key, body, object.TierRAM)
}
