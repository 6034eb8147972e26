package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/figure"
	"github.com/micelio/micelio/loadtest/saturate"
)

const saturateNotes = `
The rate is doubled until a step breaks the SLO, then the gap is halved until it is within the precision, and
what is found must pass again, three times. A step at which the generator was at its own limit is INVALID; if that
happens at every try of a rate the search ends, and says what passed until then. -rate and -duration are the search's.

Exit code 0 if the knee was found, 1 if nothing passed or nothing could be confirmed, 3 if the generator was
the limit.
`

// saturation are the flags of saturate.
type saturation struct {
	options
	search     saturate.Config
	slo        string
	bounds     []figure.Bound
	step, rest time.Duration
	json       bool
	log        io.Writer
	rows       []saturationRow
}

// A saturationRow is what one step measured.
type saturationRow struct {
	Phase   saturate.Phase `json:"phase"`
	Rate    float64        `json:"rate"`
	Done    float64        `json:"done"`
	P50     time.Duration  `json:"p50_ns"`
	P99     time.Duration  `json:"p99_ns"`
	P999    time.Duration  `json:"p999_ns"`
	Max     time.Duration  `json:"max_ns"`
	Failed  int64          `json:"failed"`
	Unsent  int64          `json:"unsent"`
	Waited  int64          `json:"waited"` // for a free connection
	CPU     time.Duration  `json:"server_cpu_per_request_ns,omitempty"`
	Client  float64        `json:"client_cpu_share"`
	Verdict string         `json:"verdict"`
	Why     string         `json:"why,omitempty"`

	short bool // of connections
}

// runSaturate is the command saturate.
func runSaturate(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s := saturation{log: stderr}
	var to string
	f := newRunFlags("micelio-load saturate", stderr, &s.options, &to)
	f.StringVar(&s.slo, "slo", "p99<5ms,errors<0.01%,unsent=0", "what the servers must keep")
	f.DurationVar(&s.step, "step", 10*time.Second, "how long each rate is offered")
	f.DurationVar(&s.rest, "cool-down", 2*time.Second, "how long to wait between two steps")
	f.Float64Var(&s.search.Start, "start", 100, "the first rate")
	f.Float64Var(&s.search.Max, "max", 0, "the highest rate to offer; 0 is no bound")
	f.Float64Var(&s.search.Precision, "precision", 0.05, "how near to the knee, as a part of it")
	f.IntVar(&s.search.Confirmations, "confirm", 3, "how often the knee must pass again")
	f.IntVar(&s.search.Tries, "tries", 3, "how often a rate is offered until a step is valid")
	f.BoolVar(&s.json, "json", false, "print JSON")
	f.Lookup("o").Usage = "write the table, or the JSON, to a `FILE` instead of the standard output"
	setUsage(f, saturateNotes, searched...)
	if err := s.parse(f, args); err != nil {
		return err
	}
	var err error
	if s.bounds, err = figure.ParseBounds(s.slo); err != nil {
		return usageError{err}
	}
	if err := s.check(f); err != nil {
		return usageError{err}
	}
	knee, err := saturate.Search(ctx, s.search, s.probe)
	if len(knee.Steps) == 0 && err != nil {
		return err
	}
	// Also what was found until it was broken off: it took minutes.
	err = errors.Join(err, output(to, stdout, func(w io.Writer) error { return s.write(w, knee) }))
	switch {
	case err != nil:
		return err
	case knee.End == saturate.GeneratorLimit:
		return errInvalid
	case knee.End == saturate.Nothing || knee.End == saturate.OutOfSteps:
		return errors.New(string(knee.End))
	}
	return nil
}

// searched are the flags of a run that the search sets itself.
var searched = []string{"rate", "duration", "requests"}

// check finds what is wrong with the flags of the search.
func (s *saturation) check(f *flag.FlagSet) error {
	for _, name := range searched {
		if given(f, name) {
			return fmt.Errorf("-%s is what is searched for: use -start, -max and -step", name)
		}
	}
	c := &s.search
	switch {
	case !(c.Precision > 0 && c.Precision < 1):
		return fmt.Errorf("a precision lies between 0 and 1, not at %v", c.Precision)
	case c.Confirmations < 1 || c.Tries < 1:
		return errors.New("-confirm and -tries are 1 at least")
	case !(c.Start >= 1) || c.Max < 0 || c.Max > 0 && c.Start > c.Max:
		return fmt.Errorf("the first rate, %v, lies from 1 to the highest one, %v", c.Start, c.Max)
	}
	return nil
}

// probe offers one rate. The search does not know which phase the row is of;
// write fills that in.
func (s *saturation) probe(ctx context.Context, rate float64) (saturate.Outcome, error) {
	if len(s.rows) > 0 {
		if err := pause(ctx, s.rest); err != nil {
			return saturate.Outcome{}, err
		}
	}
	cfg := s.cfg
	cfg.Rate, cfg.Duration = strconv.FormatFloat(rate, 'f', 3, 64), s.step
	r, err := loadtest.Run(ctx, cfg)
	if err != nil {
		return saturate.Outcome{}, err
	}
	if r.Stopped != "" {
		return saturate.Outcome{}, errors.New(r.Stopped)
	}
	for _, bound := range s.bounds {
		// What cannot be seen is neither kept nor broken.
		if _, known := bound.Figure.Of(r); !known && bound.Figure.OfServers() {
			return saturate.Outcome{}, fmt.Errorf("%s is not known: -metrics names no node that says it, or not all of them answered without a restart", bound.Figure.Name)
		}
	}
	outcome := judge(r, s.bounds)
	row := saturationRow{
		Rate: rate, Done: figure.Done(r), P50: r.Response.Quantile(.5), P99: r.Response.Quantile(.99), P999: r.Response.Quantile(.999),
		Max: r.Response.Max(), Failed: r.Totals.Failed, Unsent: r.Totals.Unsent, Waited: r.Self.Waited, short: r.ShortOfConnections(), Client: r.Self.CPUShare,
		Verdict: outcome.Verdict.String(), Why: outcome.Why,
	}
	if r.Server != nil {
		row.CPU = r.Server.CPUPerRequest
	}
	s.rows = append(s.rows, row)
	fmt.Fprintf(s.log, "%s: %s, p99 %s %s\n", figure.PerSecond.Format(rate), row.Verdict, figure.Seconds.Format(row.P99.Seconds()), row.Why)
	return outcome, nil
}

