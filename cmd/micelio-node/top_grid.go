package main

import "strings"

// A column is one of a grid.
type column struct {
	title string
	right bool // figures stand under one another
	flex  bool // takes what the others leave; one of a grid
	level int  // columns of a high level go first where there is little room; those of level 0 stay
}

// A grid is rows of columns that are fitted into whatever width there is.
type grid struct {
	look    look
	columns []column
	rows    [][]span
}

// The space between two columns, and what a flexible column needs to be of use.
const (
	gap     = 2
	minFlex = 12
)

func (g *grid) row(cells ...span) { g.rows = append(g.rows, cells) }

// lines returns the head and the rows, each at most width columns wide.
func (g *grid) lines(width int) []strip {
	shown, widths := g.fit(width)
	headings := make([]span, len(g.columns))
	for i, c := range g.columns {
		headings[i] = span{c.title, title}
	}
	lines := []strip{g.line(headings, shown, widths)}
	for _, row := range g.rows {
		lines = append(lines, g.line(row, shown, widths))
	}
	return lines
}

// fit chooses the columns to show and their widths.
func (g *grid) fit(width int) (shown, widths []int) {
	natural := make([]int, len(g.columns))
	for i, c := range g.columns {
		natural[i] = cells(c.title)
		for _, row := range g.rows {
			natural[i] = max(natural[i], cells(row[i].text))
		}
		shown = append(shown, i)
	}
	for {
		total, flexible := gap*(len(shown)-1), -1
		for _, i := range shown {
			if g.columns[i].flex {
				flexible = i
				continue
			}
			total += natural[i]
		}
		need := total
		if flexible >= 0 {
			need += min(natural[flexible], minFlex)
		}
		drop := -1
		for at, i := range shown {
			if g.columns[i].level > 0 && (drop < 0 || g.columns[i].level >= g.columns[shown[drop]].level) {
				drop = at
			}
		}
		if need <= width || drop < 0 {
			if flexible >= 0 {
				natural[flexible] = max(min(natural[flexible], width-total), 1)
			}
			return shown, natural
		}
		shown = append(shown[:drop:drop], shown[drop+1:]...)
	}
}

func (g *grid) line(row []span, shown, widths []int) strip {
	var l strip
	for at, i := range shown {
		text := g.look.shorten(row[i].text, widths[i])
		fill := strings.Repeat(" ", widths[i]-cells(text))
		switch {
		case g.columns[i].right:
			l = append(l, span{fill, plain}, span{text, row[i].face})
		case at < len(shown)-1:
			l = append(l, span{text, row[i].face}, span{fill, plain})
		default:
			l = append(l, span{text, row[i].face})
		}
		if at < len(shown)-1 {
			l = append(l, span{strings.Repeat(" ", gap), plain})
		}
	}
	return l
}

// width returns how many columns a line takes.
func (l strip) width() int {
	n := 0
	for _, s := range l {
		n += cells(s.text)
	}
	return n
}

// cut returns a line of at most width columns.
func (l strip) cut(width int) strip {
	for i, s := range l {
		if w := cells(s.text); w <= width {
			width -= w
			continue
		}
		return append(l[:i:i], span{head(s.text, width), s.face})
	}
	return l
}

// limit returns at most rows lines, the last of which says how many more there
// are.
func (k look) limit(lines []strip, rows int) []strip {
	if len(lines) <= rows {
		return lines
	}
	const worthIt = 3 // with fewer lines, the place of that one is better used
	if rows < worthIt {
		return lines[:max(rows, 0)]
	}
	more := countText(int64(len(lines) - rows + 1))
	return append(lines[:rows-1:rows-1], strip{{k.ellipsis() + " " + more + " more", faint}})
}

// beside puts two blocks next to each other, the second from column at on.
func beside(left, right []strip, at int) []strip {
	var both []strip
	for i := range max(len(left), len(right)) {
		var l strip
		if i < len(left) {
			l = left[i].cut(at - gap)
		}
		if i < len(right) {
			l = append(l[:len(l):len(l)], span{strings.Repeat(" ", at-l.width()), plain})
			l = append(l, right[i]...)
		}
		both = append(both, l)
	}
	return both
}

// share gives each of some blocks, which want so many lines, its part of rows:
// first what makes it readable, then, in their order, what shows most of a short
// one, then one line after the other.
func share(rows int, want []int) []int {
	got := make([]int, len(want))
	grow := func(i, to int) {
		n := min(to-got[i], rows)
		got[i], rows = got[i]+n, rows-n
	}
	const readable, short = 2, 6 // a head and a line; a head and what there mostly is
	for i, w := range want {
		if min(w, readable) <= rows {
			grow(i, min(w, readable))
		}
	}
	for i, w := range want {
		if got[i] > 0 {
			grow(i, max(min(w, short), got[i]))
		}
	}
	for more := true; more && rows > 0; {
		more = false
		for i, w := range want {
			if got[i] > 0 && got[i] < w && rows > 0 {
				grow(i, got[i]+1)
				more = true
			}
		}
	}
	return got
}
