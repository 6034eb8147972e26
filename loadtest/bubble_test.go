package loadtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A bubbleServer answers requests over pipes, inside a bubble: what it does takes
// the time that it sleeps, and nothing else takes any. So whatever a run measures
// can be compared with what the server knows.
type bubbleServer struct {
	// serve returns how long the request that arrives now takes, and the answer;
	// nil ends the connection.
	serve func(n int, at time.Duration, r *http.Request) (time.Duration, *bubbleAnswer)

	mu       sync.Mutex
	start    time.Time
	arrived  []time.Duration // when requests came
	dialled  int
	handlers sync.WaitGroup
}

// A bubbleAnswer is what a bubbleServer answers.
type bubbleAnswer struct {
	status int
	cache  string
	body   string
}

// ok answers with the 16 bytes that the objects of a testPart have.
var ok = &bubbleAnswer{status: 200, cache: "ram", body: strings.Repeat("x", 16)}

func (s *bubbleServer) dial(context.Context, string) (net.Conn, error) {
	client, server := net.Pipe()
	s.mu.Lock()
	s.dialled++
	s.mu.Unlock()
	s.handlers.Go(func() {
		defer server.Close()
		in := bufio.NewReader(server)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			s.mu.Lock()
			at, n := time.Since(s.start), len(s.arrived)
			s.arrived = append(s.arrived, at)
			s.mu.Unlock()
			takes, a := s.serve(n, at, r)
			<-time.After(takes) // of the clock of the bubble
			if a == nil {
				return
			}
			if _, err := fmt.Fprintf(server, "HTTP/1.1 %d X\r\nX-Cache: %s\r\nContent-Length: %d\r\n\r\n%s", a.status, a.cache, len(a.body), a.body); err != nil {
				return
			}
		}
	})
	return client, nil
}

// bubbleConfig is a run of one part with objects of 16 bytes.
func bubbleConfig(rate string, duration time.Duration, connections int) Config {
	cfg := DefaultConfig()
	cfg.Mix = Mix{Parts: []Part{testPart()}}
	cfg.Targets = []string{"127.0.0.1:1"}
	cfg.Rate, cfg.Duration, cfg.Connections, cfg.CheckEvery = rate, duration, connections, 0
	return cfg
}

// inBubble does a run against s, and looks at the Result.
func inBubble(t *testing.T, cfg Config, s *bubbleServer, look func(*Result)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s.start = time.Now()
		result, err := run(t.Context(), cfg, s.dial, false)
		if err != nil {
			t.Fatal(err)
		}
		s.handlers.Wait()
		checkResult(t, result)
		look(result)
	})
}

// checkResult says what is true of every Result.
func checkResult(t *testing.T, r *Result) {
	t.Helper()
	total := r.Totals
	failed, answered := int64(0), total.Sent
	for kind, n := range total.Errors {
		failed += n
		if kind != ErrorStatus && kind != ErrorBody {
			answered -= n
		}
	}
	switch {
	case total.Scheduled != total.Sent+total.Unsent:
		t.Errorf("%d were due, but %d sent and %d unsent", total.Scheduled, total.Sent, total.Unsent)
	case total.Failed != failed:
		t.Errorf("%d failed, but the errors are %v", total.Failed, total.Errors)
	case total.Done != answered:
		t.Errorf("%d were answered, want %d: %d sent, errors %v", total.Done, answered, total.Sent, total.Errors)
	}
	// Of a closed loop there were as many noughts, which looked like a generator that is never late.
	if own := r.Self.Lateness.Count(); own != total.Sent && r.Loop == LoopOpen || own != 0 && r.Loop == LoopClosed {
		t.Errorf("own lateness of a %s loop has %d entries of %d", r.Loop, own, total.Sent)
	}
	for name, h := range map[string]*Histogram{"response": r.Response, "service": r.Service, "lateness": r.Lateness} {
		if h.Count() != total.Sent {
			t.Errorf("%s has %d entries, want %d", name, h.Count(), total.Sent)
		}
	}
	series, intervals, seconds := int64(0), Totals{}, new(Histogram)
	for i := range r.Series {
		s := &r.Series[i]
		series += s.Count
		if s.Response.Count() != s.Count || s.Service.Count() != s.Count || s.Lateness.Count() != s.Count {
			t.Errorf("a series of %d has %d, %d and %d entries", s.Count, s.Response.Count(), s.Service.Count(), s.Lateness.Count())
		}
	}
	offset := time.Duration(0)
	for i := range r.Intervals {
		at := &r.Intervals[i]
		if at.Offset != offset {
			t.Errorf("interval %d begins after %v, want %v", i, at.Offset, offset)
		}
		offset += at.Length
		intervals.Add(&at.Totals)
		h, err := at.Response.Decode()
		if err != nil {
			t.Fatal(err)
		}
		if h.Count() != at.Sent {
			t.Errorf("interval %d has %d entries, want %d", i, h.Count(), at.Sent)
		}
		seconds.Merge(h)
	}
	if series != total.Sent || intervals.Sent != total.Sent || intervals.Scheduled != total.Scheduled {
		t.Errorf("%d were sent; series have %d, intervals %d of %d", total.Sent, series, intervals.Sent, intervals.Scheduled)
	}
	if offset != r.Took {
		t.Errorf("the intervals take %v, the run %v", offset, r.Took)
	}
	for _, q := range []float64{0.5, 0.99, 1} {
		if seconds.Quantile(q) != r.Response.Quantile(q) {
			t.Errorf("quantile %g of the seconds together is %v, of the run %v", q, seconds.Quantile(q), r.Response.Quantile(q))
		}
	}
}
