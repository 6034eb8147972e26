package pace_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/pace"
)

// Figures of the breaker under test.
const (
	window  = 10 * time.Second
	openFor = 3 * time.Second
	probes  = 3
)

// A rig is a Breaker and the changes it told of.
type rig struct {
	*pace.Breaker
	t       *testing.T
	changes []string
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t}
	r.Breaker = pace.NewBreaker(pace.BreakerConfig{
		Name: "test", Window: window, OpenFor: openFor, MinRequests: 20, FailureRatio: 0.5, Probes: probes,
		OnChange: func(from, to pace.State) { r.changes = append(r.changes, fmt.Sprintf("%v-%v", from, to)) },
	})
	return r
}

// allow starts a request that must be allowed.
func (r *rig) allow() func(pace.Outcome) {
	r.t.Helper()
	done, err := r.Allow()
	if err != nil {
		r.t.Fatalf("Allow: %v, the state is %v", err, r.State())
	}
	return done
}

// send carries out n requests of one outcome.
func (r *rig) send(n int, o pace.Outcome) {
	r.t.Helper()
	for range n {
		r.allow()(o)
	}
}

// open makes it open.
func (r *rig) open() {
	r.t.Helper()
	r.send(20, pace.Failure)
	r.want(pace.Open)
}

// halfOpen makes it open and waits until it is half open.
func (r *rig) halfOpen() {
	r.t.Helper()
	r.open()
	<-time.After(openFor + 1)
	r.want(pace.HalfOpen)
}

func (r *rig) want(s pace.State) {
	r.t.Helper()
	if got := r.State(); got != s {
		r.t.Fatalf("the breaker is %v, want %v", got, s)
	}
}

func TestABreakerOpensWhenHalfOfEnoughRequestsFail(t *testing.T) {
	for name, test := range map[string]struct {
		send func(r *rig)
		want pace.State
	}{
		"half failed":               {func(r *rig) { r.send(10, pace.OK); r.send(10, pace.Failure) }, pace.Open},
		"half overloaded":           {func(r *rig) { r.send(10, pace.OK); r.send(10, pace.Overload) }, pace.Open},
		"less than half":            {func(r *rig) { r.send(100, pace.OK); r.send(99, pace.Failure) }, pace.Closed},
		"too few to tell":           {func(r *rig) { r.send(19, pace.Failure) }, pace.Closed},
		"callers that left":         {func(r *rig) { r.send(1000, pace.Ignore) }, pace.Closed},
		"they do not dilute either": {func(r *rig) { r.send(1000, pace.Ignore); r.send(20, pace.Failure) }, pace.Open},
		"they are not enough":       {func(r *rig) { r.send(1000, pace.Ignore); r.send(19, pace.Failure) }, pace.Closed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				test.send(r)
				r.want(test.want)
			})
		})
	}
}

// A fixed window forgets at its edges: failures on both sides of one would not
// be seen together.
func TestABreakersWindowRolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for offset := time.Duration(0); offset < window; offset += window / 10 {
			r := newRig(t)
			time.Sleep(offset)
			r.send(10, pace.Failure)
			time.Sleep(window * 8 / 10)
			r.send(9, pace.Failure)
			r.want(pace.Closed)
			r.send(1, pace.Failure)
			r.want(pace.Open)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.send(19, pace.Failure)
		time.Sleep(window)
		r.send(19, pace.Failure)
		r.want(pace.Closed) // the first ones are forgotten
	})
}

func TestAnOpenBreakerRefusesAndSaysWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.open()
		for passed := time.Duration(0); passed < openFor; passed += openFor / 3 {
			_, err := r.Allow()
			if got, want := overload(t, err).RetryAfter, openFor-passed; got != want {
				t.Fatalf("come back after %v, want %v", got, want)
			}
			time.Sleep(openFor / 3)
		}
		_, err := r.Allow()
		if over := overload(t, err); over.RetryAfter != openFor {
			t.Errorf("at the end of that time: come back after %v, want %v", over.RetryAfter, openFor)
		}
		time.Sleep(time.Nanosecond) // it ends after that time, not at it
		r.allow()(pace.OK)
		if s := r.Stats(); s.Opened != 1 || s.Refused != 4 {
			t.Errorf("stats are %+v, want once opened and 4 refused", s)
		}
	})
}

