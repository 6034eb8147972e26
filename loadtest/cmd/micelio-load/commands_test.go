package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/figure"
	"github.com/micelio/micelio/loadtest/loadtesttest"
	"github.com/micelio/micelio/loadtest/profile"
	"github.com/micelio/micelio/loadtest/saturate"
)

// save writes a result to a file of its own.
func save(t *testing.T, name string, r *loadtest.Result) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := output(name, nil, func(w io.Writer) error { return loadtest.WriteResult(w, r) }); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestReportsOfAFile(t *testing.T) {
	dir := t.TempDir()
	file := save(t, filepath.Join(dir, "run.jsonl"), loadtesttest.Run(loadtesttest.Shape{}))
	for format, want := range map[string]string{
		"text": "Self check", "json": `"verdict": "valid"`, "hist": "Bucket ", "hist[0,1ms]": "[1ms, +Inf]", "hdr": "1/(1-Percentile)",
		"html": "<!doctype html>", "prom": "# EOF", "md": "### ✅ sample",
	} {
		code, stdout, stderr := runCommand(t.Context(), "report", "-type", format, file)
		if code != exitOK || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit code %d, %s, no %q in\n%.300s", format, code, stderr, want, stdout)
		}
	}
	page := filepath.Join(dir, "page.html")
	if code, stdout, stderr := runCommand(t.Context(), "report", "-type", "html", "-o", page, file); code != exitOK || stdout != "" {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.HasSuffix(string(text), "</html>\n") {
		t.Errorf("the page ends in %q (%v)", text[max(0, len(text)-20):], err)
	}
	code, stdout, _ := runCommand(t.Context(), "report", file, file)
	if code != exitOK || strings.Count(stdout, "Self check") != 2 {
		t.Errorf("two files: exit code %d\n%s", code, stdout)
	}
}

// A file that is not whole must not be taken for a run.
func TestDamagedFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	whole, err := os.ReadFile(save(t, filepath.Join(dir, "run.jsonl"), loadtesttest.Run(loadtesttest.Shape{Seconds: 3})))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":      "",
		"cut":        string(whole[:len(whole)*2/3]),
		"no trailer": string(whole[:strings.LastIndex(strings.TrimSpace(string(whole)), "\n")+1]),
		"version":    strings.Replace(string(whole), `"version":1`, `"version":99`, 1),
		"doubled":    string(whole) + string(whole),
		"other":      "Requests      [total, rate, throughput]\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, command := range [][]string{{"report"}, {"encode"}} {
			code, stdout, stderr := runCommand(t.Context(), append(command, file)...)
			if code != exitFailure || stdout != "" || !strings.Contains(stderr, file) {
				t.Errorf("%s of the file %s: exit code %d, printed %.100q and %q", command[0], name, code, stdout, stderr)
			}
		}
	}
}

func TestARunIsEncodedForVegeta(t *testing.T) {
	run := loadtesttest.Run(loadtesttest.Shape{Seconds: 12})
	file := save(t, filepath.Join(t.TempDir(), "run.jsonl"), run)
	for _, format := range []string{"csv", "json"} {
		code, stdout, stderr := runCommand(t.Context(), "encode", "-format", format, file)
		if lines := strings.Count(stdout, "\n"); code != exitOK || int64(lines) != run.Totals.Sent {
			t.Errorf("%s: exit code %d, %d lines, %d requests were sent: %s", format, code, lines, run.Totals.Sent, stderr)
		}
	}
}

// sides writes five runs a side, in turn.
func sides(t *testing.T, change func(r *loadtest.Result)) (old, new string) {
	t.Helper()
	dir := t.TempDir()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 5 {
		at := start.Add(time.Duration(2*i) * time.Minute)
		save(t, filepath.Join(dir, "old", strconv.Itoa(i)), loadtesttest.Run(loadtesttest.Shape{Noise: uint64(2 * i), Start: at, Seconds: 4}))
		r := loadtesttest.Run(loadtesttest.Shape{Noise: uint64(2*i + 1), Start: at.Add(time.Minute), Seconds: 4, CPU: 60 * time.Microsecond})
		change(r)
		save(t, filepath.Join(dir, "new", strconv.Itoa(i)), r)
	}
	return filepath.Join(dir, "old"), filepath.Join(dir, "new", "*")
}

