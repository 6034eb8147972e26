package report

import (
	"bytes"
	"cmp"
	_ "embed" // the page
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/figure"
)

//go:embed page.html
var pageHTML string

// maxPoints is how many places a curve has at most. A longer run has several
// seconds to each: their counts are added and their histograms merged, so that
// no stall gets lost.
const maxPoints = 360

// A card is a figure that the page shows large.
type card struct {
	Name, Value, Note string
	Bad               bool
}

// A pageView is what the page is made of.
type pageView struct {
	Title   string
	About   string
	When    string
	Valid   bool
	Verdict string
	Reasons []string
	Cards   []card
	Charts  []*chart
	Tables  []table
	Server  [][2]string
	Facts   [][2]string
}

// Page writes a page of HTML that is whole by itself: it asks for nothing, needs
// no script to be read, and follows the reader's choice of light or dark.
func Page(w io.Writer, r *loadtest.Result) error {
	tmpl, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	charts, err := chartsOf(r)
	if err != nil {
		return err
	}
	line, reasons := verdict(r)
	_, line, _ = strings.Cut(line, ": ")
	view := pageView{
		Title: title(r), About: about(r), When: r.Start.UTC().Format("2006-01-02 15:04:05 UTC"),
		Valid: r.Self.Verdict == loadtest.Valid, Verdict: line, Reasons: reasons,
		Cards: cards(r), Charts: charts, Tables: tables(r), Server: serverLines(r.Server), Facts: facts(r),
	}
	var out bytes.Buffer
	if err := tmpl.Execute(&out, view); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = w.Write(out.Bytes())
	return err
}

func cards(r *loadtest.Result) []card {
	t := &r.Totals
	all := []card{
		{Name: "Answers", Value: figure.PerSecond.Format(figure.Done(r)), Note: "asked " + figure.PerSecond.Format(figure.Asked(r))},
		{Name: "p50", Value: took(r.Response.Quantile(.5)), Note: "from sending " + took(r.Service.Quantile(.5))},
		{Name: "p99", Value: took(r.Response.Quantile(.99)), Note: "from sending " + took(r.Service.Quantile(.99))},
		{Name: "p99.9", Value: took(r.Response.Quantile(.999)), Note: "longest " + took(r.Response.Max())},
		{Name: "Failed", Value: fmt.Sprint(t.Failed), Note: share(t.Failed, t.Sent) + " of those sent", Bad: t.Failed > 0},
		{Name: "Unsent", Value: fmt.Sprint(t.Unsent), Note: share(t.Unsent, t.Scheduled) + " of those due", Bad: t.Unsent > 0},
	}
	if t.Damaged > 0 {
		all = append(all, card{Name: "Damaged bodies", Value: fmt.Sprint(t.Damaged), Note: fmt.Sprintf("of %d checked", t.Checked), Bad: true})
	}
	if s := r.Server; s != nil && s.Nodes > 0 {
		all = append(all,
			card{Name: "Server CPU", Value: took(s.CPUPerRequest), Note: "for each request"},
			card{Name: "Hit ratio", Value: figure.Share.Format(s.HitRatio), Note: figure.Count.Format(s.PerKey) + " origin gets per key"})
	}
	return all
}

// facts are what the run was, for whoever wants to make it again.
func facts(r *loadtest.Result) [][2]string {
	attack, wait := attackAndWait(r)
	lines := [][2]string{
		{"Duration", fmt.Sprintf("%s, and %s until the last answer", took(attack), took(wait))},
		{"Requests", fmt.Sprintf("%d due, %d sent, %d answered, %d good", r.Totals.Scheduled, r.Totals.Sent, r.Totals.Done, r.Totals.Sent-r.Totals.Failed)},
		{"Bodies", fmt.Sprintf("%s in, %s out, %d checked, %d damaged", size(r.Totals.BytesIn), size(r.Totals.BytesOut), r.Totals.Checked, r.Totals.Damaged)},
		{"Errors", strings.Join(errorSet(r), ", ")},
		{"Examples", strings.Join(examples(r), "; ")},
		{"Generator", fmt.Sprintf("%s of CPU, %s a request, %s of pauses for garbage", took(r.Self.CPU), took(r.Self.CPUPerRequest), took(r.Self.GCPause))},
		{"Machine", fmt.Sprintf("%s, %s/%s, %d CPUs, GOMAXPROCS %d", r.Host.Name, r.Host.OS, r.Host.Arch, r.Host.CPUs, r.Host.GOMAXPROCS)},
		{"Build", strings.TrimSpace(r.Build.GoVersion + " " + r.Build.Version + " " + r.Build.Revision)},
	}
	for _, p := range r.Config.Mix.Parts {
		lines = append(lines, [2]string{"Part " + p.Name, partOf(&p)})
	}
	return slices.DeleteFunc(lines, func(l [2]string) bool { return l[1] == "" })
}

