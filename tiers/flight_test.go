package tiers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// tierSizes are the ways to run a cache that matter to a flight.
var tierSizes = map[string][2]int64{"both tiers": {64 * mib, 64 * mib}, "no SSD": {64 * mib, 0}, "no tier": {0, 0}}

// keyKinds make keys of the two classes whose flights are shared.
var keyKinds = map[string]func(uint64, int) (object.Key, []byte){"verified": blob, "immutable": derived}

func TestAReaderSeesBytesWhileTheUpstreamHoldsTheRest(t *testing.T) {
	t.Parallel()
	const first = 50_000
	for name, size := range tierSizes {
		for _, length := range []int{100_000, mib + 300_000} {
			t.Run(fmt.Sprintf("%s, %d bytes", name, length), func(t *testing.T) {
				r := newRig(t, size[0], size[1])
				key, body := blob(1, length)
				r.put(key, body)
				release := r.origin.holdBodies(first)
				defer release()
				one := r.open(t.Context(), key, object.Range{})
				two := r.open(t.Context(), key, object.Range{})
				part := r.open(t.Context(), key, object.Bytes(20_000, 60_000))
				r.wantNext(one, body[:first])
				r.wantNext(two, body[:first])
				r.wantNext(part, body[20_000:first])
				if one.Tier != object.TierOrigin || two.Tier != object.TierFill || part.Tier != object.TierFill {
					t.Errorf("answered by %s, %s, %s", one.Tier, two.Tier, part.Tier)
				}
				release()
				r.wantNext(part, body[first:80_000])
				r.wantEnd(part)
				for at := first; at < length; at += first { // side by side, so that none falls behind
					rest := body[at:min(at+first, length)]
					r.wantNext(one, rest)
					r.wantNext(two, rest)
				}
				r.wantEnd(one)
				r.wantEnd(two)
				r.wantGets(1)
			})
		}
	}
}

func TestTenThousandReadersOfAColdKeyCostOneRead(t *testing.T) {
	t.Parallel()
	readers := int64(10_000)
	if raceEnabled {
		readers = 1000 // the detector's work grows with their square
	}
	r := newRig(t, 64*mib, 64*mib)
	key, body := blob(1, 4096)
	r.put(key, body)
	release := r.origin.holdBodies(1000)
	defer release()
	var all sync.WaitGroup
	var failed atomic.Int32
	for range readers {
		all.Go(func() {
			if got, _, err := r.get(key); err != nil || !bytes.Equal(got, body) {
				failed.Add(1)
			}
		})
	}
	until(func() bool { return r.cache.Stats().Joined == readers-1 })
	release()
	all.Wait()
	r.wantGets(1)
	if failed.Load() != 0 {
		t.Errorf("%d readers failed", failed.Load())
	}
}

func TestTheSlowestReaderHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	const length = 2*mib + 1
	for name, size := range tierSizes {
		for class, make := range keyKinds {
			t.Run(name+", "+class, func(t *testing.T) {
				r := newRig(t, size[0], size[1])
				key, body := make(2, length)
				r.put(key, body)
				slow := r.open(t.Context(), key, object.Range{})
				r.wantNext(slow, body[:10])
				r.want(key, body, "")
				r.settle()
				r.wantNext(slow, body[10:])
				r.wantEnd(slow)
			})
		}
	}
}

// A fill without a disk waits for its fastest reader. One that comes later and
// starts further on must not find it asleep.
func TestAReaderAheadWakesAFillThatTheOthersLeaveBehind(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0, 0)
	key, body := blob(3, 6*mib)
	r.put(key, body)
	slow := r.open(t.Context(), key, object.Range{})
	r.wantNext(slow, body[:1])
	until(func() bool { return r.cache.Stats().FilledBytes == tiers.WindowSize })
	ahead := r.open(t.Context(), key, object.From(4*mib))
	r.wantNext(ahead, body[4*mib:])
	r.wantEnd(ahead)
	r.wantNext(slow, body[1:])
	r.wantEnd(slow)
}

func TestTheOneWhoStartedAFillMayLeaveIt(t *testing.T) {
	t.Parallel()
	for _, length := range []int{100_000, mib + 300_000} {
		r := newRig(t, 64*mib, 64*mib)
		key, body := blob(4, length)
		r.put(key, body)
		release := r.origin.holdBodies(1000)
		ctx, leave := context.WithCancel(t.Context())
		leader := r.open(ctx, key, object.Range{})
		follower := r.open(t.Context(), key, object.Range{})
		r.wantNext(leader, body[:1000])
		leave()
		if _, err := leader.Body.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
			t.Errorf("a reader that has left reads: %v", err)
		}
		leader.Body.Close()
		release()
		r.wantNext(follower, body)
		r.wantEnd(follower)
		r.wantGets(1)
	}
}

// A reader can leave before the flight it began has been started. Those who
// joined meanwhile get their bytes all the same.
func TestAFillOutlivesItsReaderBeforeItStarts(t *testing.T) {
	t.Parallel()
	for range 20 {
		r := idleRig(t, new(authority), t.TempDir(), tiers.Config{RAM: tiers.NewRAM(mib)})
		key, body := blob(5, 1000)
		r.put(key, body)
		ctx, leave := context.WithCancel(t.Context())
		var readers sync.WaitGroup
		readers.Go(func() {
			if _, err := r.cache.Get(ctx, key, object.GetOptions{}); !errors.Is(err, context.Canceled) {
				t.Errorf("the reader who left: %v", err)
			}
		})
		until(func() bool { return r.cache.Stats().InFlight == 1 })
		readers.Go(func() { r.want(key, body, "") })
		until(func() bool { return r.cache.Stats().Joined == 1 })
		leave()
		r.run()
		readers.Wait()
	}
}

