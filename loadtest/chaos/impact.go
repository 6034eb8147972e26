package chaos

import (
	"fmt"
	"time"

	"github.com/micelio/micelio/loadtest"
)

// When a second is as before.
const (
	calmSeconds  = 3                     // so many in a row, or it was luck
	calmFactor   = 2                     // the 99th percentile of a second varies by this much by itself
	calmAllowed  = 10 * time.Millisecond // and by this much if it was short
	warmUp       = 1                     // seconds at the start that are not taken for how it was before
	minBaseline  = 3                     // seconds that are needed to know how it was before
	doneExpected = 0.9                   // of what was asked for must be answered
)

// MinBefore is the earliest time of the first step: until then it is learnt how
// the servers are when nothing is done to them.
const MinBefore = (warmUp + minBaseline) * time.Second

// An Event is a Step that was done.
type Event struct {
	Step  Step
	Began time.Duration // after Result.Start
	Ended time.Duration // when it was undone, or done if it was to stay so
	Notes []string      // what was seen: how the process ended, when it was ready again
	Err   error         // what went wrong with the doing
}

// A Baseline is how the servers were before.
type Baseline struct {
	Seconds int           `json:"seconds"`
	P99     time.Duration `json:"p99_ns"`
	Failed  int64         `json:"failed"`
}

// An Impact is what an Event cost, until the next one began or the run ended.
type Impact struct {
	Event  Event
	Failed int64 // requests that got no answer, or a bad one
	Unsent int64 // and that could not be sent
	Errors map[string]int64

	// P99 and Max are of the requests that ended from when it began until it was as
	// before, or until it was undone if that came later.
	P99 time.Duration
	Max time.Duration

	// Recovered says that it was as before for some seconds; Recovery is how long
	// that took from when it began, to the second, and 0 if not even the first
	// second was disturbed.
	Recovered bool
	Recovery  time.Duration

	// Disturbed is how many seconds were not as before, also after the recovery: a
	// node that comes back is felt too.
	Disturbed int
}

// Impacts says what each event cost, from the seconds of the run. A second is as
// before if no request failed in it or was left unsent, nine in ten of those asked
// for were answered, and its 99th percentile is at most twice that of before, or
// 10 ms more. Failures that were there before, at the same rate, count as before.
func Impacts(r *loadtest.Result, events []Event) (Baseline, []Impact, error) {
	before, err := baseline(r, events)
	if err != nil {
		return before, nil, err
	}
	impacts := make([]Impact, len(events))
	for i, e := range events {
		until := r.Took + time.Second
		if i+1 < len(events) {
			until = events[i+1].Began
		}
		if impacts[i], err = impact(r, e, until, before); err != nil {
			return before, nil, err
		}
	}
	return before, impacts, nil
}

func baseline(r *loadtest.Result, events []Event) (before Baseline, err error) {
	var all loadtest.Histogram
	for i := range r.Intervals {
		in := &r.Intervals[i]
		if i < warmUp || len(events) > 0 && in.Offset+in.Length > events[0].Began {
			continue
		}
		if err := merge(&all, in); err != nil {
			return before, err
		}
		before.Seconds++
		before.Failed += in.Failed
	}
	if before.Seconds < minBaseline {
		return before, fmt.Errorf("chaos: %d seconds before the first step do not say how it was before, want %d", before.Seconds, minBaseline)
	}
	before.P99 = all.Quantile(0.99)
	return before, nil
}

func merge(h *loadtest.Histogram, in *loadtest.Interval) error {
	one, err := in.Response.Decode()
	if err != nil {
		return fmt.Errorf("chaos: the interval at %v: %w", in.Offset, err)
	}
	h.Merge(one)
	return nil
}

// calm reports whether a second was as before.
func (b Baseline) calm(in *loadtest.Interval) bool {
	failed := float64(b.Failed) / float64(b.Seconds)
	if float64(in.Failed) > calmFactor*failed || in.Unsent > 0 {
		return false
	}
	if float64(in.Done) < doneExpected*in.Asked*in.Length.Seconds()-1 {
		return false
	}
	return in.P99 <= max(calmFactor*b.P99, b.P99+calmAllowed)
}

func impact(r *loadtest.Result, e Event, until time.Duration, before Baseline) (Impact, error) {
	m := Impact{Event: e, Errors: map[string]int64{}}
	var during []*loadtest.Interval
	for i := range r.Intervals {
		in := &r.Intervals[i]
		// The second in which the next step begins is the next one's alone.
		if in.Offset+in.Length <= e.Began || in.Offset+in.Length > until {
			continue
		}
		during = append(during, in)
		m.Failed += in.Failed
		m.Unsent += in.Unsent
		for kind, n := range in.Errors {
			m.Errors[kind] += n
		}
		if !before.calm(in) {
			m.Disturbed++
		}
	}
	m.recover(during, before)
	end := e.Ended
	if m.Recovered {
		end = max(end, e.Began+m.Recovery)
	} else {
		end = until
	}
	var h loadtest.Histogram
	for i, in := range during {
		if i > 0 && in.Offset >= end {
			break
		}
		if err := merge(&h, in); err != nil {
			return m, err
		}
		m.Max = max(m.Max, in.Max)
	}
	m.P99 = h.Quantile(0.99)
	return m, nil
}

// recover finds the first calm seconds in a row.
func (m *Impact) recover(during []*loadtest.Interval, before Baseline) {
	inARow := 0
	for i, in := range during {
		if !before.calm(in) {
			inARow = 0
			continue
		}
		if inARow++; inARow == calmSeconds {
			m.Recovered = true
			if first := i + 1 - calmSeconds; first > 0 {
				m.Recovery = during[first].Offset - m.Event.Began
			}
			return
		}
	}
}
