package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/compare"
	"github.com/micelio/micelio/loadtest/figure"
)

const compareNotes = `
Either compare files of runs that were made before,

  micelio-load compare -old 'old/*' -new 'new/*'

or make the runs now, in turn, against two servers, with the flags of run:

  micelio-load compare -old-target 127.0.0.1:8080 -new-target 127.0.0.1:9080 -profile getpath

Exit code 1 if a change of -fail-on is exceeded and not by chance, 2 if the runs cannot
be compared, 3 if too many of them are INVALID.
`

// errChanged is a change that was to be guarded against.
var errChanged = errors.New("a guarded figure has changed")

// comparison are the flags of compare.
type comparison struct {
	options
	oldFiles, newFiles     string
	oldTarget, newTarget   string
	oldMetrics, newMetrics string
	runs                   int
	invalid                map[string]int // runs of a side that were, and were made again
	pause                  time.Duration
	save, format, failOn   string
	opt                    compare.Options
}

// runCompare is the command compare.
func runCompare(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c comparison
	var to string
	f := newRunFlags("micelio-load compare", stderr, &c.options, &to)
	f.StringVar(&c.oldFiles, "old", "", "the result `FILES` of the old side: names, patterns or directories, with commas between them")
	f.StringVar(&c.newFiles, "new", "", "the result `FILES` of the new side")
	f.StringVar(&c.oldTarget, "old-target", "", "the old servers, as -target has them, to make runs against now")
	f.StringVar(&c.newTarget, "new-target", "", "the new servers")
	f.StringVar(&c.oldMetrics, "old-metrics", "", "the admin listeners of the old servers, as -metrics has them")
	f.StringVar(&c.newMetrics, "new-metrics", "", "the admin listeners of the new servers")
	f.IntVar(&c.runs, "runs", compare.MinRuns, "how many runs to make of each side")
	f.DurationVar(&c.pause, "pause", 2*time.Second, "how long to wait between two runs")
	f.StringVar(&c.save, "save", "", "keep the results of the runs in a `DIRECTORY`")
	f.StringVar(&c.format, "format", "text", "text, md or json")
	f.StringVar(&c.failOn, "fail-on", "", "what makes the comparison a failure, such as p99>+5%,cpu>+3%,errors>+0.001")
	f.Float64Var(&c.opt.Alpha, "alpha", compare.DefaultAlpha, "the p-value below which a difference is not taken for chance")
	f.Uint64Var(&c.opt.Seed, "draws", 1, "the `SEED` of the draws of the intervals")
	f.Lookup("o").Usage = "write the comparison to a `FILE` instead of the standard output"
	setUsage(f, rateNotes()+compareNotes, "target", "metrics")
	c.invalid = map[string]int{}
	if err := c.parse(f, args); err != nil {
		return err
	}
	if err := errors.Join(c.check(), c.refuse(f)); err != nil {
		return usageError{err}
	}
	old, new, stopped := c.results(ctx, stderr)
	if stopped != nil && min(len(old), len(new)) < compare.MinRuns {
		return stopped
	}
	report, err := compare.Compare(old, new, c.opt)
	if stopped != nil && err != nil {
		return stopped
	}
	if errors.Is(err, compare.ErrRefused) {
		return usageError{err}
	} else if err != nil {
		return err
	}
	if stopped != nil { // what there is says something, if less
		report.Warnings = append(report.Warnings, fmt.Sprintf("broken off after %d and %d of %d runs", len(old), len(new), c.runs))
	}
	for _, side := range []string{"old", "new"} {
		if n := c.invalid[side]; n > 0 {
			report.Warnings = append(report.Warnings, fmt.Sprintf("runs of the %s side that were INVALID and made again: %d. "+
				"Where servers and generator share a machine, that favours a side whose bad moments are the generator's too", side, n))
		}
	}
	write := map[string]func(io.Writer) error{"text": report.WriteText, "md": report.WriteMarkdown, "json": report.WriteJSON}[c.format]
	if err := output(to, stdout, write); err != nil {
		return err
	}
	switch {
	case stopped != nil:
		return stopped
	case report.Failed():
		return errChanged
	}
	return nil
}

// ofFiles are the flags that mean something where files are compared.
var ofFiles = []string{"old", "new", "o", "format", "fail-on", "alpha", "draws"}