func TestABreakerClosesWithinOpenForAfterTheServerIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		began := time.Now()
		wellAfter := 7 * time.Second
		var closed time.Duration
		for closed == 0 {
			if done, err := r.Allow(); err == nil {
				if time.Since(began) < wellAfter {
					done(pace.Failure)
				} else {
					done(pace.OK)
				}
			}
			if time.Since(began) >= wellAfter && r.State() == pace.Closed {
				closed = time.Since(began)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if late := closed - wellAfter; late > openFor+100*time.Millisecond {
			t.Errorf("closed %v after the server was well, want %v and a few requests", late, openFor)
		}
		want := []string{"closed-open", "open-half-open", "half-open-open", "open-half-open", "half-open-open", "open-half-open", "half-open-closed"}
		if !slices.Equal(r.changes, want) {
			t.Errorf("changes were %v, want %v", r.changes, want)
		}
	})
}

func TestAHalfOpenBreakerLetsAFewRequestsFindOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.halfOpen()
		var under []func(pace.Outcome)
		for range probes {
			under = append(under, r.allow())
		}
		_, err := r.Allow()
		if over := overload(t, err); over.RetryAfter <= 0 {
			t.Errorf("come back after %v, want later", over.RetryAfter)
		}
		under[0](pace.OK)
		under[1](pace.OK)
		r.want(pace.HalfOpen)
		under[2](pace.OK)
		r.want(pace.Closed)

		r.halfOpen()
		r.allow()(pace.OK)
		r.allow()(pace.Overload)
		r.want(pace.Open) // one is enough
	})
}

// Probes whose callers leave say nothing, and must not use up the few there are.
func TestAProbeWhoseCallerLeftIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.halfOpen()
		for range 100 {
			var under []func(pace.Outcome)
			for range probes {
				under = append(under, r.allow())
			}
			if _, err := r.Allow(); err == nil {
				t.Fatal("more probes than there may be")
			}
			for _, done := range under {
				done(pace.Ignore)
			}
			r.want(pace.HalfOpen)
		}
		r.send(probes, pace.OK)
		r.want(pace.Closed)
	})
}

// Requests that began before it opened end while others find out.
func TestABreakerDoesNotHearWhatBeganBeforeItOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		early := r.allow()
		late := r.allow()
		r.halfOpen()
		for range probes {
			early(pace.OK)
		}
		late(pace.Failure)
		r.want(pace.HalfOpen)
	})
}

// The documented limit of the window.
func TestARequestLongerThanTheWindowCountsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for took, want := range map[time.Duration]pace.State{window - time.Second: pace.Open, window + time.Second: pace.Closed} {
			r := newRig(t)
			var under []func(pace.Outcome)
			for range 20 {
				under = append(under, r.allow())
			}
			time.Sleep(took)
			for _, done := range under {
				done(pace.Failure)
			}
			r.want(want)
		}
	})
}

func TestABreakerHasTheStatedDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, Breaker: pace.NewBreaker(pace.BreakerConfig{})}
		r.send(10, pace.OK)
		r.send(9, pace.Failure)
		r.want(pace.Closed)
		r.send(1, pace.Failure)
		r.want(pace.Open)
		time.Sleep(5 * time.Second)
		r.want(pace.Open)
		time.Sleep(time.Nanosecond)
		r.want(pace.HalfOpen)
		r.send(1, pace.OK)
		r.want(pace.Closed)
		r.send(10, pace.Failure)
		time.Sleep(10 * time.Second)
		r.send(10, pace.Failure)
		r.want(pace.Closed)
	})
}

func TestABreakerNeverHasMoreProbesThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.halfOpen()
		var under, most, allowed atomic.Int64
		var callers sync.WaitGroup
		for c := range 20 {
			callers.Go(func() {
				for range 200 {
					done, err := r.Allow()
					if err == nil {
						allowed.Add(1)
						now := under.Add(1)
						for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
						}
						time.Sleep(time.Duration(c%5) * time.Microsecond)
						under.Add(-1)
						done(pace.Ignore)
					}
					time.Sleep(time.Microsecond)
				}
			})
		}
		callers.Wait()
		if most.Load() > probes || allowed.Load() < 100 {
			t.Errorf("%d probes at once of %d, want at most %d", most.Load(), allowed.Load(), probes)
		}
		r.want(pace.HalfOpen)
	})
}