func TestCompareHasAnExitCodeForEachEnd(t *testing.T) {
	same := func(*loadtest.Result) {}
	for _, c := range []struct {
		name   string
		change func(*loadtest.Result)
		args   []string
		code   int
		want   string
	}{
		{"nothing is guarded", same, nil, exitOK, "cpu "},
		{"a change within what is allowed", same, []string{"-fail-on", "cpu>+50%"}, exitOK, "worse"},
		{"a change beyond", same, []string{"-fail-on", "cpu>+5%"}, exitFailure, "FAILED cpu>+5%"},
		{"markdown", same, []string{"-format", "md", "-fail-on", "cpu>+5%"}, exitFailure, "**Failed:** cpu>+5%"},
		{"json", same, []string{"-format", "json"}, exitOK, `"name": "cpu"`},
		{"another seed", func(r *loadtest.Result) { r.Config.Seed++ }, nil, exitUsage, "config.seed"},
		{"another machine", func(r *loadtest.Result) { r.Host.Name = "x" }, nil, exitUsage, "host.name"},
	} {
		old, new := sides(t, c.change)
		code, stdout, stderr := runCommand(t.Context(), append([]string{"compare", "-old", old, "-new", new}, c.args...)...)
		if code != c.code || !strings.Contains(stdout+stderr, c.want) {
			t.Errorf("%s: exit code %d, want %d and %q in\n%s%s", c.name, code, c.code, c.want, stdout, stderr)
		}
	}
}

// answering is a server that answers everything, and its address.
func answering(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestRunsAreMadeInTurnAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs")
	code, stdout, stderr := runCommand(t.Context(), "compare", "-old-target", answering(t), "-new-target", answering(t),
		"-ops", "list", "-keys", "1", "-rate", "max", "-requests", "50", "-pause", "1ms", "-save", dir)
	if code == exitInvalid { // on a busy machine
		t.Skip(stderr)
	}
	if code != exitOK || !strings.Contains(stdout, "old: 5 runs against") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	results, err := readResults(dir)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, r := range results {
		order = append(order, r.Config.Targets[0])
	}
	for i := range order {
		if order[i] != order[i%2] || order[0] == order[1] {
			t.Fatalf("the runs were made against %v, want the two in turn", order)
		}
	}
	if len(order) != 10 {
		t.Errorf("%d runs, want 10", len(order))
	}
	old, new := filepath.Join(dir, "old-*"), filepath.Join(dir, "new-*")
	if code, again, stderr := runCommand(t.Context(), "compare", "-old", old, "-new", new); code != exitOK || again != stdout[strings.Index(stdout, "old: "):] { // before it may stand what was INVALID
		t.Errorf("the same runs from their files: exit code %d\n%s%s, want\n%s", code, again, stderr, stdout)
	}
}

func TestSaturateStaysBelowItsMaximum(t *testing.T) {
	code, stdout, stderr := runCommand(t.Context(), "saturate", "-target", answering(t), "-ops", "list", "-keys", "1", "-slo", "p99<10s,errors=0",
		"-start", "100", "-max", "300", "-step", "200ms", "-cool-down", "1ms", "-json")
	var got struct {
		End   saturate.End
		Rate  float64
		Steps []saturationRow
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("exit code %d: %v\n%s%s", code, err, stdout, stderr)
	}
	want := map[saturate.End]int{saturate.ReachedMax: exitOK, saturate.GeneratorLimit: exitInvalid}[got.End] // the latter on a busy machine
	if code != want || got.Rate > 300 || len(got.Steps) == 0 || got.Steps[0].Phase != saturate.Doubling {
		t.Errorf("exit code %d, %+v\n%s", code, got, stderr)
	}
	if got.End == saturate.ReachedMax && got.Rate != 300 {
		t.Errorf("the highest rate was %v, want 300", got.Rate)
	}
}

