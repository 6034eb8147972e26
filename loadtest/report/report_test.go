package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/loadtesttest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: run the test with -update if this is meant (-want +got):\n%s", name, diff)
	}
}

func write(t *testing.T, format string, r *loadtest.Result) string {
	t.Helper()
	writer, err := ByName(format)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := writer(&out, r); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// spoilt is a run of which everything can be said that a report has words for.
func spoilt() *loadtest.Result {
	r := loadtesttest.Run(loadtesttest.Shape{})
	r.Config.Name = "a|b <c>"
	r.Self.Verdict = loadtest.Invalid
	r.Self.Reasons = []string{"the generator was late by 3ms at p99"}
	r.Self.Warnings = []string{"one CPU only"}
	r.Stopped = "interrupted"
	r.Server.Missing = []string{"http://127.0.0.1:9/metrics"}
	r.Server.Restarted = []string{"http://127.0.0.1:8/metrics"}
	r.Server.Allocs = 0
	r.Totals.Damaged, r.Totals.Redialed = 2, 3
	r.Examples = map[string]string{loadtest.ErrorTimeout: "no whole\nanswer within 10s"}
	return r
}

func TestTheReportsAreReviewed(t *testing.T) {
	run := loadtesttest.Run(loadtesttest.Shape{})
	golden(t, "run.txt", write(t, "text", run))
	golden(t, "run.md", write(t, "md", run))
	golden(t, "run.hist.txt", write(t, "hist", run))
	golden(t, "run.buckets.txt", write(t, "hist[1ms,10ms]", run))
	golden(t, "run.hgrm", write(t, "hdr", run))
	golden(t, "run.prom", write(t, "prom", run))
	golden(t, "spoilt.txt", write(t, "text", spoilt()))
	golden(t, "spoilt.md", write(t, "md", spoilt()))

	closed := loadtesttest.Run(loadtesttest.Shape{Seconds: 1})
	closed.Loop, closed.Server = loadtest.LoopClosed, nil
	golden(t, "closed.txt", write(t, "text", closed))
}

// A run that ended before anything was due must not break a report.
func TestEveryReportCanBeWrittenOfNothing(t *testing.T) {
	for _, format := range append(Formats(), "hist[1ms]") {
		for _, r := range []*loadtest.Result{
			{},
			{Response: &loadtest.Histogram{}, Server: &loadtest.Server{}, Intervals: []loadtest.Interval{{}}},
			{Loop: loadtest.LoopClosed, Intervals: []loadtest.Interval{{Length: time.Second}}},
		} {
			out := write(t, format, r)
			if strings.Contains(out, "NaN") || strings.Contains(out, "%!") {
				t.Errorf("%s of nothing:\n%s", format, out)
			}
		}
	}
}

// Nodes that had not answered were said to need no CPU time, and to hit nothing.
func TestNodesThatDidNotAnswerHaveNoFigures(t *testing.T) {
	r := loadtesttest.Run(loadtesttest.Shape{})
	r.Server = &loadtest.Server{Missing: []string{"127.0.0.1:9"}}
	for _, format := range []string{"text", "html", "md"} {
		if out := write(t, format, r); !strings.Contains(out, "127.0.0.1:9") || strings.Contains(out, "Hit ratio") || strings.Contains(out, "| 0s |") {
			t.Errorf("%s:\n%s", format, out)
		}
	}
	if out := write(t, "prom", r); strings.Contains(out, "hit_ratio") || strings.Contains(out, `of="servers"`) {
		t.Errorf("prom:\n%s", out)
	}
}

// net/http does not say how often it dials again: 0 was printed.
func TestWhatAClientDoesNotCountIsNotNought(t *testing.T) {
	r := loadtesttest.Run(loadtesttest.Shape{})
	for client, want := range map[string]string{loadtest.ClientRaw: " 0\n", loadtest.ClientHTTP: " –\n", loadtest.ClientHTTP2: " –\n"} {
		r.Config.Client = client
		_, rest, _ := strings.Cut(write(t, "text", r), "[redialed]")
		if line, _, _ := strings.Cut(rest, "Success"); !strings.HasSuffix(line, want) {
			t.Errorf("%s: redialed is%q, want%q", client, line, want)
		}
	}
}

// Names of tiers come from servers, and must not take over a terminal.
func TestNamesDoNotMoveTheCursor(t *testing.T) {
	r := spoilt()
	r.Config.Name = "\x1b[2J"
	r.Series[0].Cache = "\x1b]0;title\a"
	r.Server.Tiers["\r"] = 1
	for _, format := range []string{"text", "md", "hist", "hdr", "prom"} {
		if out := write(t, format, r); strings.ContainsAny(out, "\x1b\a\r") {
			t.Errorf("%s has control characters", format)
		}
	}
}

func TestTheSelfCheckComesFirst(t *testing.T) {
	for format, pattern := range map[string]string{
		"text": `^Self check +INVALID`,
		"md":   `^### ❌ [^\n]*\n\nINVALID`,
		"json": `^\{\s+"verdict": "INVALID"`,
		"prom": `^(#[^\n]*\n)+micelio_load_valid\{[^\n]*\} 0 `,
		"html": `(?s)</header>\s*<div class="verdict invalid" role="status">\s*<p><strong>INVALID</strong>`,
	} {
		if out := write(t, format, spoilt()); !regexp.MustCompile(pattern).MatchString(out) {
			t.Errorf("%s does not begin with the verdict:\n%.300s", format, out)
		}
	}
}

func TestFormatsThatAreNone(t *testing.T) {
	for _, name := range []string{"", "pdf", "hist[", "hist[]", "hist[1ms", "hist[5]", "hist[-1ms]", "hist[2ms,1ms]", "hist[1ms,1ms]"} {
		if _, err := ByName(name); err == nil {
			t.Errorf("%q is taken for a format", name)
		}
	}
}

func TestTheBucketsCountEveryRequestOnce(t *testing.T) {
	r := loadtesttest.Run(loadtesttest.Shape{})
	for _, format := range []string{"hist", "hist[0,1us,2us]", "hist[1h]", "hist[1ms,1m]"} {
		total := int64(0)
		for _, m := range regexp.MustCompile(`(?m)^\[[^\]]*\] +(\d+) `).FindAllStringSubmatch(write(t, format, r), -1) {
			n, _ := strconv.ParseInt(m[1], 10, 64)
			total += n
		}
		if total != r.Response.Count() {
			t.Errorf("%s counts %d requests, want %d", format, total, r.Response.Count())
		}
	}
}

// The lines of .hgrm must say of each value how many did not exceed it, which
// can be counted in another way.
func TestThePercentilesAreTheDistribution(t *testing.T) {
	r := loadtesttest.Run(loadtesttest.Shape{})
	lines, last := 0, 0.0
	for line := range strings.Lines(write(t, "hdr", r)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || strings.HasPrefix(line, "#") {
			continue
		}
		value, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			continue // the title
		}
		percentile, _ := strconv.ParseFloat(fields[1], 64)
		count, _ := strconv.ParseInt(fields[2], 10, 64)
		lines++
		if value < last {
			t.Errorf("%v ms after %v ms", value, last)
		}
		last = value
		counts := between(r.Response, []time.Duration{0, time.Duration(math.Round(value*1e6)) + 1})
		if counts[0] != count {
			t.Errorf("at %v ms: %d requests, counted %d", value, count, counts[0])
		}
		if exact := float64(count) / float64(r.Response.Count()); exact < percentile-1e-9 {
			t.Errorf("at %v ms: %v of the requests, the line says %v", value, exact, percentile)
		}
	}
	if lines < 20 || math.Abs(last-float64(r.Response.Max())/1e6) > 0.001 {
		t.Errorf("%d lines, the last for %v ms, want it for the maximum %v", lines, last, r.Response.Max())
	}
}

