package console

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// What a [History] keeps. A row is about 450 bytes, so that an hour takes a third
// of a megabyte; the counters of the last minute, which it keeps as they came,
// are some 20 KB with eight places of eighteen bounds.
const (
	sampleEvery = 5 * time.Second
	maxRows     = int(time.Hour/sampleEvery) + 1
	maxRecent   = int(time.Minute/sampleEvery) + 2

	// Names beyond these are left out: what a source says must not decide how
	// much memory it takes. A node has 3 tiers and 8 places.
	maxTiers  = 4
	maxPlaces = 12
	maxBounds = 64
)

// A History is what has happened in the last hour, from samples of what a source
// counts. Its methods are safe for concurrent use.
type History struct {
	source Source

	mu     sync.Mutex
	tiers  []string // names in the order in which they were seen first, as the following
	places []string
	rows   []row // a ring: the oldest is at next once it is full
	next   int
	recent []Counters // oldest first
}

// A row is one sample. Without the buckets, of which an hour would be megabytes:
// the quantiles of the interval that it ends stand for them.
type row struct {
	at    time.Time
	total totals
	tiers [maxTiers]TierCount // by the index of History.tiers, without names
	place [maxPlaces]placeRow
}

type totals struct {
	requests, failed, in, out, origin int64
	cpu                               float64
}

type placeRow struct {
	count    int64
	p50, p99 float64 // NaN without answers
}

// NewHistory returns the history of a source, empty until Run samples it.
func NewHistory(source Source) *History {
	return &History{source: source, rows: make([]row, 0, maxRows)}
}

// Run samples the source now and every five seconds until ctx ends. It is to be
// called once.
func (h *History) Run(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		h.sample(h.source.Counters())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sample adds what is counted so far.
func (h *History) sample(now Counters) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var last *Counters
	if n := len(h.recent); n > 0 {
		last = &h.recent[n-1]
		if !now.At.After(last.At) {
			return // a rate over no time is none
		}
	}
	r := h.rowOf(&now)
	for i := range r.place {
		r.place[i].p50, r.place[i].p99 = math.NaN(), math.NaN()
	}
	if last != nil {
		for i := range now.Answers {
			a := &now.Answers[i]
			if p := slices.Index(h.places, a.From); p >= 0 {
				r.place[p].p50, r.place[p].p99 = quantiles(last.answer(a.From), a)
			}
		}
	}
	if len(h.rows) < maxRows {
		h.rows = append(h.rows, r)
	} else {
		h.rows[h.next] = r
		h.next = (h.next + 1) % maxRows
	}
	if len(h.recent) == maxRecent {
		h.recent = slices.Delete(h.recent, 0, 1)
	}
	h.recent = append(h.recent, now.clone())
}

// clone copies what a source may use again, and no more than a history keeps.
func (c *Counters) clone() Counters {
	kept := *c
	kept.Tiers = nil // they are in the rows
	kept.Answers = slices.Clone(c.Answers[:min(len(c.Answers), maxPlaces)])
	for i := range kept.Answers {
		a := &kept.Answers[i]
		a.Buckets = slices.Clone(a.Buckets[:min(len(a.Buckets), maxBounds)])
	}
	return kept
}

// rowOf makes a row of counters, with names given their places; h.mu is held.
func (h *History) rowOf(c *Counters) row {
	r := row{at: c.At, total: totals{c.Requests, c.Failed, c.BytesIn, c.BytesOut, c.Origin, c.CPU}}
	for _, t := range c.Tiers {
		if i := place(&h.tiers, t.Name, maxTiers); i >= 0 {
			t.Name = ""
			r.tiers[i] = t
		}
	}
	for _, a := range c.Answers {
		if i := place(&h.places, a.From, maxPlaces); i >= 0 {
			r.place[i].count = a.Count
		}
	}
	return r
}

// place returns where a name stands among names, to which it is added while
// there are fewer than limit; -1 if there is no room.
func place(names *[]string, name string, limit int) int {
	if i := slices.Index(*names, name); i >= 0 {
		return i
	}
	if len(*names) == limit {
		return -1
	}
	*names = append(*names, name)
	return len(*names) - 1
}

// answer returns what is counted of a place, nothing if it is not there.
func (c *Counters) answer(from string) *AnswerCount {
	for i := range c.Answers {
		if c.Answers[i].From == from {
			return &c.Answers[i]
		}
	}
	return &AnswerCount{From: from}
}

