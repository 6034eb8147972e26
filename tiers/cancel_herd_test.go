package tiers_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// Of ten thousand readers who wait for one fill, a random half leaves. Each gets
// its own error at once, whether the origin answers or not; the others get the
// object; nothing is left of any of them.
func TestHalfOfTenThousandWaitersLeave(t *testing.T) {
	readers := 10_000
	if raceEnabled {
		readers = 2000
	}
	before := goleak.IgnoreCurrent()
	for _, held := range []string{"before the answer", "in the middle of the body"} {
		synctest.Test(t, func(t *testing.T) {
			const first = 1000
			r := newRig(t, 64*mib, 0)
			key, body := blob(1, 4096)
			r.put(key, body)
			answer := make(chan struct{})
			release := r.origin.holdBodies(first)
			if held == "before the answer" {
				r.origin.onAnswer(func(context.Context, object.GetOptions) { <-answer })
			}
			var all sync.WaitGroup
			var left, finished, wrong atomic.Int32
			pick, leaving := rand.New(rand.NewPCG(2, 1)), 0
			theirs, leave := context.WithCancel(context.Background())
			for i := range readers {
				ctx, leaves := context.Background(), i == 0 || pick.IntN(2) == 0 // the first began the fill
				if leaves {
					ctx = theirs
					leaving++
				}
				all.Go(func() {
					got, err := readWhole(ctx, r.cache, key)
					switch {
					case leaves && errors.Is(err, context.Canceled):
						left.Add(1)
					case !leaves && err == nil && bytes.Equal(got, body):
						finished.Add(1)
					default:
						wrong.Add(1)
					}
				})
			}
			synctest.Wait() // all are where they can only wait
			leave()
			synctest.Wait()
			if n := left.Load(); int(n) != leaving {
				t.Errorf("%s: %d of %d readers who left have been told", held, n, leaving)
			}
			close(answer)
			release()
			all.Wait()
			if n := finished.Load(); int(n) != readers-leaving || wrong.Load() != 0 {
				t.Errorf("%s: %d of %d readers have the object, %d readers got something else", held, n, readers-leaving, wrong.Load())
			}
			r.wantGets(1)
			r.stop()
		})
	}
	goleak.VerifyNone(t, before)
}

// readWhole reads an object through a cache, as much of it as it gets.
func readWhole(ctx context.Context, c *tiers.Cache, key object.Key) ([]byte, error) {
	obj, err := c.Get(ctx, key, object.GetOptions{})
	if err != nil {
		return nil, err
	}
	defer obj.Body.Close()
	return io.ReadAll(obj.Body)
}

// The last reader of a fill leaves in the moment in which another joins. Whoever
// is first, the one who joins has the whole object, from this fill or another,
// and never the end of a context that is not its own.
func TestAReaderWhoJoinsAsTheLastOneLeavesHasItAll(t *testing.T) {
	rounds := 2000
	if raceEnabled {
		rounds = 100
	}
	before := goleak.IgnoreCurrent()
	// Without a disk nothing is kept of an object of this size, so that a fill ends
	// with its last reader, at whatever moment that is.
	for class, make := range keyKinds {
		for name, begun := range map[string]bool{"before the answer": false, "in the body": true} {
			r := newRig(t, 0, 0)
			key, body := make(3, tiers.ChunkSize+50_000)
			r.put(key, body)
			for round := range rounds {
				raceToJoin(r, key, body, begun)
				if t.Failed() {
					t.Fatalf("%s, %s, round %d", class, name, round)
				}
			}
			r.settle()
			t.Logf("%s, %s: %+v", class, name, r.cache.Stats())
			r.stop()
		}
	}
	goleak.VerifyNone(t, before)
}

// raceToJoin is one round: one reader starts a fill, if begun is set until its
// first byte, and leaves by the end of its context while two others come.
func raceToJoin(r *rig, key object.Key, body []byte, begun bool) {
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	release := r.origin.holdBodies(1000)
	var all sync.WaitGroup
	started := make(chan struct{})
	all.Go(func() {
		obj, err := r.cache.Get(ctx, key, object.GetOptions{})
		if err == nil {
			_, err = io.ReadFull(obj.Body, make([]byte, 1000))
			if begun {
				close(started)
			}
			if err == nil {
				_, err = io.Copy(io.Discard, obj.Body)
			}
			obj.Body.Close()
		} else if begun {
			close(started)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			r.Errorf("the reader who left: %v", err)
		}
	})
	if begun {
		<-started
	}
	all.Go(leave)
	for range 2 {
		all.Go(func() {
			if got, err := readWhole(context.Background(), r.cache, key); err != nil || !bytes.Equal(got, body) {
				r.Errorf("a reader who stays: %d bytes of %d, %v", len(got), len(body), err)
			}
		})
	}
	all.Go(release)
	all.Wait()
}
