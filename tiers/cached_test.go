package tiers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// cached reads what GetCached answers, nil if nothing.
func (r *rig) cached(key object.Key, opt object.GetOptions) *object.Object {
	r.Helper()
	obj, ok := r.cache.GetCached(context.Background(), key, opt)
	if !ok {
		return nil
	}
	obj.Body = &closeOnce{ReadCloser: obj.Body}
	r.Cleanup(func() { obj.Body.Close() })
	return obj
}

// wantCached reads a part of an object that the tiers have.
func (r *rig) wantCached(key object.Key, body []byte, part object.Range) {
	r.Helper()
	obj := r.cached(key, object.GetOptions{Range: part})
	if obj == nil {
		r.Errorf("%v of %s is not cached", part, key)
		return
	}
	offset, length, _ := part.Resolve(int64(len(body)))
	if obj.Offset != offset || obj.Length != length || obj.Size != int64(len(body)) {
		r.Errorf("%v of %s is %d bytes from %d on", part, key, obj.Length, obj.Offset)
		return
	}
	r.wantNext(obj, body[offset:offset+length])
	r.wantEnd(obj)
	obj.Body.Close()
}

func TestACachedReadAnswersFromEachTierAndAsksNobody(t *testing.T) {
	t.Parallel()
	for _, tier := range []struct {
		name     string
		ram, ssd int64
		size     int
	}{
		{"RAM", 64 * mib, 0, 100_000},
		{"SSD, small", 0, 64 * mib, 100_000},
		{"SSD, in chunks", mib, 64 * mib, 3 * mib},
	} {
		t.Run(tier.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tier.ram, tier.ssd)
			key, body := blob(1, tier.size)
			r.put(key, body)
			if r.cached(key, object.GetOptions{}) != nil {
				t.Error("an object is cached that nobody has read")
			}
			r.want(key, body, object.TierOrigin)
			r.settle()
			r.wantGets(1)
			held := fmt.Sprint(r.cache.Holds(key))
			r.origin.down.Store(true)
			for _, part := range []object.Range{{}, object.Bytes(10, 1000), object.From(70_000), object.Suffix(5)} {
				r.wantCached(key, body, part)
			}
			info, ok := r.cache.HeadCached(key)
			if !ok || info.Size != int64(len(body)) || info.ETag == "" {
				t.Errorf("its description is %+v, %v", info, ok)
			}
			for name, opt := range map[string]object.GetOptions{
				"another version":    {IfMatch: object.MatchETag("another")},
				"all but this one":   {IfNoneMatch: object.MatchETag(info.ETag)},
				"a part behind it":   {Range: object.From(int64(len(body)) + 1)},
				"this and that part": {IfMatch: object.MatchETag(info.ETag), Range: object.From(int64(len(body)) + 1)},
			} {
				if r.cached(key, opt) != nil {
					t.Errorf("%s: answered", name)
				}
			}
			if got := fmt.Sprint(r.cache.Holds(key)); got != held {
				t.Errorf("it has moved from %s to %s", held, got)
			}
			r.wantGets(0)
		})
	}
}

func TestACachedReadHasNothingOfAMutableKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, 64*mib, 64*mib)
	body := random(1, 100_000)
	r.put("sessions/1/head", body)
	r.want("sessions/1/head", body, object.TierOrigin)
	r.settle()
	if r.cached("sessions/1/head", object.GetOptions{}) != nil {
		t.Error("it is answered unvalidated")
	}
	if _, ok := r.cache.HeadCached("sessions/1/head"); ok {
		t.Error("it is described unvalidated")
	}
	if _, ok := r.cache.GetCached(t.Context(), "no//key", object.GetOptions{}); ok {
		t.Error("an invalid key is cached")
	}
}

// Of a large object of which the disk has some parts, those can be had and no
// others.
func TestACachedReadTakesPartsThatAreThere(t *testing.T) {
	t.Parallel()
	r := newRig(t, mib, 256*mib)
	key, body := derived(1, 3*partSize)
	info := r.put(key, body)
	r.wantPart(key, body, object.Bytes(partSize+10, 1000))
	until(r.cache.MemoryFree)
	r.wantGets(1)
	r.origin.down.Store(true)
	r.wantCached(key, body, object.Bytes(partSize, partSize))
	r.wantCached(key, body, object.Bytes(partSize+77, 1))
	if r.cached(key, object.GetOptions{Range: object.Bytes(partSize, partSize), IfMatch: object.MatchETag(info.ETag)}) == nil {
		t.Error("a part of this version is not cached")
	}
	for _, part := range []object.Range{{}, object.Bytes(partSize-1, 2), object.Bytes(2*partSize-1, 2), object.Suffix(1)} {
		if r.cached(key, object.GetOptions{Range: part}) != nil {
			t.Errorf("%v is cached, of which only the second unit was read", part)
		}
	}
	r.wantGets(0)
}

