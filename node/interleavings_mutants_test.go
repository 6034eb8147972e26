package node

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/micelio/micelio/internal/mutant"
)

// TestInterleavingsCatchMutants plays rows of the table with each way to break
// the protocol. Each of them must fail for some pair, or it proves nothing.
func TestInterleavingsCatchMutants(t *testing.T) {
	s := newSimulator(t)
	for _, m := range []struct {
		name    string
		mutants mutant.Set
		column  column
		rows    []string // that catch it, by number
	}{
		{"join", mutant.Join, strict, []string{"06"}},
		{"novalidate", mutant.NoValidate, strict, []string{
			"01", "02", "03", "07", "08", "09", "10", "11", "13", "14", "16", "17", "18", "20", "21", "22", "23", "24", "28",
		}},
		{"nofence", mutant.NoFence, bounded, []string{"04", "15"}},
		{"nofence, fences alone", mutant.NoFence, fenced, []string{"04", "15"}},
		{"hitduringwrite", mutant.HitDuringWrite, fenced, []string{"01"}},
		{"etagonly", mutant.ETagOnly, strict, []string{"24"}},
		{"retry", mutant.Retry, strict, []string{"09", "10", "28"}},
		{"resend", mutant.Resend, strict, []string{"11", "13"}},
		{"torn", mutant.Torn, strict, []string{"19", "23"}},
		{"negative", mutant.Negative, strict, []string{"17", "18"}},
		{"negative, immutable", mutant.Negative, immutable, []string{"18"}},
	} {
		t.Run(m.name, func(t *testing.T) {
			for _, number := range m.rows {
				if fault := s.catch(t, number, m.column, m.mutants); fault != "" {
					t.Logf("row %s: %s", number, fault)
				} else {
					t.Errorf("row %s does not catch it", number)
				}
			}
		})
	}
}

// catch plays a row for one pair after the other until somebody reads what he
// must not, or a write is applied that must not be.
func (s *simulator) catch(t *testing.T, number string, c column, mutants mutant.Set) string {
	t.Helper()
	for _, row := range interleavings() {
		if row.name[:2] != number {
			continue
		}
		for _, x := range row.runs() {
			if x.column != c {
				continue
			}
			x.mutants = mutants
			var faults []string
			synctest.Test(t, func(t *testing.T) { faults = s.runRow(x) })
			for _, fault := range faults {
				if strings.Contains(fault, "a read through") || strings.Contains(fault, "appl") || strings.Contains(fault, "land") {
					return fault
				}
			}
		}
	}
	return ""
}
