// Ramtier measures our RAM tier and other caches side by side: hits, stores,
// zipf with eviction, memory and the cost of garbage collection. It writes what
// it found into the project's docs. See "make bench-ram".
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/micelio/micelio/bench/measure"
	"github.com/micelio/micelio/bench/report"
)

// section names the place of the tables in the file.
const section = "RAM tier"

// A plan says how much is measured.
type plan struct {
	entries   int // that a cache holds
	ops       int // of one sample
	rounds    int // the contenders take turns in each
	gcEntries int
}

func main() {
	var p plan
	docs := flag.String("docs", "", "`file` whose section \""+section+"\" is written; empty: print the tables")
	flag.IntVar(&p.entries, "entries", 16<<10, "objects of 4 KiB that a cache holds")
	flag.IntVar(&p.ops, "ops", 200_000, "operations of one sample")
	flag.IntVar(&p.rounds, "rounds", 5, "samples of each contender, of which the median counts")
	flag.IntVar(&p.gcEntries, "gc-entries", 2_000_000, "small entries for the cost of garbage collection; ten million need 6 GB")
	flag.Parse()
	if err := report.Publish(*docs, section, p.tables(contenders())); err != nil {
		fmt.Fprintln(os.Stderr, "ramtier:", err)
		os.Exit(1)
	}
}

// cores are the numbers of processors that are measured with.
func cores() []int {
	if runtime.NumCPU() < 2 {
		return []int{1}
	}
	return []int{1, 2}
}

// tables measures all and returns what is written.
func (p plan) tables(all []contender) string {
	s := newStage(p.entries)
	var b strings.Builder
	fmt.Fprintf(&b, "\nMedians of %d rounds in which the contenders take turns, each with a new cache; CPU time is that of the whole process.\n", p.rounds)
	for _, w := range []struct{ name, title string }{
		{hitName, fmt.Sprintf("**Hit**: one of %d keys of %d bytes at random.", p.entries, keyLength)},
		{setName, fmt.Sprintf("**Set** of an object of 4 KiB that is not there into a full cache of %d, its allocation included unless the cache copies.", p.entries)},
		{zipfName, fmt.Sprintf("**Zipf with eviction**: %d keys, the n-th asked for 1/n as often as the first; a miss is followed by a set. The cache holds an eighth of the keys.", len(s.keys))},
	} {
		b.WriteString(p.workload(s, all, w.name, w.title))
	}
	b.WriteString(p.garbage(all))
	return b.String()
}

func (p plan) workload(s *stage, all []contender, name, title string) string {
	type place struct {
		contender string
		cores     int
	}
	samples := make(map[place][]sample)
	for range p.rounds {
		for _, n := range cores() {
			for _, c := range all {
				if c.only == "" || c.only == name {
					samples[place{c.name, n}] = append(samples[place{c.name, n}], s.run(c, name, n, p.ops))
				}
			}
		}
	}
	table := report.Table{Title: title, Columns: []string{"cache"}}
	for _, n := range cores() {
		table.Columns = append(table.Columns, fmt.Sprintf("CPU ns, %d core(s)", n), "wall ns")
	}
	table.Columns = append(table.Columns, "allocations", "answered, %")
	for _, c := range all {
		if c.only != "" && c.only != name {
			continue
		}
		row := []string{c.name}
		for _, n := range cores() {
			got := samples[place{c.name, n}]
			row = append(row,
				fmt.Sprintf("%.0f", measure.Median(got, func(s sample) float64 { return s.PerOp() })),
				fmt.Sprintf("%.0f", measure.Median(got, func(s sample) float64 { return s.WallPerOp() })))
		}
		got := samples[place{c.name, 1}]
		ratio := report.None
		if name != setName {
			ratio = fmt.Sprintf("%.1f", measure.Median(got, sample.hitRatio))
		}
		allocs := measure.Median(got, func(s sample) float64 { return s.AllocsPerOp() })
		table.Add(append(row, fmt.Sprintf("%.1f", allocs), ratio)...)
	}
	return table.String()
}

func (p plan) garbage(all []contender) string {
	table := report.Table{
		Title:   fmt.Sprintf("**Garbage collection** with %d entries of %d bytes, keys of %d: one collection of the whole heap, and the longest pause of %d.", p.gcEntries, smallValue, keyLength, collections),
		Columns: []string{"cache", "bounded by", "bytes an entry", "kept, %", "CPU ms", "longest pause, µs"},
	}
	for _, c := range all {
		if c.only != "" {
			continue
		}
		b := weigh(c, p.gcEntries)
		table.Add(c.name, c.bound, fmt.Sprintf("%.0f", b.perItem), fmt.Sprintf("%.1f", b.kept),
			fmt.Sprintf("%.0f", b.cpu.Seconds()*1e3), fmt.Sprintf("%.0f", b.pause.Seconds()*1e6))
	}
	return table.String()
}
