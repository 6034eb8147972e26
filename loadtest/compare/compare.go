// Package compare says whether two groups of runs differ by more than runs of
// one kind differ among themselves. It supposes little: the groups are ranked
// against each other (Mann and Whitney) and drawn from anew (bootstrap), not
// fitted to a curve.
package compare

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/figure"
)

// MinRuns is how many runs each side must have: with four a side, even a
// difference without any overlap happens by chance in three of a hundred
// comparisons.
const MinRuns = 5

// DefaultAlpha is the p-value below which a difference is taken for one.
const DefaultAlpha = 0.05

// ErrRefused is in the error that [Compare] ends with if the runs cannot be
// compared, or not by what was asked.
var ErrRefused = errors.New("not comparable")

// Options say how to compare. The zero value of a field stands for its default.
type Options struct {
	Alpha   float64         // DefaultAlpha
	Seed    uint64          // of the draws
	Figures []figure.Figure // which; figure.Usual of the runs
	FailOn  []figure.Change // what makes the comparison a failure
}

// A Report is the outcome of a comparison.
type Report struct {
	Old      Side     `json:"old"`
	New      Side     `json:"new"`
	Alpha    float64  `json:"alpha"`
	Seed     uint64   `json:"seed"`
	Warnings []string `json:"warnings,omitempty"`
	Rows     []Row    `json:"rows"`
	Failures []string `json:"failures,omitempty"` // the changes of Options.FailOn that were exceeded
}

// A Side is one of the two groups.
type Side struct {
	Name    string   `json:"name"` // the column
	Runs    int      `json:"runs"`
	Targets []string `json:"targets"`
}

// A Row is one figure of both sides.
type Row struct {
	Name  string      `json:"name"`
	Unit  figure.Unit `json:"-"`
	Old   Spread      `json:"old"`
	New   Spread      `json:"new"`
	Delta float64     `json:"delta"` // of the medians, a part of the old one; see Interval for the amount

	// Interval holds the difference of the medians in 95 % of the draws, in the
	// unit of the figure.
	Interval Interval `json:"interval"`

	P       float64 `json:"p"`
	Verdict Verdict `json:"verdict"`
}

// A Verdict is what is thought of a difference.
type Verdict string

// The verdicts.
const (
	Same   Verdict = "~" // no difference can be told from chance
	Better Verdict = "better"
	Worse  Verdict = "worse"
)

// A Spread is how one figure lies over the runs of a side.
type Spread struct {
	Median float64   `json:"median"`
	Low    float64   `json:"low"`
	High   float64   `json:"high"`
	Values []float64 `json:"values"` // in the order of the runs
}

// Compare compares two groups of runs of one Config. It refuses (ErrRefused)
// fewer than MinRuns a side, runs that are INVALID or were stopped, a run that is
// there twice, and runs that differ in config, seed or host: what else differs would be taken for the
// difference of the servers.
func Compare(old, new []*loadtest.Result, opt Options) (*Report, error) {
	if opt.Alpha <= 0 {
		opt.Alpha = DefaultAlpha
	}
	faults := refusals(old, new)
	faults = append(faults, unknown(opt.FailOn, old, new)...)
	if len(faults) > 0 {
		return nil, fmt.Errorf("compare: %w:\n  %s", ErrRefused, strings.Join(faults, "\n  "))
	}
	runs := slices.Concat(old, new)
	figures := opt.Figures
	if figures == nil {
		figures = figure.Usual(runs)
	}
	report := &Report{
		Old: side("old", old, new), New: side("new", new, old),
		Alpha: opt.Alpha, Seed: opt.Seed, Warnings: warnings(old, new),
	}
	for _, f := range figures {
		if row, known := compareFigure(f, old, new, opt); known {
			report.Rows = append(report.Rows, row)
		}
	}
	for _, change := range opt.FailOn {
		row, _ := compareFigure(change.Figure, old, new, opt)
		if row.P < opt.Alpha && change.Exceeded(row.Old.Median, row.New.Median) {
			report.Failures = append(report.Failures, fmt.Sprintf("%s: %s became %s (%s, p=%.3f)", change,
				row.Unit.Format(row.Old.Median), row.Unit.Format(row.New.Median), percent(row.Delta), row.P))
		}
	}
	return report, nil
}

// side calls a group by the name of its runs, if that tells it from the other.
func side(name string, runs, other []*loadtest.Result) Side {
	first := runs[0].Config
	if first.Name != "" && first.Name != other[0].Config.Name {
		name = first.Name
	}
	return Side{name, len(runs), first.Targets}
}

// compareFigure makes the row of a figure, if every run has it.
func compareFigure(f figure.Figure, old, new []*loadtest.Result, opt Options) (Row, bool) {
	a, ok := values(f, old)
	b, ok2 := values(f, new)
	if !ok || !ok2 {
		return Row{}, false
	}
	row := Row{
		Name: f.Name, Unit: f.Unit, Old: spread(a), New: spread(b),
		P: MannWhitney(a, b), Interval: BootstrapMedians(a, b, opt.Seed), Verdict: Same,
	}
	row.Delta = figure.Relative(row.Old.Median, row.New.Median)
	if row.P < opt.Alpha && row.Delta != 0 {
		row.Verdict = Worse
		if (row.Delta > 0) == f.MoreGood {
			row.Verdict = Better
		}
	}
	return row, true
}

func values(f figure.Figure, runs []*loadtest.Result) ([]float64, bool) {
	var all []float64
	for _, r := range runs {
		v, known := f.Of(r)
		if !known || math.IsNaN(v) {
			return nil, false
		}
		all = append(all, v)
	}
	return all, true
}

func spread(values []float64) Spread {
	return Spread{Median(values), slices.Min(values), slices.Max(values), values}
}

// Failed reports whether a change of Options.FailOn was exceeded.
func (r *Report) Failed() bool { return len(r.Failures) > 0 }
