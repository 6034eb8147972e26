package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/figure"
)

// Markdown writes a report for the summary of a CI run: the verdict, the figures
// in one table, the tiers in another, the rest folded away.
func Markdown(w io.Writer, r *loadtest.Result) error {
	var out bytes.Buffer
	line, reasons := verdict(r)
	mark := "✅"
	if r.Self.Verdict != loadtest.Valid {
		mark = "❌"
	}
	fmt.Fprintf(&out, "### %s %s\n\n%s\n\n", mark, escape(title(r)), escape(line))
	for _, reason := range reasons {
		fmt.Fprintf(&out, "> %s\n\n", escape(reason))
	}
	fmt.Fprintf(&out, "`%s`\n\n", strings.ReplaceAll(about(r), "`", "'"))
	cpu := "not asked"
	if s := r.Server; s != nil {
		if cpu = took(s.CPUPerRequest); s.Nodes == 0 {
			cpu = "no answer"
		}
		for _, partly := range []struct {
			names []string
			what  string
		}{{s.Missing, "nodes that did not say what they counted"}, {s.Restarted, "nodes that were restarted, counted in part"}} {
			if len(partly.names) > 0 {
				fmt.Fprintf(&out, "> warning: %s: %s\n\n", partly.what, escape(strings.Join(partly.names, ", ")))
			}
		}
	}
	writeMarkdown(&out, table{
		Titles: []string{"server CPU/request", "asked", "done", "p50", "p99", "p99.9", "max", "success", "unsent"},
		Rows: [][]string{{
			cpu, figure.PerSecond.Format(figure.Asked(r)), figure.PerSecond.Format(figure.Done(r)),
			took(r.Response.Quantile(.5)), took(r.Response.Quantile(.99)), took(r.Response.Quantile(.999)), took(r.Response.Max()),
			success(r), fmt.Sprint(r.Totals.Unsent),
		}},
	}, "--:")
	for i, t := range tables(r) {
		out.WriteByte('\n')
		if i == 0 {
			writeMarkdown(&out, t, "---")
			continue
		}
		fmt.Fprintf(&out, "<details><summary>By %s</summary>\n\n", strings.ToLower(t.Name))
		writeMarkdown(&out, t, "---")
		out.WriteString("\n</details>\n")
	}
	if errors := errorSet(r); len(errors) > 0 {
		fmt.Fprintf(&out, "\nErrors: %s\n", escape(strings.Join(errors, ", ")))
	}
	_, err := w.Write(out.Bytes())
	return err
}

// writeMarkdown writes a table; first is how its first column is aligned.
func writeMarkdown(out *bytes.Buffer, t table, first string) {
	row := func(cells []string) {
		for _, cell := range cells {
			out.WriteString("| " + escape(cell) + " ")
		}
		out.WriteString("|\n")
	}
	row(t.Titles)
	out.WriteString("|" + first + "|" + strings.Repeat("--:|", len(t.Titles)-1) + "\n")
	for _, cells := range t.Rows {
		row(cells)
	}
}

// escape keeps text from being taken for a table's border, for HTML, or for the
// end of the line.
func escape(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "~", `\~`, "*", `\*`, "_", `\_`, "\n", " ").Replace(text)
}