// A rate was said to break a bound that nobody could see.
func TestAnSLOThatCannotBeSeenEndsTheSearch(t *testing.T) {
	code, stdout, stderr := runCommand(t.Context(), "saturate", "-target", answering(t), "-ops", "list", "-keys", "1", "-slo", "cpu<1ms", "-step", "100ms")
	if code != exitFailure || stdout != "" || !strings.Contains(stderr, "cpu is not known") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// A lookout ends a run when something is logged.
type lookout struct {
	what string
	end  func()
	log  strings.Builder
}

func (l *lookout) Write(b []byte) (int, error) {
	if l.log.Write(b); strings.Contains(l.log.String(), l.what) {
		l.end()
	}
	return len(b), nil
}

// Ctrl-C threw away what the steps and runs until then had measured.
func TestWhatIsBrokenOffIsReportedAsFarAsItWent(t *testing.T) {
	for _, c := range []struct {
		args, until, want string
	}{
		{"saturate -target A -start 50 -step 100ms -cool-down 1h -lateness-floor 1s -slo p99<10s", "50/s: ", "The search was broken off"},
		{"compare -old-target A -new-target B -rate 500 -duration 100ms -lateness-floor 1s -runs 50 -pause 1ms", "new 6 of", "broken off after 6 and "},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		stderr := &lookout{what: c.until, end: func() { cancel(errors.New("interrupt")) }}
		args := strings.Fields(strings.NewReplacer("A", answering(t), "B", answering(t)).Replace(c.args + " -ops list -keys 1"))
		var stdout strings.Builder
		code := execute(ctx, args, &stdout, stderr)
		if code == exitInvalid { // on a busy machine
			t.Skip(stderr.log.String())
		}
		if code != exitFailure || !strings.Contains(stdout.String(), c.want) || !strings.HasSuffix(stderr.log.String(), "interrupt\n") {
			t.Errorf("%s: exit code %d\n%s%s", args[0], code, &stdout, &stderr.log)
		}
	}
}

// The generator's limit below a rate that failed was said to leave nothing known.
func TestARateThatFailedIsKnownBesideTheGeneratorsLimit(t *testing.T) {
	s := saturation{slo: "p99<5ms", rows: make([]saturationRow, 1)}
	knee := saturate.Knee{End: saturate.GeneratorLimit, Steps: []saturate.Step{{Rate: 200, Outcome: saturate.Outcome{Verdict: saturate.Failed}}}}
	if said := s.said(knee); !strings.Contains(said, "below 200/s, where p99<5ms did not hold") {
		t.Errorf("it says %q", said)
	}
}

func TestFlagsThatACommandRefusesAreNotExplained(t *testing.T) {
	for command, refused := range map[string][]string{"saturate": {"-rate", "-duration", "-requests"}, "compare": {"-target", "-metrics"}} {
		_, _, help := runCommand(t.Context(), command, "-h")
		for _, name := range refused {
			if strings.Contains(help, "\n  "+name+" ") {
				t.Errorf("%s -h explains %s", command, name)
			}
		}
		if strings.Contains(help, "Ctrl-C ends a run") || strings.Contains(help, "a line of JSON for each second") || !strings.Contains(help, "\n  -seed ") {
			t.Errorf("%s has the help of run, or none:\n%s", command, help)
		}
	}
}

func TestAStepIsJudgedByTheBounds(t *testing.T) {
	bounds, err := figure.ParseBounds("p99<10s,errors<2%,unsent<5%")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		spoil func(*loadtest.Result)
		want  saturate.Verdict
		why   string
	}{
		{"as it is", func(*loadtest.Result) {}, saturate.Passed, ""},
		{"errors", func(r *loadtest.Result) { r.Totals.Failed = r.Totals.Sent / 10 }, saturate.Failed, "errors is 10%"},
		// The generator's own limit was reported as the servers': 32 connections at 10 ms are 3,200 a second.
		{"too few connections", func(r *loadtest.Result) { r.Totals.Failed, r.Self.Waited = r.Totals.Sent/10, r.Totals.Sent },
			saturate.Failed, "errors is 10%; 3900 requests waited for one of the 32 connections"},
		{"nothing sent", func(r *loadtest.Result) { r.Totals.Sent = 0 }, saturate.Failed, "errors is not known"},
		{"INVALID, whatever else", func(r *loadtest.Result) {
			r.Self.Verdict, r.Self.Reasons, r.Totals.Failed = loadtest.Invalid, []string{"late"}, r.Totals.Sent
		}, saturate.Invalid, "late"},
	} {
		r := loadtesttest.Run(loadtesttest.Shape{})
		r.Self.Waited = 0
		c.spoil(r)
		if got := judge(r, bounds); got.Verdict != c.want || got.Why != c.why {
			t.Errorf("%s: %v because of %q, want %v because of %q", c.name, got.Verdict, got.Why, c.want, c.why)
		}
	}
}

func TestAKneeOfTheConnectionsIsSaid(t *testing.T) {
	s := saturation{slo: "p99<5ms", rows: []saturationRow{{}, {}, {short: true}}}
	step := func(rate float64, v saturate.Verdict) saturate.Step {
		return saturate.Step{Rate: rate, Outcome: saturate.Outcome{Verdict: v}}
	}
	knee := saturate.Knee{End: saturate.Found, Rate: 100, Steps: []saturate.Step{step(100, saturate.Passed), step(200, saturate.Failed), step(150, saturate.Failed)}}
	if said := s.said(knee); !strings.Contains(said, "-connections") {
		t.Errorf("it says %q", said)
	}
	s.rows[2].short = false
	if said := s.said(knee); strings.Contains(said, "-connections") {
		t.Errorf("none was waited for: it says %q", said)
	}
}

