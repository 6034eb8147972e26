package loadtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sampleResult is the Result of a run of three seconds with errors.
func sampleResult(t *testing.T) (result *Result) {
	t.Helper()
	s := &bubbleServer{serve: func(n int, _ time.Duration, _ *http.Request) (time.Duration, *bubbleAnswer) {
		if n%10 == 0 {
			return time.Second, &bubbleAnswer{status: 503, cache: "none"}
		}
		return time.Millisecond, ok
	}}
	inBubble(t, bubbleConfig("100", 3*time.Second, 50), s, func(r *Result) { result = r })
	result.Server = &Server{Nodes: 1, Tiers: map[string]int64{"ram": 3}}
	return result
}

// histogramsAreEqual compares histograms by what they hold.
var histogramsAreEqual = cmp.Comparer(func(a, b *Histogram) bool {
	if a.Count() == 0 || b.Count() == 0 {
		return a.Count() == b.Count()
	}
	return a.hdr.Equals(b.hdr)
})

func TestAResultFileIsReadAsItWasWritten(t *testing.T) {
	want := sampleResult(t)
	var file bytes.Buffer
	if err := WriteResult(&file, want); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(file.String(), "\n"), "\n")
	if len(lines) != len(want.Intervals)+1 {
		t.Errorf("%d lines, want one for each of %d intervals and one more", len(lines), len(want.Intervals))
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line is no JSON: %.100s", line)
		}
	}
	got, err := ReadResult(&file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(got, want, histogramsAreEqual, cmp.Transformer("UTC", func(t time.Time) string { return t.UTC().String() })); d != "" {
		t.Error(d)
	}
}

func TestWhatIsNoWholeResultFileIsRefused(t *testing.T) {
	var file bytes.Buffer
	if err := WriteResult(&file, sampleResult(t)); err != nil {
		t.Fatal(err)
	}
	text := file.String()
	first, rest, _ := strings.Cut(text, "\n")
	second, others, _ := strings.Cut(rest, "\n")
	for name, bad := range map[string]string{
		"empty":              "",
		"cut":                text[:len(text)/2],
		"without its end":    text[:strings.LastIndex(text[:len(text)-1], "\n")],
		"twice":              text + text,
		"of another version": strings.Replace(text, `"version":1,`, `"version":2,`, 1),
		"no JSON":            "hello",
		// These were read: only the last line was looked at.
		"without a second":               first + "\n" + others,
		"of swapped seconds":             second + "\n" + first + "\n" + others,
		"of a second with another count": strings.Replace(text, `"sent":`, `"sent":9`, 1),
		"of a second with other answers": strings.Replace(text, `"done":`, `"done":9`, 1),
		"of a second that is damaged":    strings.Replace(text, "HISTFAAA", "HISTFAAX", 1),
		"of a second of another's times": strings.Replace(text, `"response":"`+responseOf(t, first), `"response":"`+responseOf(t, second), 1),
		"damaged":                        text[:strings.LastIndex(text, "HISTFAAA")] + "HISTFAAX" + text[strings.LastIndex(text, "HISTFAAA")+8:],
	} {
		if r, err := ReadResult(strings.NewReader(bad)); err == nil {
			t.Errorf("a file that is %s is read as %v", name, r)
		}
	}
}

// responseOf is the histogram in the line of an interval.
func responseOf(t *testing.T, line string) string {
	t.Helper()
	var at Interval
	if err := json.Unmarshal([]byte(line), &at); err != nil {
		t.Fatal(err)
	}
	return string(at.Response)
}

func TestAHistogramKeepsThreeDigits(t *testing.T) {
	for d := time.Microsecond; d < time.Minute; d = d*11/10 + 1 {
		var h Histogram
		h.Record(d)
		encoded, err := h.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := encoded.Decode()
		if err != nil {
			t.Fatal(err)
		}
		off := again.Quantile(0.5) - d
		if again.Count() != 1 || off < 0 && d >= 2*time.Microsecond || off > max(d/1000, 512) {
			t.Errorf("%v is %v afterwards", d, again.Quantile(0.5))
		}
	}
	var h Histogram
	h.Record(-time.Second)
	h.Record(time.Hour)
	if h.Count() != 2 || h.Min() != 0 || h.Max() < time.Minute || h.Max() > 61*time.Second {
		t.Errorf("out of range: %d, from %v to %v", h.Count(), h.Min(), h.Max())
	}
	var none *Histogram
	if none.Count() != 0 || none.Quantile(0.5) != 0 || none.Max() != 0 || none.Mean() != 0 {
		t.Error("nil is not empty")
	}
}

func TestGroupsMergeSeries(t *testing.T) {
	r := sampleResult(t)
	groups := r.Group(func(s *Series) string { return fmt.Sprint(s.Status) })
	if len(groups) != 2 || groups[0].Name != "200" || groups[0].Count != 270 || groups[1].Count != 30 || groups[1].Response.Count() != 30 {
		t.Errorf("%+v, want 270 of status 200 and 30 of 503", groups)
	}
	if all := r.Group(func(*Series) string { return "" }); len(all) != 0 {
		t.Errorf("what has no name is in %v", all)
	}
}

func TestTheStatusLineReplacesItself(t *testing.T) {
	var b strings.Builder
	cfg := bubbleConfig("100", 3*time.Second, 4)
	cfg.Status = &b
	s := &bubbleServer{serve: func(int, time.Duration, *http.Request) (time.Duration, *bubbleAnswer) { return time.Millisecond, ok }}
	inBubble(t, cfg, s, func(*Result) {})
	lines := strings.Split(b.String(), eraseLine)
	if len(lines) != 5 || !strings.Contains(lines[1], "1s/3s  100/s  p50 1ms") || lines[4] != "" || strings.Contains(b.String(), "\n") {
		t.Errorf("%q, want a line for each of 3 seconds, and its end", lines)
	}
}

// A file from anywhere is refused or read, and what was read is written so that
// it is read as the same.
func FuzzReadResult(f *testing.F) {
	r := &Result{Version: ResultVersion, Response: &Histogram{}, Service: &Histogram{}, Lateness: &Histogram{}, Self: Self{Lateness: &Histogram{}},
		Series: []Series{{Op: "get"}}, Intervals: []Interval{{Length: time.Second}}}
	r.Response.Record(time.Second)
	r.Totals.Sent, r.Intervals[0].Sent, r.Intervals[0].Response = 1, 1, r.Response.encoded()
	var file bytes.Buffer
	if err := WriteResult(&file, r); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte(`{"type":"result","version":1,"response":null,"series":[{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ReadResult(bytes.NewReader(b))
		if err != nil {
			return
		}
		var file bytes.Buffer
		if err := WriteResult(&file, r); err != nil {
			t.Skip(err) // a time that JSON does not know
		}
		again, err := ReadResult(bytes.NewReader(file.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		var other bytes.Buffer
		if err := WriteResult(&other, again); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(file.Bytes(), other.Bytes()) {
			t.Fatalf("written as\n%s\nand then as\n%s", file.Bytes(), other.Bytes())
		}
	})
}
