package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/micelio/micelio/console"
)

// A view is one of those that a picture can show.
type view int

const (
	overview view = iota
	membersView
	fillsView
	hotView
	slowView
	settingsView
	views // how many there are
)

var viewNames = [views]string{"overview", "members", "fills", "hot", "slow", "settings"}

// A picture is what there is to draw.
type picture struct {
	address string          // of the node
	status  *console.Status // nil until it has answered; printable
	fault   string          // why it does not answer now, "" if it does
	asked   time.Time       // when it answered last
	now     time.Time
	zone    *time.Location

	view   view
	offset int  // lines that were scrolled away
	paused bool // what is shown stays
	help   bool
}

// render returns the picture as it is written to a terminal of this size: with
// one write, from the upper left corner over what is there. It is the same for
// the same arguments. A size of no rows is that of paper: all there is, with
// line breaks and nothing else.
func render(p *picture, s size, k look) []byte {
	lines := p.lines(s, k)
	var b bytes.Buffer
	if s.rows == 0 {
		for _, l := range lines {
			l.write(&b, k, false)
			trimmed := bytes.TrimRight(b.Bytes(), " ")
			b.Truncate(len(trimmed))
			b.WriteByte('\n')
		}
		return b.Bytes()
	}
	b.WriteString("\x1b[?2026h\x1b[H") // terminals that know it show all of it at once
	for i := range s.rows {
		if i > 0 {
			b.WriteString("\r\n")
		}
		if i < len(lines) {
			lines[i].cut(s.columns).write(&b, k, p.fault != "" && i > 0)
		}
		b.WriteString("\x1b[K")
	}
	b.WriteString("\x1b[?2026l")
	return b.Bytes()
}

// write writes a line. What is old loses its colours.
func (l strip) write(b *bytes.Buffer, k look, old bool) {
	for _, s := range l {
		code := sgr[s.face]
		if old && s.face < inverse {
			code = sgr[faint]
		}
		if !k.colours || code == "" || s.text == "" {
			b.WriteString(s.text)
			continue
		}
		fmt.Fprintf(b, "\x1b[%sm%s\x1b[0m", code, s.text)
	}
}

// lines returns the rows of the picture, at most as many as there is room for.
func (p *picture) lines(s size, k look) []strip {
	d := &drawing{picture: p, look: k, width: s.columns}
	rows := s.rows
	lines := d.head()
	if rows == 0 {
		return append(lines, d.body(0)...)
	}
	if rows < len(lines)+2 {
		return k.limit(lines, rows)
	}
	body := d.body(rows - len(lines) - 1)
	lines = append(lines, body...)
	for len(lines) < rows-1 {
		lines = append(lines, nil)
	}
	return append(lines, d.foot())
}

// A drawing is a picture of some width being drawn.
type drawing struct {
	*picture
	look
	width int
}

// head says who this is and how it is.
func (d *drawing) head() []strip {
	if d.status == nil {
		return []strip{{{"micelio-node top", strong}, {"  " + d.address, plain}, {d.silence("  "), bad}}, nil}
	}
	n, r := &d.status.Node, &d.status.Rates.Minute
	first := strip{{n.ID, strong}, {"  ", plain}, {n.State, stateFace(n.State)}, {"  cluster " + n.Cluster, plain}}
	if d.paused {
		first = append(first, span{"  paused", warning})
	}
	uptime := "  up " + d.secondsText(d.status.At.Sub(n.Started).Seconds())
	first = d.flush(first, uptime+"  "+d.status.At.In(d.zone).Format(time.TimeOnly))
	ring := d.status.Ring
	agreement := span{fmt.Sprintf("%d members agree", len(ring.Members)), good}
	if len(ring.Members) == 1 {
		agreement.text = "1 member"
	}
	if !ring.Agreed {
		agreement = span{fmt.Sprintf("%d members do not agree", len(ring.Members)), bad}
	}
	second := strip{agreement, {"  epoch " + ring.Epoch, plain}}
	second = d.flush(second, fmt.Sprintf("  %s  cpu %.2f  mem %s  %d goroutines", n.Version, r.CPU, bytesText(n.Memory), n.Goroutines))
	failed := span{"  " + rateText(r.Failed) + " failed/s", plain}
	if r.Failed > 0 {
		failed.face = bad
	}
	third := d.fill(span{rateText(r.Requests) + " req/s", strong}, failed, span{"  " + percent(r.Hits) + " hits", plain},
		span{"  origin " + rateText(r.Origin) + "/s", plain}, span{"  " + bytesText(int64(r.BytesOut)) + "/s out", plain}, span{"  " + bytesText(int64(r.BytesIn)) + "/s in", plain})
	lines := []strip{first, second, third}
	if d.fault != "" {
		lines = append([]strip{{{d.silence(""), bad}}}, lines...)
	}
	for _, c := range d.status.Checks {
		if !c.OK {
			f := bad
			if c.Says {
				f = warning
			}
			lines = append(lines, strip{{"! " + c.Name + ": " + c.Text, f}})
		}
	}
	return append(lines, nil)
}

