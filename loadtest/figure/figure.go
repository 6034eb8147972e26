// Package figure names the numbers of a run - p99, errors, tier.ram.p50 - and
// reads the bounds that are put on them. It is what the comparisons and
// searches over runs have in common.
package figure

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/micelio/micelio/loadtest"
)

// A Unit is what a figure is counted in.
type Unit int

// The units.
const (
	Seconds   Unit = iota // of time, and of CPU time
	Share                 // 1 is everything
	PerSecond             // requests a second
	Count
	Bytes
)

// A Figure is a number that each run has, under a name that the command line
// takes too. The zero Figure is none.
type Figure struct {
	Name     string
	Unit     Unit
	MoreGood bool // more of it is better; of all others, less
	of       func(*loadtest.Result) (float64, bool)
}

// Of returns the figure of a run, in its unit, and whether the run has it: what
// the servers used is not known if they were not asked, or not all answered.
func (f Figure) Of(r *loadtest.Result) (float64, bool) { return f.of(r) }

// OfServers reports whether it is the nodes that count the figure, so that it is
// not known unless they are asked.
func (f Figure) OfServers() bool {
	switch f.Name {
	case "cpu", "hit", "origin_gets_per_key", "allocs", "alloc_bytes":
		return true
	}
	return false
}

// plain are the figures with a name of their own, in the order of reports.
var plain = []Figure{
	{"cpu", Seconds, false, func(r *loadtest.Result) (float64, bool) {
		cpu, known := ofServer(r, func(s *loadtest.Server) float64 { return s.CPUPerRequest.Seconds() })
		return cpu, known && r.Server.Requests > 0
	}},
	{"rate", PerSecond, true, func(r *loadtest.Result) (float64, bool) { return Done(r), true }},
	{"errors", Share, false, func(r *loadtest.Result) (float64, bool) { return ratio(r.Totals.Failed, r.Totals.Sent) }},
	{"unsent", Share, false, func(r *loadtest.Result) (float64, bool) { return ratio(r.Totals.Unsent, r.Totals.Scheduled) }},
	{"damaged", Count, false, func(r *loadtest.Result) (float64, bool) { return float64(r.Totals.Damaged), true }},
	{"hit", Share, true, func(r *loadtest.Result) (float64, bool) {
		return ofServer(r, func(s *loadtest.Server) float64 { return s.HitRatio })
	}},
	{"origin_gets_per_key", Count, false, func(r *loadtest.Result) (float64, bool) {
		return ofServer(r, func(s *loadtest.Server) float64 { return s.PerKey })
	}},
	{"allocs", Count, false, func(r *loadtest.Result) (float64, bool) {
		return ofServer(r, func(s *loadtest.Server) float64 { return s.AllocsPerRequest })
	}},
	{"alloc_bytes", Bytes, false, func(r *loadtest.Result) (float64, bool) {
		return ofServer(r, func(s *loadtest.Server) float64 { return s.BytesPerRequest })
	}},
	{"client_cpu", Seconds, false, func(r *loadtest.Result) (float64, bool) { return r.Self.CPUPerRequest.Seconds(), true }},
}

func ratio(part, whole int64) (float64, bool) {
	if whole == 0 {
		return 0, false
	}
	return float64(part) / float64(whole), true
}

// ofServer is not known either if a node did not answer or began anew: the rest
// of them are not the servers of another run.
func ofServer(r *loadtest.Result, number func(*loadtest.Server) float64) (float64, bool) {
	if r.Server == nil || !r.Server.Whole() {
		return 0, false
	}
	return number(r.Server), true
}

// Done is how many whole answers a second a run got, until the last of them; 0
// of a run that took no time.
func Done(r *loadtest.Result) float64 { return perSecond(r.Totals.Done, r.Took) }

// Asked is how many requests a second fell due.
func Asked(r *loadtest.Result) float64 {
	took := r.Took
	if r.Config.Duration > 0 && r.Config.Requests == 0 {
		took = min(took, r.Config.Duration)
	}
	return perSecond(r.Totals.Scheduled, took)
}

func perSecond(n int64, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return float64(n) / took.Seconds()
}

// UnknownError is what Parse says of a name.
type UnknownError struct{ Name string }

func (e *UnknownError) Error() string {
	names := make([]string, len(plain))
	for i, f := range plain {
		names[i] = f.Name
	}
	return fmt.Sprintf("figure: %q is none: there are p50, p99.9 and the like, min, mean, max, each also of service. and lateness. "+
		"(service.p99) and of one tier., op., status. or part. (tier.ram.p99), %s", e.Name, strings.Join(names, ", "))
}

// Parse returns the figure of a name. Times of one tier, operation, status or
// part of the mix are written before the time: tier.ram.p99.
func Parse(name string) (Figure, error) {
	for _, f := range plain {
		if f.Name == name {
			return f, nil
		}
	}
	unknown := &UnknownError{name}
	which, number := "", name
	if kind, rest, found := strings.Cut(name, "."); found && !isPercentile(kind) {
		which, number = kind, rest
	}
	if pick := histograms(which); pick != nil {
		measure := timeOf(number)
		if measure == nil {
			return Figure{}, unknown
		}
		return Figure{Name: name, Unit: Seconds, of: func(r *loadtest.Result) (float64, bool) { return measure(pick(r)) }}, nil
	}
	key := keys(which)
	group, number, found := cutGroup(number)
	measure := timeOf(number)
	if key == nil || !found || measure == nil {
		return Figure{}, unknown
	}
	return Figure{Name: name, Unit: Seconds, of: func(r *loadtest.Result) (float64, bool) {
		merged := &loadtest.Histogram{}
		for i := range r.Series {
			if s := &r.Series[i]; key(s) == group {
				merged.Merge(s.Response)
			}
		}
		return measure(merged)
	}}, nil
}