// judge says whether a run kept the bounds, or says nothing.
func judge(r *loadtest.Result, bounds []figure.Bound) saturate.Outcome {
	if r.Self.Verdict != loadtest.Valid {
		return saturate.Outcome{Verdict: saturate.Invalid, Why: strings.Join(r.Self.Reasons, "; ")}
	}
	broken := figure.Broken(bounds, func(f figure.Figure) (float64, bool) { return f.Of(r) })
	if len(broken) > 0 {
		why := strings.Join(broken, ", ")
		if r.ShortOfConnections() {
			why += fmt.Sprintf("; %d requests waited for one of the %d connections", r.Self.Waited, r.Config.Connections)
		}
		return saturate.Outcome{Verdict: saturate.Failed, Why: why}
	}
	return saturate.Outcome{Verdict: saturate.Passed}
}

// said says what came of a search, and whether it may be the generator's doing.
func (s *saturation) said(k saturate.Knee) string {
	text := s.end(k)
	if s.short(k) {
		text += fmt.Sprintf("\nAt the rate that failed, requests waited for one of the %d connections: the servers did not keep up, or there were too few. "+
			"If more of them (-connections) move the knee, it was the generator's.", s.cfg.Connections)
	}
	return text
}

// short reports whether connections were what was short at the lowest rate that
// failed, which is the other side of the knee.
func (s *saturation) short(k saturate.Knee) (short bool) {
	lowest := lowestFailed(k)
	for i, step := range k.Steps {
		short = short || step.Verdict == saturate.Failed && step.Rate == lowest && s.rows[i].short
	}
	return short
}

// lowestFailed is the lowest rate that failed, 0 if none did.
func lowestFailed(k saturate.Knee) (lowest float64) {
	for _, step := range k.Steps {
		if step.Verdict == saturate.Failed && (lowest == 0 || step.Rate < lowest) {
			lowest = step.Rate
		}
	}
	return lowest
}

func (s *saturation) end(k saturate.Knee) string {
	rate := figure.PerSecond.Format(k.Rate)
	switch k.End {
	case saturate.Found:
		return fmt.Sprintf("The knee is at %s: %s held there and %d times again, and not at a rate %.0f %% higher.", rate, s.slo, k.Confirmations, 100*s.search.Precision)
	case saturate.ReachedMax:
		return fmt.Sprintf("%s held at %s, the highest rate that was to be offered, and %d times again. The knee is not below it.", s.slo, rate, k.Confirmations)
	case saturate.GeneratorLimit:
		if lowest := lowestFailed(k); k.Rate == 0 && lowest > 0 {
			return fmt.Sprintf("The generator, or the machine that it shares with the servers, was at its limit below %s, where %s did not hold; "+
				"the knee of the servers is below that, and not known.", figure.PerSecond.Format(lowest), s.slo)
		} else if k.Rate == 0 {
			return "The generator, or the machine that it shares with the servers, was at its limit at every rate; nothing is known of the servers."
		}
		return fmt.Sprintf("The generator reached its own limit. %s held at %s; the knee of the servers is not known.", s.slo, rate)
	case saturate.Stopped:
		if k.Rate == 0 {
			return fmt.Sprintf("The search was broken off; %s had held at no rate yet.", s.slo)
		}
		return fmt.Sprintf("The search was broken off; the highest rate at which %s had held is %s.", s.slo, rate)
	case saturate.Nothing:
		return fmt.Sprintf("%s did not hold at any rate.", s.slo)
	}
	return fmt.Sprintf("No rate could be confirmed; the highest at which %s held last is %s.", s.slo, rate)
}

func (s *saturation) write(w io.Writer, k saturate.Knee) error {
	for i, step := range k.Steps {
		s.rows[i].Phase = step.Phase
	}
	if s.json {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(struct {
			End           saturate.End    `json:"end"`
			SLO           string          `json:"slo"`
			Rate          float64         `json:"rate"`
			Confirmations int             `json:"confirmations"`
			Steps         []saturationRow `json:"steps"`
		}{k.End, s.slo, k.Rate, k.Confirmations, s.rows})
	}
	took := func(d time.Duration) string { return figure.Seconds.Format(d.Seconds()) }
	var out bytes.Buffer
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "phase\tasked\tdone\tp50\tp99\tp99.9\tmax\tfailed\tunsent\tserver CPU\tclient CPU\tverdict")
	for _, r := range s.rows {
		cpu := "–"
		if r.CPU > 0 {
			cpu = took(r.CPU)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", r.Phase, figure.PerSecond.Format(r.Rate), figure.PerSecond.Format(r.Done),
			took(r.P50), took(r.P99), took(r.P999), took(r.Max), r.Failed, r.Unsent, cpu, figure.Share.Format(r.Client), strings.TrimSpace(r.Verdict+" "+r.Why))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&out, "\n%s\n", s.said(k))
	_, err := w.Write(out.Bytes())
	return err
}