func TestASmallFillIsFinishedForNobody(t *testing.T) {
	t.Parallel()
	for _, length := range []int{100_000, tiers.FinishSmall} {
		r := newRig(t, 64*mib, 64*mib)
		key, body := blob(6, length)
		r.put(key, body)
		release := r.origin.holdBodies(1000)
		obj := r.open(t.Context(), key, object.Range{})
		obj.Body.Close()
		release()
		r.settle()
		r.want(key, body, "")
		r.wantGets(1)
		if s := r.cache.Stats(); s.AbandonedFills != 0 || s.Fills != 1 {
			t.Errorf("%+v", s)
		}
	}
}

func TestALargeFillEndsWithItsLastReader(t *testing.T) {
	t.Parallel()
	const length = tiers.FinishSmall + mib
	for name, firstRead := range map[string]int{"at once": 0, "at a quarter": length / 4} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 64*mib, 64*mib)
			key, body := blob(7, length)
			r.put(key, body)
			release := r.origin.holdBodies(int64(firstRead))
			defer release()
			one := r.open(t.Context(), key, object.Range{})
			two := r.open(t.Context(), key, object.Range{})
			r.wantNext(one, body[:firstRead])
			one.Body.Close()
			if n := r.cache.Stats().InFlight; n != 1 {
				t.Fatalf("%d fills with a reader left, want 1", n)
			}
			two.Body.Close()
			if n := r.cache.Stats().InFlight; n != 0 {
				t.Errorf("%d fills can be joined when nobody is left, want none", n)
			}
			until(func() bool { return r.origin.cancelled.Load() == 1 })
			release()
			r.want(key, body, object.TierOrigin) // by another
			r.settle()
			r.wantGets(2)
			if s := r.cache.Stats(); s.AbandonedFills != 1 || s.Fills != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestALargeFillIsKeptGoingFromHalfOn(t *testing.T) {
	t.Parallel()
	const length = tiers.FinishSmall + mib
	r := newRig(t, 64*mib, 64*mib)
	key, body := blob(8, length)
	r.put(key, body)
	release := r.origin.holdBodies(length/2 + 1)
	obj := r.open(t.Context(), key, object.Range{})
	r.wantNext(obj, body[:length/2+1])
	obj.Body.Close()
	release()
	r.settle()
	r.want(key, body, object.TierSSD)
	r.wantGets(1)
}

// Until the upstream answers nobody knows whether a fill is worth finishing, so
// its readers may all leave before. It must find out then.
func TestALargeFillWhoseReadersLeftBeforeTheAnswerEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, 64*mib, 64*mib)
	key, body := blob(9, tiers.FinishSmall+mib)
	r.put(key, body)
	defer r.origin.holdBodies(0)()
	answer := make(chan struct{})
	r.origin.onAnswer(func(context.Context, object.GetOptions) { <-answer })
	ctx, leave := context.WithCancel(t.Context())
	var reader sync.WaitGroup
	reader.Go(func() {
		if _, err := r.cache.Get(ctx, key, object.GetOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("the reader who left: %v", err)
		}
	})
	until(func() bool { return r.origin.gets.Load() == 1 })
	leave()
	reader.Wait()
	close(answer)
	r.settle()
	until(func() bool { return r.cache.Stats().AbandonedFills == 1 })
}

func TestAFailedFillBreaksEveryFollowerAndLeavesNothing(t *testing.T) {
	t.Parallel()
	const readers = 20
	for name, size := range tierSizes {
		for _, length := range []int{100_000, mib + 300_000} {
			r := newRig(t, size[0], size[1])
			key, body := blob(10, length)
			r.put(key, body)
			gate := make(chan struct{})
			r.origin.wrapBodies(func(_ context.Context, o *object.Object) io.ReadCloser {
				return io.NopCloser(io.MultiReader(io.LimitReader(o.Body, 50_000), &heldBody{ctx: t.Context(), Reader: errReader{}, gate: gate}))
			})
			var all sync.WaitGroup
			var objects []*object.Object
			for i := range readers {
				objects = append(objects, r.open(t.Context(), key, object.From(int64(i))))
			}
			for i, obj := range objects {
				all.Go(func() {
					got, err := io.ReadAll(obj.Body)
					if !errors.Is(err, errReset) || !bytes.Equal(got, body[i:50_000]) {
						t.Errorf("%s: reader %d has %d bytes, %v", name, i, len(got), err)
					}
					obj.Body.Close()
				})
			}
			close(gate)
			all.Wait()
			r.settle()
			r.wantHeld(key)
			until(r.cache.MemoryFree)
			if s := r.ssd.Stats(); s.Entries != 0 {
				t.Errorf("%s: the SSD tier has %+v", name, s)
			}
			r.origin.body.Store(nil)
			r.want(key, body, object.TierOrigin)
		}
	}
}

// An upstream may have the rest at hand when it is told that nobody wants it.
// The fill is on no list any more, so a write would not see what it publishes.
func TestAnAbandonedFillPublishesNothing(t *testing.T) {
	t.Parallel()
	const length = tiers.FinishSmall + mib
	r := newRig(t, 64*mib, 64*mib)
	key, body := blob(10, length)
	r.put(key, body)
	gate := make(chan struct{})
	r.origin.wrapBodies(func(_ context.Context, o *object.Object) io.ReadCloser {
		return &heldBody{ctx: context.Background(), Reader: o.Body, free: length / 4, gate: gate}
	})
	obj := r.open(t.Context(), key, object.Range{})
	r.wantNext(obj, body[:length/4])
	obj.Body.Close()
	if err := r.cache.Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	close(gate)
	until(r.cache.MemoryFree)
	r.wantHeld(key)
}
