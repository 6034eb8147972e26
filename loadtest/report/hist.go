package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/micelio/micelio/loadtest"
)

// usualBuckets are the bounds that suit a cache: RAM hits fall into the first
// ones, the origin into the last.
var usualBuckets = []time.Duration{
	0, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// between counts the durations of h in [low, high); high 0 is no bound. A
// duration counts by the bucket of the histogram that it was put into, which is
// within a thousandth of it.
func between(h *loadtest.Histogram, bounds []time.Duration) []int64 {
	counts := make([]int64, len(bounds))
	for _, bar := range h.HDR().Distribution() {
		if bar.Count == 0 {
			continue
		}
		middle := time.Duration(bar.From + (bar.To-bar.From)/2)
		i := len(bounds) - 1
		for i > 0 && middle < bounds[i] {
			i--
		}
		counts[i] += bar.Count
	}
	return counts
}

// Buckets writes how many response times lie between bounds, in the layout of
// vegeta's hist report. bounds rise from 0; nil stands for those that suit a
// cache, of which empty ones at both ends are left out.
func Buckets(w io.Writer, r *loadtest.Result, bounds []time.Duration) error {
	trim := bounds == nil
	if trim {
		bounds = usualBuckets
	}
	counts := between(r.Response, bounds)
	first, last := 0, len(bounds)
	for trim && first < last-1 && counts[first] == 0 {
		first++
	}
	for trim && last-1 > first && counts[last-1] == 0 {
		last--
	}
	total := r.Response.Count()
	var out bytes.Buffer
	t := table{Titles: []string{"Bucket", "#", "%", "Histogram"}}
	for i := first; i < last; i++ {
		upper := "+Inf"
		if i+1 < len(bounds) {
			upper = took(bounds[i+1])
		}
		part := 0.0
		if total > 0 {
			part = float64(counts[i]) / float64(total)
		}
		t.Rows = append(t.Rows, []string{
			fmt.Sprintf("[%s, %s]", took(bounds[i]), upper), fmt.Sprint(counts[i]), fmt.Sprintf("%.2f%%", 100*part),
			strings.Repeat("#", int(75*part+0.5)),
		})
	}
	leftLast(&t)
	writeTable(&out, t)
	_, err := w.Write(trimLines(out.Bytes()))
	return err
}

// leftLast pads the last column, which stands right otherwise.
func leftLast(t *table) {
	last, width := len(t.Titles)-1, len(t.Titles[len(t.Titles)-1])
	for _, row := range t.Rows {
		width = max(width, len(row[last]))
	}
	for _, row := range append(t.Rows, t.Titles) {
		row[last] += strings.Repeat(" ", width-len(row[last]))
	}
}

// Percentiles writes the distribution of the response times in the format of
// HdrHistogram, .hgrm, that its plotter and others read: milliseconds, with more
// lines the nearer to the maximum. They have six digits after the point, not the
// usual three: a hit in RAM takes some tens of microseconds.
func Percentiles(w io.Writer, r *loadtest.Result) error {
	const (
		linesPerHalf = 5 // lines until the distance to 100 % has halved
		unit         = float64(time.Millisecond)
	)
	// The library has such a function. It writes six digits of the percentile, so
	// that from the seventh nine on all lines are for 1.
	hdr := r.Response.HDR()
	var out bytes.Buffer
	out.WriteString("       Value     Percentile TotalCount 1/(1-Percentile)\n\n")
	for _, b := range hdr.CumulativeDistributionWithTicks(linesPerHalf) {
		value := min(float64(b.ValueAt), float64(r.Response.Max()))
		q := b.Quantile / 100
		if q >= 1 {
			fmt.Fprintf(&out, "%12.6f %2.12f %10d\n", value/unit, 1.0, b.Count)
			continue
		}
		fmt.Fprintf(&out, "%12.6f %2.12f %10d %14.2f\n", value/unit, q, b.Count, 1/(1-q))
	}
	fmt.Fprintf(&out, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", hdr.Mean()/unit, hdr.StdDev()/unit)
	fmt.Fprintf(&out, "#[Max     = %12.3f, Total count    = %12d]\n", float64(r.Response.Max())/unit, hdr.TotalCount())
	_, err := w.Write(out.Bytes())
	return err
}
