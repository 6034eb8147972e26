package compare_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/compare"
	"github.com/micelio/micelio/loadtest/figure"
	"github.com/micelio/micelio/loadtest/loadtesttest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// runs makes n runs a side, in turn, the new ones of another shape.
func runs(n int, shape loadtesttest.Shape) (old, new []*loadtest.Result) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range n {
		at := start.Add(time.Duration(2*i) * time.Minute)
		old = append(old, loadtesttest.Run(loadtesttest.Shape{Noise: uint64(2 * i), Start: at, Seconds: 6}))
		shape.Noise, shape.Start, shape.Seconds = uint64(2*i+1), at.Add(time.Minute), 6
		new = append(new, loadtesttest.Run(shape))
	}
	return old, new
}

func changes(t *testing.T, text string) []figure.Change {
	t.Helper()
	c, err := figure.ParseChanges(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func row(t *testing.T, r *compare.Report, name string) compare.Row {
	t.Helper()
	for _, row := range r.Rows {
		if row.Name == name {
			return row
		}
	}
	t.Fatalf("there is no row %s", name)
	return compare.Row{}
}

func TestADifferenceIsSeen(t *testing.T) {
	old, new := runs(5, loadtesttest.Shape{Slow: 1.2, CPU: 40 * time.Microsecond})
	report, err := compare.Compare(old, new, compare.Options{FailOn: changes(t, "p50>+5%,cpu>+0%")})
	if err != nil {
		t.Fatal(err)
	}
	if report.Rows[0].Name != "cpu" {
		t.Errorf("the headline is %s, want cpu", report.Rows[0].Name)
	}
	if cpu := row(t, report, "cpu"); cpu.Verdict != compare.Better || cpu.P > 0.01 || cpu.Delta > -0.15 || cpu.Interval.High >= 0 {
		t.Errorf("cpu went from 50 to 40 µs: %+v", cpu)
	}
	if p50 := row(t, report, "p50"); p50.Verdict != compare.Worse || p50.P > 0.01 || p50.Delta < 0.1 || p50.Interval.Low <= 0 {
		t.Errorf("answers took 20 %% longer: %+v", p50)
	}
	if len(report.Failures) != 1 || !strings.HasPrefix(report.Failures[0], "p50>+5%") {
		t.Errorf("the failures are %q, want that of p50 alone", report.Failures)
	}
}

func TestChanceIsNoDifference(t *testing.T) {
	old, new := runs(5, loadtesttest.Shape{})
	report, err := compare.Compare(old, new, compare.Options{FailOn: changes(t, "p99>-90%,cpu>-90%")})
	if err != nil {
		t.Fatal(err)
	}
	if report.Failed() {
		t.Errorf("runs of one kind fail: %q", report.Failures)
	}
	if cpu := row(t, report, "cpu"); cpu.Verdict != compare.Same || !cpu.Interval.Contains(0) {
		t.Errorf("cpu of runs of one kind: %+v", cpu)
	}
}

func TestWhatElseDiffersIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		spoil  func(r *loadtest.Result)
		reason string
	}{
		{"seed", func(r *loadtest.Result) { r.Config.Seed++ }, "new run 3 differs from the first one in config.seed: 8, not 7"},
		{"host", func(r *loadtest.Result) { r.Host.Name = "bench-2" }, "host.name: bench-2, not bench-1"},
		{"CPUs", func(r *loadtest.Result) { r.Host.GOMAXPROCS = 1 }, "host.gomaxprocs: 1, not 2"},
		{"rate", func(r *loadtest.Result) { r.Config.Rate = "300" }, "config.rate: 300, not 200"},
		{"mix", func(r *loadtest.Result) { r.Config.Mix.Parts[0].Keys = 5 }, "config.mix.parts.0.keys: 5, not 1000000"},
		{"another part", func(r *loadtest.Result) { r.Config.Mix.Parts = append(r.Config.Mix.Parts, loadtest.Part{}) }, "config.mix.parts.1.keys: 0, not nothing"},
		{"targets", func(r *loadtest.Result) { r.Config.Targets = []string{"a", "b"} }, "config.targets: 2 of them, not 1 of them"},
		{"loop", func(r *loadtest.Result) { r.Loop = loadtest.LoopClosed }, "loop: closed, not open"},
		{"verdict", func(r *loadtest.Result) { r.Self.Verdict, r.Self.Reasons = loadtest.Invalid, []string{"late"} }, "new run 3 is INVALID: late"},
		{"stopped", func(r *loadtest.Result) { r.Stopped = "interrupted" }, "new run 3 was stopped: interrupted"},
	} {
		old, new := runs(5, loadtesttest.Shape{})
		new[2].Config.Mix.Parts = append([]loadtest.Part{}, new[2].Config.Mix.Parts...)
		c.spoil(new[2])
		_, err := compare.Compare(old, new, compare.Options{})
		if !errors.Is(err, compare.ErrRefused) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v, want it refused with %q", c.name, err, c.reason)
		}
	}
}