// partOf describes a part of the mix in a line.
func partOf(p *loadtest.Part) string {
	text := fmt.Sprintf("weight %g, %d keys, %s, %s", p.Weight, p.Keys, p.Class, p.Access.Kind)
	if p.Access.Exponent != 0 {
		text += fmt.Sprintf(" %g", p.Access.Exponent)
	}
	return text + ", " + p.Sizes.Kind + " " + size(p.Sizes.Bytes)
}

// A moment is one or several intervals, merged.
type moment struct {
	loadtest.Interval
	response *loadtest.Histogram
}

// moments merges the intervals to at most maxPoints.
func moments(r *loadtest.Result) ([]moment, error) {
	each := (len(r.Intervals) + maxPoints - 1) / maxPoints
	var all []moment
	for group := range slices.Chunk(r.Intervals, max(1, each)) {
		m := moment{Interval: loadtest.Interval{Offset: group[0].Offset, Caches: map[string]int64{}}, response: &loadtest.Histogram{}}
		for i := range group {
			in := &group[i]
			m.Asked += in.Asked * in.Length.Seconds()
			m.Length += in.Length
			m.CPU += in.CPU
			m.Done += in.Done
			m.Failed += in.Failed
			m.Unsent += in.Unsent
			m.Max = max(m.Max, in.Max)
			for name, n := range in.Caches {
				m.Caches[name] += n
			}
			h, err := in.Response.Decode()
			if err != nil {
				return nil, fmt.Errorf("report: the interval at %s: %w", in.Offset, err)
			}
			m.response.Merge(h)
		}
		if m.Length > 0 {
			m.Asked /= m.Length.Seconds()
		}
		all = append(all, m)
	}
	return all, nil
}

// collect makes a series of the moments.
func collect(all []moment, name string, of func(*moment) float64) series {
	s := series{Name: name}
	for i := range all {
		s.Values = append(s.Values, of(&all[i]))
	}
	return s
}

// rateOf returns n events of a moment as a rate; NaN where no time passed.
func rateOf(m *moment, n int64) float64 {
	if m.Length <= 0 {
		return math.NaN()
	}
	return float64(n) / m.Length.Seconds()
}

func quantileOf(q float64) func(*moment) float64 {
	return func(m *moment) float64 {
		if m.response.Count() == 0 {
			return math.NaN()
		}
		return m.response.Quantile(q).Seconds()
	}
}

func tiersOf(all []moment) []string {
	var names []string
	for i := range all {
		for name := range all[i].Caches {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(tierRank(a)-tierRank(b), strings.Compare(a, b))
	})
	return names
}

// chartsOf makes the plots of a run.
func chartsOf(r *loadtest.Result) ([]*chart, error) {
	all, err := moments(r)
	if err != nil {
		return nil, err
	}
	var charts []*chart
	if len(all) > 0 {
		charts = append(charts, overTime(r, all)...)
	}
	return append(charts, distribution(r)), nil
}

// newTimeChart begins a plot over the time since the start.
func newTimeChart(all []moment, id, title, note string) *chart {
	last := &all[len(all)-1]
	c := &chart{ID: id, Title: title, Note: note, XName: "time", XScale: seconds((last.Offset + last.Length).Seconds()), XLabel: clock}
	for i := range all {
		c.X = append(c.X, (all[i].Offset + all[i].Length/2).Seconds())
	}
	return c
}

