package tiers_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

func TestANotFoundOlderThanTheReaderIsAskedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, mib, mib)
	key, body := blob(11, 1000)
	answer := make(chan struct{})
	r.origin.onAnswer(func(context.Context, object.GetOptions) { <-answer })
	var readers sync.WaitGroup
	readers.Go(func() {
		if _, _, err := r.get(key); !errors.Is(err, object.ErrNotFound) {
			t.Errorf("the reader before the write: %v, want not found", err)
		}
	})
	until(func() bool { return r.origin.gets.Load() == 1 })
	r.put(key, body) // through another node
	readers.Go(func() { r.want(key, body, object.TierOrigin) })
	until(func() bool { return r.cache.Stats().Joined == 1 })
	close(answer)
	readers.Wait()
	r.wantGets(2)
}

func TestARangeFarAheadIsFetchedAsAPart(t *testing.T) {
	t.Parallel()
	const length = tiers.FarAhead + 2*mib
	r := newRig(t, 64*mib, 64*mib)
	key, body := blob(12, length)
	r.put(key, body)
	release := r.origin.holdBodies(100_000)
	whole := r.open(t.Context(), key, object.Range{})
	r.wantNext(whole, body[:100_000])
	far := object.Bytes(tiers.FarAhead+mib, 1000)
	got, _, err := r.getPart(key, far)
	if err != nil || !bytes.Equal(got, body[tiers.FarAhead+mib:tiers.FarAhead+mib+1000]) {
		t.Fatalf("far range: %d bytes, %v", len(got), err)
	}
	r.wantGets(2)
	near := r.open(t.Context(), key, object.Bytes(2*mib, 1000))
	release()
	r.wantNext(near, body[2*mib:2*mib+1000])
	r.wantEnd(near)
	r.wantNext(whole, body[100_000:])
	r.wantGets(0)
}

// The read of a far range may fail because the object has been replaced.
// The fill still carries the version that the reader was told about.
func TestARangeOfAReplacedVersionFollowsItsFill(t *testing.T) {
	t.Parallel()
	const length = tiers.FarAhead + 2*mib
	r := newRig(t, 64*mib, 64*mib)
	body := random(13, length)
	r.put("session", body)
	var once sync.Once
	r.origin.onAnswer(func(_ context.Context, opt object.GetOptions) {
		once.Do(func() { r.put("session", []byte("replaced")) })
	})
	got, _, err := r.getPart("session", object.From(length-10))
	if err != nil || !bytes.Equal(got, body[length-10:]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A reader who falls behind a fill and goes on with another must not end up
// with the first part of one and the last of the other, if the first was wrong.
func TestBytesOfAFailedFillAreNotCompletedByAnother(t *testing.T) {
	t.Parallel()
	for name, make := range keyKinds {
		for _, wrongAt := range []int{0, 199_999} {
			r := newRig(t, 0, 0)
			key, body := make(14, 2*mib)
			r.put(key, body)
			var reads atomic.Int32
			r.origin.wrapBodies(func(context.Context, *object.Object) io.ReadCloser {
				b := bytes.Clone(body)
				if reads.Add(1) == 1 {
					b[wrongAt] ^= 1
				}
				return io.NopCloser(bytes.NewReader(b))
			})
			slow := r.open(t.Context(), key, object.Range{})
			if _, err := io.CopyN(io.Discard, slow.Body, 200_000); err != nil {
				t.Fatal(err)
			}
			if _, _, err := r.get(key); !errors.Is(err, object.ErrDigest) {
				t.Fatalf("%s: the fast reader: %v, want a digest mismatch", name, err)
			}
			if n, err := io.Copy(io.Discard, slow.Body); !errors.Is(err, object.ErrDigest) {
				t.Errorf("%s, wrong at %d: the slow reader got %d more bytes and %v, want a digest mismatch", name, wrongAt, n, err)
			}
		}
	}
}

// A write makes the cache forget a fill. If the fill finds out only then what
// it carries, it must neither come back nor defer to the one that replaced it.
func TestAForgottenFillStillServesItsReaders(t *testing.T) {
	t.Parallel()
	r := newRig(t, mib, mib)
	key, body := derived(15, 1000)
	r.put(key, body)
	first, second := make(chan struct{}), make(chan struct{})
	var answers atomic.Int32
	r.origin.onAnswer(func(context.Context, object.GetOptions) {
		if answers.Add(1) == 1 {
			<-first
		} else {
			<-second
		}
	})
	var readers sync.WaitGroup
	readers.Go(func() { r.want(key, body, object.TierOrigin) })
	until(func() bool { return r.origin.gets.Load() == 1 })
	if err := r.cache.Delete(t.Context(), key, object.DeleteOptions{IfMatch: object.MatchETag("another")}); err == nil {
		t.Fatal("a conditional delete of another version succeeded")
	}
	release := r.origin.holdBodies(10)
	readers.Go(func() { r.want(key, body, object.TierOrigin) })
	until(func() bool { return r.origin.gets.Load() == 2 })
	close(second)
	until(func() bool { return r.cache.Stats().FilledBytes == 10 }) // the second fill is known
	close(first)
	release()
	readers.Wait()
}

func TestTheEndOfTheNodeIsNotTheReadersOwn(t *testing.T) {
	t.Parallel()
	for _, length := range []int{100_000, mib + 300_000} {
		r := newRig(t, 64*mib, 64*mib)
		key, body := blob(16, length)
		r.put(key, body)
		defer r.origin.holdBodies(1000)()
		obj := r.open(t.Context(), key, object.Range{})
		r.wantNext(obj, body[:1000])
		r.readers.Go(func() {
			_, err := obj.Body.Read(make([]byte, 1))
			if !errors.Is(err, object.ErrUnavailable) || errors.Is(err, context.Canceled) {
				t.Errorf("a read that the node's end broke: %v, want unavailable", err)
			}
			obj.Body.Close()
		})
		r.stop()
		if _, _, err := r.get(key); !errors.Is(err, object.ErrUnavailable) || errors.Is(err, context.Canceled) {
			t.Errorf("a read after the node's end: %v, want unavailable", err)
		}
	}
}

func TestATimeoutBelowIsNotTheReadersOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t, mib, mib)
	key, body := blob(17, 1000)
	r.put(key, body)
	r.origin.wrapBodies(func(_ context.Context, o *object.Object) io.ReadCloser {
		return io.NopCloser(io.MultiReader(io.LimitReader(o.Body, 10), errorReader{context.DeadlineExceeded}))
	})
	_, _, err := r.get(key)
	if !errors.Is(err, object.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want unavailable", err)
	}
}

