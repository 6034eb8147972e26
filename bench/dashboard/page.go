package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

// Sizes in pixels: of a cell of the grid, the gap between panels, and the parts of a
// panel around its drawing.
const (
	cellWidth, cellHeight = 70, 34
	gap                   = 8
	headHeight            = 26
	legendHeight          = 34
	axisWidth, axisHeight = 62, 16
	topHeight             = 8 // half a line of text, for the topmost tick
)

// colours of series, in their order: Grafana's classic palette.
var colours = []string{"#7EB26D", "#EAB839", "#6ED0E0", "#EF843C", "#E24D42", "#1F78C1", "#BA43A9", "#705DA0", "#508642", "#CCA300", "#447EBC", "#C15C17"}

// A box is a panel on the page.
type box struct {
	X, Y, W, H  int
	Type, Title string
	Empty       string   // what is written if there is nothing
	Stats       []figure // of a stat
	Plot        *plot    // of everything else
}

// A figure is a figure with its name and colour.
type figure struct{ Name, Text, Colour string }

// A plot is a drawing of lines.
type plot struct {
	W, H    int
	Shapes  []shape
	YTicks  []tick
	XTicks  []tick
	Legend  []figure
	Hidden  int // lines that the legend has no room for
	Stacked bool
}

type shape struct{ Points, Colour string }

type tick struct {
	At   int
	Text string
}

// writePage draws the panels.
func writePage(file string, d *dashboard, s span) error {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return err
	}
	data := struct {
		Title, From, To string
		Width, Height   int
		Boxes           []box
	}{Title: d.Title, From: s.start().UTC().Format("2006-01-02 15:04:05"), To: s.end.UTC().Format("15:04:05 UTC"), Width: 24*cellWidth + gap}
	for _, p := range d.Panels {
		b := draw(p, s)
		data.Boxes = append(data.Boxes, b)
		data.Height = max(data.Height, b.Y+b.H+gap)
	}
	var page strings.Builder
	if err := t.Execute(&page, data); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(page.String()), 0o644)
}

func draw(p *panel, s span) box {
	g := p.GridPos
	b := box{
		X: g.X*cellWidth + gap, Y: g.Y * cellHeight, W: g.W*cellWidth - gap, H: g.H*cellHeight - gap,
		Type: p.Type, Title: p.Title,
	}
	switch {
	case p.Type == "row":
	case len(p.Lines) == 0:
		b.Empty = p.FieldConfig.Defaults.NoValue
		if b.Empty == "" {
			b.Empty = "No data"
		}
	case p.Type == "stat":
		for _, l := range p.Lines {
			v := l.lastValue()
			b.Stats = append(b.Stats, figure{l.Name, p.format(v), p.colour(v)})
		}
	default:
		b.Plot = p.plot(s, b.W-16, b.H-headHeight-legendHeight)
	}
	return b
}

// colour is that of the last threshold that a value reaches.
func (p *panel) colour(v float64) string {
	colour := "green"
	for _, t := range p.FieldConfig.Defaults.Thresholds.Steps {
		if t.Value == nil || v >= *t.Value {
			colour = t.Color
		}
	}
	return map[string]string{"green": "#73BF69", "orange": "#FF9830", "red": "#F2495C"}[colour]
}

