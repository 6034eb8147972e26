package loadtest

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A law with a long tail: the server draws from it, notes what it drew, and the
// quantiles that are measured must be those that it noted.
func TestQuantilesAreThoseOfTheServer(t *testing.T) {
	for _, client := range []string{ClientRaw, ClientHTTP} {
		r := seeded(1)
		var truth []time.Duration
		s := &bubbleServer{}
		s.serve = func(int, time.Duration, *http.Request) (time.Duration, *bubbleAnswer) {
			s.mu.Lock()
			defer s.mu.Unlock()
			takes := min(time.Duration(float64(time.Millisecond)*math.Exp(r.normal())), 25*time.Millisecond)
			truth = append(truth, takes)
			return takes, ok
		}
		cfg := bubbleConfig("poisson:2000", 10*time.Second, 200)
		cfg.Client = client
		inBubble(t, cfg, s, func(result *Result) {
			slices.Sort(truth)
			for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
				want := truth[max(int(math.Ceil(q*float64(len(truth)))), 1)-1]
				for name, h := range map[string]*Histogram{"response": result.Response, "service": result.Service} {
					if got := h.Quantile(q); math.Abs(float64(got-want)) > 0.01*float64(want) {
						t.Errorf("%s: quantile %g of %s is %v, want %v", client, q, name, got, want)
					}
				}
			}
			if late := result.Lateness.Max(); late != 0 {
				t.Errorf("%s: a request was sent %v late", client, late)
			}
			if result.Totals.Failed > 0 || result.Totals.Unsent > 0 || len(truth) != int(result.Totals.Done) {
				t.Errorf("%s: %+v of %d requests", client, result.Totals, len(truth))
			}
		})
	}
}

// At 5,000 a second a server stands still for 400 ms of 4 s: a tenth of the
// requests is due then, so the 99th percentile lies 40 ms before the end of the
// freeze. The service time does not see it: only those that were under way do.
func TestAFreezeIsSeenByAllThatWereDue(t *testing.T) {
	const begin, length = 2 * time.Second, 400 * time.Millisecond
	s := &bubbleServer{serve: func(_ int, at time.Duration, _ *http.Request) (time.Duration, *bubbleAnswer) {
		if at >= begin && at < begin+length {
			return begin + length - at, ok
		}
		return 0, ok
	}}
	inBubble(t, bubbleConfig("5000", 4*time.Second, 32), s, func(r *Result) {
		if p99 := r.Response.Quantile(0.99); p99 < 355*time.Millisecond || p99 > 365*time.Millisecond {
			t.Errorf("p99 of the response time is %v, want 360ms", p99)
		}
		if longest := r.Response.Max(); longest < 399*time.Millisecond || longest > 401*time.Millisecond {
			t.Errorf("the longest response took %v, want 400ms", longest)
		}
		if p99 := r.Service.Quantile(0.99); p99 > time.Millisecond {
			t.Errorf("p99 of the service time is %v: that is the freeze, which 32 of 20,000 requests saw", p99)
		}
		if r.Self.LatenessP99 > 0 || r.Self.Waited < 1900 || r.Self.Waited > 2000 {
			t.Errorf("the generator was late by %v, and %d requests waited; want 0 and the 1968 that found no connection", r.Self.LatenessP99, r.Self.Waited)
		}
		if at := r.Intervals[2]; at.P50 > 0 || at.P99 < 300*time.Millisecond || r.Intervals[1].Max > 0 || r.Intervals[3].Max > 0 {
			t.Errorf("the freeze is not in the third second alone: p99 %v, and maxima of %v and %v around it", at.P99, r.Intervals[1].Max, r.Intervals[3].Max)
		}
		if r.Totals.Scheduled != 20_000 || r.Totals.Done != 20_000 {
			t.Errorf("%d were due and %d answered, want 20000", r.Totals.Scheduled, r.Totals.Done)
		}
	})
}

func TestTheRateIsWhatWasAskedFor(t *testing.T) {
	for _, c := range []struct {
		rate string
		want []int // in each second
	}{
		{"1000", []int{1000, 1000, 1000}},
		{"10000", []int{10_000, 10_000, 10_000}},
		{"ramp:0..2000@2s", []int{500, 1500, 2000}},
		{"1s@100,1s@0,1s@3000", []int{100, 0, 3000}},
	} {
		s := &bubbleServer{serve: func(int, time.Duration, *http.Request) (time.Duration, *bubbleAnswer) {
			return 100 * time.Microsecond, ok
		}}
		inBubble(t, bubbleConfig(c.rate, 3*time.Second, 16), s, func(r *Result) {
			got := make([]int, 4)
			for _, at := range s.arrived {
				got[int(at/time.Second)]++
			}
			for i, want := range c.want {
				if math.Abs(float64(got[i]-want)) > 0.005*float64(want) || r.Intervals[i].Scheduled != int64(got[i]) {
					t.Errorf("%s: in second %d %d requests came, %d were due, want %d", c.rate, i, got[i], r.Intervals[i].Scheduled, want)
				}
			}
		})
	}
}