func TestWhereTheServersAreMayDiffer(t *testing.T) {
	old, new := runs(5, loadtesttest.Shape{})
	for _, r := range new {
		r.Config.Name, r.Config.PutSalt = "faster", "t"
		r.Config.Targets, r.Config.Metrics = []string{"http://127.0.0.1:9090"}, []string{"127.0.0.1:9091"}
	}
	report, err := compare.Compare(old, new, compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Old.Name != "sample" || report.New.Name != "faster" {
		t.Errorf("the sides are %q and %q, want the names of the runs", report.Old.Name, report.New.Name)
	}
}

func TestTooFewRunsAreRefused(t *testing.T) {
	old, new := runs(5, loadtesttest.Shape{})
	for _, side := range [][2][]*loadtest.Result{{old[:4], new}, {old, new[:4]}, {nil, nil}, {old, nil}} {
		if _, err := compare.Compare(side[0], side[1], compare.Options{}); !errors.Is(err, compare.ErrRefused) {
			t.Errorf("%d and %d runs: %v", len(side[0]), len(side[1]), err)
		}
	}
}

// The same file, named twice, made ten runs of five.
func TestARunThatIsThereTwiceIsRefused(t *testing.T) {
	old, new := runs(5, loadtesttest.Shape{})
	for name, sides := range map[string][2][]*loadtest.Result{
		"on one side":  {append(old[:4:4], old[0]), new},
		"on each side": {old, append(new[:4:4], old[2])},
	} {
		if _, err := compare.Compare(sides[0], sides[1], compare.Options{}); !errors.Is(err, compare.ErrRefused) || !strings.Contains(err.Error(), "is the same as old run") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAGuardThatCannotSeeIsRefused(t *testing.T) {
	old, new := runs(5, loadtesttest.Shape{})
	new[4].Server = nil
	_, err := compare.Compare(old, new, compare.Options{FailOn: changes(t, "cpu>+5%")})
	if !errors.Is(err, compare.ErrRefused) {
		t.Errorf("one run does not know its cpu: %v, want it refused", err)
	}
	report, err := compare.Compare(old, new, compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Rows[0].Name == "cpu" {
		t.Error("there is a row of a figure that not every run has")
	}
}

// The CPU time of two nodes was compared with that of three.
func TestARunOfWhichANodeIsMissingIsSaid(t *testing.T) {
	old, new := runs(5, loadtesttest.Shape{})
	new[4].Server.Missing = []string{"127.0.0.1:1"}
	report, err := compare.Compare(old, new, compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Rows[0].Name == "cpu" || len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0], "or was restarted: 1") {
		t.Errorf("the first row is %s, the warnings are %q", report.Rows[0].Name, report.Warnings)
	}
}

func TestRunsThatWereNotMadeInTurnAreSaid(t *testing.T) {
	old, new := runs(5, loadtesttest.Shape{})
	report, err := compare.Compare(old, new, compare.Options{})
	if err != nil || len(report.Warnings) != 0 {
		t.Errorf("runs in turn: %v, %q", err, report.Warnings)
	}
	for _, r := range new {
		r.Start = r.Start.Add(24 * time.Hour)
	}
	report, err = compare.Compare(old, new, compare.Options{})
	if err != nil || len(report.Warnings) != 1 {
		t.Errorf("the new runs on another day: %v, %q, want a warning", err, report.Warnings)
	}
}

func TestTheReportsAreReviewed(t *testing.T) {
	old, new := runs(5, loadtesttest.Shape{Slow: 1.2, CPU: 40 * time.Microsecond})
	for i := range new {
		new[i].Config.Name = "v2|<beta>"
		new[i].Config.Targets = []string{"http://127.0.0.1:9090"}
		old[i].Totals.Failed, old[i].Totals.Errors = 0, nil
	}
	new[4].Start = new[4].Start.Add(-time.Hour)
	new[3].Start = new[3].Start.Add(-time.Hour)
	new[2].Start = new[2].Start.Add(-time.Hour)
	report, err := compare.Compare(old, new, compare.Options{Seed: 1, FailOn: changes(t, "p99>+5%,errors>+0%")})
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"compare.txt": func(b *bytes.Buffer) error { return report.WriteText(b) },
		"compare.md":  func(b *bytes.Buffer) error { return report.WriteMarkdown(b) },
	} {
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		golden(t, name, got.Bytes())
	}
}

func TestTheReportIsJSON(t *testing.T) {
	old, new := runs(5, loadtesttest.Shape{})
	for _, r := range old {
		r.Totals.Failed = 0 // so that a figure rises from nought, which is no number in JSON
	}
	report, err := compare.Compare(old, new, compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := report.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Rows []struct {
			Name  string
			Unit  string
			Delta *float64
			Old   struct{ Values []float64 }
		}
	}
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	for _, row := range back.Rows {
		if (row.Delta == nil) != (row.Name == "errors") || len(row.Old.Values) != 5 {
			t.Errorf("row %s: delta %v, values %v", row.Name, row.Delta, row.Old.Values)
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: run the test with -update if this is meant (-want +got):\n%s", name, diff)
	}
}
