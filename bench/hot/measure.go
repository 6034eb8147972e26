package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/micelio/micelio/bench/drive"
	"github.com/micelio/micelio/bench/measure"
	"github.com/micelio/micelio/bench/proc"
)

// A sample is one run of a workload at a contender.
type sample struct {
	rate     float64   // requests a second of time that passed
	cpu      []float64 // processor time of each of its processes for a request, in µs
	mbps     float64   // bytes of bodies a second of time that passed, in units of 10^6
	gbPerCPU float64   // bytes of bodies a second of processor time, in units of 10^9
	p50, p99 float64   // µs
	allocs   float64   // of memory for a request; ours only
	rss      float64   // bytes that are resident after it
	unmarked float64   // part of the requests that another tier than was wanted answered
	foreign  float64   // part of the machine that other programs used meanwhile
}

// total is the processor time of all processes for a request, in µs.
func (s sample) total() float64 {
	sum := 0.0
	for _, us := range s.cpu {
		sum += us
	}
	return sum
}

// A workload is a way to ask that all contenders are measured with.
type workload struct {
	name   string
	conns  int
	take   time.Duration
	buffer int    // see drive.Load
	path   string // asked for with wrk, where there is one; empty: never
	allocs bool   // count what ours allocates
	loose  bool   // a few answers of ours may come from another tier, which is counted
	// shots returns what a contender is asked for in a run. It is called for each
	// round anew.
	shots func(c *contender, round int) (func() *drive.Shot, error)
	// skip names contenders that take no part.
	skip map[string]bool
}

// scores are the samples of a workload by contender.
type scores map[string][]sample

// A bench measures.
type bench struct {
	*stage
	rounds  int
	wrk     string        // program; empty: none
	again   time.Duration // that is left to do runs again
	results map[string]scores

	rssBefore float64 // of ours, before large objects
}

// play measures workloads in rounds in which the contenders take turns, after one
// round that does not count. Whoever fails is left out, unless it is ours.
func (b *bench) play(ctx context.Context, contenders []*contender, works ...*workload) error {
	out := map[string]bool{} // contenders that failed at a workload
	for _, w := range works {
		b.results[w.name] = scores{}
	}
	for round := range b.rounds + 1 {
		for _, w := range works {
			log.Printf("%s: round %d of %d", w.name, round, b.rounds)
			for _, c := range contenders {
				what := c.name + ", " + w.name
				if w.skip[c.name] || out[what] {
					continue
				}
				s, err := b.undisturbed(ctx, w, c, round)
				if err != nil && (c.node != nil || ctx.Err() != nil) {
					return fmt.Errorf("%s: %w", what, err)
				}
				if err != nil {
					b.leaveOut(what, err)
					delete(b.results[w.name], c.name)
					out[what] = true
					continue
				}
				if round > 0 {
					b.results[w.name][c.name] = append(b.results[w.name][c.name], s)
				}
			}
		}
	}
	return nil
}

// disturbance is which part of the machine others may use in a run before it is
// better done again.
const disturbance = 0.1

// undisturbed is one run, or the best of three if others disturb them and there is
// time.
func (b *bench) undisturbed(ctx context.Context, w *workload, c *contender, round int) (sample, error) {
	best, err := b.once(ctx, w, c, round)
	for again := 0; again < 2 && err == nil && round > 0 && best.foreign > disturbance && b.again > 0; again++ {
		start := time.Now()
		var s sample
		if s, err = b.once(ctx, w, c, round); err == nil && s.foreign < best.foreign {
			best = s
		}
		b.again -= time.Since(start)
	}
	return best, err
}

// warmTime is how long a run is that does not count.
const warmTime = 500 * time.Millisecond