// Two connections, each answer takes a second, four a second are due for ten
// seconds: 20 can be sent while requests fall due, and two a second after it.
func TestWhatCouldNotBeSentIsCounted(t *testing.T) {
	slow := func(int, time.Duration, *http.Request) (time.Duration, *bubbleAnswer) { return time.Second, ok }
	for _, c := range []struct {
		name           string
		grace, timeout time.Duration
		sent           int64
	}{
		{"all, in time", time.Minute, time.Minute, 40},
		{"no grace", 0, time.Minute, 20},
		{"five seconds of grace", 5 * time.Second, time.Minute, 30},
		// Those that are given up let the others be sooner.
		{"given up after two seconds", time.Minute, 2 * time.Second, -1},
	} {
		cfg := bubbleConfig("4", 10*time.Second, 2)
		cfg.Grace, cfg.Timeout = c.grace, c.timeout
		inBubble(t, cfg, &bubbleServer{serve: slow}, func(r *Result) {
			total := r.Totals
			if total.Scheduled != 40 {
				t.Errorf("%s: %d requests were due, want 40", c.name, total.Scheduled)
			}
			if c.sent >= 0 && math.Abs(float64(total.Sent-c.sent)) > 2 {
				t.Errorf("%s: %d requests were sent, want %d", c.name, total.Sent, c.sent)
			}
			if c.sent < 0 && (total.Unsent < 10 || r.Lateness.Max() > 2100*time.Millisecond) {
				t.Errorf("%s: %d are unsent, and one was sent %v late", c.name, total.Unsent, r.Lateness.Max())
			}
			if r.Took > 10*time.Second+c.grace+time.Millisecond {
				t.Errorf("%s: it took %v", c.name, r.Took)
			}
		})
	}
}

func TestARunIsBoundedInRequests(t *testing.T) {
	cfg := bubbleConfig("1000", time.Hour, 4)
	cfg.Requests = 500
	s := &bubbleServer{serve: func(int, time.Duration, *http.Request) (time.Duration, *bubbleAnswer) { return 0, ok }}
	inBubble(t, cfg, s, func(r *Result) {
		if r.Totals.Sent != 500 || r.Totals.Scheduled != 500 || r.Took > time.Second {
			t.Errorf("%d sent of %d in %v, want 500 in 499ms", r.Totals.Sent, r.Totals.Scheduled, r.Took)
		}
	})
}

func TestAClosedLoopSendsWhenItWasAnswered(t *testing.T) {
	s := &bubbleServer{serve: func(int, time.Duration, *http.Request) (time.Duration, *bubbleAnswer) {
		return 10 * time.Millisecond, ok
	}}
	inBubble(t, bubbleConfig("max", 2*time.Second, 5), s, func(r *Result) {
		if r.Loop != LoopClosed || r.Totals.Done < 995 || r.Totals.Done > 1005 || r.Lateness.Max() > 0 {
			t.Errorf("a %s loop of 5 connections got %d answers that take 10 ms in 2 s, the latest sent %v late; want 1000",
				r.Loop, r.Totals.Done, r.Lateness.Max())
		}
	})
}

// What is under way may end, what is due is unsent, what would have been due
// later is not counted at all.
func TestAStoppedRunReportsWhatThereIs(t *testing.T) {
	for _, takes := range []time.Duration{time.Millisecond, time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			s := &bubbleServer{start: time.Now(), serve: func(int, time.Duration, *http.Request) (time.Duration, *bubbleAnswer) { return takes, ok }}
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("enough")
			time.AfterFunc(3500*time.Millisecond, func() { cancel(why) })
			r, err := run(ctx, bubbleConfig("100", time.Hour, 10), s.dial, false)
			if err != nil {
				t.Fatal(err)
			}
			checkResult(t, r)
			if r.Stopped != "enough" || r.Totals.Scheduled < 350 || r.Totals.Scheduled > 351 || r.Took > 3500*time.Millisecond+lastWait {
				t.Errorf("answers after %v: stopped by %q after %v, %d due; want 350", takes, r.Stopped, r.Took, r.Totals.Scheduled)
			}
			if aborted := r.Totals.Errors[ErrorAborted]; (aborted > 0) != (takes == time.Minute) {
				t.Errorf("answers after %v: %d were aborted", takes, aborted)
			}
			s.handlers.Wait()
		})
	}
}