// plot draws the lines of a panel into a rectangle, of which the axes take a part.
func (p *panel) plot(s span, w, h int) *plot {
	stacked := p.FieldConfig.Defaults.Custom.Stacking.Mode == "normal"
	tops := make([][]float64, len(p.Lines))
	most := 0.0
	for i, l := range p.Lines {
		tops[i] = slices.Clone(l.Values)
		for at := range tops[i] {
			if stacked {
				below := 0.0
				if i > 0 {
					below = tops[i-1][at]
				}
				if math.IsNaN(tops[i][at]) {
					tops[i][at] = 0
				}
				tops[i][at] += below
			}
			if v := tops[i][at]; v > most {
				most = v
			}
		}
	}
	most = nice(most)
	if limit := p.FieldConfig.Defaults.Max; limit != nil {
		most = *limit
	}
	pl := &plot{W: w, H: h, Stacked: stacked}
	plotW, plotH := float64(w-axisWidth), float64(h-axisHeight)
	x := func(at int) float64 { return axisWidth + plotW*float64(at)/float64(max(s.steps()-1, 1)) }
	y := func(v float64) float64 { return topHeight + (plotH-topHeight)*(1-math.Min(v/most, 1)) }
	for i := range p.Lines {
		pl.add(colours[i%len(colours)], tops, i, x, y)
	}
	if stacked { // the topmost area is drawn first, the others over it
		slices.Reverse(pl.Shapes)
	}
	for i := range 4 {
		v := most * float64(i) / 3
		pl.YTicks = append(pl.YTicks, tick{int(y(v)), p.format(v)})
	}
	for i := range 4 {
		at := (s.steps() - 1) * i / 3
		when := s.start().Add(time.Duration(at) * s.step).UTC().Format("15:04:05")
		pl.XTicks = append(pl.XTicks, tick{int(x(at)), when})
	}
	room := w * 2 / 7 // characters in two lines of the legend
	for i, l := range p.Lines {
		if room -= len(l.Name) + 5; room < 8 {
			pl.Hidden = len(p.Lines) - i
			break
		}
		pl.Legend = append(pl.Legend, figure{Name: l.Name, Colour: colours[i%len(colours)]})
	}
	return pl
}

// add draws line i: as pieces between gaps, or as an area from 0 up.
func (pl *plot) add(colour string, tops [][]float64, i int, x func(int) float64, y func(float64) float64) {
	var points strings.Builder
	end := func() {
		if points.Len() > 0 {
			pl.Shapes = append(pl.Shapes, shape{points.String(), colour})
			points.Reset()
		}
	}
	if pl.Stacked {
		fmt.Fprintf(&points, "%.1f,%.1f ", x(0), y(0))
	}
	for at, v := range tops[i] {
		if math.IsNaN(v) {
			end()
			continue
		}
		fmt.Fprintf(&points, "%.1f,%.1f ", x(at), y(v))
	}
	if pl.Stacked {
		fmt.Fprintf(&points, "%.1f,%.1f", x(len(tops[i])-1), y(0))
	}
	end()
}

// nice returns the next number that makes a good end of an axis.
func nice(v float64) float64 {
	if v <= 0 {
		return 1
	}
	base := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1.2, 1.5, 2, 3, 4.5, 6, 7.5, 9} {
		if v <= m*base {
			return m * base
		}
	}
	return 12 * base
}

// format writes a value in the panel's unit, as short as Grafana does.
func (p *panel) format(v float64) string {
	switch unit := p.FieldConfig.Defaults.Unit; unit {
	case "percentunit":
		digits := 1
		if d := p.FieldConfig.Defaults.Decimals; d != nil {
			digits = *d
		}
		return fmt.Sprintf("%.*f%%", digits, 100*v)
	case "s":
		return scaled(v, 1000, 1e-9, "ns", "µs", "ms", "s")
	case "bytes":
		return scaled(v, 1024, 1, "B", "KiB", "MiB", "GiB", "TiB")
	case "Bps":
		return scaled(v, 1000, 1, "B/s", "kB/s", "MB/s", "GB/s")
	case "reqps":
		return scaled(v, 1000, 1, "req/s", "K req/s", "M req/s")
	case "ops":
		return scaled(v, 1000, 1, "ops/s", "K ops/s", "M ops/s")
	default:
		return scaled(v, 1000, 1, "", "K", "M", "G")
	}
}

// scaled writes a value in the largest unit that leaves 1 of it; the first is worth
// least, and each other so many times the one before.
func scaled(v, factor, least float64, units ...string) string {
	if v == 0 {
		return strings.TrimSpace("0 " + units[0])
	}
	v /= least
	i := 0
	for i < len(units)-1 && math.Abs(v) >= 0.9995*factor { // below, three digits suffice

		v /= factor
		i++
	}
	return strings.TrimSpace(fmt.Sprintf("%.3g %s", v, units[i]))
}
