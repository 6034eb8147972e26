package pace_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/pace"
)

func newBreaker(changes *[]pace.State) *pace.Breaker {
	return pace.NewBreaker(pace.BreakerConfig{
		Name: "test", Window: 10 * time.Second, MinRequests: 20, FailureRatio: 0.5, OpenFor: 3 * time.Second, Probes: 3,
		OnChange: func(_, to pace.State) { *changes = append(*changes, to) },
	})
}

func report(t *testing.T, b *pace.Breaker, outcomes ...pace.Outcome) {
	t.Helper()
	for _, o := range outcomes {
		done, err := b.Allow()
		if err != nil {
			t.Fatal(err)
		}
		done(o)
	}
}

func refused(t *testing.T, b *pace.Breaker) time.Duration {
	t.Helper()
	_, err := b.Allow()
	over := (*pace.OverloadError)(nil)
	if !errors.As(err, &over) {
		t.Fatalf("%v", err)
	}
	return over.RetryAfter
}

func TestABreakerOpensAtItsRatioAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []pace.State
		b := newBreaker(&changes)
		for range 10 {
			report(t, b, pace.OK)
		}
		for range 9 {
			report(t, b, pace.Overload)
		}
		for range 100 {
			report(t, b, pace.Ignore)
		}
		if b.State() != pace.Closed {
			t.Fatal("opened by 9 of 19")
		}
		report(t, b, pace.Failure)
		if b.State() != pace.Open || refused(t, b) != 3*time.Second {
			t.Fatal(b.State())
		}
		time.Sleep(2 * time.Second)
		if got := refused(t, b); got != time.Second {
			t.Fatalf("to be asked again after %v", got)
		}
		time.Sleep(time.Second + 1)
		report(t, b, pace.OK, pace.OK, pace.OK)
		if s := b.Stats(); s.State != pace.Closed || s.Opened != 1 || s.Refused != 2 || len(changes) != 3 {
			t.Fatalf("%+v, %v", s, changes)
		}
	})
}

func TestFailuresThatLeftTheWindowDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []pace.State
		b := newBreaker(&changes)
		for range 10 {
			for range 19 {
				report(t, b, pace.Failure)
			}
			time.Sleep(11 * time.Second)
		}
		if b.State() != pace.Closed {
			t.Fatal("opened")
		}
		// Twenty across two steps of one window do.
		for range 19 {
			report(t, b, pace.Failure)
		}
		time.Sleep(8 * time.Second)
		report(t, b, pace.Failure)
		if b.State() != pace.Open {
			t.Fatal("not opened")
		}
	})
}

func TestAHalfOpenBreakerIsNotWedgedByRequestsThatTellNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []pace.State
		b := newBreaker(&changes)
		var late []func(pace.Outcome)
		for range 5 {
			done, _ := b.Allow()
			late = append(late, done)
		}
		for range 20 {
			report(t, b, pace.Failure)
		}
		time.Sleep(3*time.Second + 1)
		for range 100 {
			report(t, b, pace.Ignore)
		}
		report(t, b, pace.OK, pace.Ignore, pace.OK, pace.Ignore)
		for _, done := range late {
			done(pace.Failure) // of requests from before it opened
		}
		if b.State() != pace.HalfOpen {
			t.Fatal(b.State())
		}
		report(t, b, pace.OK)
		if b.State() != pace.Closed {
			t.Fatal(b.State())
		}
	})
}

func TestAHalfOpenBreakerLetsOnlyItsProbesPassAndOpensAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []pace.State
		b := newBreaker(&changes)
		for range 20 {
			report(t, b, pace.Failure)
		}
		time.Sleep(3*time.Second + 1)
		var probes []func(pace.Outcome)
		for range 3 {
			done, err := b.Allow()
			if err != nil {
				t.Fatal(err)
			}
			probes = append(probes, done)
		}
		if got := refused(t, b); got <= 0 || got > 3*time.Second {
			t.Fatalf("to be asked again after %v", got)
		}
		probes[0](pace.OK)
		probes[1](pace.Failure)
		probes[2](pace.OK)
		if b.State() != pace.Open || b.Stats().Opened != 2 {
			t.Fatal(b.Stats())
		}
	})
}

// A server that is gone fails its first requests, whatever it did before.
func TestABreakerOpensAtFailuresInARow(t *testing.T) {
	b := pace.NewBreaker(pace.BreakerConfig{Consecutive: 3})
	for range 1000 {
		report(t, b, pace.OK)
	}
	report(t, b, pace.Failure, pace.Failure, pace.OK, pace.Failure, pace.Failure, pace.Ignore)
	if b.State() != pace.Closed {
		t.Fatal("two in a row opened it")
	}
	report(t, b, pace.Failure)
	if b.State() != pace.Open {
		t.Error("three in a row did not open it")
	}
}