func TestIntervalsAreReportedAsTheyEnd(t *testing.T) {
	cfg := bubbleConfig("100", 3500*time.Millisecond, 4)
	var told []Interval
	cfg.OnInterval = func(at Interval) { told = append(told, at) }
	s := &bubbleServer{serve: func(_ int, at time.Duration, _ *http.Request) (time.Duration, *bubbleAnswer) {
		if at > 2*time.Second {
			return 0, &bubbleAnswer{status: 503, cache: "none"}
		}
		return 0, ok
	}}
	inBubble(t, cfg, s, func(r *Result) {
		if len(told) != 4 || len(r.Intervals) != 4 {
			t.Fatalf("%d intervals were told of, %d are in the result, want 4", len(told), len(r.Intervals))
		}
		for i, at := range r.Intervals {
			want := map[string]int64{"ram": 100}
			if i == 2 {
				want = map[string]int64{"ram": 1, "none": 99}
			} else if i == 3 {
				want = map[string]int64{"none": 50}
			}
			if at.Asked != 100 || at.Done != told[i].Done || at.Done != want["ram"]+want["none"] || at.Caches["ram"] != want["ram"] || at.Failed != want["none"] {
				t.Errorf("interval %d is %+v, want answers %v", i, at, want)
			}
		}
		if r.Totals.Errors[ErrorStatus] != 149 {
			t.Errorf("errors %v, want 149 for the status", r.Totals.Errors)
		}
	})
}

// The last second was said to have taken none: of a short run, all of it.
func TestTheLastSecondHasItsCPUTimeToo(t *testing.T) {
	cfg := bubbleConfig("max", time.Hour, 2)
	cfg.Requests, cfg.Metrics = 200, nil
	s := &bubbleServer{serve: func(int, time.Duration, *http.Request) (time.Duration, *bubbleAnswer) { return 0, ok }}
	inBubble(t, cfg, s, func(r *Result) {
		if last := r.Intervals[len(r.Intervals)-1]; last.CPU <= 0 {
			t.Errorf("the CPU time of the last of %d intervals is %v", len(r.Intervals), last.CPU)
		}
	})
}

// Each request takes 700 ms: those that are due late in a second end in the next.
func TestASecondHasTheRequestsThatEndedInIt(t *testing.T) {
	s := &bubbleServer{serve: func(int, time.Duration, *http.Request) (time.Duration, *bubbleAnswer) {
		return 700 * time.Millisecond, ok
	}}
	inBubble(t, bubbleConfig("10", 2*time.Second, 20), s, func(r *Result) {
		var due, ended []int64
		for i := range r.Intervals {
			due, ended = append(due, r.Intervals[i].Scheduled), append(ended, r.Intervals[i].Done)
		}
		if !slices.Equal(due, []int64{10, 10, 0}) || !slices.Equal(ended, []int64{3, 10, 7}) {
			t.Errorf("%v were due and %v ended in the seconds, want [10 10 0] and [3 10 7]", due, ended)
		}
	})
}

// A generator that is late by itself measures itself.
func TestTheVerdict(t *testing.T) {
	const ms = time.Millisecond
	histogram := func(d time.Duration) *Histogram {
		h := &Histogram{}
		for range 1000 {
			h.Record(d)
		}
		return h
	}
	for _, c := range []struct {
		name           string
		loop           string
		response, late time.Duration
		share          float64
		want           string
		warnings       int
	}{
		{"as it should be", LoopOpen, 50 * ms, 2 * ms, 0.5, Valid, 0},
		{"below the floor, with a warning", LoopOpen, 3 * ms, 1 * ms, 0.5, Valid, 1},
		{"above a tenth", LoopOpen, 50 * ms, 6 * ms, 0.5, Invalid, 0},
		{"a slow server allows more", LoopOpen, 500 * ms, 6 * ms, 0.5, Valid, 0},
		{"no CPU left", LoopOpen, 50 * ms, 1 * ms, 0.81, Invalid, 0},
		{"a closed loop is never late", LoopClosed, 50 * ms, 0, 0.5, Valid, 1},
	} {
		r := &Result{Loop: c.loop, Took: time.Second, Config: DefaultConfig(), Host: Host{GOMAXPROCS: 2}, Response: histogram(c.response),
			Totals: Totals{Scheduled: 1000, Sent: 1000, Done: 1000}, Self: Self{Lateness: histogram(c.late)}}
		r.Self.judge(r, usage{cpu: time.Duration(2 * c.share * float64(time.Second))})
		if r.Self.Verdict != c.want || (c.want == Invalid) != (len(r.Self.Reasons) > 0) || len(r.Self.Warnings) != c.warnings {
			t.Errorf("%s: %s because of %q, warnings %q", c.name, r.Self.Verdict, r.Self.Reasons, r.Self.Warnings)
		}
	}
}
