package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/figure"
)

// The quantiles that the tables show.
var quantiles = []struct {
	name string
	of   float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}}

// A table is words in rows, under titles.
type table struct {
	Name   string
	Titles []string
	Rows   [][]string
}

// dimensions are by what the requests are split up. Who answered comes first:
// what each tier costs is the question.
var dimensions = []struct {
	name string
	of   func(*loadtest.Series) string
}{
	{"Tier", func(s *loadtest.Series) string { return printable(cmp.Or(s.Cache, "no X-Cache")) }},
	{"Operation", func(s *loadtest.Series) string { return s.Op }},
	{"Status", func(s *loadtest.Series) string { return status(s) }},
	{"Part", func(s *loadtest.Series) string { return s.Part }},
}

// printable returns text as it is, or quoted if it could move the cursor of a
// terminal: names of tiers come from the servers.
func printable(text string) string {
	for _, r := range text {
		if !strconv.IsPrint(r) {
			return strconv.Quote(text)
		}
	}
	return text
}

// status names how a request ended: "200", "503", "timeout", "200 body".
func status(s *loadtest.Series) string {
	switch {
	case s.Status == 0:
		return cmp.Or(s.Error, "no answer")
	case s.Error == "" || s.Error == loadtest.ErrorStatus:
		return strconv.Itoa(s.Status)
	}
	return strconv.Itoa(s.Status) + " " + s.Error
}

// tables splits the requests up in each way.
func tables(r *loadtest.Result) []table {
	total := r.Response.Count()
	var all []table
	for _, d := range dimensions {
		t := table{Name: d.name, Titles: []string{d.name, "requests", "share"}}
		for _, q := range quantiles {
			t.Titles = append(t.Titles, q.name)
		}
		t.Titles = append(t.Titles, "max", "mean", "bytes in")
		groups := r.Group(d.of)
		slices.SortStableFunc(groups, func(a, b loadtest.Group) int { return tierRank(a.Name) - tierRank(b.Name) })
		for _, g := range groups {
			row := []string{g.Name, strconv.FormatInt(g.Count, 10), share(g.Count, total)}
			for _, q := range quantiles {
				row = append(row, took(g.Response.Quantile(q.of)))
			}
			row = append(row, took(g.Response.Max()), took(g.Response.Mean()), size(g.BytesIn))
			if g.Count > 0 {
				t.Rows = append(t.Rows, row)
			}
		}
		if len(t.Rows) > 0 {
			all = append(all, t)
		}
	}
	return all
}

// tierOrder is the order in which tiers are shown: from the nearest.
var tierOrder = []string{"ram", "hot", "ssd", "fill", "peer", "cdn", "origin"}

// tierRank is the place of a tier in that order; what is none comes last, and in
// its own order.
func tierRank(name string) int {
	if i := slices.Index(tierOrder, name); i >= 0 {
		return i
	}
	return len(tierOrder)
}

func took(d time.Duration) string { return figure.Seconds.Format(d.Seconds()) }

func size(n int64) string { return figure.Bytes.Format(float64(n)) }

func share(part, whole int64) string {
	if whole == 0 {
		return "–"
	}
	return figure.Share.Format(float64(part) / float64(whole))
}

// verdict is the self check in one line, and further lines of reasons.
func verdict(r *loadtest.Result) (line string, reasons []string) {
	s := &r.Self
	line = fmt.Sprintf("%s: generator used %s of its CPUs, was late by %s at p99, and left %d of %d requests unsent",
		cmp.Or(s.Verdict, loadtest.Invalid), figure.Share.Format(s.CPUShare), took(s.LatenessP99), r.Totals.Unsent, r.Totals.Scheduled)
	if r.Loop == loadtest.LoopClosed {
		line = fmt.Sprintf("%s: generator used %s of its CPUs; the loop is closed, so times say nothing about a rate",
			cmp.Or(s.Verdict, loadtest.Invalid), figure.Share.Format(s.CPUShare))
	}
	for _, reason := range s.Reasons {
		reasons = append(reasons, loadtest.Invalid+": "+reason)
	}
	for _, warning := range s.Warnings {
		reasons = append(reasons, "warning: "+warning)
	}
	if r.Stopped != "" {
		reasons = append(reasons, "stopped: "+r.Stopped)
	}
	return line, reasons
}

