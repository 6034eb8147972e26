// Package report writes the result of a run for people and programs: as text,
// a page, JSON, Markdown, histograms, metrics, and as the results of vegeta. It
// measures nothing.
package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/micelio/micelio/loadtest"
)

// A Writer writes the report of one run.
type Writer func(w io.Writer, r *loadtest.Result) error

// formats by name. What is in brackets after hist are the bounds of its buckets.
var formats = map[string]Writer{
	"text": Text,
	"json": JSON,
	"hist": func(w io.Writer, r *loadtest.Result) error { return Buckets(w, r, nil) },
	"hdr":  Percentiles,
	"html": Page,
	"prom": Metrics,
	"md":   Markdown,
}

// Formats returns the names that [ByName] knows, the most usual first.
func Formats() []string { return []string{"text", "json", "hist", "hdr", "html", "prom", "md"} }

// ByName returns the writer of a format. Bounds of the buckets of hist can be
// given in brackets, as vegeta has them: hist[0,1ms,10ms].
func ByName(name string) (Writer, error) {
	if list, found := strings.CutPrefix(name, "hist["); found {
		bounds, err := parseBuckets(list)
		if err != nil {
			return nil, err
		}
		return func(w io.Writer, r *loadtest.Result) error { return Buckets(w, r, bounds) }, nil
	}
	if write, found := formats[name]; found {
		return write, nil
	}
	return nil, fmt.Errorf("report: there is no format %q: there are %s, and hist[0,1ms,10ms] with bounds of your own", name, strings.Join(Formats(), ", "))
}

// parseBuckets reads what follows "hist[".
func parseBuckets(list string) ([]time.Duration, error) {
	list, closed := strings.CutSuffix(list, "]")
	if !closed {
		return nil, fmt.Errorf("report: hist[%s lacks its closing bracket", list)
	}
	var bounds []time.Duration
	for _, text := range strings.Split(list, ",") {
		d, err := time.ParseDuration(strings.TrimSpace(text))
		if err != nil || d < 0 {
			return nil, fmt.Errorf("report: %q is no bound of a bucket, such as 5ms", text)
		}
		bounds = append(bounds, d)
	}
	if !slices.IsSorted(bounds) || len(slices.Compact(slices.Clone(bounds))) != len(bounds) {
		return nil, fmt.Errorf("report: the bounds of the buckets must rise: %s", list)
	}
	if bounds[0] != 0 {
		bounds = slices.Insert(bounds, 0, 0)
	}
	return bounds, nil
}