type errorReader struct{ err error }

func (e errorReader) Read([]byte) (int, error) { return 0, e.err }

func TestAReadThatEndsEarlyIsAnErrorOfTheReader(t *testing.T) {
	t.Parallel()
	r := newRig(t, mib, mib)
	key, body := blob(18, 1000)
	r.put(key, body)
	defer r.origin.holdBodies(10)()
	ctx, leave := context.WithCancel(t.Context())
	obj := r.open(ctx, key, object.Range{})
	r.wantNext(obj, body[:10])
	leave()
	if _, err := obj.Body.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
	obj.Body.Close()
}

// The memory of a fill that has landed is free again while slow readers still
// follow it.
func TestSlowReadersHoldNoFillMemory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRigWith(t, dir, tiers.Config{RAM: tiers.NewRAM(64 * mib), SSD: openLog(t, dir, 64*mib), FillMemory: tiers.WindowSize})
	for i, length := range []int{100_000, mib + 300_000} {
		key, body := blob(uint64(100+i), length)
		r.put(key, body)
		slow := r.open(t.Context(), key, object.Range{})
		r.wantNext(slow, body[:10])
		r.settle()
		if !r.cache.MemoryFree() {
			t.Errorf("a slow reader of %d bytes holds the memory of fills", length)
		}
		defer r.wantNext(slow, body[10:])
	}
}

func TestFillsWaitForMemory(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, t.TempDir(), tiers.Config{RAM: tiers.NewRAM(64 * mib), FillMemory: 100_000})
	release := r.origin.holdBodies(10)
	var all sync.WaitGroup
	for i := range 20 {
		key, body := blob(uint64(200+i), 60_000)
		r.put(key, body)
		all.Go(func() { r.want(key, body, object.TierOrigin) })
	}
	until(func() bool { return r.origin.gets.Load() == 20 })
	if n := r.cache.Stats().FilledBytes; n > 10 {
		t.Errorf("%d bytes have arrived, want those of one fill", n)
	}
	release()
	all.Wait()
}
