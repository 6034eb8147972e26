package hotset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

func TestAHotKeyIsAnsweredHere(t *testing.T) {
	inBubble(t, func(r *rig) {
		content := []byte("what everybody wants")
		for _, key := range []object.Key{r.stored(immutable(1), content), r.stored(verified(content), content)} {
			first := r.want(key, content, object.TierRAM)
			r.heat(key)
			asked := r.below.gets.Load()
			pass(time.Second)
			obj := r.want(key, content, object.TierHot)
			if got := r.below.gets.Load(); got != asked {
				t.Errorf("the owner was asked %d times more", got-asked)
			}
			// The copy came into being within the second before the one of rest.
			if obj.Age < ownersAge+time.Second || obj.Age > ownersAge+2*time.Second {
				t.Errorf("Age is %v, want a second or two more than the owner's %v", obj.Age, ownersAge)
			}
			want := first.Info
			want.Tier, want.Node, want.Age = object.TierHot, "", obj.Age
			want.SHA256 = obj.SHA256 // which is known where the key says it
			if diff := cmp.Diff(want, obj.Info); diff != "" {
				t.Errorf("the copy is described in another way than the object: -object +copy\n%s", diff)
			}
		}
	})
}

func TestWhatIsNotHotIsNotCopied(t *testing.T) {
	content := []byte("bytes")
	for name, c := range map[string]func(r *rig){
		"read too seldom": func(r *rig) { r.readFor(r.stored(immutable(1), content), DefaultMinRate*9/10, 10*time.Second) },
		"one of many that are read as often": func(r *rig) {
			r.cfg.MinRate = 8
			for i := range 2048 {
				r.stored(immutable(i), content)
			}
			for range 2000 { // in two seconds
				for range 10 {
					r.want(immutable(r.below.rng.IntN(2048)), content, object.TierRAM)
				}
				pass(time.Millisecond)
			}
		},
		"a scan": func(r *rig) {
			for i := range 5000 {
				r.want(r.stored(immutable(i), content), content, object.TierRAM)
				pass(time.Millisecond)
			}
		},
		"mutable": func(r *rig) { r.readFor(r.stored("sessions/1/head", content), 1000, 5*time.Second) },
		"its own": func(r *rig) {
			r.below.local.Store(true)
			r.readFor(r.stored(immutable(1), content), 1000, 5*time.Second)
		},
		"answered here, as the owner cannot be reached": func(r *rig) {
			r.below.fallback.Store(true)
			r.readFor(r.stored(immutable(1), content), 1000, 2*time.Second)
		},
		"too large": func(r *rig) {
			key := r.stored(immutable(1), make([]byte, rigCapacity/maxObjectShare+1))
			for range 1000 {
				if _, err := r.Head(r.t.Context(), key, object.HeadOptions{}); err != nil {
					t.Fatal(err)
				}
				pass(time.Millisecond)
			}
		},
		"not there": func(r *rig) {
			for range 1000 {
				if _, _, err := r.read(immutable(1)); !errors.Is(err, object.ErrNotFound) {
					t.Fatal(err)
				}
				pass(time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				c(r)
				synctest.Wait()
				if s := r.Stats(); s.Copies != 0 || s.Kept+s.Declined+s.Failed != 0 || r.lender.most != 0 {
					t.Errorf("%+v, and %d bytes were borrowed; want that nothing was tried", s, r.lender.most)
				}
			})
		})
	}
}

// A key that can change is not even in the list of the hottest.
func TestAMutableKeyNeverEnters(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.stored("sessions/1/head", []byte("x"))
		r.stored(immutable(1), []byte("x"))
		for range 2000 {
			r.want("sessions/1/head", []byte("x"), object.TierRAM)
			if _, err := r.Head(r.t.Context(), "sessions/1/head", object.HeadOptions{}); err != nil {
				t.Fatal(err)
			}
			pass(time.Millisecond)
		}
		r.heat(immutable(1))
		keys, total := r.Hottest(10)
		if len(keys) != 1 || keys[0].Key != immutable(1) || !keys[0].Copied {
			t.Errorf("the hottest keys are %+v", keys)
		}
		if total < 2*keys[0].Rate {
			t.Errorf("%.0f reads a second, of which %.0f of the hot key: those of mutable keys are missing", total, keys[0].Rate)
		}
	})
}

