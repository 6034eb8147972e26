package pace_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/pace"
)

// overload returns the refusal that err must be.
func overload(t *testing.T, err error) *pace.OverloadError {
	t.Helper()
	over := (*pace.OverloadError)(nil)
	if !errors.As(err, &over) {
		t.Fatalf("the error is %v, want an OverloadError", err)
	}
	return over
}

// fill takes all turns and gives them back with an outcome: one round trip.
func fill(t *testing.T, l *pace.Limiter, n int, o pace.Outcome) {
	t.Helper()
	var window []*pace.Permit
	for range n {
		window = append(window, acquire(t, l))
	}
	for _, p := range window {
		p.Done(o)
	}
}

func TestALimiterGrowsByAboutOnePerRoundTripWhileItIsUsed(t *testing.T) {
	l := pace.NewLimiter(pace.LimiterConfig{Initial: 20, Max: 25})
	before := l.Stats().Limit
	for round := range 20 {
		fill(t, l, l.Stats().Limit, pace.OK)
		after := l.Stats().Limit
		if after < before || after > before+1 {
			t.Fatalf("round trip %d took the limit from %d to %d, want at most one more", round, before, after)
		}
		before = after
	}
	if before != 25 {
		t.Errorf("the limit is %d after 20 round trips, want the greatest, 25", before)
	}
}

// An answer from before a decrease says nothing of the limit after it.
func TestALimiterDoesNotGrowByAnswersFromBeforeADecrease(t *testing.T) {
	l := pace.NewLimiter(pace.LimiterConfig{Initial: 10, Max: 100})
	var window []*pace.Permit
	for range 10 {
		window = append(window, acquire(t, l))
	}
	window[0].Done(pace.Overload)
	for _, p := range window[1:] {
		p.Done(pace.OK)
	}
	if s := l.Stats(); s.Limit != 7 {
		t.Errorf("the limit is %d, want 7", s.Limit)
	}
}

// Turns that were given stay given: a smaller limit holds for who comes.
func TestAShrunkLimiterLetsNobodyInUntilEnoughHaveLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pace.NewLimiter(pace.LimiterConfig{Initial: 10, Max: 10})
		var window []*pace.Permit
		for range 10 {
			window = append(window, acquire(t, l))
		}
		entered := false
		go func() {
			p, err := l.Acquire(t.Context())
			entered = err == nil
			if err == nil {
				p.Done(pace.OK)
			}
		}()
		synctest.Wait()
		for i, p := range window {
			p.Done([]pace.Outcome{pace.Overload, pace.Ignore}[min(i, 1)])
			synctest.Wait()
			inFlight := 9 - i
			if want := inFlight < 7; entered != want {
				t.Fatalf("with %d of 7 in flight the next one has entered: %v, want %v", inFlight, entered, want)
			}
		}
	})
}

func TestALimiterHasUsableBoundsWhateverItIsTold(t *testing.T) {
	for _, cfg := range []pace.LimiterConfig{
		{}, {Initial: -3, Min: -5, Max: -9}, {Initial: 500}, {Min: 10, Max: 5}, {Max: -1},
	} {
		l := pace.NewLimiter(cfg)
		for range 50 {
			acquire(t, l).Done(pace.Overload)
		}
		if s := l.Stats(); s.Limit < 1 || s.InFlight != 0 {
			t.Errorf("%+v: stats are %+v after overloads, want a limit of at least 1", cfg, s)
		}
	}
}

// The turn comes and the caller leaves, or loses patience, at one instant:
// whoever sees which first, the turn is somebody's.
func TestALimiterLosesNoTurnToACallerThatLeavesAsItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const at = 10 * time.Millisecond
		l := pace.NewLimiter(pace.LimiterConfig{Initial: 1, Max: 1, MaxWait: at})
		var granted, left, shed int
		for i := range 4000 {
			held := acquire(t, l)
			patience := time.Hour
			if i%4 == 0 {
				patience = at
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			ends := []func(){func() {}, func() {}, cancel, cancel}[i%4]
			var both sync.WaitGroup
			both.Go(func() {
				p, err := l.Acquire(ctx)
				switch over := (*pace.OverloadError)(nil); {
				case err == nil:
					granted++
					p.Done(pace.OK)
				case errors.As(err, &over):
					shed++
				default:
					left++
				}
			})
			both.Go(func() {
				if i%4 >= 2 { // not at the end of the wait, but before
					synctest.Wait()
				} else {
					time.Sleep(at)
				}
				if i%4 == 3 {
					ends()
				}
				held.Done(pace.OK)
				ends()
			})
			both.Wait()
			cancel()
			if s := l.Stats(); s.InFlight != 0 || s.Waiting != 0 {
				t.Fatalf("after round %d stats are %+v, want all turns back", i, s)
			}
		}
		if granted == 0 || left < 1000 {
			t.Errorf("%d granted, %d left, %d shed: the race did not take place", granted, left, shed)
		}
		if s := l.Stats(); s.Shed != int64(shed) {
			t.Errorf("%d counted as shed, %d were", s.Shed, shed)
		}
	})
}
