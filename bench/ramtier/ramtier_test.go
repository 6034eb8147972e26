package main

import (
	"strings"
	"testing"
)

// Whoever keeps less than it was made for, or more, is compared unfairly.
func TestEveryContenderHoldsWhatItWasMadeFor(t *testing.T) {
	const entries = 2048
	s := newStage(entries)
	for _, c := range contenders() {
		cache := c.New(entries+entries/4, valueSize)
		p := player{stage: s, cache: cache, copies: c.copies, buf: make([]byte, valueSize)}
		held := func() (n int) {
			cache.Settle()
			for _, key := range s.keys {
				if cache.Get(key) {
					n++
				}
			}
			return n
		}
		p.playSets(entries)
		if n := held(); n < entries*9/10 || n > entries {
			t.Errorf("%s holds %d of %d objects that have room", c.name, n, entries)
		}
		if c.only == "" {
			p.playSets(len(s.keys))
			if n := held(); n > entries*11/8 {
				t.Errorf("%s was made for %d objects and holds %d", c.name, entries+entries/4, n)
			}
		}
		cache.Close()
	}
}

func TestSamplesCountHits(t *testing.T) {
	s := newStage(2048)
	for _, c := range contenders()[:3] {
		if got := s.run(c, hitName, 2, 10_001); got.hits != got.Ops || got.Ops != 10_001 {
			t.Errorf("%s answered %d of %d requests for what is there", c.name, got.hits, got.Ops)
		}
		if c.only != "" {
			continue
		}
		if got := s.run(c, zipfName, 2, 10_001); got.hits < got.Ops/4 || got.hits == got.Ops {
			t.Errorf("%s answered %d of %d requests of zipf", c.name, got.hits, got.Ops)
		}
	}
}

func TestATableHasARowForEachContender(t *testing.T) {
	all := contenders()
	text := plan{entries: 1024, ops: 500, rounds: 1, gcEntries: 2000}.tables(all)
	for _, c := range all {
		want := 4 // hit, set, zipf, garbage
		if c.only != "" {
			want = 1
		}
		if got := strings.Count(text, "| "+c.name+" |"); got != want {
			t.Errorf("%s has %d rows, want %d:\n%s", c.name, got, want, text)
		}
	}
}

func benchmark(b *testing.B, workload string) {
	s := newStage(16 << 10)
	for _, c := range contenders() {
		if c.only != "" && c.only != workload {
			continue
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for _, n := range cores() {
				got := s.run(c, workload, n, b.N)
				b.ReportMetric(got.PerOp(), map[int]string{1: "cpu-ns/op-1core", 2: "cpu-ns/op-2cores"}[n])
				b.ReportMetric(got.hitRatio(), "%hits")
			}
		})
	}
}

func BenchmarkHit(b *testing.B)  { benchmark(b, hitName) }
func BenchmarkSet(b *testing.B)  { benchmark(b, setName) }
func BenchmarkZipf(b *testing.B) { benchmark(b, zipfName) }

func BenchmarkGC(b *testing.B) {
	for _, c := range contenders() {
		if c.only != "" {
			continue
		}
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				got := weigh(c, 1_000_000)
				b.ReportMetric(got.cpu.Seconds()*1e3, "cpu-ms/gc")
				b.ReportMetric(got.perItem, "B/entry")
				b.ReportMetric(got.pause.Seconds()*1e6, "longest-pause-µs")
			}
		})
	}
}
