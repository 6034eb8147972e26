package report

import (
	"encoding/json"
	"io"
	"strconv"
	"time"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/figure"
)

// A summaryTimes is a histogram in the JSON report, in nanoseconds.
type summaryTimes struct {
	Count     int64                    `json:"count"`
	Min       time.Duration            `json:"min_ns"`
	Mean      time.Duration            `json:"mean_ns"`
	Max       time.Duration            `json:"max_ns"`
	Quantiles map[string]time.Duration `json:"quantiles_ns"` // "0.99"
}

func summaryOf(h *loadtest.Histogram) summaryTimes {
	s := summaryTimes{h.Count(), h.Min(), h.Mean(), h.Max(), map[string]time.Duration{}}
	for _, q := range []float64{0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999} {
		s.Quantiles[strconv.FormatFloat(q, 'f', -1, 64)] = h.Quantile(q)
	}
	return s
}

type summaryGroup struct {
	Name     string       `json:"name"`
	Count    int64        `json:"count"`
	BytesIn  int64        `json:"bytes_in"`
	Response summaryTimes `json:"response"`
	Service  summaryTimes `json:"service"`
}

// A summaryJSON is what the JSON report has. The result file holds everything;
// this is what a script reads without knowing about histograms.
type summaryJSON struct {
	Verdict   string   `json:"verdict"`
	Reasons   []string `json:"reasons,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
	Stopped   string   `json:"stopped,omitempty"`
	Name      string   `json:"name,omitempty"`
	Loop      string   `json:"loop"`
	AskedRate float64  `json:"asked_rate"`
	DoneRate  float64  `json:"done_rate"`

	Start  time.Time       `json:"start"`
	Took   time.Duration   `json:"took_ns"`
	Totals loadtest.Totals `json:"totals"`

	Response summaryTimes `json:"response"`
	Service  summaryTimes `json:"service"`
	Lateness summaryTimes `json:"lateness"`

	Tiers      []summaryGroup `json:"tiers"`
	Operations []summaryGroup `json:"operations"`
	Statuses   []summaryGroup `json:"statuses"`
	Parts      []summaryGroup `json:"parts"`

	ClientCPUShare      float64          `json:"client_cpu_share"`
	ClientCPUPerRequest time.Duration    `json:"client_cpu_per_request_ns"`
	GeneratorLateness   summaryTimes     `json:"generator_lateness"`
	Server              *loadtest.Server `json:"server,omitempty"`
	Config              loadtest.Config  `json:"config"`
	Host                loadtest.Host    `json:"host"`
	Build               loadtest.Build   `json:"build"`
}

// JSON writes a summary for programs: counts, and quantiles in nanoseconds. The
// result file has the histograms themselves.
func JSON(w io.Writer, r *loadtest.Result) error {
	s := summaryJSON{
		Verdict: r.Self.Verdict, Reasons: r.Self.Reasons, Warnings: r.Self.Warnings, Stopped: r.Stopped,
		Name: r.Config.Name, Loop: r.Loop, AskedRate: figure.Asked(r), DoneRate: figure.Done(r),
		Start: r.Start, Took: r.Took, Totals: r.Totals,
		Response: summaryOf(r.Response), Service: summaryOf(r.Service), Lateness: summaryOf(r.Lateness),
		ClientCPUShare: r.Self.CPUShare, ClientCPUPerRequest: r.Self.CPUPerRequest, GeneratorLateness: summaryOf(r.Self.Lateness),
		Server: r.Server, Config: r.Config, Host: r.Host, Build: r.Build,
	}
	for i, groups := range []*[]summaryGroup{&s.Tiers, &s.Operations, &s.Statuses, &s.Parts} {
		for _, g := range r.Group(dimensions[i].of) {
			*groups = append(*groups, summaryGroup{g.Name, g.Count, g.BytesIn, summaryOf(g.Response), summaryOf(g.Service)})
		}
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(s)
}
