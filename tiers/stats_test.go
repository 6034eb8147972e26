package tiers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// Where the bytes came from is what they cost: a fill counts where its question
// was answered, once, and is told of when it is whole.
func TestFillsAreCountedByWhoAnswered(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	told := map[object.Tier]int{}
	r := newRigWith(t, t.TempDir(), tiers.Config{RAM: tiers.NewRAM(64 * mib), Filled: func(from object.Tier, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		told[from]++
		if took <= 0 {
			t.Errorf("a fill from %s took %v", from, took)
		}
	}})
	for seed, length := range []int{100, 2 * mib} { // a small one and a large one
		key, body := blob(uint64(20+seed), length)
		r.put(key, body)
		r.want(key, body, object.TierOrigin)
		r.origin.aged.Store(int64(time.Minute)) // from now on a peer answers
		key, body = blob(uint64(30+seed), length)
		r.put(key, body)
		r.want(key, body, object.TierPeer)
		r.origin.aged.Store(0)
	}
	key, body := blob(40, 1000)
	r.put(key, body)
	r.origin.wrapBodies(func(_ context.Context, o *object.Object) io.ReadCloser {
		return io.NopCloser(io.LimitReader(o.Body, 400))
	})
	if _, _, err := r.get(key); err == nil {
		t.Error("a body that broke off was read to its end")
	}
	r.settle()

	want := map[object.Tier]tiers.FillStats{
		object.TierOrigin: {Done: 2, Failed: 1, Bytes: 100 + 2*mib + 400},
		object.TierPeer:   {Done: 2, Bytes: 100 + 2*mib},
		object.TierCDN:    {},
	}
	s := r.cache.Stats()
	if diff := cmp.Diff(want, s.Sources); diff != "" {
		t.Error("-want +got", diff)
	}
	if s.Fills != 4 || s.FailedFills != 1 || s.FilledBytes != 2*(100+2*mib)+400 {
		t.Errorf("the sums are others: %+v", s)
	}
	if diff := cmp.Diff(map[object.Tier]int{object.TierOrigin: 2, object.TierPeer: 2}, told); diff != "" {
		t.Error("told of: -want +got", diff)
	}
}

// A run that asks for what nobody has yet keeps flights under way that bring
// nothing: that they end must be seen, or they look as if they stood still.
func TestAFlightThatFindsNothingHasEnded(t *testing.T) {
	t.Parallel()
	r := newRig(t, 64*mib, 0)
	none, _ := blob(42, 1000)
	for _, key := range []object.Key{none, none, "refs/none"} {
		if _, _, err := r.get(key); !errors.Is(err, object.ErrNotFound) {
			t.Fatalf("%s: %v", key, err)
		}
	}
	// The mutable key's question is one of those that are counted apart.
	s := r.cache.Stats()
	if diff := cmp.Diff(tiers.FillStats{Absent: 2}, s.Sources[object.TierOrigin]); diff != "" {
		t.Error("-want +got", diff)
	}
	if s.Fills != 0 || s.FailedFills != 0 || s.Validations != 1 {
		t.Errorf("the sums are others: %+v", s)
	}
}

// A read of a mutable key looks before it asks and after it has been answered. It
// counts once in each tier all the same, or the hit ratios would be of nothing.
func TestAReadCountsOnceInEachTier(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ram := tiers.NewRAM(64 * mib)
	r := newRigWith(t, dir, tiers.Config{RAM: ram, SSD: openLog(t, dir, 64*mib)})
	small, large := object.Key("sessions/small"), object.Key("sessions/large")
	r.put(small, []byte("body"))
	r.put(large, make([]byte, 2*mib))
	for _, key := range []object.Key{small, large} {
		if _, _, err := r.get(key); err != nil {
			t.Fatal(err)
		}
	}
	r.settle()
	last := r.cache.Stats()
	counts := func(what string, key object.Key, want string) {
		t.Helper()
		_, _, err := r.get(key)
		now := r.cache.Stats()
		if got := fmt.Sprintf("ram %d/%d, ssd %d/%d", now.RAM.Hits-last.RAM.Hits, now.RAM.Misses-last.RAM.Misses,
			now.SSD.Hits-last.SSD.Hits, now.SSD.Misses-last.SSD.Misses); got != want {
			t.Errorf("%s: hits/misses %s, want %s (%v)", what, got, want, err)
		}
		last = now
	}
	counts("in RAM", small, "ram 1/0, ssd 0/0")
	counts("on the SSD, too large for RAM", large, "ram 0/1, ssd 1/0")
	counts("nowhere", "sessions/none", "ram 0/1, ssd 0/1")
	ram.Delete(small)
	counts("on the SSD alone", small, "ram 0/1, ssd 1/0")
	counts("in RAM again", small, "ram 1/0, ssd 0/0")
}

// Those who wait for an answer and those who follow bytes are all there is to
// lose when an origin stands still.
func TestWhoWaitsForAFillIsCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, 64*mib, 0)
	key, body := blob(41, 1000)
	r.put(key, body)
	release := r.origin.holdBodies(10)
	waiting := func() int64 { return r.cache.Stats().Waiting }
	one := r.open(t.Context(), key, object.Range{})
	two := r.open(t.Context(), key, object.From(5))
	if n := waiting(); n != 2 {
		t.Errorf("%d readers wait, want 2", n)
	}
	two.Body.Close()
	if n := waiting(); n != 1 {
		t.Errorf("%d readers wait after one has left, want 1", n)
	}
	release()
	r.wantNext(one, body)
	one.Body.Close()
	if n := waiting(); n != 0 {
		t.Errorf("%d readers wait for a fill that is over", n)
	}
}
