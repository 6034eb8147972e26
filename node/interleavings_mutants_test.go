package node

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/micelio/micelio/internal/mutant"
)

// TestInterleavingsCatchMutants plays the table with each way to break the
// protocol. The rows that are named must fail, or they prove nothing.
func TestInterleavingsCatchMutants(t *testing.T) {
	s := newSimulator(t)
	for _, m := range []struct {
		name    string
		mutants mutant.Set
		column  column
		rows    string // that catch it
	}{
		{"join", mutant.Join, strict, ""},
		{"novalidate", mutant.NoValidate, strict, ""},
		{"nofence", mutant.NoFence, bounded, ""},
		{"nofence, fences alone", mutant.NoFence, fenced, ""},
		{"hitduringwrite", mutant.HitDuringWrite, fenced, ""},
		{"etagonly", mutant.ETagOnly, strict, ""},
		{"retry", mutant.Retry, strict, ""},
		{"resend", mutant.Resend, strict, ""},
		{"torn", mutant.Torn, strict, ""},
		{"negative", mutant.Negative, strict, ""},
		{"negative, immutable", mutant.Negative, immutable, ""},
	} {
		t.Run(m.name, func(t *testing.T) {
			var caught []string
			for _, row := range interleavings() {
				n, all, first := 0, 0, ""
				for _, x := range row.runs() {
					if x.column != m.column {
						continue
					}
					x.mutants = m.mutants
					all++
					synctest.Test(t, func(t *testing.T) {
						if f := s.runRow(x); len(f) > 0 {
							n++
							first = f[0]
						}
					})
				}
				if n > 0 {
					t.Logf("%s: %d of %d: %s", row.name[:2], n, all, first)
					caught = append(caught, row.name[:2])
				}
			}
			if got := strings.Join(caught, " "); got != m.rows {
				t.Errorf("caught by the rows %s, want %s", got, m.rows)
			}
		})
	}
}
