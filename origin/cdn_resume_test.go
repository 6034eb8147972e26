package origin_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
)

// cutAt announces the whole object and breaks the connection after n bytes.
func cutAt(n int) behaviour {
	return forge(func(h http.Header, b []byte) (int, []byte) {
		h.Set("Content-Length", strconv.Itoa(len(b)))
		return http.StatusOK, b[:n]
	})
}

func TestABodyThatBreaksOffIsContinuedUpstream(t *testing.T) {
	t.Parallel()
	r := newCDNRig(t)
	cuts := []int{0, 1, origin.CDNWhole - 1, origin.CDNWhole, cdnLarge - 1}
	for range 30 {
		cuts = append(cuts, rand.IntN(cdnLarge))
	}
	good, goodBody := r.verified(1000, 1000)
	for i, n := range cuts {
		key, body := r.verified(uint64(i), cdnLarge)
		if i%2 == 0 {
			key, body = r.immutable(uint64(i), cdnLarge)
		}
		r.edge.act(cutAt(n))
		got, _, err := readCDN(t.Context(), r.CDN, key)
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("cut at %d: %d bytes, %v", n, len(got), err)
		}
		if opt := r.spy.lastGet.Load(); opt.Range != object.From(int64(n)) || opt.IfMatch.String() != `"`+md5Hex(body)+`"` {
			t.Errorf("cut at %d: upstream was asked for %q if it is %s", n, opt.Range, opt.IfMatch)
		}
		if n < origin.CDNWhole { // broken this early it is no answer
			r.edge.acts.Store(nil)
			r.wantRead(key, body, object.TierCDN)
		}
		// Let the breaker see more good answers than broken ones, whichever they are.
		r.edge.acts.Store(nil)
		for range 3 {
			r.wantRead(good, goodBody, object.TierCDN)
		}
	}
	if s := r.Stats(); s.Resumed != int64(len(cuts)) || s.Bad != 0 || s.InFlight != 0 || s.Bypassed != 0 {
		t.Errorf("%+v, want %d resumed", s, len(cuts))
	}
}

// What went out before the break counts: the rest from upstream does not make a
// forged beginning right.
func TestTheProofIsOfTheWholeBody(t *testing.T) {
	t.Parallel()
	r := newCDNRig(t)
	r.edge.act(forge(func(h http.Header, b []byte) (int, []byte) {
		h.Set("Content-Length", strconv.Itoa(len(b)))
		b[0] ^= 1
		return http.StatusOK, b[:500_000]
	}))
	for _, of := range []func(uint64, int) (object.Key, []byte){r.verified, r.immutable} {
		key, body := of(1, cdnLarge)
		got, _, err := readCDN(t.Context(), r.CDN, key)
		wantErr(t, err, object.ErrDigest)
		if len(got) >= len(body) {
			t.Errorf("all %d bytes were handed out", len(got))
		}
		r.wantRead(key, body, object.TierOrigin)
	}
}

