package pace_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/micelio/micelio/pace"
)

func acquire(t *testing.T, l *pace.Limiter) *pace.Permit {
	t.Helper()
	p, err := l.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAnOverloadOfManyRequestsTogetherShrinksTheLimitOnce(t *testing.T) {
	t.Parallel()
	l := pace.NewLimiter(pace.LimiterConfig{Initial: 100, Min: 4, Max: 100})
	var first []*pace.Permit
	for range 100 {
		first = append(first, acquire(t, l))
	}
	for _, p := range first[:10] {
		p.Done(pace.Overload)
		p.Done(pace.Overload)
	}
	for _, p := range first[10:] {
		p.Done(pace.OK) // from before the decrease
	}
	if s := l.Stats(); s.Limit != 70 || s.InFlight != 0 {
		t.Fatalf("%+v", s)
	}
	acquire(t, l).Done(pace.Overload)
	if s := l.Stats(); s.Limit != 49 {
		t.Fatalf("%+v after a new overload", s)
	}
}

func TestALimitAtItsLeastGrowsAgainByOnePerLimitOfGoodAnswers(t *testing.T) {
	t.Parallel()
	l := pace.NewLimiter(pace.LimiterConfig{Initial: 8, Min: 1, Max: 20})
	for range 50 {
		acquire(t, l).Done(pace.Overload)
	}
	if s := l.Stats(); s.Limit != 1 {
		t.Fatalf("%+v", s)
	}
	for want := 2; want <= 20; want++ {
		for range 2 { // the step from n takes a little more than n answers
			var all []*pace.Permit
			for range l.Stats().Limit {
				all = append(all, acquire(t, l))
			}
			for _, p := range all {
				p.Done(pace.OK)
			}
		}
	}
	if s := l.Stats(); s.Limit != 20 || s.InFlight != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestALimitThatIsNotInUseDoesNotGrow(t *testing.T) {
	t.Parallel()
	l := pace.NewLimiter(pace.LimiterConfig{Initial: 16})
	for range 1000 {
		acquire(t, l).Done(pace.OK)
	}
	if s := l.Stats(); s.Limit != 16 {
		t.Fatalf("%+v", s)
	}
}

func TestWhoWaitsIsServedInTheOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pace.NewLimiter(pace.LimiterConfig{Initial: 1, Max: 1})
		held := acquire(t, l)
		var order []int
		var mu sync.Mutex
		for i := range 50 {
			go func() {
				p, err := l.Acquire(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				p.Done(pace.OK)
			}()
			synctest.Wait()
		}
		held.Done(pace.OK)
		synctest.Wait()
		for i, got := range order {
			if got != i {
				t.Fatalf("served in the order %v", order)
			}
		}
		if len(order) != 50 {
			t.Fatalf("%d served", len(order))
		}
	})
}

func TestAWaitEndsExactlyAfterMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pace.NewLimiter(pace.LimiterConfig{Initial: 1, MaxWait: 300 * time.Millisecond})
		held := acquire(t, l)
		began := time.Now()
		_, err := l.Acquire(t.Context())
		over := (*pace.OverloadError)(nil)
		if !errors.As(err, &over) || over.RetryAfter != 300*time.Millisecond || time.Since(began) != 300*time.Millisecond {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		if s := l.Stats(); s.Shed != 1 || s.Waiting != 0 || s.InFlight != 1 {
			t.Fatalf("%+v", s)
		}
		held.Done(pace.OK)
		acquire(t, l).Done(pace.OK)
	})
}

// The turn, the end of patience and that of the context come at the same
// instant, in whatever order the scheduler likes.
func TestATurnThatComesAsItsWaiterLeavesIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait = 10 * time.Millisecond
		for range 2000 {
			l := pace.NewLimiter(pace.LimiterConfig{Initial: 1, Max: 1, MaxWait: wait})
			held := acquire(t, l)
			time.AfterFunc(wait, func() { held.Done(pace.OK) })
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			p, err := l.Acquire(ctx)
			cancel()
			synctest.Wait()
			s := l.Stats()
			if (err == nil) != (s.InFlight == 1) || s.Waiting != 0 || err == nil && s.Shed != 0 {
				t.Fatalf("%+v after %v", s, err)
			}
			if err == nil {
				p.Done(pace.OK)
			}
		}
	})
}

func TestAContextThatEndedGetsNoTurn(t *testing.T) {
	t.Parallel()
	l := pace.NewLimiter(pace.LimiterConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Acquire(ctx); !errors.Is(err, context.Canceled) || l.Stats().InFlight != 0 {
		t.Fatal(err, l.Stats())
	}
}

func TestNoPermitIsLostUnderRandomInterleavings(t *testing.T) {
	defer goleak.VerifyNone(t)
	l := pace.NewLimiter(pace.LimiterConfig{Initial: 8, Min: 2, Max: 16, MaxWait: 500 * time.Microsecond})
	var running, most atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 300 {
				ctx, cancel := context.WithTimeout(context.Background(), rand.N(time.Millisecond))
				if p, err := l.Acquire(ctx); err == nil {
					if n := running.Add(1); n > most.Load() {
						most.Store(n)
					}
					<-time.After(rand.N(100 * time.Microsecond))
					running.Add(-1)
					p.Done(pace.Outcome(rand.IntN(4)))
				}
				cancel()
			}
		})
	}
	all.Wait()
	if s := l.Stats(); s.InFlight != 0 || s.Waiting != 0 || s.Limit < 2 || s.Limit > 16 || most.Load() > 16 {
		t.Fatalf("%+v, %d at once", s, most.Load())
	}
}

func TestALongWaitingListEmptiesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pace.NewLimiter(pace.LimiterConfig{Initial: 1})
		held := acquire(t, l)
		ctx, cancel := context.WithCancel(t.Context())
		for range 20_000 {
			go func() {
				if _, err := l.Acquire(ctx); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		if s := l.Stats(); s.Waiting != 20_000 {
			t.Fatalf("%+v", s)
		}
		cancel()
		synctest.Wait()
		held.Done(pace.OK)
		if s := l.Stats(); s.Waiting != 0 || s.InFlight != 0 || s.Shed != 0 {
			t.Fatalf("%+v", s)
		}
	})
}
