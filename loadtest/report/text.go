package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/figure"
)

// Text writes a report for a terminal. It begins with what the generator says
// about itself, because the rest of an INVALID run is not worth reading; then
// come the lines of vegeta's report, in its layout, and tables by tier,
// operation, status and part of the mix.
func Text(w io.Writer, r *loadtest.Result) error {
	var out bytes.Buffer
	line, reasons := verdict(r)
	fmt.Fprintf(&out, "Self check     %s\n", line)
	for _, reason := range reasons {
		fmt.Fprintf(&out, "               %s\n", reason)
	}
	fmt.Fprintf(&out, "Run            %s: %s\n\n", title(r), about(r))
	if err := summary(&out, r); err != nil {
		return err
	}
	out.WriteString("\nServers\n")
	if err := pairs(&out, serverLines(r.Server)); err != nil {
		return err
	}
	for _, t := range tables(r) {
		out.WriteByte('\n')
		writeTable(&out, t)
	}
	_, err := w.Write(trimLines(out.Bytes()))
	return err
}

// summary writes the lines of vegeta's text report and those that it lacks.
func summary(out *bytes.Buffer, r *loadtest.Result) error {
	attack, wait := attackAndWait(r)
	t := &r.Totals
	good := t.Sent - t.Failed
	lines := [][2]string{
		{"Requests      [total, asked, done]", fmt.Sprintf("%d, %s, %s", t.Sent, figure.PerSecond.Format(figure.Asked(r)), figure.PerSecond.Format(figure.Done(r)))},
		{"Unsent        [total, share]", fmt.Sprintf("%d, %s", t.Unsent, share(t.Unsent, t.Scheduled))},
		{"Duration      [total, attack, wait]", fmt.Sprintf("%s, %s, %s", took(r.Took), took(attack), took(wait))},
		{"Latencies     [min, mean, 50, 90, 95, 99, 99.9, max]", times(r.Response)},
		{"  from sending", times(r.Service)},
		{"  lateness", times(r.Lateness)},
		{"Bytes In      [total, mean]", bytesOf(t.BytesIn, t.Sent)},
		{"Bytes Out     [total, mean]", bytesOf(t.BytesOut, t.Sent)},
		{"Bodies        [checked, damaged]", fmt.Sprintf("%d, %d", t.Checked, t.Damaged)},
		{"Connections   [redialed]", redialed(r)},
		{"Success       [ratio, good, bad]", fmt.Sprintf("%s, %d, %d", success(r), good, t.Failed)},
		{"Status Codes  [code:count]", strings.Join(codes(r), "  ")},
		{"Error Set     [kind:count]", cmp.Or(strings.Join(errorSet(r), "  "), "none")},
	}
	if err := pairs(out, lines); err != nil {
		return err
	}
	for _, example := range examples(r) {
		fmt.Fprintf(out, "  %s\n", example)
	}
	return nil
}

// redialed is not known of the clients that are net/http, which does not say.
func redialed(r *loadtest.Result) string {
	if r.Config.Client == loadtest.ClientHTTP || r.Config.Client == loadtest.ClientHTTP2 {
		return "–"
	}
	return fmt.Sprint(r.Totals.Redialed)
}

func pairs(out *bytes.Buffer, lines [][2]string) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.StripEscape)
	for _, l := range lines {
		fmt.Fprintf(w, "%s\t%s\n", l[0], l[1])
	}
	return w.Flush()
}

func times(h *loadtest.Histogram) string {
	if h.Count() == 0 {
		return "–"
	}
	parts := []string{took(h.Min()), took(h.Mean())}
	for _, q := range []float64{0.5, 0.9, 0.95, 0.99, 0.999} {
		parts = append(parts, took(h.Quantile(q)))
	}
	return strings.Join(append(parts, took(h.Max())), ", ")
}

func bytesOf(total, n int64) string {
	if n == 0 {
		return "0, 0"
	}
	return fmt.Sprintf("%d, %.2f", total, float64(total)/float64(n))
}

// writeTable writes a table whose first column stands left and whose numbers
// stand right.
func writeTable(out *bytes.Buffer, t table) {
	widths := make([]int, len(t.Titles))
	rows := append([][]string{t.Titles}, t.Rows...)
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			blanks := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				out.WriteString(cell + blanks)
				continue
			}
			out.WriteString("  " + blanks + cell)
		}
		out.WriteByte('\n')
	}
}

// trimLines takes away the blanks at the ends of lines.
func trimLines(text []byte) []byte {
	var out bytes.Buffer
	for line := range bytes.Lines(text) {
		out.Write(bytes.TrimRight(line, " \n"))
		out.WriteByte('\n')
	}
	return out.Bytes()
}