// Whatever a reader asks for, a copy says what the owner would.
func TestCopiesKeepConditionsAndRanges(t *testing.T) {
	inBubble(t, func(r *rig) {
		content := []byte(strings.Repeat("0123456789", 100))
		key := r.stored(immutable(1), content)
		info := r.want(key, content, object.TierRAM).Info
		r.heat(key)
		other := object.MatchETag("other")
		this := object.MatchETag(info.ETag)
		asked := r.below.gets.Load() + r.below.heads.Load()
		for _, opt := range []object.GetOptions{
			{}, {Range: object.Bytes(0, 1)}, {Range: object.Bytes(10, 100)}, {Range: object.From(990)}, {Range: object.Suffix(7)},
			{Range: object.Suffix(5000)}, {Range: object.From(1000)}, {Range: object.Bytes(990, 100)},
			{IfMatch: this}, {IfMatch: other}, {IfNoneMatch: this}, {IfNoneMatch: other}, {IfNoneMatch: object.MatchAny()},
			{IfMatch: other, Range: object.From(5000)}, {IfNoneMatch: this, Range: object.From(5000)}, {IfMatch: this, Range: object.Suffix(3)},
		} {
			want, wantErr := r.below.Memory.Get(r.t.Context(), key, opt)
			got, err := r.Get(r.t.Context(), key, opt)
			if fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Errorf("%+v: %v, want %v", opt, err, wantErr)
				continue
			}
			if nm := (*object.NotModifiedError)(nil); errors.As(err, &nm) && (nm.Info.ETag != info.ETag || nm.Info.Tier != object.TierHot) {
				t.Errorf("%+v: not modified, and describes %+v", opt, nm.Info)
			}
			if opt.Range == (object.Range{}) {
				_, headErr := r.Head(r.t.Context(), key, object.HeadOptions{IfMatch: opt.IfMatch, IfNoneMatch: opt.IfNoneMatch})
				if fmt.Sprint(headErr) != fmt.Sprint(wantErr) {
					t.Errorf("Head %+v: %v, want %v", opt, headErr, wantErr)
				}
			}
			if err != nil {
				continue
			}
			a, _ := io.ReadAll(got.Body)
			b, _ := io.ReadAll(want.Body)
			if !bytes.Equal(a, b) || got.Offset != want.Offset || got.Length != want.Length || got.Size != want.Size {
				t.Errorf("%+v: %d bytes from %d of %d, want %d from %d of %d", opt, len(a), got.Offset, got.Size, len(b), want.Offset, want.Size)
			}
		}
		if got := r.below.gets.Load() + r.below.heads.Load() - asked; got != 0 {
			t.Errorf("the owner was asked %d times", got)
		}
	})
}

func TestAReadThatIsOverIsNotAnswered(t *testing.T) {
	inBubble(t, func(r *rig) {
		key := r.stored(immutable(1), []byte("x"))
		r.heat(key)
		ctx, cancel := context.WithCancel(r.t.Context())
		cancel()
		if _, err := r.Get(ctx, key, object.GetOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("Get: %v", err)
		}
		if _, err := r.Head(ctx, key, object.HeadOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("Head: %v", err)
		}
	})
}

// Readers who have the object already, or only ask about it, make a key hot too.
func TestReadsWithoutABodyCount(t *testing.T) {
	for name, read := range map[string]func(r *rig, key object.Key, etag object.ETag) error{
		"head": func(r *rig, key object.Key, _ object.ETag) error {
			_, err := r.Head(r.t.Context(), key, object.HeadOptions{})
			return err
		},
		"not modified": func(r *rig, key object.Key, etag object.ETag) error {
			_, err := r.Get(r.t.Context(), key, object.GetOptions{IfNoneMatch: object.MatchETag(etag)})
			if !errors.Is(err, object.ErrNotModified) {
				return fmt.Errorf("got %v", err)
			}
			return nil
		},
		"head, not modified": func(r *rig, key object.Key, etag object.ETag) error {
			_, err := r.Head(r.t.Context(), key, object.HeadOptions{IfNoneMatch: object.MatchETag(etag)})
			if !errors.Is(err, object.ErrNotModified) {
				return fmt.Errorf("got %v", err)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				key := r.stored(immutable(1), []byte("x"))
				etag := r.want(key, []byte("x"), object.TierRAM).ETag
				for range 200 {
					if err := read(r, key, etag); err != nil {
						t.Fatal(err)
					}
					pass(5 * time.Millisecond)
				}
				synctest.Wait()
				r.want(key, []byte("x"), object.TierHot)
			})
		})
	}
}

// With every key hot from its first read, a Store is a Store like any other, also
// if objects change, as long as they do through it.
func TestAStoreThatCopiesEverythingConforms(t *testing.T) {
	objecttest.Test(t, func(t *testing.T) object.Store {
		s := New(Config{
			Below: &cluster{}, Capacity: 64 << 20,
			Class:     func(object.Key) (object.Class, object.Digest) { return object.Immutable, object.Digest{} },
			Elsewhere: func(object.Key) bool { return true },
		})
		s.cfg.MinRate, s.cfg.MinShare = 0, 0
		t.Cleanup(s.start())
		return s
	})
}
