package loadtest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// The types of the lines of a result file.
const (
	lineInterval = "interval"
	lineResult   = "result"
)

// An intervalLine is the line of an Interval.
type intervalLine struct {
	Type string `json:"type"`
	*Interval
}

// A resultLine is the last line.
type resultLine struct {
	Type string `json:"type"`
	*Result
}

// WriteResult writes r as a result file: a line of JSON for each Interval, with
// "type":"interval", and one with "type":"result" for all the rest.
func WriteResult(w io.Writer, r *Result) error {
	out := bufio.NewWriter(w)
	lines := json.NewEncoder(out)
	for i := range r.Intervals {
		if err := lines.Encode(intervalLine{lineInterval, &r.Intervals[i]}); err != nil {
			return fmt.Errorf("loadtest: writing a result: %w", err)
		}
	}
	if err := lines.Encode(resultLine{lineResult, r}); err != nil {
		return fmt.Errorf("loadtest: writing a result: %w", err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("loadtest: writing a result: %w", err)
	}
	return nil
}

// ReadResult reads a result file. It refuses one without its last line, which is
// one that was not written to the end, one of another version, one with
// anything after it, and one whose intervals are not those of its totals. Lines of other types are left out.
func ReadResult(r io.Reader) (*Result, error) {
	result, err := readResult(r)
	if err != nil {
		return nil, fmt.Errorf("loadtest: reading a result: %w", err)
	}
	return result, nil
}

func readResult(r io.Reader) (*Result, error) {
	var intervals []Interval
	lines := json.NewDecoder(r)
	for {
		var raw json.RawMessage
		if err := lines.Decode(&raw); err != nil {
			if errors.Is(err, io.EOF) {
				return nil, errors.New("the file was not written to its end")
			}
			return nil, err
		}
		var line struct {
			Type    string `json:"type"`
			Version int    `json:"version"`
		}
		if err := json.Unmarshal(raw, &line); err != nil {
			return nil, err
		}
		switch line.Type {
		case lineInterval:
			var at Interval
			if err := json.Unmarshal(raw, &at); err != nil {
				return nil, err
			}
			intervals = append(intervals, at)
		case lineResult:
			if line.Version != ResultVersion {
				return nil, fmt.Errorf("the file has version %d, this program reads %d", line.Version, ResultVersion)
			}
			if _, err := lines.Token(); !errors.Is(err, io.EOF) {
				return nil, errors.New("there is something after the last line")
			}
			return finishResult(raw, intervals)
		}
	}
}

// finishResult reads the last line. What is missing in it is empty, not nil.
func finishResult(raw []byte, intervals []Interval) (*Result, error) {
	empty := func() *Histogram { return &Histogram{} }
	result := &Result{Response: empty(), Service: empty(), Lateness: empty(), Self: Self{Lateness: empty()}}
	if err := json.Unmarshal(raw, result); err != nil {
		return nil, err
	}
	for _, h := range []**Histogram{&result.Response, &result.Service, &result.Lateness, &result.Self.Lateness} {
		if *h == nil { // null
			*h = empty()
		}
	}
	for i := range result.Series {
		s := &result.Series[i]
		for _, h := range []**Histogram{&s.Response, &s.Service, &s.Lateness} {
			if *h == nil {
				*h = empty()
			}
		}
	}
	result.Intervals = intervals
	return result, result.checkSums()
}

// checkSums compares the seconds with what the last line says of all of them: a
// line that was lost or changed leaves a file that looks whole.
func (r *Result) checkSums() error {
	var sum Totals
	offset := time.Duration(0)
	for i := range r.Intervals {
		at := &r.Intervals[i]
		if at.Offset != offset {
			return fmt.Errorf("the interval at %v does not follow the one before it, which ended at %v", at.Offset, offset)
		}
		offset += at.Length
		h, err := at.Response.Decode()
		if err != nil {
			return fmt.Errorf("the interval at %v: %w", at.Offset, err)
		}
		if h.Count() != at.Sent {
			return fmt.Errorf("the interval at %v has %d requests and the times of %d", at.Offset, at.Sent, h.Count())
		}
		sum.Add(&at.Totals)
	}
	counts := func(t *Totals) [7]int64 {
		return [...]int64{t.Scheduled, t.Sent, t.Unsent, t.Done, t.Failed, t.BytesIn, t.BytesOut}
	}
	if got, want := counts(&sum), counts(&r.Totals); got != want {
		return fmt.Errorf("the intervals add up to %v requests due, sent, unsent, done, failed, and bytes, and the last line has %v", got, want)
	}
	if n := r.Response.Count(); n != r.Totals.Sent {
		return fmt.Errorf("%d requests were sent, and there are the times of %d", r.Totals.Sent, n)
	}
	return nil
}
