package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

func TestPreviousOwnersAreAskedInTheirOrder(t *testing.T) {
	for _, class := range []object.Class{object.Verified, object.Immutable} {
		for _, size := range []int{0, 1000, 3 << 20} {
			inTime(t, func(r *fillRig) {
				key, body := r.give(class, size, r.old, r.older)
				r.want(key, body, object.TierPeer, 0, 0)
				if r.old.asked != 1 || r.older.asked != 0 {
					r.Errorf("the last owner was asked %d times, the one before %d", r.old.asked, r.older.asked)
				}
			})
			inTime(t, func(r *fillRig) {
				key, body := r.give(class, size, r.older)
				r.want(key, body, object.TierPeer, 0, 0)
				if r.old.asked != 1 || r.older.asked != 1 {
					r.Errorf("the last owner was asked %d times, the one before %d", r.old.asked, r.older.asked)
				}
				if info, err := r.Head(r.Context(), key, object.HeadOptions{}); err != nil || info.Size != int64(size) || info.Tier != object.TierPeer {
					r.Errorf("its description: %+v, %v", info, err)
				}
			})
		}
	}
}

func TestWhatNobodyHadIsReadBehind(t *testing.T) {
	inTime(t, func(r *fillRig) {
		key, body := r.give(object.Immutable, 1000, r.behind)
		r.want(key, body, object.TierOrigin, 0, 1)
		if r.old.asked != 1 || r.older.asked != 1 {
			r.Errorf("asked %d and %d times", r.old.asked, r.older.asked)
		}
		if _, err := r.Get(r.Context(), "cache/x/sha256:2/out", object.GetOptions{}); !errors.Is(err, object.ErrNotFound) {
			r.Errorf("what is nowhere: %v", err)
		}
		r.behind.away = true
		if _, err := r.Get(r.Context(), key, object.GetOptions{}); !errors.Is(err, object.ErrUnavailable) || errors.Is(err, object.ErrNotFound) {
			r.Errorf("what nobody can be asked for: %v", err)
		}
	})
}

// Whoever joined between two changes knows the wrong owner only, who knows more.
func TestWhomAPreviousOwnerNamesIsAskedToo(t *testing.T) {
	inTime(t, func(r *fillRig) {
		key, body := r.give(object.Verified, 1000, r.stranger)
		r.dial = func(dial func(ring.Member) cachedPeer) func(ring.Member) cachedPeer {
			return func(m ring.Member) cachedPeer {
				if m.PeerAddr == "old:1" {
					return naming{}
				}
				return dial(m)
			}
		}(r.dial)
		r.want(key, body, object.TierPeer, 0, 0)
	})
}

// Two nodes that came into the ring at once saw each other first, and one of them no
// ring without itself: it read all of its keys from the origin.
func TestANodeThatSawNoRingWithoutItselfAsksWhoWouldOwnTheKey(t *testing.T) {
	inTime(t, func(r *fillRig) {
		members := []ring.Member{{ID: "new", PeerAddr: "new:1", State: ring.Serving}}
		alone, err := ring.NewView(members)
		if err != nil {
			t.Fatal(err)
		}
		all, err := ring.NewView(append(members, ring.Member{ID: "old", PeerAddr: "old:1", State: ring.Serving}))
		if err != nil {
			t.Fatal(err)
		}
		all = all.After(alone, time.Now())
		r.previous.view = func() *ring.View { return all }
		for i := 0; ; i++ {
			key := object.Key(fmt.Sprintf("cache/x/sha256:%d/out", i))
			if owner, _ := all.Owner(string(key)); owner.ID != "new" {
				continue
			}
			for _, s := range []object.Store{r.old, r.behind} {
				if _, err := s.Put(t.Context(), key, object.BytesSource([]byte("body")), object.PutOptions{Version: "1"}); err != nil {
					t.Fatal(err)
				}
			}
			r.started = time.Now()
			r.want(key, []byte("body"), object.TierPeer, 0, 0)
			r.started = time.Now().Add(-2 * youth) // what it has not by now is not there
			r.want(key, []byte("body"), object.TierOrigin, 0, 1)
			return
		}
	})
}