// once is one run.
func (b *bench) once(ctx context.Context, w *workload, c *contender, round int) (sample, error) {
	next, err := w.shots(c, round)
	if err != nil {
		return sample{}, err
	}
	take := w.take
	if round == 0 {
		take = min(take, warmTime)
	}
	mallocs, err := c.mallocs(w.allocs)
	if err != nil {
		return sample{}, err
	}
	clock, err1 := proc.Now()
	before, err2 := c.use()
	if err := errors.Join(err1, err2); err != nil {
		return sample{}, err
	}
	var t *drive.Tally
	if b.wrk != "" && w.path != "" {
		t, err = wrk(ctx, b.wrk, b.client, c.addr, w.path, w.conns, take)
	} else {
		t, err = drive.Load{Addr: c.addr, Conns: w.conns, For: take, Core: b.client, Buffer: w.buffer, Next: next}.Run(ctx)
	}
	if err == nil {
		err = ctx.Err() // it has ended early
	}
	if err == nil && t.Unmarked > 0 && !w.loose {
		err = fmt.Errorf("%d of %d answers came from another tier", t.Unmarked, t.Requests)
	}
	if err != nil {
		return sample{}, err
	}
	after, err1 := c.use()
	clockAfter, err2 := proc.Now()
	if err := errors.Join(err1, err2); err != nil {
		return sample{}, err
	}
	s := sampleOf(t)
	cpu := time.Duration(0)
	for i := range after {
		spent := after[i].CPU - before[i].CPU
		cpu += spent
		s.cpu = append(s.cpu, us(spent)/float64(t.Requests))
		s.rss += float64(after[i].RSS)
	}
	s.foreign = proc.Foreign(clock, clockAfter, cpu)
	s.gbPerCPU = float64(t.Bytes) / max(cpu.Seconds(), 1e-3) / 1e9
	allocated, err := c.mallocs(w.allocs)
	s.allocs = (allocated - mallocs) / float64(t.Requests)
	return s, err
}

// sampleOf takes from a tally what is in it.
func sampleOf(t *drive.Tally) sample {
	return sample{
		rate: t.Rate(), mbps: float64(t.Bytes) / t.Took.Seconds() / 1e6,
		p50: us(drive.Quantile(t.Latencies, 0.5)), p99: us(drive.Quantile(t.Latencies, 0.99)),
		unmarked: float64(t.Unmarked) / float64(t.Requests),
	}
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// mallocs returns how often the contender has allocated memory so far, 0 if that
// is not asked for or not known.
func (c *contender) mallocs(asked bool) (float64, error) {
	if !asked || c.node == nil {
		return 0, nil
	}
	m, err := c.node.Metrics()
	return m["go_memstats_mallocs_total"], err
}

// median returns the median of a figure, NaN if the contender took no part.
func (b *bench) median(work, contender string, figure func(sample) float64) float64 {
	return measure.Median(b.results[work][contender], figure)
}

// The figures that tables and targets ask for.
func rate(s sample) float64     { return s.rate }
func mbps(s sample) float64     { return s.mbps }
func gbPerCPU(s sample) float64 { return s.gbPerCPU }
func p50(s sample) float64      { return s.p50 }
func p99(s sample) float64      { return s.p99 }
func allocs(s sample) float64   { return s.allocs }
func unmarked(s sample) float64 { return s.unmarked }

// foreign is the median of what others used of the machine during all runs.
func (b *bench) foreign() float64 {
	var all []sample
	for _, work := range b.results {
		for _, samples := range work {
			all = append(all, samples...)
		}
	}
	return measure.Median(all, func(s sample) float64 { return s.foreign })
}

// warm asks a contender for each of some objects once, which fills its cache.
func (b *bench) warm(ctx context.Context, c *contender, items []item) error {
	shots := gets(items)
	t, err := drive.Load{
		Addr: c.addr, Conns: 32, For: time.Hour, Most: int64(len(shots)), Core: b.client, Next: inTurns(shots),
	}.Run(ctx)
	if err == nil && t.Requests != int64(len(shots)) {
		err = fmt.Errorf("%d of %d objects were read", t.Requests, len(shots))
	}
	if err != nil {
		return fmt.Errorf("%s: filling: %w", c.name, err)
	}
	return nil
}
