// Package report writes what was measured as tables of Markdown, between two
// lines of a file that is otherwise prose. It measures nothing.
package report

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// Marks returns the two lines of a file between which Insert writes the section
// of this name.
func Marks(name string) (begin, end string) {
	return "<!-- " + name + ": begin -->\n", "<!-- " + name + ": end -->\n"
}

// Insert puts text in place of the section of a file. The file is not touched if
// it has no such section.
func Insert(file, name, text string) error {
	begin, end := Marks(name)
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(old, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q", file, begin, end)
	}
	return os.WriteFile(file, fmt.Appendf(nil, "%s%s%s%s%s", before, begin, text, end, after), 0o644)
}

// Publish puts text into the section, or prints it if there is no file.
func Publish(file, name, text string) error {
	if file == "" {
		_, err := fmt.Print(text)
		return err
	}
	return Insert(file, name, text)
}

// A Table is rows under a heading.
type Table struct {
	Title   string // a sentence or two above the table; may be empty
	Columns []string
	Rows    [][]string
}

// Add appends a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// String returns the table as Markdown, with an empty line before and after.
func (t *Table) String() string {
	var b strings.Builder
	b.WriteString("\n")
	if t.Title != "" {
		b.WriteString(t.Title + "\n\n")
	}
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(t.Columns)
	b.WriteString("|" + strings.Repeat("---|", len(t.Columns)) + "\n")
	for _, row := range t.Rows {
		line(row)
	}
	return b.String() + "\n"
}

// None stands where a contender does not do what the column asks.
const None = "-"

// Number writes a figure with three digits that count, as far as they are before
// the point.
func Number(v float64) string {
	switch {
	case v >= 100 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
