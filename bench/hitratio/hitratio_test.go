package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micelio/micelio/bench/policy"
	"github.com/micelio/micelio/bench/trace"
)

func small() []*trace.Trace {
	var keys []uint64
	for i := range uint64(3000) {
		keys = append(keys, i%50, 1000+i)
	}
	return []*trace.Trace{
		{Name: "a & b", Keys: keys, Capacities: []int64{20, 60}},
		{Name: "sizes", Keys: keys, Sizes: func(uint64) int64 { return 1 << 20 }, Capacities: []int64{40 << 20, 100 << 20}},
	}
}

func TestResultsBecomeTablesAndAPlot(t *testing.T) {
	results := play(small())
	dir := t.TempDir()
	file := filepath.Join(dir, "benchmarks.md")
	if err := os.WriteFile(file, []byte("before\n"+begin+"old\n"+end+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := insert(file, tables(results)); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(file)
	text := string(got)
	for _, want := range []string{"before\n", "after\n", "a & b", "100 MiB", policy.Ours, optimum, "Of 4 games"} {
		if !strings.Contains(text, want) {
			t.Errorf("the tables lack %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "old") {
		t.Error("the old tables are still there")
	}
	for d := xml.NewDecoder(strings.NewReader(plot(results))); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFileWithoutAPlaceForTablesIsLeftAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "benchmarks.md")
	if err := os.WriteFile(file, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := insert(file, "tables"); err == nil {
		t.Error("tables were written into a file that has no place for them")
	}
	if got, _ := os.ReadFile(file); string(got) != "text" {
		t.Errorf("the file is %q now", got)
	}
}
