package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

// A formerOwner is another node as far as it has objects at hand.
type formerOwner struct {
	objecttest.Memory
	after time.Duration // before it answers
	breaks, stalls,
	lies int64 // its bodies do so from this byte on; 0: they do not
	asked int
}

func (f *formerOwner) GetCached(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	f.asked++
	if err := sleep(ctx, f.after); err != nil {
		return nil, err
	}
	obj, err := f.Memory.Get(ctx, key, opt)
	if err != nil {
		return nil, fmt.Errorf("%w", peer.ErrNotCached)
	}
	obj.Body = &formerBody{ReadCloser: obj.Body, f: f, ctx: ctx}
	return obj, nil
}

func (f *formerOwner) HeadCached(ctx context.Context, key object.Key) (object.Info, error) {
	f.asked++
	if err := sleep(ctx, f.after); err != nil {
		return object.Info{}, err
	}
	info, err := f.Memory.Head(ctx, key, object.HeadOptions{})
	if err != nil {
		return object.Info{}, peer.ErrNotCached
	}
	return info, nil
}

// formerBody hands out a thousand bytes at a time.
type formerBody struct {
	io.ReadCloser
	f   *formerOwner
	ctx context.Context
	pos int64
}

func (b *formerBody) Read(p []byte) (int, error) {
	switch {
	case b.f.breaks > 0 && b.pos >= b.f.breaks:
		return 0, io.ErrUnexpectedEOF
	case b.f.stalls > 0 && b.pos >= b.f.stalls:
		<-b.ctx.Done()
		return 0, b.ctx.Err()
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), 1000)])
	if b.f.lies > 0 && b.pos >= b.f.lies && n > 0 {
		p[0] ^= 1
	}
	b.pos += int64(n)
	return n, err
}

// slowStore is the Store behind: it counts, and takes its time.
type slowStore struct {
	objecttest.Memory
	after time.Duration
	away  bool
	asked []object.GetOptions
}

func (s *slowStore) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	s.asked = append(s.asked, opt)
	if err := sleep(ctx, s.after); err != nil {
		return nil, err
	}
	if s.away {
		return nil, object.ErrUnavailable
	}
	return s.Memory.Get(ctx, key, opt)
}

// A fillRig is a node "new" that owns keys which were "old"'s until now, and
// "older"'s before that.
type fillRig struct {
	*testing.T
	*previous
	old, older, stranger *formerOwner
	behind               *slowStore
	suspects             []string
}

func newFillRig(t *testing.T) *fillRig {
	t.Helper()
	var views []*ring.View
	all := []ring.Member{
		{ID: "older", PeerAddr: "older:1"}, {ID: "old", PeerAddr: "old:1"}, {ID: "new", PeerAddr: "new:1"},
		{ID: "stranger", PeerAddr: "stranger:1"}, // which never owned anything
	}
	for i, serves := range []string{"older", "old", "new"} {
		members := slices.Clone(all)
		for j := range members {
			members[j].State = ring.Joining
			if members[j].ID == serves {
				members[j].State = ring.Serving
			}
		}
		v, err := ring.NewView(members)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			v = v.After(views[i-1], time.Now())
		}
		views = append(views, v)
	}
	classes, err := object.NewClasses(object.DefaultVerified, object.DefaultImmutable)
	if err != nil {
		t.Fatal(err)
	}
	r := &fillRig{T: t, old: new(formerOwner), older: new(formerOwner), stranger: new(formerOwner), behind: new(slowStore)}
	peers := map[string]cachedPeer{"old:1": r.old, "older:1": r.older, "stranger:1": r.stranger}
	r.previous = &previous{
		Store: r.behind, self: "new", view: func() *ring.View { return views[2] }, class: classes.Of,
		log: slog.New(slog.DiscardHandler), stats: new(fillStats), patience: fillPatience, stall: fillStall,
		dial:    func(addr string) cachedPeer { return peers[addr] },
		suspect: func(m ring.Member) bool { return slices.Contains(r.suspects, m.ID) },
	}
	return r
}

// give stores an object of a class, the same, at some places.
func (r *fillRig) give(class object.Class, size int, places ...object.Store) (object.Key, []byte) {
	r.Helper()
	body := make([]byte, size)
	made(body, 0)
	key := object.Key("cache/x/sha256:1/out")
	if class == object.Verified {
		key = object.Key(fmt.Sprintf("artifacts/sha256:%x", sha256.Sum256(body)))
	}
	if class == object.Mutable {
		key = "sessions/1/head"
	}
	for _, s := range places {
		if _, err := s.Put(r.Context(), key, object.BytesSource(body), object.PutOptions{Version: "1"}); err != nil {
			r.Fatal(err)
		}
	}
	return key, body
}

// want reads an object and says where it has to come from, after how long, and
// how often the Store behind was asked so far.
func (r *fillRig) want(key object.Key, body []byte, tier object.Tier, took time.Duration, behind int) {
	r.Helper()
	began := time.Now()
	obj, err := r.Get(r.Context(), key, object.GetOptions{})
	if err != nil {
		r.Errorf("%s: %v", key, err)
		return
	}
	defer obj.Body.Close()
	got, err := io.ReadAll(obj.Body)
	if err != nil || !bytes.Equal(got, body) {
		r.Errorf("%s: %d of %d bytes, %v", key, len(got), len(body), err)
	}
	if obj.Tier != tier || time.Since(began) != took || len(r.behind.asked) != behind {
		r.Errorf("from %q after %v, %d questions behind; want %q, %v, %d", obj.Tier, time.Since(began), len(r.behind.asked), tier, took, behind)
	}
}

// inTime runs a test in virtual time.
func inTime(t *testing.T, test func(*fillRig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newFillRig(t)) })
}

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
		r.dial = func(dial func(string) cachedPeer) func(string) cachedPeer {
			return func(addr string) cachedPeer {
				if addr == "old:1" {
					return naming{}
				}
				return dial(addr)
			}
		}(r.dial)
		r.want(key, body, object.TierPeer, 0, 0)
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
		r.dial = func(string) cachedPeer { return confused{r.old} }
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
	for i := range 3 * maxDistrusted {
		d.add(object.Key(fmt.Sprint(i)), now)
	}
	if len(d.until) != maxDistrusted || !d.holds(object.Key(fmt.Sprint(3*maxDistrusted-1)), now) {
		t.Errorf("%d keys", len(d.until))
	}
	if d.holds(object.Key(fmt.Sprint(3*maxDistrusted-1)), now.Add(distrustFor)) {
		t.Error("it lasts for ever")
	}
}
