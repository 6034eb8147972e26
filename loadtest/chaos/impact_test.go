package chaos

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/loadtest"
)

// seconds makes a run of 100 requests a second, one letter for each second:
// . as always, f three failed, F all failed, s slow, u some unsent, n no answer,
// h half of the answers.
func seconds(t *testing.T, letters string) *loadtest.Result {
	t.Helper()
	r := &loadtest.Result{Took: time.Duration(len(letters)) * time.Second}
	for i, letter := range letters {
		in := loadtest.Interval{
			Offset: time.Duration(i) * time.Second, Length: time.Second, Asked: 100,
			Totals: loadtest.Totals{Scheduled: 100, Sent: 100, Done: 100, Errors: map[string]int64{}},
		}
		took := 2 * time.Millisecond
		switch letter {
		case 'f':
			in.Failed, in.Errors[loadtest.ErrorStatus] = 3, 3
		case 'F':
			in.Failed, in.Done, in.Errors[loadtest.ErrorDial] = 100, 0, 100
		case 's':
			took = 300 * time.Millisecond
		case 'u':
			in.Unsent, in.Sent, in.Done = 20, 80, 80
		case 'n':
			in.Sent, in.Done = 0, 0
		case 'h':
			in.Done = 50
		}
		var h loadtest.Histogram
		for range in.Sent {
			h.Record(took)
		}
		in.P99, in.Max = h.Quantile(.99), h.Max()
		var err error
		if in.Response, err = h.Encode(); err != nil {
			t.Fatal(err)
		}
		r.Intervals = append(r.Intervals, in)
	}
	return r
}

func at(began, ended float64) Event {
	s := func(v float64) time.Duration { return time.Duration(v * float64(time.Second)) }
	return Event{Step: Step{Action: Kill, At: s(began)}, Began: s(began), Ended: s(ended)}
}

func TestImpacts(t *testing.T) {
	type want struct {
		Failed, Unsent int64
		Recovered      bool
		Recovery       string
		Disturbed      int
		P99            string
	}
	for _, c := range []struct {
		name    string
		seconds string
		events  []Event
		want    []want
	}{
		{"nothing was noticed", "..........", []Event{at(4, 5)}, []want{{0, 0, true, "0s", 0, "2ms"}}},
		{"a failure and then as before", "....f.....", []Event{at(4.5, 4.5)}, []want{{3, 0, true, "500ms", 1, "2ms"}}},
		{"some bad seconds", "....FFs....", []Event{at(4, 4)}, []want{{200, 0, true, "3s", 3, "300ms"}}},
		{"unsent", "....uu....", []Event{at(4, 4)}, []want{{0, 40, true, "2s", 2, "2ms"}}},
		{"too few answers", "....nh....", []Event{at(4, 4)}, []want{{0, 0, true, "2s", 2, "2ms"}}},
		{"two calm seconds are not enough", "....f..f..f", []Event{at(4, 4)}, []want{{9, 0, false, "0s", 3, "2ms"}}},
		{"never", "....ffffff", []Event{at(4, 4)}, []want{{18, 0, false, "0s", 6, "2ms"}}},
		{"felt when it comes back", "....f....s...", []Event{at(4, 9)}, []want{{3, 0, true, "1s", 2, "2ms"}}},
		{"two events", "....f....ss....", []Event{at(4, 4), at(9, 9)}, []want{{3, 0, true, "1s", 1, "2ms"}, {0, 0, true, "2s", 2, "300ms"}}},
		// A step seldom begins with a second: what it does in its first was charged to the one before, too.
		{"the second in which the next one begins", "....f....ss....", []Event{at(4, 4), at(9.05, 9.05)}, []want{{3, 0, true, "1s", 1, "2ms"}, {0, 0, true, "1.95s", 2, "300ms"}}},
		{"the next one came before", "....ffff....", []Event{at(4, 4), at(6, 6)}, []want{{6, 0, false, "0s", 2, "2ms"}, {6, 0, true, "2s", 2, "2ms"}}},
		{"failures that were there before", "ffffffffffff", []Event{at(5, 5)}, []want{{21, 0, true, "0s", 0, "2ms"}}},
		{"the first second does not count", "s.........", []Event{at(5, 5)}, []want{{0, 0, true, "0s", 0, "2ms"}}},
	} {
		_, impacts, err := Impacts(seconds(t, c.seconds), c.events)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []want
		for _, m := range impacts {
			got = append(got, want{m.Failed, m.Unsent, m.Recovered, m.Recovery.String(), m.Disturbed, m.P99.Round(time.Millisecond).String()})
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s, %s (-want +got):\n%s", c.name, c.seconds, diff)
		}
	}
}