// The rest of an object that is gone is no "not found": the read has begun.
func TestABodyThatCannotBeContinuedBreaks(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(r *cdnRig, key object.Key){
		"deleted":     func(r *cdnRig, key object.Key) { must(t, r.Delete(t.Context(), key, object.DeleteOptions{})) },
		"replaced":    func(r *cdnRig, key object.Key) { r.put(key, cdnBytes(50, cdnLarge)) },
		"unavailable": func(r *cdnRig, _ object.Key) { r.spy.down.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newCDNRig(t)
			key, _ := r.immutable(1, cdnLarge)
			r.edge.act(cutAt(cdnLarge - 1000))
			obj, err := r.Get(t.Context(), key, object.GetOptions{})
			must(t, err)
			away(r, key)
			got, err := io.ReadAll(obj.Body)
			wantErr(t, err, object.ErrUnavailable)
			if errors.Is(err, object.ErrNotFound) || len(got) == 0 {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if _, again := obj.Body.Read(make([]byte, 1)); again != err {
				t.Errorf("the next Read says %v", again)
			}
			obj.Body.Close()
			if s := r.Stats(); s.InFlight != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// While upstream is away at first nothing is known of its version. The digest
// holds the rest to the truth all the same.
func TestAVerifiedBodyIsContinuedWithoutAVersion(t *testing.T) {
	t.Parallel()
	r := newCDNRig(t)
	key, body := r.verified(1, cdnLarge)
	r.edge.act(cutAt(600_000))
	r.spy.down.Store(true)
	obj, err := r.Get(t.Context(), key, object.GetOptions{})
	must(t, err)
	defer obj.Body.Close()
	r.spy.down.Store(false)
	first := make([]byte, 700_000)
	_, err = io.ReadFull(obj.Body, first)
	must(t, err)
	if n := r.Stats().InFlight; n != 0 {
		t.Errorf("%d reads under way at the CDN when all go on upstream", n)
	}
	got, err := io.ReadAll(obj.Body)
	if err != nil || !bytes.Equal(append(first, got...), body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if opt := r.spy.lastGet.Load(); opt.IfMatch.IsSet() {
		t.Errorf("upstream was asked for the version %s", opt.IfMatch)
	}
}

// Then what upstream has instead must not look like the rest.
func TestTheRestOfAnotherObjectIsNoRest(t *testing.T) {
	t.Parallel()
	for other, want := range map[int]error{cdnLarge: object.ErrDigest, cdnLarge + 1: object.ErrUnavailable, 1000: object.ErrUnavailable} {
		r := newCDNRig(t)
		key, _ := r.verified(1, cdnLarge)
		r.edge.act(cutAt(600_000))
		r.spy.down.Store(true)
		obj, err := r.Get(t.Context(), key, object.GetOptions{})
		must(t, err)
		r.put(key, cdnBytes(2, other))
		r.spy.down.Store(false)
		got, err := io.ReadAll(obj.Body)
		wantErr(t, err, want)
		if len(got) >= cdnLarge {
			t.Errorf("%d bytes were handed out", len(got))
		}
		obj.Body.Close()
	}
}

func TestABodyReadsAsReadersExpect(t *testing.T) {
	t.Parallel()
	r := newCDNRig(t)
	for i, act := range []behaviour{nil, cutAt(700_000)} {
		if act != nil {
			r.edge.act(act)
		}
		key, body := r.verified(uint64(i), cdnLarge)
		obj, err := r.Get(t.Context(), key, object.GetOptions{})
		must(t, err)
		if n, err := obj.Body.Read(nil); n != 0 || err != nil {
			t.Errorf("a read of nothing: %d, %v", n, err)
		}
		var got []byte
		for size := 1; err == nil; size = size*7%70_001 + 1 { // from one byte to more than arrives at once
			var n int
			buf := make([]byte, size)
			n, err = obj.Body.Read(buf)
			got = append(got, buf[:n]...)
		}
		if err != io.EOF || !bytes.Equal(got, body) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if n, err := obj.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after the end: %d, %v", n, err)
		}
		must(t, obj.Body.Close())
	}
}

func TestABodyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	r := newCDNRig(t)
	key, _ := r.verified(1, cdnLarge)
	r.edge.act(func(w http.ResponseWriter, q *http.Request, honest http.Handler) {
		stalling(500_000)(w, q, honest)
	})
	ctx, cancel := context.WithCancel(t.Context())
	obj, err := r.Get(ctx, key, object.GetOptions{})
	must(t, err)
	defer obj.Body.Close()
	if _, err := io.ReadFull(obj.Body, make([]byte, 500_000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = obj.Body.Read(make([]byte, 1))
	wantErr(t, err, context.Canceled)
	if s := r.Stats(); s.Resumed != 0 || r.spy.gets.Load() != 0 {
		t.Errorf("%+v: continued for nobody", s)
	}
}

func TestNothingOutlivesARead(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r := newCDNRig(t)
	small, _ := r.verified(1, cdnSmall)
	large, _ := r.verified(2, cdnLarge)
	for _, act := range []behaviour{nil, cutAt(5000), status(404), raw("")} {
		if act != nil {
			r.edge.act(act)
		}
		for _, key := range []object.Key{small, large} {
			obj, err := r.Get(t.Context(), key, object.GetOptions{})
			must(t, err)
			if _, err := io.ReadFull(obj.Body, make([]byte, 6000)); err != nil {
				t.Error(err)
			}
			obj.Body.Close()
			if _, err := obj.Body.Read(make([]byte, 1)); err == nil && key == large && obj.Tier == object.TierCDN {
				t.Error("a closed body was read")
			}
		}
	}
	if s := r.Stats(); s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
	must(t, r.Close())
	r.edge.close()
}
