package main

import (
	"fmt"
	"html"
	"math"
	"strings"

	"github.com/micelio/micelio/bench/policy"
)

// The plot has a panel for each trace: capacities from left to right, hit ratios
// from the lowest to the highest tens.
const (
	panelWidth, panelHeight = 300, 200
	columns                 = 3
	left, top, right, low   = 40, 34, 14, 26 // margins of a panel
	legendHeight            = 40
)

// colors are those of policies, in their order. They stand out from white and
// from black.
var colors = map[string]string{
	policy.Ours: "#e4572e", policy.LRU: "#8d99ae", optimum: "#8d99ae",
	"otter v2.4.0": "#2e86ab", "theine v0.6.3": "#4c9f70", "ristretto v2.4.2": "#b07aa1",
	"golang-fifo S3-FIFO v1.2.0": "#c9a227", "golang-fifo SIEVE v1.2.0": "#7b6d8d",
}

// plot draws all results as SVG.
func plot(results []result) string {
	rows := (len(results) + columns - 1) / columns
	width, height := columns*panelWidth, rows*panelHeight+legendHeight
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", width, height)
	b.WriteString("<title>Hit ratios in per cent by capacity</title>\n")
	b.WriteString("<style>text{fill:#333}line{stroke:#ccc}@media(prefers-color-scheme:dark){text{fill:#ddd}line{stroke:#444}}</style>\n")
	legend(&b, results[0].names)
	for i, r := range results {
		panel(&b, r, i%columns*panelWidth, i/columns*panelHeight+legendHeight)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func legend(b *strings.Builder, names []string) {
	const perLine, step = 4, 220
	for i, name := range names {
		x, y := 10+i%perLine*step, 14+i/perLine*16
		fmt.Fprintf(b, `<path d="M%d %dh24" %s/><text x="%d" y="%d">%s</text>`+"\n", x, y-4, stroke(name), x+30, y, html.EscapeString(name))
	}
}

// stroke returns how the line of a policy is drawn.
func stroke(name string) string {
	width, dash := 1.5, ""
	switch name {
	case policy.Ours:
		width = 3
	case optimum:
		dash = ` stroke-dasharray="3 3"`
	}
	return fmt.Sprintf(`fill="none" stroke="%s" stroke-width="%g"%s`, colors[name], width, dash)
}

func panel(b *strings.Builder, r result, x, y int) {
	lowest, highest := 100.0, 0.0
	for _, ratios := range r.ratio {
		for _, v := range ratios {
			lowest, highest = min(lowest, v), max(highest, v)
		}
	}
	lowest, highest = math.Floor(lowest/10)*10, math.Ceil((highest+0.01)/10)*10
	across := func(i int) float64 {
		return float64(x+left) + float64(i)*float64(panelWidth-left-right)/float64(len(r.trace.Capacities)-1)
	}
	up := func(v float64) float64 {
		return float64(y+panelHeight-low) - (v-lowest)/(highest-lowest)*float64(panelHeight-top-low)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", x+left, y+20, html.EscapeString(r.trace.Name))
	for v := lowest; v <= highest; v += max(10, (highest-lowest)/4) {
		fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%.0f</text>`+"\n",
			x+left, x+panelWidth-right, up(v), up(v), x+left-5, up(v)+4, v)
	}
	for j, capacity := range r.trace.Capacities {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", across(j), y+panelHeight-8, amount(capacity, r.trace.Sizes != nil))
	}
	for i := len(r.names) - 1; i >= 0; i-- { // ours on top
		var path strings.Builder
		for j, v := range r.ratio[i] {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(j, 1)], across(j), up(v))
		}
		fmt.Fprintf(b, `<path d="%s" %s/>`+"\n", path.String(), stroke(r.names[i]))
	}
}