// refuse finds flags that would be ignored.
func (c *comparison) refuse(f *flag.FlagSet) error {
	var errs []error
	f.Visit(func(given *flag.Flag) {
		switch {
		case given.Name == "target" || given.Name == "metrics":
			errs = append(errs, fmt.Errorf("-%s is of one side: use -old-%s and -new-%s", given.Name, given.Name, given.Name))
		case c.oldFiles != "" && !slices.Contains(ofFiles, given.Name):
			errs = append(errs, fmt.Errorf("-%s is for runs that are made now, not for files of them", given.Name))
		}
	})
	return errors.Join(errs...)
}

// check finds what is wrong with the flags.
func (c *comparison) check() error {
	files, live := c.oldFiles != "" || c.newFiles != "", c.oldTarget != "" || c.newTarget != ""
	switch {
	case files == live:
		return errors.New("give either -old and -new, or -old-target and -new-target")
	case files && (c.oldFiles == "" || c.newFiles == ""), live && (c.oldTarget == "" || c.newTarget == ""):
		return errors.New("two sides are needed to compare them")
	case live && c.runs < compare.MinRuns:
		return fmt.Errorf("%d runs do not tell a difference from chance, at least %d do", c.runs, compare.MinRuns)
	case c.format != "text" && c.format != "md" && c.format != "json":
		return fmt.Errorf("the format %q is none of text, md, json", c.format)
	case !(c.opt.Alpha > 0 && c.opt.Alpha < 1):
		return fmt.Errorf("a p-value lies between 0 and 1, not at %v", c.opt.Alpha)
	}
	if c.failOn == "" {
		return nil
	}
	var err error
	c.opt.FailOn, err = figure.ParseChanges(c.failOn)
	return err
}

// results reads the runs or makes them. With an error it returns those that were
// made until then.
func (c *comparison) results(ctx context.Context, stderr io.Writer) (old, new []*loadtest.Result, err error) {
	if c.oldFiles != "" {
		if old, err = readResults(c.oldFiles); err != nil {
			return nil, nil, err
		}
		new, err = readResults(c.newFiles)
		return old, new, err
	}
	if c.save != "" {
		if err := os.MkdirAll(c.save, 0o755); err != nil {
			return nil, nil, err
		}
	}
	sides := []struct {
		name    string
		cfg     loadtest.Config
		results *[]*loadtest.Result
	}{{"old", c.side(c.oldTarget, c.oldMetrics), &old}, {"new", c.side(c.newTarget, c.newMetrics), &new}}
	for i := range c.runs {
		for _, side := range sides {
			if len(old)+len(new) > 0 {
				if err := pause(ctx, c.pause); err != nil {
					return old, new, err
				}
			}
			result, err := c.measure(ctx, stderr, side.name, i, side.cfg)
			for errors.Is(err, errInvalid) && c.invalid[side.name] < c.runs {
				c.invalid[side.name]++
				if err := pause(ctx, c.pause); err != nil {
					return old, new, err
				}
				result, err = c.measure(ctx, stderr, side.name, i, side.cfg)
			}
			if err != nil {
				return old, new, err
			}
			*side.results = append(*side.results, result)
		}
	}
	return old, new, nil
}

// side is the Config of one side.
func (c *comparison) side(target, metrics string) loadtest.Config {
	cfg := c.cfg
	cfg.Targets, cfg.Metrics = splitList(target), splitList(metrics)
	return cfg
}

// measure makes one run, and keeps it if it is valid.
func (c *comparison) measure(ctx context.Context, stderr io.Writer, side string, i int, cfg loadtest.Config) (*loadtest.Result, error) {
	result, err := loadtest.Run(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("the %s side: %w", side, err)
	}
	if result.Stopped != "" {
		return nil, errors.New(result.Stopped)
	}
	p99, _ := figure.Parse("p99")
	v, _ := p99.Of(result)
	fmt.Fprintf(stderr, "%s %d of %d: %s at %s, p99 %s\n", side, i+1, c.runs, result.Self.Verdict,
		figure.PerSecond.Format(figure.Done(result)), p99.Unit.Format(v))
	if result.Self.Verdict == loadtest.Invalid {
		return nil, fmt.Errorf("%w: %v", errInvalid, result.Self.Reasons)
	}
	if c.save != "" {
		name := filepath.Join(c.save, fmt.Sprintf("%s-%02d.jsonl", side, i+1))
		if err := output(name, nil, func(w io.Writer) error { return loadtest.WriteResult(w, result) }); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// pause waits, or returns why it need not any more.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
