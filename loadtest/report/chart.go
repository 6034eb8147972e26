package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
)

// The plane on which curves are drawn. The page stretches it to the room that
// there is, and the words of the axes are text of the page, so that they can be
// read on a telephone too.
const (
	planeWidth  = 1000
	planeHeight = 300
)

// A series is one curve of a chart: a value for each place on the x axis, NaN
// where there is none.
type series struct {
	Name   string
	Values []float64
}

// A chart is a plot with its numbers, which the page shows as a table as well.
type chart struct {
	ID      string
	Title   string
	Note    string // what to look for, one sentence
	X       []float64
	XName   string
	XScale  scale
	XLabel  func(float64) string
	Series  []series
	YScale  scale
	YLabel  func(float64) string
	Stacked bool // areas on top of one another instead of curves
}

// A curve is a series as the page needs it.
type curve struct {
	Name  string
	Class string // s0, s1, …: its colour and its dashes
	Path  string // the d of a path on the plane
}

// curves returns what to draw.
func (c *chart) Curves() []curve {
	drawn := make([]curve, len(c.Series))
	below := make([]float64, len(c.X))
	for i, s := range c.Series {
		drawn[i] = curve{Name: s.Name, Class: fmt.Sprintf("s%d", i)}
		if c.Stacked {
			drawn[i].Path = c.area(below, s.Values)
			for j, v := range s.Values {
				below[j] += zeroIfNone(v)
			}
			continue
		}
		drawn[i].Path = c.line(s.Values)
	}
	return drawn
}

func zeroIfNone(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}

// line draws a curve that is interrupted where there is no value. A value
// without neighbours becomes a short stroke, or nobody would see it.
func (c *chart) line(values []float64) string {
	var path strings.Builder
	pen := false
	for i, v := range values {
		if math.IsNaN(v) {
			pen = false
			continue
		}
		alone := !pen && (i+1 == len(values) || math.IsNaN(values[i+1]))
		point := c.point(c.X[i], v)
		switch {
		case alone:
			fmt.Fprintf(&path, "M%sh4", point)
		case pen:
			fmt.Fprintf(&path, "L%s", point)
		default:
			fmt.Fprintf(&path, "M%s", point)
		}
		pen = true
	}
	return path.String()
}

// area draws what lies between below and below + values.
func (c *chart) area(below, values []float64) string {
	if len(values) == 0 {
		return ""
	}
	x := c.X
	if len(x) == 1 { // one interval alone has no width: give it all
		x = []float64{c.XScale.low, c.XScale.high}
		below, values = []float64{below[0], below[0]}, []float64{values[0], values[0]}
	}
	var path strings.Builder
	pen := "M"
	for i, v := range values {
		path.WriteString(pen + c.point(x[i], below[i]+zeroIfNone(v)))
		pen = "L"
	}
	for i, b := range slices.Backward(below) {
		path.WriteString(pen + c.point(x[i], b))
	}
	return path.String() + "Z"
}

func (c *chart) point(x, y float64) string {
	return fmt.Sprintf("%.1f %.1f", planeWidth*c.XScale.at(x), planeHeight*(1-c.YScale.at(y)))
}

// XTicks and YTicks are the words at the axes.
func (c *chart) XTicks() []tick { return c.XScale.ticks }

// YTicks returns the ticks of the vertical axis.
func (c *chart) YTicks() []tick { return c.YScale.ticks }

// Places returns where the values are on the x axis, from 0 to 1, for the
// cursor.
func (c *chart) Places() []float64 {
	places := make([]float64, len(c.X))
	for i, x := range c.X {
		places[i] = math.Round(10_000*c.XScale.at(x)) / 10_000
	}
	return places
}

// Rows returns the numbers as text: the place first, then each series.
func (c *chart) Rows() [][]string {
	rows := make([][]string, len(c.X))
	for i, x := range c.X {
		rows[i] = append(rows[i], c.XLabel(x))
		for _, s := range c.Series {
			label := "–"
			if !math.IsNaN(s.Values[i]) {
				label = c.YLabel(s.Values[i])
			}
			rows[i] = append(rows[i], label)
		}
	}
	return rows
}

// Percent writes a place on an axis as CSS.
func (tick) percent(at float64) template.CSS { return template.CSS(fmt.Sprintf("%.2f%%", 100*at)) }

// Left is where a tick of the x axis stands.
func (t tick) Left() template.CSS { return t.percent(t.At) }

// Bottom is where a tick of the y axis stands.
func (t tick) Bottom() template.CSS { return t.percent(t.At) }
