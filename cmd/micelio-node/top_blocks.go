package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/micelio/micelio/console"
)

// A blocks makes the tables of a picture.
type blocks struct{ *drawing }

func (d *drawing) blocks() blocks { return blocks{d} }

// twoColumns is the width from which on the overview stands in two columns: two
// tables that lose none of what they need.
const twoColumns = 110

// overview arranges all tables but the long ones.
func (d *drawing) overview(rows int) []strip {
	b := d.blocks()
	rooms := [][]*grid{{b.answers()}, {b.tiers()}, {b.members()}, {b.upstreams()}, {b.fills()}, {b.hot()}}
	if d.width >= twoColumns {
		rooms = [][]*grid{{b.answers(), b.members()}, {b.tiers(), b.upstreams()}, {b.fills(), b.hot()}}
	}
	for i, room := range rooms {
		rooms[i] = slices.DeleteFunc(room, func(g *grid) bool { return len(g.rows) == 0 })
	}
	rooms = slices.DeleteFunc(rooms, func(room []*grid) bool { return len(room) == 0 })
	want := make([]int, len(rooms))
	for i, room := range rooms {
		for _, g := range room {
			want[i] = max(want[i], len(g.rows)+1)
		}
	}
	got := want
	if rows > 0 {
		got = share(rows, want)
	}
	free := rows
	for _, n := range got {
		free -= n
	}
	return d.arrange(rooms, got, rows == 0 || free >= len(rooms)-1)
}

// arrange puts the tables of each room next to each other, and the rooms, of so
// many lines, below one another, with a free line between them if airy.
func (d *drawing) arrange(rooms [][]*grid, heights []int, airy bool) (lines []strip) {
	for i, room := range rooms {
		if heights[i] == 0 {
			continue
		}
		if airy && lines != nil {
			lines = append(lines, nil)
		}
		if len(room) == 1 {
			lines = append(lines, d.limit(room[0].lines(d.width), heights[i])...)
			continue
		}
		half := d.width / 2
		left, right := room[0].lines(half-gap), room[1].lines(d.width-half)
		lines = append(lines, beside(d.limit(left, heights[i]), d.limit(right, heights[i]), half)...)
	}
	return lines
}

func say(s string) span { return span{cmp.Or(s, "-"), plain} }

func (b blocks) answers() *grid {
	g := &grid{look: b.look, columns: []column{{title: "ANSWERED FROM"}, {title: "REQ/S", right: true}, {title: "SHARE", right: true, level: 1},
		{title: "P50", right: true}, {title: "P99", right: true}, {title: "TOTAL", right: true, level: 2}}}
	total := 0.0
	for _, a := range b.status.Answers {
		total += a.Rate
	}
	reads, others := []console.Answer(nil), []console.Answer(nil)
	for _, a := range b.status.Answers {
		if a.From == "" {
			others = append(others, a)
		} else {
			reads = append(reads, a)
		}
	}
	for _, a := range append(reads, others...) {
		part := "-"
		if total > 0 {
			part = percent(a.Rate / total)
		}
		g.row(say(cmp.Or(a.From, "no read")), say(rateText(a.Rate)), say(part), say(b.secondsText(a.P50)), say(b.secondsText(a.P99)), say(countText(a.Count)))
	}
	return g
}

func (b blocks) tiers() *grid {
	const barWidth = 12
	rates := &b.status.Rates
	g := &grid{look: b.look, columns: []column{{title: "TIER"}, {title: "USED"}, {title: "", right: true, level: 2}, {title: "HITS 1m", right: true}, {title: "1h", right: true, level: 1},
		{title: "OBJECTS", right: true, level: 4}, {title: "EVICT/S", right: true, level: 3}, {title: "ERRORS", right: true, level: 5}}}
	ratio := func(by map[string]float64, tier string) span {
		if v, known := by[tier]; known {
			return say(percent(v))
		}
		return say("")
	}
	for _, t := range b.status.Tiers {
		full := 0.0
		if t.Capacity > 0 {
			full = float64(t.Bytes) / float64(t.Capacity)
		}
		errors := say(countText(t.Damaged + t.Errors))
		if t.Damaged+t.Errors > 0 {
			errors.face = bad
		}
		g.row(say(t.Name), span{b.bar(full, barWidth), good}, say(bytesText(t.Bytes)+" of "+bytesText(t.Capacity)),
			ratio(rates.Minute.Tiers, t.Name), ratio(rates.Hour.Tiers, t.Name), say(countText(t.Objects)), say(rateText(rates.Minute.Evicted[t.Name])), errors)
	}
	return g
}

