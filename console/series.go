package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// A Series is the last hour as curves: one value of each for each interval of
// about five seconds, oldest first. Its JSON form is the answer of /history.
type Series struct {
	At       []int64                 `json:"at"`       // when each interval ended, as Unix time in milliseconds
	Requests Values                  `json:"requests"` // per second, as the following
	Failed   Values                  `json:"failed"`
	BytesIn  Values                  `json:"bytesIn"`
	BytesOut Values                  `json:"bytesOut"`
	Origin   Values                  `json:"origin"`
	CPU      Values                  `json:"cpu"`     // cores
	Tiers    map[string]Values       `json:"tiers"`   // hit ratios
	Answers  map[string]AnswerSeries `json:"answers"` // by where they came from
}

// An AnswerSeries is what clients got from one place. Quantiles are in seconds.
type AnswerSeries struct {
	Rate Values `json:"rate"`
	P50  Values `json:"p50"`
	P99  Values `json:"p99"`
}

// Values are those of one curve, NaN where there is none.
type Values []float64

// MarshalJSON writes four digits of each value, which is more than can be seen,
// and null for what is no number.
func (v Values) MarshalJSON() ([]byte, error) {
	text := []byte{'['}
	for i, x := range v {
		if i > 0 {
			text = append(text, ',')
		}
		if math.IsNaN(x) || math.IsInf(x, 0) {
			text = append(text, "null"...)
			continue
		}
		text = strconv.AppendFloat(text, x, 'g', 4, 64)
	}
	return append(text, ']'), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (v *Values) UnmarshalJSON(text []byte) error {
	var numbers []*float64
	if err := json.Unmarshal(bytes.TrimSpace(text), &numbers); err != nil {
		return fmt.Errorf("console: values of a series: %w", err)
	}
	*v = make(Values, len(numbers))
	for i, x := range numbers {
		(*v)[i] = math.NaN()
		if x != nil {
			(*v)[i] = *x
		}
	}
	return nil
}

// Series returns the intervals that ended after a time; all of them after the
// zero time.
func (h *History) Series(after time.Time) Series {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := len(h.rows)
	for first > 1 && h.row(first-1).at.UnixMilli() > after.UnixMilli() {
		first--
	}
	n := max(0, len(h.rows)-max(first, 1))
	curve := func() Values { return make(Values, n) }
	s := Series{
		At: make([]int64, n), Requests: curve(), Failed: curve(), BytesIn: curve(), BytesOut: curve(), Origin: curve(), CPU: curve(),
		Tiers: map[string]Values{}, Answers: map[string]AnswerSeries{},
	}
	for _, name := range h.tiers {
		s.Tiers[name] = curve()
	}
	for _, name := range h.places {
		s.Answers[name] = AnswerSeries{curve(), curve(), curve()}
	}
	for i := range n {
		h.interval(&s, i, h.row(first+i-1), h.row(first+i))
	}
	return s
}

// interval writes what happened between two rows at index i; h.mu is held.
func (h *History) interval(s *Series, i int, from, to *row) {
	seconds := to.at.Sub(from.at).Seconds()
	s.At[i] = to.at.UnixMilli()
	s.Requests[i] = perSecond(to.total.requests-from.total.requests, seconds)
	s.Failed[i] = perSecond(to.total.failed-from.total.failed, seconds)
	s.BytesIn[i] = perSecond(to.total.in-from.total.in, seconds)
	s.BytesOut[i] = perSecond(to.total.out-from.total.out, seconds)
	s.Origin[i] = perSecond(to.total.origin-from.total.origin, seconds)
	s.CPU[i] = max(0, to.total.cpu-from.total.cpu) / seconds
	for t, name := range h.tiers {
		s.Tiers[name][i] = hitRatio(&from.tiers[t], &to.tiers[t])
	}
	for p, name := range h.places {
		a := s.Answers[name]
		a.Rate[i] = perSecond(to.place[p].count-from.place[p].count, seconds)
		a.P50[i], a.P99[i] = to.place[p].p50, to.place[p].p99
	}
}