// silence says that the node does not answer, "" if it does.
func (d *drawing) silence(before string) string {
	switch {
	case d.fault == "" && d.status == nil:
		return before + "asking"
	case d.fault == "":
		return ""
	case d.status == nil:
		return before + d.fault
	}
	return fmt.Sprintf("%sSILENT for %s: %s; below is what it said last", before, d.secondsText(d.now.Sub(d.asked).Seconds()), strings.TrimPrefix(d.fault, "no answer: "))
}

// flush puts text at the right end of a line if there is room.
func (d *drawing) flush(l strip, text string) strip {
	if room := d.width - l.width() - cells(text); room >= 0 {
		return append(l, span{strings.Repeat(" ", room), plain}, span{text, faint})
	}
	return l
}

// fill makes a line of as many spans, from the first on, as there is room for.
func (d *drawing) fill(spans ...span) (l strip) {
	for i, s := range spans {
		if i > 0 && l.width()+cells(s.text) > d.width {
			break
		}
		l = append(l, s)
	}
	return l
}

// foot names the keys.
func (d *drawing) foot() strip {
	l := strip{{" q quit  ? help  p pause ", inverse}}
	for i := range views {
		f := inverse
		if i == d.view {
			f = chosen
		}
		l = append(l, span{" ", inverse}, span{fmt.Sprintf("%d %s", i+1, viewNames[i]), f})
	}
	l = l.cut(d.width)
	return append(l, span{strings.Repeat(" ", d.width-l.width()), inverse})
}

// body returns what the view shows, in so many rows, or all of it for 0.
func (d *drawing) body(rows int) []strip {
	switch {
	case d.help:
		return d.window(helpLines(), rows)
	case d.status == nil:
		return nil
	case d.view == overview:
		return d.overview(rows)
	}
	blocks := d.blocks()
	g := map[view]func() *grid{membersView: blocks.members, fillsView: blocks.fills, hotView: blocks.hot, slowView: blocks.slow, settingsView: blocks.settings}[d.view]()
	lines := g.lines(d.width)
	if rows == 1 {
		return lines[:1]
	}
	return append(lines[:1:1], d.window(lines[1:], rows-1)...)
}

// window returns rows of lines from the offset on, which never goes past the end.
func (d *drawing) window(lines []strip, rows int) []strip {
	if rows <= 0 {
		return lines
	}
	from := min(d.offset, max(len(lines)-rows, 0))
	return d.limit(lines[from:], rows)
}

func helpLines() (lines []strip) {
	for _, text := range []string{
		"1 to 6, Tab, Shift-Tab   overview, members, fills, hot keys, slow requests, settings",
		"arrows, j, k, PgUp, PgDn, g   move in a list",
		"p   pause, and go on",
		"?   this, and back",
		"q, Ctrl-C   quit",
		"",
		"Rates and ratios are of the last minute, totals since the start of the node.",
		"Reads are of this node's clients; each node of a cluster has its own figures.",
	} {
		lines = append(lines, strip{{text, plain}})
	}
	return lines
}

// stateFace colours a state of a node, a member or a breaker.
func stateFace(state string) face {
	switch state {
	case "ready", "serving", "closed":
		return good
	case "starting", "joining", "draining", "half-open":
		return warning
	case "not ready", "open":
		return bad
	}
	return plain
}
