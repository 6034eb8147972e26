package compare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/micelio/micelio/loadtest/figure"
)

// percent writes a part of the old value: +5.2%.
func percent(v float64) string {
	switch {
	case math.IsInf(v, 0):
		return "from 0"
	case math.Abs(v) >= 9.995:
		return fmt.Sprintf("%+.0f%%", 100*v)
	}
	return fmt.Sprintf("%+.1f%%", 100*v)
}

// cells of a row: name, old, new, delta, interval, p, verdict.
func (row Row) cells() []string {
	delta := percent(row.Delta)
	if row.Verdict == Same {
		delta = string(Same)
	}
	verdict := string(row.Verdict)
	if row.Verdict == Same {
		verdict = ""
	}
	return []string{row.Name, row.side(row.Old), row.side(row.New), delta, row.interval(), fmt.Sprintf("%.3f", row.P), verdict}
}

// side writes a median and how far the runs lie from it.
func (row Row) side(s Spread) string {
	text := row.Unit.Format(s.Median)
	if s.Median == 0 {
		if s.High > 0 {
			return text + " … " + row.Unit.Format(s.High)
		}
		return text
	}
	return fmt.Sprintf("%s ±%.0f%%", text, 100*max(s.High-s.Median, s.Median-s.Low)/math.Abs(s.Median))
}

// interval writes the interval as parts of the old median, or as amounts where
// that is nothing.
func (row Row) interval() string {
	if row.Old.Median == 0 {
		return fmt.Sprintf("[%s, %s]", row.Unit.Format(row.Interval.Low), row.Unit.Format(row.Interval.High))
	}
	old := math.Abs(row.Old.Median)
	return fmt.Sprintf("[%s, %s]", percent(row.Interval.Low/old), percent(row.Interval.High/old))
}

// titles of the columns.
func (r *Report) titles() []string {
	return []string{"", r.Old.Name, r.New.Name, "delta", "95% interval", "p", ""}
}

// legend explains the table in one place for all forms.
func (r *Report) legend() string {
	return fmt.Sprintf("Medians of the runs, ± the farthest run. ~ is a difference that chance makes too (p ≥ %g). "+
		"Of twenty figures that did not change, one has p < 0.05.", r.Alpha)
}

// WriteText writes the report for a terminal. What weakens it comes first.
func (r *Report) WriteText(w io.Writer) error {
	var out bytes.Buffer
	for _, warning := range r.Warnings {
		fmt.Fprintf(&out, "Warning: %s\n", warning)
	}
	for _, s := range []Side{r.Old, r.New} {
		fmt.Fprintf(&out, "%s: %d runs against %s\n", s.Name, s.Runs, strings.Join(s.Targets, ", "))
	}
	out.WriteByte('\n')
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, strings.Join(r.titles(), "\t"))
	for _, row := range r.Rows {
		fmt.Fprintln(table, strings.Join(row.cells(), "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&out, "\n%s\n", r.legend())
	for _, failure := range r.Failures {
		fmt.Fprintf(&out, "FAILED %s\n", failure)
	}
	_, err := w.Write(trimLines(out.Bytes()))
	return err
}

// trimLines takes the blanks away that tabwriter leaves at the ends of lines.
func trimLines(text []byte) []byte {
	var out bytes.Buffer
	for line := range bytes.Lines(text) {
		out.Write(bytes.TrimRight(line, " \n"))
		out.WriteByte('\n')
	}
	return out.Bytes()
}

// WriteMarkdown writes the report for the summary of a CI run.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var out bytes.Buffer
	verdict := "No change that was to be guarded against."
	if r.Failed() {
		verdict = "**Failed:** " + strings.Join(r.Failures, "; ")
	}
	fmt.Fprintf(&out, "### %s → %s\n\n%s\n\n", escape(r.Old.Name), escape(r.New.Name), escape(verdict))
	for _, warning := range r.Warnings {
		fmt.Fprintf(&out, "> ⚠ %s\n\n", escape(warning))
	}
	fmt.Fprintf(&out, "|%s|\n|---|--:|--:|--:|--:|--:|---|\n", escapeAll(r.titles()))
	for _, row := range r.Rows {
		fmt.Fprintf(&out, "|%s|\n", escapeAll(row.cells()))
	}
	fmt.Fprintf(&out, "\n%s\n", r.legend())
	_, err := w.Write(out.Bytes())
	return err
}

func escapeAll(cells []string) string {
	escaped := make([]string, len(cells))
	for i, c := range cells {
		escaped[i] = " " + escape(c) + " "
	}
	return strings.Join(escaped, "|")
}

// escape keeps text from being taken for a table's border or for HTML, and ~
// from striking text out.
func escape(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "~", `\~`, "\n", " ").Replace(text)
}

// WriteJSON writes the report for programs. What is infinite, a change from
// nothing, is null there.
func (r *Report) WriteJSON(w io.Writer) error {
	type row Row
	rows := make([]any, len(r.Rows))
	for i, one := range r.Rows {
		var delta any = one.Delta
		if math.IsInf(one.Delta, 0) {
			delta = nil
		}
		rows[i] = struct {
			row
			Delta any    `json:"delta"`
			Unit  string `json:"unit"`
		}{row(one), delta, unitName(one.Unit)}
	}
	type report Report
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		*report
		Rows []any `json:"rows"`
	}{(*report)(r), rows})
}

func unitName(u figure.Unit) string {
	switch u {
	case figure.Seconds:
		return "s"
	case figure.Share:
		return "ratio"
	case figure.PerSecond:
		return "1/s"
	case figure.Bytes:
		return "B"
	}
	return ""
}
