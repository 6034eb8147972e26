package hotset

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
)

// While a key is hot one read of its description in some seconds is all that its
// owner has of a thousand readers a second, and none of them waits for it.
func TestAHotCopyIsRenewedBeforeItEnds(t *testing.T) {
	inBubble(t, func(r *rig) {
		key := r.stored(immutable(1), []byte("content"))
		r.heat(key)
		gets, heads, hits := r.below.gets.Load(), r.below.heads.Load(), r.Stats().Hits
		const seconds = 60
		for range seconds * 100 {
			for range 3 {
				r.want(key, []byte("content"), object.TierHot)
			}
			pass(10 * time.Millisecond)
		}
		if got := r.below.gets.Load() - gets; got != 0 {
			t.Errorf("the owner was asked for the bytes %d times", got)
		}
		// A copy is renewed after half to three quarters of 4 to 5 seconds.
		if got := r.below.heads.Load() - heads; got < seconds/4 || got > seconds/2+1 {
			t.Errorf("in %d seconds the owner was asked %d times, want every 2 to 4 seconds", seconds, got)
		}
		if s := r.Stats(); s.Kept != 1 || s.Copies != 1 || s.Hits-hits != 3*100*seconds || s.Failed != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// However many readers come at once, one asks.
func TestOneReaderOfManyAsksForTheCopy(t *testing.T) {
	inBubble(t, func(r *rig) {
		key := r.stored(immutable(1), []byte("content"))
		var mu sync.Mutex
		fetches := 0
		r.below.onGet = func(ctx context.Context, _ *object.Object, _ error) {
			if _, bounded := ctx.Deadline(); bounded { // no reader of this test has one
				mu.Lock()
				fetches++
				mu.Unlock()
				pass(time.Second)
			}
		}
		var readers sync.WaitGroup
		for range 200 {
			readers.Go(func() { r.readFor(key, 100, 500*time.Millisecond) })
		}
		readers.Wait()
		synctest.Wait()
		if fetches != 1 {
			t.Errorf("%d fetches at once, want 1", fetches)
		}
		pass(time.Second)
		r.want(key, []byte("content"), object.TierHot)
		heads := r.below.heads.Load()
		for range 50 {
			readers.Go(func() { r.readFor(key, 50, 10*time.Second) })
		}
		readers.Wait()
		if got := r.below.heads.Load() - heads; got < 2 || got > 5 {
			t.Errorf("50 readers renewed the copy %d times in 10 seconds, want 2 to 5", got)
		}
	})
}

// When its owner cannot be asked, a copy ends after MaxLife all the same, and
// gives back what it took.
func TestACopyEnds(t *testing.T) {
	inBubble(t, func(r *rig) {
		key := r.stored(immutable(1), []byte("content"))
		r.heat(key)
		r.below.down.Store(true)
		began, ends := time.Now(), r.copies.find(r.copies.hash(key), key).ends
		for {
			_, _, err := r.read(key)
			if errors.Is(err, object.ErrUnavailable) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			pass(10 * time.Millisecond)
		}
		if lived, want := time.Since(began), ends.Sub(began); lived < want || lived > want+10*time.Millisecond {
			t.Errorf("the copy was answered for %v, want %v", lived, want)
		}
		if life := ends.Sub(began); life < minLife-200*time.Millisecond || life > MaxLife {
			t.Errorf("it was to live for %v, want %v to %v", life, minLife, MaxLife)
		}
		pass(sweepInterval + time.Millisecond)
		synctest.Wait()
		if s := r.Stats(); s.Copies != 0 || s.Bytes != 0 || r.lender.now() != 0 || s.Failed == 0 {
			t.Errorf("%+v, and %d bytes are lent", s, r.lender.now())
		}
	})
}

// A key that nobody reads any more, or few, loses its copy without a question.
func TestACopyOfAKeyThatCooledIsNotRenewed(t *testing.T) {
	for name, perSecond := range map[string]int{"nobody": 0, "few": 5} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				key := r.stored(immutable(1), []byte("content"))
				r.readFor(key, DefaultMinRate*2, 5*time.Second)
				if r.Stats().Copies != 1 {
					t.Fatal("there is no copy")
				}
				heads := r.below.heads.Load()
				for range 100 * 10 {
					if perSecond > 0 && r.below.rng.IntN(100) < perSecond {
						if _, _, err := r.read(key); err != nil {
							t.Fatal(err)
						}
					}
					pass(10 * time.Millisecond)
				}
				synctest.Wait()
				// From 64 reads a second it takes four seconds to half the threshold.
				if s, asked := r.Stats(), r.below.heads.Load()-heads; s.Copies != 0 || asked > 2 {
					t.Errorf("%+v, and the owner was asked %d times", s, asked)
				}
			})
		})
	}
}

