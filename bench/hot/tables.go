package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/micelio/micelio/bench/report"
)

// figure writes a number, or nothing where there is none.
func figure(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return report.None
	}
	return report.Number(v)
}

func ratio(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return report.None
	}
	return fmt.Sprintf("%.2fx", v)
}

// tables writes what was measured.
func (b *bench) tables(takes string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "\nMedians of %d rounds of %s, in which the contenders take turns after a round that does not count. The server is held to one "+
		"processor, who asks to another one. CPU is what all processes of a server used for a request, system time included. "+
		"Other programs took %.0f %% of the machine in the median run.\n", b.rounds, takes, 100*b.foreign())
	if len(b.missing) > 0 {
		fmt.Fprintf(&text, "\nLeft out: %s.\n", strings.Join(b.missing, "; "))
	}
	for _, table := range []func() string{b.targetTable, b.hotTable, b.zipfTable, b.kindTable, b.largeTable, b.peerTable, b.memoryTable} {
		text.WriteString(table())
	}
	return text.String()
}

// each adds a row for each contender that took part in a workload.
func (b *bench) each(work string, row func(name string)) {
	for _, c := range b.running {
		if len(b.results[work][c.name]) > 0 {
			row(c.name)
		}
	}
}

func (b *bench) hotTable() string {
	if b.results[hotWork] == nil {
		return ""
	}
	load := "wrk"
	if b.wrk == "" {
		load = "this program"
	}
	t := report.Table{
		Title: fmt.Sprintf("**4 KiB, hot**: one object over %d connections, asked for by %s.", hotConns, load),
		Columns: []string{"server", "requests/s", "CPU µs a request", "requests/s of nginx static", "of proxy_cache",
			"requests a CPU second of nginx static", "of proxy_cache"},
	}
	b.each(hotWork, func(name string) {
		t.Add(name, figure(b.median(hotWork, name, rate)), figure(b.median(hotWork, name, sample.total)),
			ratio(b.ratio(hotWork, name, staticName, rate)), ratio(b.ratio(hotWork, name, proxyName, rate)),
			ratio(b.ratio(hotWork, staticName, name, sample.total)), ratio(b.ratio(hotWork, proxyName, name, sample.total)))
	})
	return t.String()
}

// ratio compares the medians of a figure of two contenders.
func (b *bench) ratio(work, of, to string, figure func(sample) float64) float64 {
	return b.median(work, of, figure) / b.median(work, to, figure)
}

func (b *bench) zipfTable() string {
	conns := zipfConns()
	if b.results[zipfWork(conns[0])] == nil {
		return ""
	}
	t := report.Table{
		Title: fmt.Sprintf("**1 to 4 KiB, zipf**: %d objects, the n-th of which is asked for 1/n^0.99 as often as the first, all of them in memory.",
			len(b.objects.zipf)),
		Columns: []string{"server"},
	}
	for _, n := range conns {
		t.Columns = append(t.Columns, fmt.Sprintf("requests/s, %d conn.", n), "CPU µs", "p50 µs", "p99 µs")
	}
	b.each(zipfWork(conns[0]), func(name string) {
		row := []string{name}
		for _, n := range conns {
			for _, f := range []func(sample) float64{rate, sample.total, p50, p99} {
				row = append(row, figure(b.median(zipfWork(n), name, f)))
			}
		}
		t.Add(row...)
	})
	text := t.String()
	for _, n := range conns {
		if part := b.median(zipfWork(n), micelioName, unmarked); part > 0 {
			text += fmt.Sprintf("Of micelio's answers over %d connections %.2g %% did not come from the RAM tier.\n\n", n, 100*part)
		}
	}
	return text
}

func (b *bench) kindTable() string {
	if b.results[etagWork] == nil {
		return ""
	}
	t := report.Table{
		Title: fmt.Sprintf("**Other requests** for the 4 KiB over %d connections: If-None-Match of what it is (304), Range of the first KiB (206), and HEAD.",
			hotConns),
		Columns: []string{"server"},
	}
	works := []string{etagWork, rangeWork, headWork}
	for _, w := range works {
		t.Columns = append(t.Columns, w+": requests/s", "CPU µs")
	}
	b.each(etagWork, func(name string) {
		row := []string{name}
		for _, w := range works {
			row = append(row, figure(b.median(w, name, rate)), figure(b.median(w, name, sample.total)))
		}
		t.Add(row...)
	})
	return t.String()
}

func (b *bench) largeTable() string {
	if b.results[largeWork] == nil {
		return ""
	}
	t := report.Table{
		Title: fmt.Sprintf("**64 MiB, hot**, over %d connections: micelio from its SSD tier (the RAM tier takes no objects of that size), the "+
			"nginxes from files, all of it in the page cache; the others from memory.", largeConns),
		Columns: []string{"server", "GB a CPU second", "of nginx static", "of proxy_cache", "MB/s"},
	}
	b.each(largeWork, func(name string) {
		t.Add(name, figure(b.median(largeWork, name, gbPerCPU)), ratio(b.ratio(largeWork, name, staticName, gbPerCPU)),
			ratio(b.ratio(largeWork, name, proxyName, gbPerCPU)), figure(b.median(largeWork, name, mbps)))
	})
	return t.String()
}

func (b *bench) peerTable() string {
	if b.results[peerWork] == nil {
		return ""
	}
	t := report.Table{
		Title: fmt.Sprintf("**Through a node that is not the owner**: 4 KiB, two nodes on one processor, no copies of hot keys, %d connections; "+
			"and the latency over one connection.", hotConns),
		Columns: []string{"asked is", "requests/s", "of the owner", "CPU µs of the other node", "of the owner", "of both", "p50 µs, 1 conn.", "p99 µs, 1 conn."},
	}
	for _, name := range []string{ownerName, otherName} {
		t.Add(name, figure(b.median(peerWork, name, rate)), ratio(b.ratio(peerWork, name, ownerName, rate)),
			figure(b.median(peerWork, name, func(s sample) float64 { return s.cpu[0] })),
			figure(b.median(peerWork, name, func(s sample) float64 { return s.cpu[1] })),
			figure(b.median(peerWork, name, sample.total)),
			figure(b.median(slowWork, name, p50)), figure(b.median(slowWork, name, p99)))
	}
	return t.String()
}

// memoryTable is about ours alone.
func (b *bench) memoryTable() string {
	text := ""
	if runs := b.results[largeWork][micelioName]; len(runs) > 0 {
		t := report.Table{
			Title:   "**Memory** of micelio that is resident, in MB, while it answers with 64 MiB objects.",
			Columns: []string{"before"},
		}
		row := []string{figure(b.rssBefore / 1e6)}
		for i, s := range runs {
			t.Columns = append(t.Columns, fmt.Sprintf("after round %d", i+1))
			row = append(row, figure(s.rss/1e6))
		}
		t.Add(row...)
		text += t.String()
	}
	t := report.Table{Title: "**Allocations** of micelio for a request, over 64 connections."}
	var row []string
	for _, work := range []string{hotWork, zipfWork(hotConns), etagWork, rangeWork, headWork} {
		if v := b.median(work, micelioName, allocs); !math.IsNaN(v) {
			t.Columns, row = append(t.Columns, work), append(row, fmt.Sprintf("%.1f", v))
		}
	}
	if len(row) == 0 {
		return text
	}
	t.Add(row...)
	return text + t.String()
}