func overTime(r *loadtest.Result, all []moment) []*chart {
	rate := newTimeChart(all, "rate", "Rate", "Where answers fall below what was asked, the servers did not keep up; what waited comes later.")
	if r.Loop == loadtest.LoopOpen {
		rate.Series = append(rate.Series, collect(all, "asked", func(m *moment) float64 { return m.Asked }))
	}
	rate.Series = append(rate.Series, collect(all, "answers", func(m *moment) float64 { return rateOf(m, m.Done) }))
	rate.linearY(figure.PerSecond)

	times := newTimeChart(all, "times", "Response time", "From when a request was due, so a stall counts for everything that fell due in it. Logarithmic.")
	times.Series = []series{
		collect(all, "p50", quantileOf(.5)), collect(all, "p99", quantileOf(.99)),
		collect(all, "max", func(m *moment) float64 {
			if m.response.Count() == 0 {
				return math.NaN()
			}
			return m.Max.Seconds()
		}),
	}
	times.logY(figure.Seconds)

	bad := newTimeChart(all, "bad", "Failed and unsent", "Unsent requests fell due while every connection waited; failed ones got no answer, or a bad one.")
	bad.Series = []series{
		collect(all, "failed", func(m *moment) float64 { return rateOf(m, m.Failed) }),
		collect(all, "unsent", func(m *moment) float64 { return rateOf(m, m.Unsent) }),
	}
	bad.linearY(figure.PerSecond)

	cpu := newTimeChart(all, "cpu", "CPU of the generator", fmt.Sprintf("In CPUs, of %d. Near all of them, the times are the generator's.", r.Host.GOMAXPROCS))
	cpu.Series = []series{collect(all, "generator", func(m *moment) float64 {
		if m.Length <= 0 || m.CPU == 0 { // not measured: nothing takes no time at all
			return math.NaN()
		}
		return m.CPU.Seconds() / m.Length.Seconds()
	})}
	cpu.linearY(figure.Count)

	charts := []*chart{rate, times, bad}
	if tiers := tierChart(all); tiers != nil {
		charts = append(charts, tiers)
	}
	return append(charts, cpu)
}

// tierChart stacks the shares of the tiers, nil if no answer named one.
func tierChart(all []moment) *chart {
	names := tiersOf(all)
	if len(names) == 0 {
		return nil
	}
	c := newTimeChart(all, "tiers", "Who answered", "Shares of the answers by X-Cache. A cold start climbs from the origin to ram.")
	for _, name := range names {
		c.Series = append(c.Series, collect(all, name, func(m *moment) float64 {
			total := int64(0)
			for _, n := range m.Caches {
				total += n
			}
			if total == 0 {
				return math.NaN()
			}
			return float64(m.Caches[name]) / float64(total)
		}))
	}
	c.Stacked = true
	c.YScale, c.YLabel = linear(1, figure.Share.Format), figure.Share.Format
	return c
}

// distribution plots the times by percentile.
func distribution(r *loadtest.Result) *chart {
	const perNine = 20
	c := &chart{
		ID: "distribution", Title: "Times by percentile", XName: "percentile", XScale: nines(r.Response.Count()),
		Note: "Each nine takes as much room as the one before. Between the two upper curves lies what requests waited until they were sent.",
		XLabel: func(x float64) string {
			return figure.Count.Format(math.Round((1-math.Pow(10, -x))*1e8)/1e6) + "%"
		},
	}
	for i := range int(c.XScale.high)*perNine + 1 {
		c.X = append(c.X, float64(i)/perNine)
	}
	for _, s := range []struct {
		name string
		h    *loadtest.Histogram
	}{{"response", r.Response}, {"from sending", r.Service}, {"generator late", r.Self.Lateness}} {
		if s.h.Count() == 0 {
			continue
		}
		one := series{Name: s.name}
		for _, x := range c.X {
			d := s.h.Quantile(1 - math.Pow(10, -x))
			one.Values = append(one.Values, max(d, time.Microsecond).Seconds())
		}
		c.Series = append(c.Series, one)
	}
	c.logY(figure.Seconds)
	return c
}

// values returns all that are numbers.
func (c *chart) values() []float64 {
	var all []float64
	for _, s := range c.Series {
		for _, v := range s.Values {
			if !math.IsNaN(v) {
				all = append(all, v)
			}
		}
	}
	return all
}

func (c *chart) linearY(unit figure.Unit) {
	high := 0.0
	for _, v := range c.values() {
		high = max(high, v)
	}
	c.YScale, c.YLabel = linear(high, unit.Format), unit.Format
}

func (c *chart) logY(unit figure.Unit) {
	low, high := math.Inf(1), 0.0
	for _, v := range c.values() {
		if v > 0 {
			low, high = min(low, v), max(high, v)
		}
	}
	c.YScale, c.YLabel = logarithmic(low, high, unit.Format), unit.Format
}