// histograms returns which of the three times a prefix names, nil if none.
func histograms(which string) func(*loadtest.Result) *loadtest.Histogram {
	switch which {
	case "":
		return func(r *loadtest.Result) *loadtest.Histogram { return r.Response }
	case "service":
		return func(r *loadtest.Result) *loadtest.Histogram { return r.Service }
	case "lateness":
		return func(r *loadtest.Result) *loadtest.Histogram { return r.Lateness }
	}
	return nil
}

// keys returns by what a prefix groups the requests, nil if by nothing.
func keys(which string) func(*loadtest.Series) string {
	switch which {
	case "tier":
		return func(s *loadtest.Series) string { return s.Cache }
	case "op":
		return func(s *loadtest.Series) string { return s.Op }
	case "part":
		return func(s *loadtest.Series) string { return s.Part }
	case "status":
		return func(s *loadtest.Series) string { return strconv.Itoa(s.Status) }
	}
	return nil
}

// cutGroup cuts "ram.p99.9" into the group and the number: the number begins at
// the last part that is one.
func cutGroup(text string) (group, number string, found bool) {
	for i := 0; i < len(text); i++ {
		if text[i] == '.' && i > 0 && timeOf(text[i+1:]) != nil {
			return text[:i], text[i+1:], true
		}
	}
	return "", "", false
}

// timeOf returns how to get the number of a name out of a histogram, nil if
// there is no such number.
func timeOf(name string) func(*loadtest.Histogram) (float64, bool) {
	number := func(of func(*loadtest.Histogram) time.Duration) func(*loadtest.Histogram) (float64, bool) {
		return func(h *loadtest.Histogram) (float64, bool) { return of(h).Seconds(), h.Count() > 0 }
	}
	switch name {
	case "min":
		return number((*loadtest.Histogram).Min)
	case "mean":
		return number((*loadtest.Histogram).Mean)
	case "max":
		return number((*loadtest.Histogram).Max)
	}
	if !isPercentile(name) {
		return nil
	}
	percent, err := strconv.ParseFloat(name[1:], 64)
	if err != nil || percent > 100 {
		return nil
	}
	return number(func(h *loadtest.Histogram) time.Duration { return h.Quantile(percent / 100) })
}

func isPercentile(name string) bool {
	return len(name) > 1 && name[0] == 'p' && strings.Trim(name[1:], "0123456789.") == ""
}

// Usual returns the figures that a comparison of runs shows, in the order of
// their weight: what a request costs a node first, because it is what a busy
// machine changes least. Tiers are those from which all runs got answers.
func Usual(runs []*loadtest.Result) []Figure {
	names := []string{"cpu", "p50", "p90", "p99", "p99.9", "max", "mean", "service.p50", "service.p99"}
	var tiers map[string]int
	for _, r := range runs {
		if tiers == nil {
			tiers = map[string]int{}
		}
		for _, g := range r.Group(func(s *loadtest.Series) string { return s.Cache }) {
			tiers[g.Name]++
		}
	}
	var everywhere []string
	for tier, n := range tiers {
		if n == len(runs) {
			everywhere = append(everywhere, tier)
		}
	}
	slices.Sort(everywhere)
	for _, tier := range everywhere {
		names = append(names, "tier."+tier+".p50", "tier."+tier+".p99")
	}
	usual := make([]Figure, 0, len(names)+len(plain))
	for _, name := range names {
		if f, err := Parse(name); err == nil {
			usual = append(usual, f)
		}
	}
	return append(usual, plain[1:]...)
}

// Format writes a value for people: 1.25ms, 0.013%, 12.3k/s.
func (u Unit) Format(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	switch u {
	case Seconds:
		return duration(v)
	case Share:
		return short(100*v, 3) + "%"
	case PerSecond:
		return scaled(v, 1000, []string{"", "k", "M", "G"}) + "/s"
	case Bytes:
		return scaled(v, 1024, []string{" B", " KiB", " MiB", " GiB", " TiB"})
	}
	return short(v, 4)
}

// duration writes seconds with three digits that count.
func duration(v float64) string {
	switch size := math.Abs(v); {
	case v == 0:
		return "0s"
	case size < 999.5e-9:
		return short(v*1e9, 3) + "ns"
	case size < 999.5e-6:
		return short(v*1e6, 3) + "µs"
	case size < 0.9995:
		return short(v*1e3, 3) + "ms"
	case size < 119.5:
		return short(v, 3) + "s"
	}
	return time.Duration(v * float64(time.Second)).Round(time.Second).String()
}

func scaled(v, step float64, names []string) string {
	i := 0
	for math.Abs(v) >= step*0.9995 && i < len(names)-1 {
		v /= step
		i++
	}
	return short(v, 3) + names[i]
}

// short writes a number with so many digits that count, but all before the
// point.
func short(v float64, digits int) string {
	if v == 0 {
		return "0"
	}
	after := max(0, min(6, digits-1-int(math.Floor(math.Log10(math.Abs(v))))))
	text := strconv.FormatFloat(v, 'f', after, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}
