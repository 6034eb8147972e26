package node

import (
	"testing"

	"github.com/micelio/micelio/internal/mutant"
)

// stable is a cluster whose nodes agree on the ring and lose nothing. Some reads
// go past it, to the authority: they see a write as soon as it is done, before
// it is acknowledged.
func (p *simPlan) stable() {
	*p = simPlan{
		nodes: p.nodes, clients: p.clients, ops: p.ops, think: p.think, reads: p.reads, deletes: p.deletes,
		ramBytes: 1 << 20, ssd: p.ssd, past: 0.3,
	}
	p.hot()
}

// rough is a cluster in which much is lost, and that agrees on the ring.
func (p *simPlan) rough() {
	p.lost, p.late, p.void, p.refused = 0.05, 0.05, 0.08, 0.02
	p.ramBytes, p.staleness = 1<<20, 0
}

// maxMutantHistories is how many histories a mutant may survive.
const maxMutantHistories = 300

// A simulation that lets a broken protocol pass proves nothing.
func TestTheSimulationCatchesEveryMutant(t *testing.T) {
	if raceEnabled {
		t.Skip("make simulate runs it, without the race detector")
	}
	s := newSimulator(t)
	for _, m := range []struct {
		name   string
		adjust func(*simPlan)
	}{
		{"join", func(p *simPlan) { p.hot(); p.staleness, p.mutants = 0, mutant.Join }},
		{"novalidate", func(p *simPlan) { p.staleness, p.ramBytes, p.mutants = 0, 1<<20, mutant.NoValidate }},
		{"nofence", func(p *simPlan) { p.stable(); p.mutants = mutant.NoValidate | mutant.NoFence }},
		{"hitduringwrite", func(p *simPlan) { p.stable(); p.mutants = mutant.NoValidate | mutant.HitDuringWrite }},
		{"etagonly", func(p *simPlan) { p.hot(); p.staleness, p.mutants = 0, mutant.ETagOnly }},
		{"retry", func(p *simPlan) { p.rough(); p.mutants = mutant.Retry }},
		{"resend", func(p *simPlan) { p.rough(); p.mutants = mutant.Resend }},
		{"torn", func(p *simPlan) {
			p.hot()
			p.clients, p.ops, p.reads = 6, 5, 0.5 // bodies of many pieces cost as much as a hundred operations
			p.staleness, p.large, p.connLoss, p.mutants = 0, 0.4, 0.15, mutant.Torn
		}},
		{"peek", func(p *simPlan) { p.keys, p.staleness, p.ramBytes, p.views, p.mutants = 2, 0, 1<<20, true, mutant.Peek }},
		{"negative", func(p *simPlan) { p.rough(); p.mutants = mutant.Negative }},
	} {
		t.Run(m.name, func(t *testing.T) {
			mutated := *s
			mutated.adjust = m.adjust
			for seed := uint64(1); seed <= maxMutantHistories; seed++ {
				if faults := mutated.run(t, seed, false).check(); len(faults) > 0 {
					t.Logf("caught in history %d: %s", seed, faults[0].Rule)
					return
				}
			}
			t.Errorf("%d histories and not caught", maxMutantHistories)
		})
	}
}

// On a stable ring with one owner a cache that never validates is right, if its
// fences hold: so what the two mutants of fences break is the fences.
func TestFencesAloneHoldOnAStableRing(t *testing.T) {
	s := newSimulator(t)
	s.adjust = func(p *simPlan) { p.stable(); p.mutants = mutant.NoValidate }
	n := uint64(100)
	if raceEnabled {
		n = 20
	}
	for seed := uint64(1); seed <= n; seed++ {
		w := s.run(t, seed, false)
		if faults := w.check(); len(faults) > 0 {
			s.report(t, w, faults)
			return
		}
	}
}