func TestAProfileIsARun(t *testing.T) {
	for _, p := range profile.All() {
		var o options
		var to string
		f := newRunFlags("micelio-load run", io.Discard, &o, &to)
		if err := o.parse(f, []string{"-profile", p.Name, "-target", "127.0.0.1:1", "-seed", "9", "-rate", "7", "-scale", "0.5"}); err != nil {
			t.Fatal(err)
		}
		want := p.Config()
		if err := profile.Scale(&want, 0.5); err != nil {
			t.Fatal(err)
		}
		want.Targets, want.Seed, want.Rate = []string{"127.0.0.1:1"}, 9, "7"
		o.cfg.TLS, o.cfg.Metrics = nil, nil
		if d := cmp.Diff(want, o.cfg); d != "" {
			t.Errorf("%s (-want +got):\n%s", p.Name, d)
		}
		if code, stdout, _ := runCommand(t.Context(), "profiles", p.Name); code != exitOK || !strings.Contains(stdout, p.Doc) {
			t.Errorf("%s is not explained: %d\n%s", p.Name, code, stdout)
		}
	}
	code, stdout, _ := runCommand(t.Context(), "profiles")
	if lines := strings.Split(stdout, "\n"); code != exitOK || !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "getpath  ") }) {
		t.Errorf("%d\n%s", code, stdout)
	}
}

func TestChaosReportsWhatItCost(t *testing.T) {
	if testing.Short() {
		t.Skip("takes nine seconds")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "run.jsonl")
	code, stdout, stderr := runCommand(t.Context(), "chaos", "-target", answering(t), "-ops", "list", "-keys", "1", "-rate", "100", "-duration", "9s",
		"-hook", "echo slow >"+filepath.Join(dir, "mark")+" ;; rm "+filepath.Join(dir, "mark"), "-do", "run:0@4s+100ms", "-o", file)
	if !strings.Contains(stdout, "run:0@4s+100ms  ") || !strings.Contains(stdout, "Self check") || !strings.Contains(stderr, "run:0@4s+100ms") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "mark")); !os.IsNotExist(err) {
		t.Errorf("the hook was not undone: %v", err)
	}
	if _, err := readResult(file); err != nil {
		t.Error(err)
	}
}

func TestWrongUsageOfTheOtherCommands(t *testing.T) {
	file := save(t, filepath.Join(t.TempDir(), "run.jsonl"), loadtesttest.Run(loadtesttest.Shape{Seconds: 1}))
	for _, args := range []string{
		"report -type pdf " + file, "report -type hist[x] " + file, "report -type html FILE FILE", "report -nosuch",
		"encode -to wrk " + file, "encode -format gob " + file, "encode FILE FILE",
		"compare", "compare -old FILE", "compare -old FILE -new FILE -old-target x -new-target y", "compare -old-target x -new-target y -runs 4",
		"compare -old FILE -new FILE -format html", "compare -old FILE -new FILE -fail-on speed>5%", "compare -old FILE -new FILE -alpha 2",
		"compare -old FILE -new FILE",
		// These were ignored, or took the default.
		"compare -old FILE -new FILE -profile getpath", "compare -old FILE -new FILE -runs 9", "compare -old FILE -new FILE -save x",
		"compare -old-target x -new-target y -target z", "compare -old-target x -new-target y -metrics z",
		"saturate -precision 0", "saturate -confirm 0", "saturate -tries 0", "saturate -start 0", "saturate -start 9 -max 8",
		"saturate -slo p99", "saturate -rate 100", "saturate -duration 5s", "saturate extra",
		"chaos", "chaos -do kill", "chaos -ready http://x", "chaos -pid x",
		"profiles none", "run -profile none", "run -profile getpath -keys 5", "run -scale 2", "prepare -profile getpath -scale 0",
	} {
		fields := strings.Fields(strings.ReplaceAll(args, "FILE", file))
		if code, stdout, stderr := runCommand(t.Context(), fields...); code != exitUsage || stdout != "" || stderr == "" {
			t.Errorf("%s: exit code %d, printed %.100q and %q", args, code, stdout, stderr)
		}
	}
}

func TestEveryCommandExplainsItsFlags(t *testing.T) {
	_, usage, _ := runCommand(t.Context(), "help")
	for _, c := range commands() {
		if !strings.Contains(usage, fmt.Sprintf("%-10s %s", c.name, c.summary)) {
			t.Errorf("the usage lacks %s", c.name)
		}
		if code, _, stderr := runCommand(t.Context(), c.name, "-h"); code != exitOK || !strings.Contains(stderr, "Usage of micelio-load "+c.name) {
			t.Errorf("%s -h: exit code %d\n%s", c.name, code, stderr)
		}
	}
}
