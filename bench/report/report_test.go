package report

import (
	"os"
	"path/filepath"
	"testing"
)

func TestASectionIsReplacedAndTheRestStays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	begin, end := Marks("a")
	otherBegin, otherEnd := Marks("b")
	page := func(text string) string {
		return "before\n" + otherBegin + "kept\n" + otherEnd + begin + text + end + "after\n"
	}
	if err := os.WriteFile(file, []byte(page("old\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Insert(file, "a", "new\n"); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(file); string(got) != page("new\n") {
		t.Errorf("the file is %q, want %q", got, page("new\n"))
	}
}

func TestAFileWithoutAPlaceForTablesIsLeftAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(file, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Insert(file, "a", "tables"); err == nil {
		t.Error("tables were written into a file that has no place for them")
	}
	if got, _ := os.ReadFile(file); string(got) != "text" {
		t.Errorf("the file is %q now", got)
	}
}

func TestATableIsMarkdown(t *testing.T) {
	table := Table{Title: "Title.", Columns: []string{"a", "b"}}
	table.Add("x", Number(1.234))
	want := "\nTitle.\n\n| a | b |\n|---|---|\n| x | 1.23 |\n\n"
	if got := table.String(); got != want {
		t.Errorf("the table is %q, want %q", got, want)
	}
}
