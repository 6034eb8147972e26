package main

import (
	"fmt"
	"math"

	"github.com/micelio/micelio/bench/report"
)

// A target is what micelio is to reach. Ratios are of one and the same run.
type target struct {
	what  string
	reach string
	rate  func() float64 // by requests a second of time that passed; nil: not looked at
	cpu   func() float64 // by processor time; nil: not looked at
	met   func(float64) bool
}

func atLeast(least float64) func(float64) bool { return func(v float64) bool { return v >= least } }
func atMost(most float64) func(float64) bool   { return func(v float64) bool { return v <= most } }

// targets are those that this program measures.
func (b *bench) targets() []target {
	versus := func(name string, least float64) target {
		return target{
			"4 KiB hot, beside " + name, fmt.Sprintf(">= %.2fx", least),
			func() float64 { return b.ratio(hotWork, micelioName, name, rate) },
			func() float64 { return b.ratio(hotWork, name, micelioName, sample.total) },
			atLeast(least),
		}
	}
	return []target{
		versus(staticName, 1), versus(proxyName, 1.25), versus(varnishName, 2), versus(groupcacheName, 2),
		{"4 KiB hot, CPU of a request", "<= 10 µs", nil, func() float64 { return b.median(hotWork, micelioName, sample.total) }, atMost(10)},
		{"64 MiB from the SSD tier, beside " + staticName, ">= 1.20x", nil,
			func() float64 { return b.ratio(largeWork, micelioName, staticName, gbPerCPU) }, atLeast(1.2)},
		{"RSS after the last 64 MiB run, of that after the first", "<= 1.10x", nil, b.rssGrowth, atMost(1.1)},
		{"through a node that is not the owner", ">= 0.45x",
			func() float64 { return b.ratio(peerWork, otherName, ownerName, rate) },
			func() float64 { return b.ratio(peerWork, ownerName, otherName, sample.total) }, atLeast(0.45)},
		{"the same, p50 more over one connection", "<= 150 µs",
			func() float64 { return b.median(slowWork, otherName, p50) - b.median(slowWork, ownerName, p50) }, nil, atMost(150)},
	}
}

// rssGrowth is the memory after the last run with large objects of that after the
// first.
func (b *bench) rssGrowth() float64 {
	runs := b.results[largeWork][micelioName]
	if len(runs) == 0 {
		return math.NaN()
	}
	return runs[len(runs)-1].rss / runs[0].rss
}

// verdict says whether a target is met. Both ways to look at it count, of those
// that there are.
func (t target) verdict() (byRate, byCPU, met string) {
	byRate, byCPU = report.None, report.None
	yes, no := 0, 0
	look := func(f func() float64) string {
		if f == nil {
			return report.None
		}
		v := f()
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return report.None
		}
		if t.met(v) {
			yes++
		} else {
			no++
		}
		return report.Number(v)
	}
	byRate, byCPU = look(t.rate), look(t.cpu)
	switch {
	case yes+no == 0:
		met = "not measured"
	case no == 0:
		met = "yes"
	case yes == 0:
		met = "**no**"
	default:
		met = "in part"
	}
	return byRate, byCPU, met
}

func (b *bench) targetTable() string {
	t := report.Table{
		Title:   "**Targets**, by requests in time that passed and by requests in processor time:",
		Columns: []string{"what", "reach", "time that passed", "processor time", "met"},
	}
	for _, one := range b.targets() {
		byRate, byCPU, met := one.verdict()
		t.Add(one.what, one.reach, byRate, byCPU, met)
	}
	return t.String()
}
