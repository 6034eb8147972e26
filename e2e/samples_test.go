package e2e

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// A span is a part of the time of a traffic.
type span struct{ from, to time.Duration }

// tally is what became of some operations.
type outcomes struct {
	count, failed, lost int
	took                []time.Duration // sorted
}

// of returns what became of the operations that began in a span and that which
// chooses.
func (tr *traffic) of(s span, which func(sample) bool) (o outcomes) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, one := range tr.samples {
		if one.at < s.from || one.at >= s.to || !which(one) {
			continue
		}
		o.count++
		if one.failed {
			o.failed++
		}
		if one.lost {
			o.lost++
		}
		o.took = append(o.took, one.took)
	}
	slices.Sort(o.took)
	return o
}

func anything(sample) bool   { return true }
func reads(s sample) bool    { return s.kind == readItem }
func allReads(s sample) bool { return s.kind == readItem || s.kind == readOwn }
func writes(s sample) bool   { return s.kind == createItem || s.kind == rewriteOwn }
func ofGroup(g int) func(sample) bool {
	return func(s sample) bool { return s.kind == readItem && s.group == g }
}

// quantile returns the time within which that part of the operations ended.
func (o outcomes) quantile(part float64) time.Duration {
	if len(o.took) == 0 {
		return 0
	}
	return o.took[min(int(part*float64(len(o.took))), len(o.took)-1)]
}

func (o outcomes) String() string {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }
	return fmt.Sprintf("%6d, %d failed, %d again; p50 %s, p99 %s, max %s",
		o.count, o.failed, o.lost, ms(o.quantile(0.5)), ms(o.quantile(0.99)), ms(o.quantile(1)))
}

// ratio of the 99th percentile to that of another time.
func (o outcomes) ratio(before outcomes) float64 {
	return float64(o.quantile(0.99)) / float64(max(before.quantile(0.99), time.Microsecond))
}

// report says what failed, and why.
func (tr *traffic) report() {
	tr.t.Helper()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.t.Logf("%d operations, %d wrong, on %d objects that never change", len(tr.samples), tr.wrong, len(tr.items))
	for _, cause := range slices.Sorted(maps.Keys(tr.causes)) {
		tr.t.Logf("%6d  %s", tr.causes[cause], cause)
	}
}
