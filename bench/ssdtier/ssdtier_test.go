package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micelio/micelio/bench/report"
	"github.com/micelio/micelio/tiers"
)

// Whoever returns another number of bytes is compared unfairly.
func TestEveryEngineReturnsWhatItWasGiven(t *testing.T) {
	sizes := []int64{1, 4 << 10, tiers.MaxPut + 1, maxValue, 2*maxValue + 12345}
	for _, c := range contenders() {
		e, err := c.Open(t.TempDir(), content())
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		buf := make([]byte, readSize)
		for i, size := range sizes {
			if err := e.Put(key(i), size); err != nil {
				t.Errorf("%s does not take %d bytes: %v", c.name, size, err)
			}
		}
		if err := e.Settle(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for i, size := range sizes {
			if n, err := e.Get(key(i), buf); err != nil || n != size {
				t.Errorf("%s returns %d bytes, %v; want %d", c.name, n, err, size)
			}
		}
		if n, err := e.Get(key(len(sizes)), buf); err == nil {
			t.Errorf("%s has %d bytes of an object that it was not given", c.name, n)
		}
		if err := e.Close(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestAStreamRepeatsTheContent(t *testing.T) {
	c := content()
	got, err := io.ReadAll(&stream{c, 1, int64(len(c)) + 3})
	if want := append(bytes.Clone(c[1:]), c[:3]...); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v; want the content from its second byte and three more", len(got), err)
	}
}

func TestTheTablesAreWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	var page string
	for _, name := range []string{section, servingSection, writesSection} {
		begin, end := report.Marks(name)
		page += begin + end
	}
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	p := plan{
		dir: t.TempDir(), rounds: 1, restart: 2000, scan: 200, restartAttempts: 1, writes: 16 << 20,
		loads: []load{{"small", 4 << 10, 20, 2}, {"large", 1 << 20, 2, 1}},
		fills: []fill{{8 << 20, 2, false}, {8 << 20, 2, true}},
	}
	if err := p.run(file); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(file)
	for _, c := range contenders() {
		if n := strings.Count(string(got), "| "+c.name+" |"); n < len(p.loads) {
			t.Errorf("%s has %d rows, want at least %d", c.name, n, len(p.loads))
		}
	}
	for _, want := range []string{"sendfile", "2 objects of 8 MiB, verified", "| 2000 |"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("the tables lack %q:\n%s", want, got)
		}
	}
	if left, _ := os.ReadDir(p.dir); len(left) > 0 {
		t.Errorf("%d files are left behind", len(left))
	}
}

// The ways to write need a file system that takes O_DIRECT.
func TestTheWaysToWriteAreCompared(t *testing.T) {
	text, err := compareModes(t.TempDir(), 16<<20, 1)
	if err != nil {
		t.Skipf("this file system does not do it: %v", err)
	}
	for _, mode := range writeModes() {
		if n := strings.Count(text, "| "+mode.name+" |"); n != 2*len(modePatterns(0)) {
			t.Errorf("%s has %d rows", mode.name, n)
		}
	}
}

func BenchmarkObjects(b *testing.B) {
	bytes := content()
	for _, l := range loads() {
		for _, c := range contenders() {
			b.Run(l.title+"/"+c.name, func(b *testing.B) {
				for range b.N {
					p, err := l.playIn(b.TempDir(), c, bytes)
					if err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(p.put.PerOp()/1e3, "put-cpu-µs")
					b.ReportMetric(p.get.PerOp()/1e3, "get-cpu-µs")
					b.ReportMetric(p.get.MBps(), "get-MB/s")
				}
			})
		}
	}
}

func BenchmarkFill(b *testing.B) {
	bytes := content()
	for _, f := range fills() {
		for _, s := range setups() {
			b.Run(f.String()+"/"+s.name, func(b *testing.B) {
				for range b.N {
					c, err := f.play(b.TempDir(), s, bytes)
					if err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(c.PerGiB(), "cpu-s/GiB")
					b.ReportMetric(c.MBps(), "MB/s")
				}
			})
		}
	}
}

func BenchmarkRestart(b *testing.B) {
	for range b.N {
		all, err := restartOurs(b.TempDir(), 1_000_000, 1)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(all[0].Wall.Seconds(), "open-s")
		b.ReportMetric(float64(all[0].heap)/1e6, "B/object")
	}
}