func TestTheJSONReportHasTheFigures(t *testing.T) {
	r := loadtesttest.Run(loadtesttest.Shape{})
	var got summaryJSON
	if err := json.Unmarshal([]byte(write(t, "json", r)), &got); err != nil {
		t.Fatal(err)
	}
	if got.Response.Quantiles["0.99"] != r.Response.Quantile(.99) || got.Totals.Sent != r.Totals.Sent || got.Server.CPU != r.Server.CPU {
		t.Errorf("p99 %v, sent %d, server CPU %v: want those of the run", got.Response.Quantiles["0.99"], got.Totals.Sent, got.Server.CPU)
	}
	for name, groups := range map[string][]summaryGroup{"tiers": got.Tiers, "operations": got.Operations, "statuses": got.Statuses, "parts": got.Parts} {
		total := int64(0)
		for _, g := range groups {
			total += g.Count
		}
		if total != r.Totals.Sent {
			t.Errorf("the %s count %d requests, want %d", name, total, r.Totals.Sent)
		}
	}
}

// The rules of OpenMetrics that a scraper trips over: each family is declared
// before its samples and once, counters end in _total, buckets rise to their
// count, and the last line is # EOF.
func TestTheMetricsAreOpenMetrics(t *testing.T) {
	out := write(t, "prom", spoilt())
	if !strings.HasSuffix(out, "\n# EOF\n") || strings.Count(out, "# EOF") != 1 {
		t.Fatal("the last line is not # EOF")
	}
	sample := regexp.MustCompile(`^([a-z_]+)\{((?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+)\} (\S+) \d+\.\d{3}$`)
	kinds, family := map[string]string{}, ""
	buckets := map[string]float64{}
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if rest, found := strings.CutPrefix(line, "# TYPE "); found {
			name, kind, _ := strings.Cut(rest, " ")
			if kinds[name] != "" {
				t.Errorf("%s is declared twice", name)
			}
			kinds[name], family = kind, name
			continue
		}
		if unit, found := strings.CutPrefix(line, "# UNIT "+family+" "); found && !strings.HasSuffix(family, "_"+unit) {
			t.Errorf("%s does not end in its unit %s", family, unit)
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("no sample: %s", line)
			continue
		}
		suffix, ours := strings.CutPrefix(m[1], family)
		allowed := map[string]string{"counter": " _total ", "gauge": "  ", "histogram": " _bucket _count _sum "}[kinds[family]]
		if !ours || !strings.Contains(allowed, " "+suffix+" ") {
			t.Errorf("%s is no sample of the %s %s", m[1], kinds[family], family)
		}
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Error(err)
		}
		labels := regexp.MustCompile(`,le="[^"]*"`).ReplaceAllString(m[2], "")
		switch suffix {
		case "_bucket":
			if value < buckets[family+labels] {
				t.Errorf("a bucket is less than the one before it: %s", line)
			}
			buckets[family+labels] = value
		case "_count":
			if value != buckets[family+labels] {
				t.Errorf("the last bucket is %v: %s", buckets[family+labels], line)
			}
		}
	}
}
