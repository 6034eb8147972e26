package pace_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/micelio/micelio/pace"
)

const slow = 100 * time.Millisecond

func known() (time.Duration, bool)   { return slow, true }
func unknown() (time.Duration, bool) { return 0, false }

var errServer = errors.New("the server failed")

// pause sleeps unless the context ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A plan is how long an attempt takes and how it ends.
type plan struct {
	takes time.Duration
	err   error
}

func follow(plans ...plan) func(context.Context, int) (int, error) {
	return func(ctx context.Context, n int) (int, error) {
		if err := pause(ctx, plans[n].takes); err != nil {
			return n, err
		}
		return n, plans[n].err
	}
}

func TestWhatADoAnswers(t *testing.T) {
	refusal := fmt.Errorf("not asked: %w", &pace.OverloadError{What: "busy"})
	second := errors.New("second")
	for name, c := range map[string]struct {
		plans []plan
		want  int
		err   error
		took  time.Duration
		sent  int64
	}{
		"fast":                                   {[]plan{{takes: 50 * time.Millisecond}}, 0, nil, 50 * time.Millisecond, 0},
		"just as the twin would start":           {[]plan{{takes: slow}, {takes: time.Second}}, 0, nil, slow, 1},
		"the twin wins":                          {[]plan{{takes: time.Second}, {takes: slow}}, 1, nil, 2 * slow, 1},
		"the first wins":                         {[]plan{{takes: 150 * time.Millisecond}, {takes: slow}}, 0, nil, 150 * time.Millisecond, 1},
		"a failure does not beat the twin":       {[]plan{{150 * time.Millisecond, errServer}, {takes: slow}}, 1, nil, 2 * slow, 1},
		"a failed twin does not beat":            {[]plan{{takes: 3 * slow}, {0, errServer}}, 0, nil, 3 * slow, 1},
		"a failure before the twin is final":     {[]plan{{50 * time.Millisecond, errServer}}, 0, errServer, 50 * time.Millisecond, 0},
		"both fail":                              {[]plan{{3 * slow, errServer}, {slow, second}}, 1, second, 3 * slow, 1},
		"a refused twin does not hide an answer": {[]plan{{3 * slow, errServer}, {0, refusal}}, 0, errServer, 3 * slow, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := pace.NewHedger(pace.NewBudget(0, 5), known)
				began := time.Now()
				got, release, err := pace.Do(t.Context(), h, follow(c.plans...), func(int) { t.Error("discarded") })
				if got != c.want || !errors.Is(err, c.err) || time.Since(began) != c.took || (release == nil) != (err != nil) {
					t.Errorf("%d, %v after %v", got, err, time.Since(began))
				}
				if s := h.Stats(); s.Sent != c.sent && c.took != slow {
					t.Errorf("%+v", s)
				}
				if release != nil {
					release()
				}
				h.Close()
			})
		})
	}
}

func TestTheWinnersContextLivesUntilItsRelease(t *testing.T) {
	for name, after := range map[string]func() (time.Duration, bool){"known": known, "unknown": unknown} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := pace.NewHedger(pace.NewBudget(0, 5), after)
				won, release, err := pace.Do(t.Context(), h, func(ctx context.Context, _ int) (context.Context, error) {
					return ctx, pause(ctx, 50*time.Millisecond)
				}, func(context.Context) {})
				if err != nil || won.Err() != nil {
					t.Fatal(err, won.Err())
				}
				release()
				if won.Err() == nil {
					t.Fatal("the context outlives its release")
				}
				var lost context.Context
				_, _, err = pace.Do(t.Context(), h, func(ctx context.Context, _ int) (int, error) {
					lost = ctx
					return 0, errServer
				}, func(int) {})
				if err == nil || lost.Err() == nil {
					t.Fatal("the context outlives its failure")
				}
				h.Close()
			})
		})
	}
}

func TestALoserIsCancelledDiscardedOnceAndJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := pace.NewHedger(pace.NewBudget(0, 5), known)
		var discarded atomic.Int64
		_, release, err := pace.Do(t.Context(), h, func(ctx context.Context, n int) (int, error) {
			if n == 1 {
				return n, nil
			}
			<-ctx.Done()
			time.Sleep(time.Second) // it heeds its context late, and has a result all the same
			return n, nil
		}, func(n int) {
			if n != 0 {
				t.Errorf("attempt %d discarded", n)
			}
			discarded.Add(1)
		})
		if err != nil || discarded.Load() != 0 {
			t.Fatal(err, discarded.Load())
		}
		began := time.Now()
		h.Close()
		if time.Since(began) != time.Second || discarded.Load() != 1 || h.Stats() != (pace.HedgeStats{Sent: 1, Won: 1}) {
			t.Fatal(time.Since(began), discarded.Load(), h.Stats())
		}
		release()
	})
}

func TestACallerThatLeavesEndsBothRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, leave := range []time.Duration{slow / 2, slow, 2 * slow} {
			h := pace.NewHedger(pace.NewBudget(0, 5), known)
			ctx, cancel := context.WithTimeout(t.Context(), leave)
			began := time.Now()
			_, _, err := pace.Do(ctx, h, follow(plan{takes: time.Hour}, plan{takes: time.Hour}), func(int) { t.Error("discarded") })
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != leave {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			cancel()
			h.Close()
		}
	})
}

func TestADoHedgesOnceAndWithinItsBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := pace.NewBudget(0.05, 1)
		h := pace.NewHedger(budget, known)
		var calls int64
		for range 100 {
			h.Demand()
			_, release, err := pace.Do(t.Context(), h, func(ctx context.Context, n int) (int, error) {
				atomic.AddInt64(&calls, 1)
				return n, pause(ctx, time.Second)
			}, func(int) {})
			if err != nil {
				t.Fatal(err)
			}
			release()
		}
		h.Close()
		if s := h.Stats(); s.Sent < 5 || s.Sent > 6 || calls != 100+s.Sent {
			t.Fatalf("%+v, %d calls", s, calls)
		}
	})
}

func TestAPanicOfARequestIsOneOfDo(t *testing.T) {
	caught := func(do func()) (v any) {
		defer func() { v = recover() }()
		do()
		return nil
	}
	for name, after := range map[string]func() (time.Duration, bool){"known": known, "unknown": unknown} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := pace.NewHedger(pace.NewBudget(0, 5), after)
				v := caught(func() {
					pace.Do(t.Context(), h, func(context.Context, int) (int, error) { panic("a bug") }, func(int) {})
				})
				if !strings.Contains(fmt.Sprint(v), "a bug") {
					t.Fatalf("%v", v)
				}
				h.Close()
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		h := pace.NewHedger(pace.NewBudget(0, 5), known)
		if v := caught(func() {
			pace.Do(t.Context(), h, func(context.Context, int) (int, error) { runtime.Goexit(); return 0, nil }, func(int) {})
		}); v == nil {
			t.Fatal("a request without an end succeeded")
		}
		h.Close()
	})
}

func TestEveryResultIsReturnedOrDiscardedUnderRandomInterleavings(t *testing.T) {
	defer goleak.VerifyNone(t)
	h := pace.NewHedger(pace.NewBudget(1, 1000), func() (time.Duration, bool) { return rand.N(200 * time.Microsecond), rand.IntN(10) > 0 })
	var made, kept, discarded atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 200 {
				h.Demand()
				ctx, cancel := context.WithTimeout(context.Background(), rand.N(time.Millisecond))
				_, release, err := pace.Do(ctx, h, func(context.Context, int) (int, error) {
					<-time.After(rand.N(400 * time.Microsecond))
					if rand.IntN(4) == 0 {
						return 0, errServer
					}
					made.Add(1)
					return 0, nil
				}, func(int) { discarded.Add(1) })
				if err == nil {
					kept.Add(1)
					release()
				}
				cancel()
			}
		})
	}
	all.Wait()
	h.Close()
	if made.Load() != kept.Load()+discarded.Load() || discarded.Load() == 0 {
		t.Fatalf("%d made, %d kept, %d discarded", made.Load(), kept.Load(), discarded.Load())
	}
}

// A caller may know better what is slow, and that a twin is of no use.
func TestADoAfterSendsATwinOnlyIfItIsNeeded(t *testing.T) {
	for _, needed := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := pace.NewHedger(pace.NewBudget(1, 0), unknown)
			began := time.Now()
			got, release, err := pace.DoAfter(t.Context(), h, slow, func() bool { return needed },
				follow(plan{takes: 10 * slow}, plan{takes: slow}), func(int) {})
			if err != nil {
				t.Fatal(err)
			}
			release()
			h.Close()
			want, took := 0, 10*slow
			if needed {
				want, took = 1, 2*slow
			}
			if got != want || time.Since(began) != took || h.Stats().Sent != int64(want) {
				t.Errorf("needed %v: attempt %d after %v, %+v", needed, got, time.Since(began), h.Stats())
			}
		})
	}
}