// A delete that this node sees is seen at once, one that it does not see after
// MaxLife.
func TestADeletedObjectIsNotAnswered(t *testing.T) {
	inBubble(t, func(r *rig) {
		key := r.stored(immutable(1), []byte("content"))
		r.heat(key)
		if err := r.Delete(r.t.Context(), key, object.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.read(key); !errors.Is(err, object.ErrNotFound) {
			t.Errorf("after a delete here: %v, want not found", err)
		}
		if n := r.lender.now(); n != 0 {
			t.Errorf("%d bytes are lent", n)
		}

		r.stored(key, []byte("content"))
		r.heat(key)
		if err := r.below.Memory.Delete(r.t.Context(), key, object.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		r.want(key, []byte("content"), object.TierHot) // which is what the contract says of deletes
		began := time.Now()
		for {
			if _, _, err := r.read(key); errors.Is(err, object.ErrNotFound) {
				break
			}
			pass(10 * time.Millisecond)
		}
		if lived := time.Since(began); lived > MaxLife {
			t.Errorf("a deleted object was answered for %v, want at most %v", lived, MaxLife)
		}
	})
}

// A name that was deleted and used again is not to be, but the copies follow.
func TestACopyFollowsANameThatIsUsedAgain(t *testing.T) {
	inBubble(t, func(r *rig) {
		key := r.stored(immutable(1), []byte("content"))
		r.heat(key)
		r.stored(key, []byte("something else"))
		r.readFor(key, 100, MaxLife)
		synctest.Wait()
		r.want(key, []byte("something else"), object.TierHot)
		r.stored(key, []byte("something else")) // the same bytes, but another write
		r.readFor(key, 100, MaxLife)
		synctest.Wait()
		info, err := r.below.Memory.Head(r.t.Context(), key, object.HeadOptions{})
		if obj := r.want(key, []byte("something else"), object.TierHot); err != nil || obj.Version != info.Version {
			t.Errorf("version %q, want %q (%v)", obj.Version, info.Version, err)
		}
		if s := r.Stats(); r.lender.now() != s.Bytes || s.Copies != 1 {
			t.Errorf("%+v, and %d bytes are lent", s, r.lender.now())
		}
	})
}

// What was asked for before a write is not kept after it, however late it comes.
func TestAFetchThatAWriteHasPassedIsNotKept(t *testing.T) {
	for name, write := range map[string]func(r *rig, key object.Key) error{
		"delete": func(r *rig, key object.Key) error { return r.Delete(r.t.Context(), key, object.DeleteOptions{}) },
		"put": func(r *rig, key object.Key) error {
			_, err := r.Put(r.t.Context(), key, object.BytesSource([]byte("new")), object.PutOptions{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				key := r.stored(immutable(1), []byte("old"))
				late, slow := make(chan struct{}), sync.Once{}
				r.below.onGet = func(ctx context.Context, _ *object.Object, _ error) {
					if _, bounded := ctx.Deadline(); bounded {
						slow.Do(func() { <-late })
					}
				}
				r.readFor(key, 200, time.Second)
				if err := write(r, key); err != nil {
					t.Fatal(err)
				}
				close(late)
				synctest.Wait()
				if _, content, _ := r.read(key); bytes.Equal(content, []byte("old")) {
					t.Error("read what was there before")
				}
				if s := r.Stats(); s.Copies != 0 || s.Declined != 1 || r.lender.now() != 0 {
					t.Errorf("%+v, and %d bytes are lent", s, r.lender.now())
				}
			})
		})
	}
}

// A copy that is made while a write is under way may be from before it.
func TestACopyMadeDuringAWriteIsDropped(t *testing.T) {
	inBubble(t, func(r *rig) {
		key := r.stored(immutable(1), []byte("old"))
		r.below.onDelete = func() { r.heat(key) }
		if err := r.Delete(r.t.Context(), key, object.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.read(key); !errors.Is(err, object.ErrNotFound) {
			t.Errorf("after a delete: %v, want not found", err)
		}
	})
}

// What this node answers itself, because the owner has gone since the key was found
// hot, is no copy of it.
func TestAnAnswerOfThisNodeIsNotKept(t *testing.T) {
	inBubble(t, func(r *rig) {
		key := r.stored(immutable(1), []byte("content"))
		r.below.onGet = func(ctx context.Context, obj *object.Object, _ error) {
			if _, bounded := ctx.Deadline(); bounded { // it is not a reader's
				obj.Node = ""
			}
		}
		r.readFor(key, 200, time.Second)
		synctest.Wait()
		if s := r.Stats(); s.Copies != 0 || s.Declined == 0 || s.Failed != 0 || r.lender.now() != 0 {
			t.Errorf("%+v, and %d bytes are lent; want declined fetches only", s, r.lender.now())
		}
	})
}

// Nothing is kept that was not proven, was cut, or is longer than it says.
func TestWhatIsNotRightIsNotKept(t *testing.T) {
	content := bytes.Repeat([]byte("content"), 1000)
	for name, body := range map[string]func(body io.ReadCloser) io.Reader{
		"another byte": func(io.ReadCloser) io.Reader { return bytes.NewReader(bytes.ToUpper(content)) },
		"cut":          func(body io.ReadCloser) io.Reader { return io.LimitReader(body, 100) },
		"longer":       func(body io.ReadCloser) io.Reader { return io.MultiReader(body, bytes.NewReader([]byte("x"))) },
		"broken":       func(body io.ReadCloser) io.Reader { return io.MultiReader(io.LimitReader(body, 100), broken{}) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				key := r.stored(verified(content), content)
				r.below.body = func(_ object.Key, b io.ReadCloser) io.ReadCloser { return io.NopCloser(body(b)) }
				for range 200 {
					if _, _, err := r.read(key); err != nil && name != "broken" {
						t.Fatal(err)
					}
					pass(5 * time.Millisecond)
				}
				synctest.Wait()
				if s := r.Stats(); s.Copies != 0 || s.Failed == 0 || r.lender.now() != 0 {
					t.Errorf("%+v, and %d bytes are lent; want failed fetches only", s, r.lender.now())
				}
			})
		})
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, object.ErrUnavailable }