func TestWithoutABaselineNothingIsSaid(t *testing.T) {
	for name, r := range map[string]*loadtest.Result{"too early": seconds(t, "......"), "no seconds": {}} {
		if _, _, err := Impacts(r, []Event{at(2, 3)}); err == nil {
			t.Errorf("%s: judged", name)
		}
	}
	r := seconds(t, "..........")
	r.Intervals[2].Response = "damaged"
	if _, _, err := Impacts(r, []Event{at(4, 5)}); err == nil {
		t.Error("a damaged second is judged")
	}
}

func TestADrainMustCostNothing(t *testing.T) {
	outcome := func(action Action, letters string, err error) *Outcome {
		e := at(4, 4)
		e.Step.Action, e.Err = action, err
		r := seconds(t, letters)
		before, impacts, impactErr := Impacts(r, []Event{e})
		if impactErr != nil {
			t.Fatal(impactErr)
		}
		return &Outcome{Result: r, Baseline: before, Impacts: impacts}
	}
	for _, c := range []struct {
		name   string
		o      *Outcome
		faults int
	}{
		{"a drain without errors", outcome(Drain, "..........", nil), 0},
		{"a slow one", outcome(Drain, "....ss....", nil), 0},
		{"a drain with errors", outcome(Drain, "....f.....", nil), 1},
		{"a drain with unsent requests", outcome(Drain, "....u.....", nil), 1},
		{"a kill with errors", outcome(Kill, "....f.....", nil), 0},
		{"a kill without recovery", outcome(Kill, "....ffffff", nil), 1},
		{"a step that failed", outcome(Kill, "..........", errors.New("no such process")), 1},
		{"no step", &Outcome{}, 1},
	} {
		if got := c.o.Faults(); len(got) != c.faults {
			t.Errorf("%s: %q, want %d", c.name, got, c.faults)
		}
	}
}

// Failures that were there before the drain make it a fault all the same, and are said.
func TestADrainAmongFailures(t *testing.T) {
	e := at(4, 4)
	e.Step.Action = Drain
	before, impacts, err := Impacts(seconds(t, "ffffffffff"), []Event{e})
	if err != nil {
		t.Fatal(err)
	}
	faults := (&Outcome{Baseline: before, Impacts: impacts}).Faults()
	if len(faults) != 1 || !strings.Contains(faults[0], "but 9 failed before the first step too") {
		t.Errorf("the faults are %q", faults)
	}
}

func TestTheReportSaysWhatItCost(t *testing.T) {
	e := at(4, 6)
	e.Step = Step{Drain, 1, 4 * time.Second, time.Second}
	e.Notes = []string{"ended after 1s: exit status 0"}
	before, impacts, err := Impacts(seconds(t, "....Fs......"), []Event{e})
	if err != nil {
		t.Fatal(err)
	}
	o := &Outcome{Baseline: before, Impacts: impacts}
	var text, json bytes.Buffer
	if err := errors.Join(o.WriteText(&text), o.WriteJSON(&json)); err != nil {
		t.Fatal(err)
	}
	want := `Before the first step: p99 2ms, 0 failed in 3 s

step           began  undone  failed  unsent  p99 during  max    recovered  disturbed
drain:1@4s+1s  4s     6s      100     0       300ms       300ms  2s         2 s
drain:1@4s+1s: ended after 1s: exit status 0
drain:1@4s+1s: errors dial:100
FAILED drain:1@4s+1s: 100 requests failed and 0 were left unsent, a drain must cost none
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, part := range []string{`"step": "drain:1@4s+1s"`, `"recovery_ns": 2000000000`, `"dial": 100`, `"faults": [`} {
		if !strings.Contains(json.String(), part) {
			t.Errorf("the JSON lacks %s:\n%s", part, json.String())
		}
	}
}
