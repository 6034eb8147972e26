// Ssdtier measures our SSD tier and other ways to keep objects on a disk side by
// side, fills of a whole cache, restarts, and how the log could be written. It
// writes what it found into the project's docs. See "make bench-ssd" and "make
// bench-writes".
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/micelio/micelio/bench/report"
)

// The names of the places of the tables in the file.
const (
	section        = "SSD tier"
	servingSection = "ways to a connection"
	writesSection  = "writes of the log"
)

// A plan says how much is measured.
type plan struct {
	dir             string // that has the disk
	rounds          int    // the contenders take turns in each
	loads           []load
	fills           []fill
	restart, scan   int   // objects of a restart, of ours and as files
	writes          int64 // bytes for each way to write the log
	onlyWrites      bool
	onlyServing     bool
	restartAttempts int
}

func main() {
	p := plan{loads: loads(), fills: fills(), restartAttempts: 3}
	docs := flag.String("docs", "", "`file` whose sections are written; empty: print the tables")
	flag.StringVar(&p.dir, "dir", "", "`directory` on the disk to measure; empty: that for temporary files")
	flag.IntVar(&p.rounds, "rounds", 3, "samples of each contender, of which the median counts")
	flag.IntVar(&p.restart, "restart", 1_000_000, "objects of a restart")
	flag.IntVar(&p.scan, "scan", 100_000, "objects of a restart with a file for each")
	flag.Int64Var(&p.writes, "write-bytes", 512<<20, "bytes for each way to write the log")
	flag.BoolVar(&p.onlyWrites, "writes", false, "measure how the log could be written, and nothing else")
	flag.BoolVar(&p.onlyServing, "serving", false, "measure how objects get to a connection, and nothing else")
	flag.Parse()
	if err := p.run(*docs); err != nil {
		fmt.Fprintln(os.Stderr, "ssdtier:", err)
		os.Exit(1)
	}
}

func (p plan) run(docs string) error {
	dir, err := os.MkdirTemp(p.dir, "bench-ssd-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if p.onlyWrites {
		text, err := compareModes(dir, p.writes, p.rounds)
		if err != nil {
			return err
		}
		return report.Publish(docs, writesSection, text)
	}
	if err := p.runServing(dir, docs); err != nil || p.onlyServing {
		return err
	}
	text := fmt.Sprintf("\nMedians of %d rounds in which the engines take turns, each in an empty directory. CPU time is that of the process; reads are from the page cache.\n", p.rounds)
	for _, compare := range []func() (string, error){
		func() (string, error) { return compareObjects(dir, p.loads, p.rounds) },
		func() (string, error) { return compareFills(dir, p.fills, p.rounds) },
		func() (string, error) { return compareRestarts(dir, p.restart, p.scan, p.restartAttempts) },
	} {
		table, err := compare()
		if err != nil {
			return err
		}
		text += table
	}
	return report.Publish(docs, section, text)
}

func (p plan) runServing(dir, docs string) error {
	text, err := compareServing(dir, p.loads, p.rounds)
	if err != nil {
		return err
	}
	return report.Publish(docs, servingSection, text)
}
