package loadtest

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteSummary writes for a reader what a run measured, what it says about itself
// first.
func WriteSummary(w io.Writer, r *Result) error {
	var b strings.Builder
	summarizeSelf(&b, r)
	summarizeTotals(&b, r)
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\t\tp50\tp90\tp99\tp99.9\tmax\t")
	for _, row := range []struct {
		name string
		h    *Histogram
	}{{"response", r.Response}, {"service", r.Service}, {"lateness", r.Lateness}} {
		summarizeHistogram(t, row.name, row.h.Count(), row.h)
	}
	groups := r.Group(func(s *Series) string {
		name := s.Op + " " + printable(s.Cache)
		if s.Error != "" {
			name = fmt.Sprintf("%s %s %d", s.Op, s.Error, s.Status)
		}
		return name
	})
	for _, g := range groups {
		summarizeHistogram(t, g.Name, g.Count, g.Response)
	}
	t.Flush() // to a Builder, which does not fail
	if r.Server != nil {
		summarizeServer(&b, r.Server)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func summarizeHistogram(w io.Writer, name string, n int64, h *Histogram) {
	fmt.Fprintf(w, "%s\t%d", name, n)
	for _, q := range []float64{0.5, 0.9, 0.99, 0.999} {
		fmt.Fprintf(w, "\t%s", formatLatency(h.Quantile(q)))
	}
	fmt.Fprintf(w, "\t%s\t\n", formatLatency(h.Max()))
}

func summarizeSelf(b *strings.Builder, r *Result) {
	s := &r.Self
	fmt.Fprintf(b, "%s: the generator took %.0f %% of its CPUs, %s a request, and sent late by itself by %s at p99\n",
		s.Verdict, 100*s.CPUShare, formatLatency(s.CPUPerRequest), formatLatency(s.LatenessP99))
	for _, reason := range s.Reasons {
		fmt.Fprintf(b, "  INVALID because %s\n", reason)
	}
	for _, warning := range s.Warnings {
		fmt.Fprintf(b, "  note: %s\n", warning)
	}
	if r.Stopped != "" {
		fmt.Fprintf(b, "  stopped after %s: %s\n", formatLatency(r.Took), r.Stopped)
	}
}

func summarizeTotals(b *strings.Builder, r *Result) {
	t := &r.Totals
	seconds := max(r.Took.Seconds(), time.Nanosecond.Seconds())
	fmt.Fprintf(b, "%d due, %d sent, %d answered (%.0f/s), %d unsent, %d failed, in %s, %s loop\n",
		t.Scheduled, t.Sent, t.Done, float64(t.Done)/seconds, t.Unsent, t.Failed, formatLatency(r.Took), r.Loop)
	fmt.Fprintf(b, "%.1f MiB in, %.1f MiB out, %d bodies compared, %d damaged, %d connections made anew\n",
		mebibytes(t.BytesIn), mebibytes(t.BytesOut), t.Checked, t.Damaged, t.Redialed)
	for _, kind := range slices.Sorted(maps.Keys(t.Errors)) {
		fmt.Fprintf(b, "  %d errors %s, the first: %s\n", t.Errors[kind], kind, printable(r.Examples[kind]))
	}
}

func summarizeServer(b *strings.Builder, s *Server) {
	fmt.Fprintf(b, "%d nodes: %d requests, %s CPU a request, %.1f allocations, %s stopped for garbage\n",
		s.Nodes, s.Requests, formatLatency(s.CPUPerRequest), s.AllocsPerRequest, formatLatency(s.GCPause))
	fmt.Fprintf(b, "  hit ratio %.4f:", s.HitRatio)
	for _, tier := range slices.Sorted(maps.Keys(s.Tiers)) {
		fmt.Fprintf(b, " %s %d", printable(tier), s.Tiers[tier])
	}
	fmt.Fprintf(b, "\n  origin: %d gets for %d keys, %.3f each\n", s.OriginGets, s.UniqueKeys, s.PerKey)
	if len(s.Missing) > 0 {
		fmt.Fprintf(b, "  not asked, or no answer: %s\n", strings.Join(s.Missing, ", "))
	}
	if len(s.Restarted) > 0 {
		fmt.Fprintf(b, "  began anew: %s\n", strings.Join(s.Restarted, ", "))
	}
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