// A flight that has begun is followed, and one that has not is not waited for.
func TestACachedReadFollowsAFlightThatHasBegun(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		ram, ssd int64
		size     int
	}{{64 * mib, 0, 800_000}, {0, 64 * mib, 4 * mib}} {
		r := newRig(t, x.ram, x.ssd)
		key, body := blob(3, x.size)
		here := x.size / 4
		r.put(key, body)
		asked, answer := make(chan struct{}), make(chan struct{})
		r.origin.onAnswer(func(context.Context, object.GetOptions) { close(asked); <-answer })
		release := r.origin.holdBodies(int64(here))
		defer release()
		reader := make(chan *object.Object)
		r.readers.Go(func() {
			obj, err := r.cache.Get(context.Background(), key, object.GetOptions{})
			if err != nil {
				t.Error(err)
			}
			reader <- obj
		})
		<-asked
		if r.cached(key, object.GetOptions{}) != nil {
			t.Error("a flight is followed of which nobody knows whether there is an object")
		}
		close(answer)
		first := <-reader
		defer first.Body.Close()
		r.wantNext(first, body[:here])
		second := r.cached(key, object.GetOptions{Range: object.From(int64(here) - 1000)})
		if second == nil || second.Tier != object.TierFill {
			t.Fatalf("the flight is not followed: %+v", second)
		}
		r.wantNext(second, body[here-1000:here])
		if r.cached(key, object.GetOptions{Range: object.From(int64(len(body)) + 1)}) != nil {
			t.Error("a part behind its end is found")
		}
		release()
		r.wantNext(second, body[here:])
		r.wantEnd(second)
		r.wantNext(first, body[here:])
		r.wantEnd(first)
		r.wantGets(1)
	}
}

// A body that loses its place breaks, and whoever reads it knows where to go on.
func TestACachedReadThatLosesItsPlaceAsksNobody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRigWith(t, dir, tiers.Config{SSD: vanishing{openLog(t, dir, 64*mib)}})
	key, body := blob(4, 3*mib)
	r.put(key, body)
	r.want(key, body, object.TierOrigin)
	r.settle()
	r.wantGets(1)
	obj := r.cached(key, object.GetOptions{})
	if obj == nil {
		t.Fatal("not cached")
	}
	got := make([]byte, 1000)
	if _, err := io.ReadFull(obj.Body, got); err != nil || !bytes.Equal(got, body[:1000]) {
		t.Fatalf("its beginning: %v", err)
	}
	n, err := io.Copy(io.Discard, obj.Body)
	if err == nil || !errors.Is(err, object.ErrUnavailable) {
		t.Errorf("after %d bytes more: %v, want it to be unavailable", n, err)
	}
	r.wantGets(0)
}

// A vanishing disk has only the first MiB of what is read, as when the rest has
// just made room.
type vanishing struct{ tiers.SSD }

func (v vanishing) Get(key object.Key) (tiers.Stored, bool) {
	s, ok := v.SSD.Get(key)
	if !ok {
		return nil, false
	}
	return vanishingCopy{s}, true
}

type vanishingCopy struct{ tiers.Stored }

func (v vanishingCopy) ReadAt(p []byte, off int64) (int, error) {
	if off >= mib {
		return 0, tiers.ErrAbsent
	}
	return v.Stored.ReadAt(p, off)
}

func TestTheHottestObjectsComeFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t, 64*mib, 256*mib)
	hot, hotBody := derived(1, 1000)
	cold, coldBody := derived(2, 1000)
	large, largeBody := derived(3, 3*mib)
	larger, largerBody := derived(4, 4*mib)
	for key, body := range map[object.Key][]byte{
		hot: hotBody, cold: coldBody, large: largeBody, larger: largerBody, "sessions/1/head": hotBody,
	} {
		r.put(key, body)
		r.want(key, body, object.TierOrigin)
		r.settle()
	}
	for range 3 {
		r.want(hot, hotBody, object.TierRAM)
		r.want(larger, largerBody, object.TierSSD)
	}
	r.want(large, largeBody, object.TierSSD)
	want := []tiers.Held{{Key: hot, Size: 1000}, {Key: cold, Size: 1000}, {Key: larger, Size: 4 * mib}, {Key: large, Size: 3 * mib}}
	if got := r.cache.Hottest(10); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("hottest: %v, want %v", got, want)
	}
	if got := r.cache.Hottest(1); fmt.Sprint(got) != fmt.Sprint(want[:1]) {
		t.Errorf("the hottest: %v", got)
	}
	r.ssd.Delete(larger)
	if got := r.cache.Hottest(3); len(got) != 3 || got[2].Key != large {
		t.Errorf("when %s has gone: %v", larger, got)
	}
}