// row returns the i-th row, 0 being the oldest; h.mu is held.
func (h *History) row(i int) *row { return &h.rows[(h.next+i)%len(h.rows)] }

// rowBefore returns the youngest row that is at least age old at a time, else
// the oldest; nil if there is none. h.mu is held.
func (h *History) rowBefore(at time.Time, age time.Duration) *row {
	for i := len(h.rows) - 1; i >= 0; i-- {
		if r := h.row(i); at.Sub(r.at) >= age || i == 0 {
			return r
		}
	}
	return nil
}

// recentBefore is rowBefore for the counters of the last minute.
func (h *History) recentBefore(at time.Time, age time.Duration) *Counters {
	for i, c := range slices.Backward(h.recent) {
		if at.Sub(c.At) >= age || i == 0 {
			return &h.recent[i]
		}
	}
	return nil
}

// Complete writes into a status what only a history knows: Rates, and the rate
// and quantiles of its Answers. Now is what is counted at that moment, so that
// the last figures are those of now and not of the last sample.
func (h *History) Complete(s *Status, now Counters) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Rates = Rates{
		Minute: h.rate(&now, h.rowBefore(now.At, time.Minute)),
		Hour:   h.rate(&now, h.rowBefore(now.At, time.Hour)),
	}
	before := h.recentBefore(now.At, time.Minute)
	if before == nil {
		return
	}
	seconds := now.At.Sub(before.At).Seconds()
	s.Answers = slices.Clone(s.Answers) // they may be the source's own
	for i := range s.Answers {
		a := &s.Answers[i]
		first, last := before.answer(a.From), now.answer(a.From)
		a.Rate = perSecond(last.Count-first.Count, seconds)
		if p50, p99 := quantiles(first, last); !math.IsNaN(p50) {
			a.P50, a.P99 = p50, p99
		}
	}
}

// rate returns what happened from a row on; h.mu is held.
func (h *History) rate(now *Counters, from *row) Rate {
	r := Rate{Tiers: map[string]float64{}, Evicted: map[string]float64{}}
	if from == nil || !now.At.After(from.at) {
		return r
	}
	r.Seconds = now.At.Sub(from.at).Seconds()
	r.Requests = perSecond(now.Requests-from.total.requests, r.Seconds)
	r.Failed = perSecond(now.Failed-from.total.failed, r.Seconds)
	r.BytesIn = perSecond(now.BytesIn-from.total.in, r.Seconds)
	r.BytesOut = perSecond(now.BytesOut-from.total.out, r.Seconds)
	r.Origin = perSecond(now.Origin-from.total.origin, r.Seconds)
	r.CPU = max(0, now.CPU-from.total.cpu) / r.Seconds
	for _, t := range now.Tiers {
		i := slices.Index(h.tiers, t.Name)
		var was TierCount // nothing, if the tier was not seen yet
		if i >= 0 {
			was = from.tiers[i]
		}
		if ratio := hitRatio(&was, &t); !math.IsNaN(ratio) {
			r.Tiers[t.Name] = ratio
		}
		r.Evicted[t.Name] = perSecond(t.Evictions-was.Evictions, r.Seconds)
	}
	var reads, hits int64
	for _, a := range now.Answers {
		if a.From == "" {
			continue
		}
		count := a.Count
		if i := slices.Index(h.places, a.From); i >= 0 {
			count -= from.place[i].count
		}
		count = max(0, count)
		reads += count
		if a.From == "hot" || a.From == "ram" || a.From == "ssd" {
			hits += count
		}
	}
	if reads > 0 {
		r.Hits = float64(hits) / float64(reads)
	}
	return r
}

// perSecond returns n events as a rate. Counters do not go back; if one did, as
// after a start, nothing would be told of that time.
func perSecond(n int64, seconds float64) float64 {
	if n <= 0 || seconds <= 0 {
		return 0
	}
	return float64(n) / seconds
}

// hitRatio returns the share of look-ups between two counts that found
// something, NaN if there were none.
func hitRatio(first, last *TierCount) float64 {
	hits, misses := max(0, last.Hits-first.Hits), max(0, last.Misses-first.Misses)
	return float64(hits) / float64(hits+misses)
}
