package loadtest

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// eraseLine moves to the beginning of the line and erases it, on a terminal.
const eraseLine = "\r\x1b[K"

// writeStatus replaces the status line. That it could not be written is no reason
// to end a run.
func writeStatus(w io.Writer, cfg *Config, at *Interval) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%v", eraseLine, (at.Offset + at.Length).Round(100*time.Millisecond))
	if cfg.Duration < maxDuration {
		fmt.Fprintf(&b, "/%v", cfg.Duration)
	}
	fmt.Fprintf(&b, "  %.0f/s  p50 %s  p99 %s  max %s", at.Rate(), formatLatency(at.P50), formatLatency(at.P99), formatLatency(at.Max))
	if at.Unsent > 0 {
		fmt.Fprintf(&b, "  unsent %d", at.Unsent)
	}
	if at.Failed > 0 {
		fmt.Fprintf(&b, "  errors %d", at.Failed)
	}
	for _, cache := range slices.Sorted(maps.Keys(at.Caches)) {
		fmt.Fprintf(&b, "  %s %.0f %%", printable(cache), 100*float64(at.Caches[cache])/float64(max(at.Done, 1)))
	}
	_, _ = io.WriteString(w, b.String())
}

func clearStatus(w io.Writer) { _, _ = io.WriteString(w, eraseLine) }

// formatLatency rounds to what a reader can use: three digits.
func formatLatency(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// printable replaces what a terminal would obey. "" is a dash.
func printable(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
