package origin_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/origin/s3test"
	"github.com/micelio/micelio/pace"
)

// A service that refuses everything gets at most a tenth more requests than
// callers made, and soon next to none; callers learn when to come back; and it
// is used again soon after it is well.
func TestAStormOfRefusalsIsNotAnsweredWithMore(t *testing.T) {
	s, fake := openFake(t, func(c *origin.S3Config) { c.Concurrency = 16 })
	fake.PutObject("key", []byte("bytes"), nil)
	undo := fake.FailWith(http.StatusServiceUnavailable, "SlowDown", 1)
	const callers, each = 20, 100
	var shed, failed atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range each {
				_, err := read(t.Context(), s, "key", object.GetOptions{})
				var later *object.RetryLaterError
				switch {
				case err == nil || !errors.Is(err, object.ErrUnavailable):
					t.Errorf("a refused read: %v", err)
				case errors.As(err, &later):
					shed.Add(1)
					if later.After <= 0 {
						t.Errorf("come back after %v", later.After)
					}
				default:
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	const demand = callers * each
	if n := len(fake.Requests()); n > demand+demand/10+pace.DefaultBurst {
		t.Errorf("%d callers' requests made %d", demand, n)
	}
	if st := s.Stats(); st.Breaker == pace.Closed || shed.Load() == 0 || st.Limit >= 16 {
		t.Errorf("nothing was held back: %d shed, %d asked, %+v", shed.Load(), failed.Load(), st)
	}
	undo()
	within(t, time.Minute, func(ctx context.Context) { // the breaker stays open for 3 s
		for ctx.Err() == nil {
			if _, err := read(ctx, s, "key", object.GetOptions{}); err == nil && s.Stats().Breaker == pace.Closed {
				return
			}
		}
	})
}

// The breaker of a node that nobody asks for anything closes too: until then the
// node says that it does not reach its origin.
func TestTheBreakerOfAnIdleNodeClosesAgain(t *testing.T) {
	t.Parallel()
	s, fake := openFake(t)
	if _, err := s.Probe(t.Context()); err != nil { // the next is in an hour
		t.Fatal(err)
	}
	undo := fake.FailWith(http.StatusServiceUnavailable, "SlowDown", 1)
	for s.Stats().Breaker == pace.Closed {
		if _, err := read(t.Context(), s, "key", object.GetOptions{}); !errors.Is(err, object.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	undo()
	within(t, time.Minute, func(ctx context.Context) { // the breaker stays open for 3 s
		look := time.NewTicker(50 * time.Millisecond)
		defer look.Stop()
		for ctx.Err() == nil && s.Stats().Breaker != pace.Closed {
			<-look.C
		}
	})
	stop()
	<-done
}

func TestNoMoreRequestsAreUnderWayThanAllowed(t *testing.T) {
	const allowed = 5
	s, fake := openFake(t, func(c *origin.S3Config) { c.Concurrency = allowed })
	fake.PutObject("key", []byte("bytes"), nil)
	var now, most atomic.Int32
	fake.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		next.ServeHTTP(w, r)
		now.Add(-1)
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { wantBytes(t, s, "key", "bytes") })
	}
	all.Wait()
	if most.Load() > allowed {
		t.Errorf("%d at once, %d are allowed", most.Load(), allowed)
	}
	wantNothingHeld(t, s)
}

func TestAMissingObjectIsNoFaultOfTheService(t *testing.T) {
	s, _ := openFake(t)
	for range 100 {
		wantMissing(t, s, "nothing")
		_, err := read(t.Context(), s, "nothing", object.GetOptions{})
		wantErr(t, err, object.ErrNotFound)
	}
	if st := s.Stats(); st.Breaker != pace.Closed || st.Retries != 0 {
		t.Errorf("%+v", st)
	}
}

func TestAProbeFindsWeakServices(t *testing.T) {
	for name, c := range map[string]struct {
		turn  func(f *s3test.Fake) func()
		weak  bool
		wrong func(c origin.Capabilities) bool
	}{
		"conditions are ignored": {func(f *s3test.Fake) func() { return f.WeakConditions() }, true,
			func(c origin.Capabilities) bool { return c.ConditionalCreate || c.ConditionalReplace }},
		"conditions are tested too early": {func(f *s3test.Fake) func() { return f.RacyConditions() }, true,
			func(c origin.Capabilities) bool { return c.ConditionalCreate && c.ConditionalReplace }},
		"conditions of deletes are ignored": {func(f *s3test.Fake) func() { return f.IgnoreConditionalDelete() }, false,
			func(c origin.Capabilities) bool { return c.ConditionalDelete }},
	} {
		t.Run(name, func(t *testing.T) {
			s, fake := openFake(t)
			c.turn(fake)
			caps, err := s.Probe(t.Context())
			if err != nil || c.wrong(caps) || caps.Strong() == c.weak {
				t.Errorf("%+v, %v", caps, err)
			}
			if left := fake.Names(); len(left) != 0 {
				t.Errorf("the probe left %q", left)
			}
			// What the service does not test is tested here, as well as that goes.
			one := put(t, s, "key", "one", object.PutOptions{IfNoneMatch: object.MatchAny()})
			_, err = s.Put(t.Context(), "key", object.BytesSource([]byte("two")), object.PutOptions{IfNoneMatch: object.MatchAny()})
			wantErr(t, err, object.ErrPrecondition)
			put(t, s, "key", "three", object.PutOptions{IfMatch: object.MatchETag(one.ETag)})
			_, err = s.Put(t.Context(), "key", object.BytesSource([]byte("four")), object.PutOptions{IfMatch: object.MatchETag(one.ETag)})
			wantErr(t, err, object.ErrPrecondition)
		})
	}
}