func (b blocks) members() *grid {
	g := &grid{look: b.look, columns: []column{{title: "MEMBER", flex: true}, {title: "STATE"}, {title: "KEYS", right: true}, {title: "RTT", right: true},
		{title: "BREAKER", level: 2}, {title: "EPOCH", level: 4}, {title: "WEIGHT", right: true, level: 7}, {title: "CLIENTS", level: 6}, {title: "ADMIN", level: 8}, {title: "HEARD", right: true, level: 5}, {title: "ERROR", level: 1}}}
	faults := 0
	for _, m := range b.status.Ring.Members {
		name := say(m.ID)
		if m.Self {
			name.face = strong
		}
		epoch, heard := say(m.Epoch), b.secondsText(m.Heard)
		if m.Epoch != b.status.Ring.Epoch {
			epoch.face = bad
		}
		if m.Self {
			heard = "here"
		}
		if m.Error != "" {
			faults++
		}
		g.row(name, span{m.State, stateFace(m.State)}, say(percent(m.Share)), say(b.secondsText(m.RTT)), span{cmp.Or(m.Breaker, "-"), stateFace(m.Breaker)},
			epoch, say(fmt.Sprint(m.Weight)), say(m.Data), say(m.Admin), say(heard), span{m.Error, bad})
	}
	if faults == 0 { // nobody needs to know that there is none
		g.columns = g.columns[:len(g.columns)-1]
	}
	return g
}

func (b blocks) upstreams() *grid {
	g := &grid{look: b.look, columns: []column{{title: "UPSTREAM"}, {title: "BREAKER", level: 1}, {title: "IN FLIGHT", right: true, level: 3},
		{title: "REQUESTS", level: 2}, {title: "PLACE", flex: true}}}
	for _, u := range b.status.Upstreams {
		var results []string
		for _, name := range slices.Sorted(maps.Keys(u.Counts)) {
			results = append(results, name+" "+countText(u.Counts[name]))
		}
		place := say(u.Place)
		if u.Note != "" { // worth more than what an operator knows
			place = span{u.Note, warning}
		}
		g.row(say(u.Name), span{cmp.Or(u.Breaker, "-"), stateFace(u.Breaker)}, say(fmt.Sprint(u.InFlight)), say(strings.Join(results, "  ")), place)
	}
	return g
}

func (b blocks) fills() *grid {
	const barWidth = 8
	name := "FILL"
	if n := b.status.FillCount; n > 1 {
		name = fmt.Sprintf("FILLS (%d)", n)
	}
	g := &grid{look: b.look, columns: []column{{title: name, flex: true}, {title: "FROM"}, {title: "DONE", level: 2}, {title: "BYTES", right: true, level: 1},
		{title: "READERS", right: true, level: 3}, {title: "AGE", right: true, level: 4}}}
	for _, f := range b.status.Fills {
		done, size := "", bytesText(f.Bytes)
		if f.Size > 0 {
			done, size = b.bar(float64(f.Bytes)/float64(f.Size), barWidth), size+" of "+bytesText(f.Size)
		}
		g.row(say(f.Key), say(f.From), span{cmp.Or(done, "-"), good}, say(size), say(fmt.Sprint(f.Readers)), say(b.secondsText(f.Age)))
	}
	return g
}

func (b blocks) hot() *grid {
	g := &grid{look: b.look, columns: []column{{title: "HOT KEY", flex: true}, {title: "READS/S", right: true}, {title: "CLASS", level: 2}, {title: "OWNER", level: 1}, {title: "COPY", right: true, level: 3}}}
	for _, h := range b.status.Hot {
		copied := say("")
		if h.Copy > 0 {
			copied.text = bytesText(h.Copy)
		}
		g.row(say(h.Key), say(rateText(h.Rate)), say(h.Class), say(h.Owner), copied)
	}
	return g
}

func (b blocks) slow() *grid {
	g := &grid{look: b.look, columns: []column{{title: "TOOK", right: true}, {title: "OP"}, {title: "STATUS", right: true, level: 1}, {title: "FROM", level: 2}, {title: "NODE", level: 5}, {title: "BYTES", right: true, level: 4},
		{title: "AT", level: 3}, {title: "KEY", flex: true}, {title: "TRACE", level: 7}, {title: "REQUEST", level: 6}}}
	for _, r := range b.status.Slow {
		status := say(fmt.Sprint(r.Status))
		if r.Status >= 500 {
			status.face = bad
		}
		g.row(say(b.secondsText(r.Duration)), say(r.Op), status, say(r.From), say(r.Node), say(bytesText(r.Bytes)),
			say(r.At.In(b.zone).Format(time.TimeOnly)), say(r.Key), say(r.Trace), say(r.ID))
	}
	return g
}

func (b blocks) settings() *grid {
	g := &grid{look: b.look, columns: []column{{title: "SETTING"}, {title: "VALUE", flex: true}, {title: "FROM", level: 1}}}
	for _, s := range b.status.Settings {
		source := span{s.Source, faint}
		if s.Source != "default" && !strings.HasPrefix(s.Source, "default:") {
			source.face = plain
		}
		g.row(say(s.Name), say(s.Value), source)
	}
	return g
}