// about says in a few words what was asked of whom.
func about(r *loadtest.Result) string {
	c := &r.Config
	return fmt.Sprintf("rate %s, %s loop, %d connections (%s), seed %d, %s against %s",
		c.Rate, r.Loop, c.Connections, c.Client, c.Seed, c.Duration, strings.Join(c.Targets, ", "))
}

// title names a run.
func title(r *loadtest.Result) string {
	return printable(cmp.Or(r.Config.Name, r.Config.Profile, "load test"))
}

// attack is how long requests fell due, wait how long the last answer took
// after that.
func attackAndWait(r *loadtest.Result) (attack, wait time.Duration) {
	attack = r.Took
	if r.Config.Duration > 0 {
		attack = min(attack, r.Config.Duration)
	}
	return attack, r.Took - attack
}

// success is the share of the requests that fell due and got a good answer.
func success(r *loadtest.Result) string {
	if r.Totals.Scheduled == 0 {
		return "–"
	}
	return fmt.Sprintf("%.3f%%", 100*(1-r.Totals.ErrorRatio()))
}

// errorSet lists the kinds of errors, the most frequent first.
func errorSet(r *loadtest.Result) []string {
	kinds := slices.SortedFunc(maps.Keys(r.Totals.Errors), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.Totals.Errors[b], r.Totals.Errors[a]), cmp.Compare(a, b))
	})
	var lines []string
	for _, kind := range kinds {
		lines = append(lines, fmt.Sprintf("%s:%d", kind, r.Totals.Errors[kind]))
	}
	return lines
}

// examples are the texts of the first error of each kind, in one line each.
func examples(r *loadtest.Result) []string {
	var lines []string
	for _, kind := range slices.Sorted(maps.Keys(r.Examples)) {
		lines = append(lines, fmt.Sprintf("%s, for example: %q", kind, r.Examples[kind]))
	}
	return lines
}

// codes lists the statuses as vegeta does: 0 is no answer.
func codes(r *loadtest.Result) []string {
	var lines []string
	for _, g := range r.Group(func(s *loadtest.Series) string { return strconv.Itoa(s.Status) }) {
		if g.Count > 0 {
			lines = append(lines, fmt.Sprintf("%s:%d", g.Name, g.Count))
		}
	}
	return lines
}

// serverLines says what the nodes counted, name and value.
func serverLines(s *loadtest.Server) [][2]string {
	if s == nil {
		return [][2]string{{"", "not asked: name their /metrics to learn what a request costs them"}}
	}
	missing := [2]string{"Did not answer", strings.Join(s.Missing, ", ")}
	if s.Nodes == 0 { // all figures are 0, and none is so
		return [][2]string{missing}
	}
	lines := [][2]string{
		{"CPU [per request, total]", took(s.CPUPerRequest) + ", " + took(s.CPU)},
		{"Requests [nodes, total]", fmt.Sprintf("%d, %d", s.Nodes, s.Requests)},
		{"Hit ratio", figure.Share.Format(s.HitRatio)},
		{"Tiers [tier:answers]", counts(s.Tiers)},
		{"Origin [op:requests]", counts(s.OriginRequests)},
		{"Origin gets [per key, total, keys]", fmt.Sprintf("%s, %d, %d", figure.Count.Format(s.PerKey), s.OriginGets, s.UniqueKeys)},
		{"Heap [objects, bytes per request]", fmt.Sprintf("%s, %s", figure.Count.Format(s.AllocsPerRequest), figure.Bytes.Format(s.BytesPerRequest))},
		{"GC [pause, cycles]", fmt.Sprintf("%s, %d", took(s.GCPause), s.GCCycles)},
	}
	if s.Allocs == 0 {
		lines[6][1] = "the nodes do not say"
	}
	if len(s.Missing) > 0 {
		lines = append(lines, missing)
	}
	if len(s.Restarted) > 0 {
		lines = append(lines, [2]string{"Restarted, counted in part", strings.Join(s.Restarted, ", ")})
	}
	return lines
}

func counts(m map[string]int64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s:%d", printable(name), m[name]))
	}
	return cmp.Or(strings.Join(parts, "  "), "none")
}