// Of nodes that came into the ring at once, the one that would own a key without its
// owner may be as new. 25 of 178 keys were read from the origin so.
func TestOfNewcomersNoneHasTheKeyAndWhoOwnedItIsFound(t *testing.T) {
	inTime(t, func(r *fillRig) {
		serving := func(ids ...string) *ring.View {
			var members []ring.Member
			for _, id := range ids {
				members = append(members, ring.Member{ID: id, PeerAddr: id + ":1", State: ring.Serving})
			}
			v, err := ring.NewView(members)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		// The newcomer "older" was seen first, "old" was there all the time.
		all := serving("new", "old", "older").After(serving("new"), time.Now())
		r.previous.view = func() *ring.View { return all }
		r.started = time.Now()
		tried := 0
		for i := range 200 {
			key := object.Key(fmt.Sprintf("cache/x/sha256:%d/out", i))
			if c := all.Candidates(string(key), 2); c[0].ID != "new" || c[1].ID != "older" {
				continue
			}
			tried++
			for _, s := range []object.Store{r.old, r.behind} {
				if _, err := s.Put(t.Context(), key, object.BytesSource([]byte("body")), object.PutOptions{Version: "1"}); err != nil {
					t.Fatal(err)
				}
			}
			r.want(key, []byte("body"), object.TierPeer, 0, 0)
		}
		if tried == 0 {
			t.Fatal("no key of 200 has a newcomer for its successor")
		}

		// Asked by another newcomer, this one names who owned the key before both.
		for i := range 200 {
			key := object.Key(fmt.Sprintf("cache/x/sha256:%d/out", i))
			if owner, _ := all.Owner(string(key)); owner.ID == "older" {
				if ids := r.previous.ids(key); !slices.Contains(ids, "old") || slices.Contains(ids, "new") {
					t.Errorf("%s: names %q", key, ids)
				}
			}
		}
	})
}

// naming has nothing and names everybody, itself and those who are nobody too.
type naming struct{ cachedPeer }

func (naming) GetCached(context.Context, object.Key, object.GetOptions) (*object.Object, error) {
	return nil, &peer.NotCachedError{Previous: []string{"old", "older", "nobody", "new", "stranger"}}
}

func TestMutableKeysAndQuestionsAboutVersionsGoBehind(t *testing.T) {
	inTime(t, func(r *fillRig) {
		key, body := r.give(object.Mutable, 1000, r.old, r.behind)
		r.want(key, body, object.TierOrigin, 0, 1)
		if _, err := r.Head(r.Context(), key, object.HeadOptions{}); err != nil {
			r.Error(err)
		}
		key, _ = r.give(object.Immutable, 1000, r.old, r.behind)
		if _, err := r.Get(r.Context(), key, object.GetOptions{IfNoneMatch: object.MatchAny()}); !errors.Is(err, object.ErrNotModified) {
			r.Errorf("a question whether it has changed: %v", err)
		}
		if r.old.asked != 0 {
			r.Errorf("the last owner was asked %d times", r.old.asked)
		}
	})
}

func TestASlowPreviousOwnerCostsAMomentAndIsLeftAlone(t *testing.T) {
	inTime(t, func(r *fillRig) {
		key, body := r.give(object.Verified, 1000, r.old, r.behind)
		r.old.after, r.behind.after = time.Hour, 30*time.Millisecond
		r.want(key, body, object.TierOrigin, fillPatience+r.behind.after, 1)
		r.want(key, body, object.TierOrigin, r.behind.after, 2)
		if r.old.asked != 1 || r.stats.slow.Load() != 1 {
			r.Errorf("asked %d times, %d of them slow", r.old.asked, r.stats.slow.Load())
		}
		r.old.after = 0
		pass(worthPause)
		r.want(key, body, object.TierPeer, 0, 2)
	})
}

func TestWhoeverIsFirstWins(t *testing.T) {
	inTime(t, func(r *fillRig) {
		key, body := r.give(object.Verified, 1000, r.old, r.behind)
		r.old.after, r.behind.after = 2*fillPatience, time.Hour
		r.want(key, body, object.TierPeer, 2*fillPatience, 1) // the other one was asked as well
	})
	inTime(t, func(r *fillRig) {
		key, body := r.give(object.Verified, 1000, r.old, r.behind)
		r.old.after, r.behind.away = 10*fillPatience, true
		r.want(key, body, object.TierPeer, 10*fillPatience, 1) // the only one there is
	})
}

func TestAReaderWhoLeavesEndsBothSides(t *testing.T) {
	inTime(t, func(r *fillRig) {
		key, _ := r.give(object.Verified, 1000, r.old, r.behind)
		r.old.after, r.behind.after = time.Hour, time.Hour
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if _, err := r.Get(ctx, key, object.GetOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			r.Errorf("%v", err)
		}
		if len(r.behind.asked) != 1 || r.old.asked != 1 {
			r.Errorf("asked %d and %d times", r.old.asked, len(r.behind.asked))
		}
	}) // and the bubble ends: nobody is left in it
}

func TestABodyThatBreaksGoesOnBehindAtTheSameByte(t *testing.T) {
	for what, x := range map[string]struct {
		spoil func(*formerOwner)
		took  time.Duration
	}{
		"breaks": {func(f *formerOwner) { f.breaks = 1_500_000 }, 0},
		"stalls": {func(f *formerOwner) { f.stalls = 1_500_000 }, fillStall},
	} {
		for _, class := range []object.Class{object.Verified, object.Immutable} {
			inTime(t, func(r *fillRig) {
				key, body := r.give(class, 3<<20, r.old, r.behind)
				x.spoil(r.old)
				r.want(key, body, object.TierPeer, x.took, 1)
				opt := r.behind.asked[0]
				etag, _ := opt.IfMatch.ETag()
				from, length, _ := opt.Range.Resolve(3 << 20)
				if from < 1_500_000 || from > 1_501_000 || from+length != 3<<20 || etag == "" || r.stats.resumed.Load() != 1 {
					r.Errorf("%s: behind %v of %q is asked for", what, opt.Range, etag)
				}
				r.want(key, body, object.TierOrigin, 0, 2) // it is left alone for a while
			})
		}
	}
}

// confused answers with all of the object, whatever it is asked for.
type confused struct{ *formerOwner }

func (c confused) GetCached(ctx context.Context, key object.Key, _ object.GetOptions) (*object.Object, error) {
	return c.formerOwner.GetCached(ctx, key, object.GetOptions{})
}

func TestAnAnswerToAnotherQuestionIsNone(t *testing.T) {
	inTime(t, func(r *fillRig) {
		key, body := r.give(object.Immutable, 10_000, r.old, r.behind)
		r.dial = func(ring.Member) cachedPeer { return confused{r.old} }
		for i, opt := range []object.GetOptions{{Range: object.Bytes(5, 10)}, {IfMatch: object.MatchETag("another")}} {
			obj, err := r.Get(r.Context(), key, opt)
			switch {
			case i == 1:
				if !errors.Is(err, object.ErrPrecondition) {
					r.Errorf("another version: %v", err)
				}
			case err != nil:
				r.Error(err)
			default:
				got, err := io.ReadAll(obj.Body)
				obj.Body.Close()
				if err != nil || !bytes.Equal(got, body[5:15]) {
					r.Errorf("%d bytes, %v", len(got), err)
				}
			}
			pass(worthPause)
		}
		if r.old.asked == 0 || len(r.behind.asked) != 2 {
			r.Errorf("asked %d and %d times", r.old.asked, len(r.behind.asked))
		}
	})
}

// The rest of a body is never that of another version.
func TestABodyDoesNotGoOnAsAnotherVersion(t *testing.T) {
	inTime(t, func(r *fillRig) {
		key, _ := r.give(object.Immutable, 3<<20, r.old)
		if _, err := r.behind.Put(r.Context(), key, object.BytesSource(make([]byte, 3<<20)), object.PutOptions{}); err != nil {
			r.Fatal(err)
		}
		r.old.breaks = 1_500_000
		obj, err := r.Get(r.Context(), key, object.GetOptions{})
		if err != nil {
			r.Fatal(err)
		}
		defer obj.Body.Close()
		if n, err := io.Copy(io.Discard, obj.Body); !errors.Is(err, object.ErrUnavailable) {
			r.Errorf("%d bytes, %v", n, err)
		}
	})
}

func TestWrongBytesOfAVerifiedKeyNeverEndCleanly(t *testing.T) {
	inTime(t, func(r *fillRig) { // small: the next place is asked
		key, body := r.give(object.Verified, 100_000, r.old, r.behind)
		r.old.lies = 50_000
		r.want(key, body, object.TierOrigin, 0, 1)
		r.want(key, body, object.TierOrigin, 0, 2)
		if r.old.asked != 1 || r.stats.wrong.Load() != 1 {
			r.Errorf("asked %d times, wrong %d times", r.old.asked, r.stats.wrong.Load())
		}
		r.old.lies = 0
		pass(distrustFor)
		r.want(key, body, object.TierPeer, 0, 2)
	})
	inTime(t, func(r *fillRig) { // large: the body breaks, and the next one is another's
		key, body := r.give(object.Verified, 3<<20, r.old, r.behind)
		r.old.lies = 2_000_000
		obj, err := r.Get(r.Context(), key, object.GetOptions{})
		if err != nil {
			r.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, obj.Body); !errors.Is(err, object.ErrDigest) || n >= 3<<20 {
			r.Errorf("%d bytes, %v", n, err)
		}
		obj.Body.Close()
		r.want(key, body, object.TierOrigin, 0, 1)
	})
}

func TestWhatIsDeletedHereDoesNotComeBackFromThere(t *testing.T) {
	inTime(t, func(r *fillRig) {
		key, _ := r.give(object.Immutable, 1000, r.old, r.behind)
		if err := r.Delete(r.Context(), key, object.DeleteOptions{}); err != nil {
			r.Fatal(err)
		}
		if _, err := r.Get(r.Context(), key, object.GetOptions{}); !errors.Is(err, object.ErrNotFound) {
			r.Errorf("get: %v", err)
		}
		if _, err := r.Head(r.Context(), key, object.HeadOptions{}); !errors.Is(err, object.ErrNotFound) {
			r.Errorf("head: %v", err)
		}
	})
}

func TestSuspectsAreNotAsked(t *testing.T) {
	inTime(t, func(r *fillRig) {
		key, body := r.give(object.Immutable, 1000, r.old, r.older)
		r.suspects = []string{"old"}
		r.want(key, body, object.TierPeer, 0, 0)
		if r.old.asked != 0 || r.stats.skipped.Load() != 1 {
			r.Errorf("a suspect was asked %d times, skipped %d times", r.old.asked, r.stats.skipped.Load())
		}
	})
}

// Asking goes on for as long as it pays, and begins again when it does again.
func TestAskingEndsWhenItDoesNotPay(t *testing.T) {
	inTime(t, func(r *fillRig) {
		key, body := r.give(object.Immutable, 10, r.behind)
		const n = 2000
		for range n {
			r.want(key, body, object.TierOrigin, 0, len(r.behind.asked)+1)
		}
		asked := r.old.asked
		if asked < 200 || asked > 400 {
			r.Errorf("of %d fills in vain %d asked first, want a few hundred", n, asked)
		}
		r.give(object.Immutable, 10, r.old)
		hits := r.stats.hits.Load()
		for range n {
			obj, err := r.Get(r.Context(), key, object.GetOptions{})
			if err != nil {
				r.Fatal(err)
			}
			obj.Body.Close()
		}
		if got := r.stats.hits.Load() - hits; got < n-10*worthProbe {
			r.Errorf("of %d fills %d found it there again", n, got)
		}
	})
}

func TestDistrustIsBounded(t *testing.T) {
	var d distrust
	now := time.Now()
	key := func(i int) object.Key { return object.Key(fmt.Sprint(i)) }
	const keys = 3*maxDistrusted - 1
	for i := range keys {
		d.add(key(i), now)
	}
	if n := len(d.young) + len(d.old); n > 2*maxDistrusted {
		t.Errorf("%d keys", n)
	}
	for i := keys - maxDistrusted; i < keys; i++ {
		if !d.holds(key(i), now) {
			t.Fatalf("key %d of %d is forgotten", i, keys)
		}
	}
	if d.holds(key(keys-1), now.Add(distrustFor)) {
		t.Error("it lasts for ever")
	}
}

// What has lost its race asks nobody for the rest.
func TestABodyThatCameTooLateIsNotContinued(t *testing.T) {
	inTime(t, func(r *fillRig) {
		key, body := r.give(object.Verified, 100_000, r.old, r.behind)
		r.old.stalls = 50_000
		r.want(key, body, object.TierOrigin, fillPatience, 1)
	})
}

// Of small objects only so many are held to be proven at once; the others are
// proven at their end.
func TestWhatIsHeldToBeProvenIsBounded(t *testing.T) {
	inTime(t, func(r *fillRig) {
		var bodies []io.ReadCloser
		for range 3 * maxHolding / wholeProof {
			key, _ := r.give(object.Verified, wholeProof, r.old)
			obj, err := r.Get(r.Context(), key, object.GetOptions{})
			if err != nil {
				r.Fatal(err)
			}
			bodies = append(bodies, obj.Body)
		}
		if held := r.holding.Load(); held != maxHolding {
			r.Errorf("%d bytes are held, want %d", held, maxHolding)
		}
		for _, b := range bodies {
			if n, err := io.Copy(io.Discard, b); n != wholeProof || err != nil {
				r.Errorf("read %d bytes, %v", n, err)
			}
			b.Close()
		}
		if held := r.holding.Load(); held != 0 {
			r.Errorf("%d bytes are held after all", held)
		}
	})
}
