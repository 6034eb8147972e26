package node

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/console"
	"github.com/micelio/micelio/gateway"
	"github.com/micelio/micelio/object"
)

const (
	// slowKept is how many requests are told of.
	slowKept = 50

	// slowFor is how long a request is told of.
	slowFor = time.Hour

	// slowSpan is the time whose slowest are kept together. Requests that are among
	// the slowest only once others are an hour old are then known, but for those of
	// the first few minutes of that hour. 13 spans of 50 requests with keys of 1 KiB
	// take less than 1 MB.
	slowSpan = 5 * time.Minute
)

// slowest are the client requests of the last hour that took longest, but for those
// that the fast lane answered from memory, which are never noted. It is safe for
// concurrent use.
type slowest struct {
	shown func(object.Key) string
	began time.Time

	// Most requests are not among them, which is told from these without a lock.
	least atomic.Int64 // they have to take longer than so many nanoseconds,
	now   atomic.Int64 // in this span, counted from began on

	mu    sync.Mutex // guards the following, and writes of the above
	spans []slowestSpan
}

// A slowestSpan are the slowest requests of one span, of which there are at most
// slowKept.
type slowestSpan struct {
	span     int64
	requests []console.Request // in no order
}

func newSlowest(shown func(object.Key) string) *slowest {
	return &slowest{shown: shown, began: time.Now()}
}

// spanOf returns the span that a time of this process is in, whatever the clock on
// the wall was set to.
func (s *slowest) spanOf(t time.Time) int64 { return int64(t.Sub(s.began) / slowSpan) }

// note takes note of a request that ended now.
func (s *slowest) note(o *gateway.Observation, now time.Time) {
	span := s.spanOf(now)
	if int64(o.Duration) <= s.least.Load() && span == s.now.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if span > s.now.Load() || len(s.spans) == 0 {
		s.turnLocked(span)
	}
	last := &s.spans[len(s.spans)-1]
	r := console.Request{
		At: now, ID: o.ID, Trace: o.Trace, Op: o.Op, Status: o.Status, From: string(o.Tier), Node: o.Node,
		Duration: o.Duration.Seconds(), Bytes: o.BytesIn + o.BytesOut,
	}
	if o.Key != "" {
		r.Key = s.shown(o.Key)
	}
	if len(last.requests) < slowKept {
		last.requests = append(last.requests, r)
	} else {
		i := last.quickest()
		if r.Duration <= last.requests[i].Duration {
			return
		}
		last.requests[i] = r
	}
	if len(last.requests) == slowKept {
		s.least.Store(int64(last.requests[last.quickest()].Duration * float64(time.Second)))
	}
}

// turnLocked begins a span, and forgets those that are over for an hour.
func (s *slowest) turnLocked(span int64) {
	s.spans = slices.DeleteFunc(s.spans, func(old slowestSpan) bool { return old.span < span-int64(slowFor/slowSpan) })
	s.spans = append(s.spans, slowestSpan{span: span})
	s.least.Store(0)
	s.now.Store(span)
}

func (s *slowestSpan) quickest() int {
	at := 0
	for i := range s.requests {
		if s.requests[i].Duration < s.requests[at].Duration {
			at = i
		}
	}
	return at
}

// list returns the slowest requests of the hour before now, slowest first, with keys as
// people may see them. The slice is the caller's.
func (s *slowest) list(now time.Time) []console.Request {
	after := now.Add(-slowFor)
	list := []console.Request{}
	s.mu.Lock()
	for i := range s.spans {
		for _, r := range s.spans[i].requests {
			if r.At.After(after) {
				list = append(list, r)
			}
		}
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b console.Request) int {
		return cmp.Or(cmp.Compare(b.Duration, a.Duration), b.At.Compare(a.At))
	})
	return list[:min(len(list), slowKept)]
}
