package loadtest

import (
	"math"
	"testing"
)

// Chi-square against the law itself. The ranks are put together into bins with
// the same expectation as far as single ranks allow; 5 standard deviations of the
// chi-square distribution are allowed, and the seed is fixed.
func TestZipfDrawsByItsLaw(t *testing.T) {
	const draws = 500_000
	for _, n := range []int64{1, 2, 10, 1000, 100_000} {
		for _, s := range []float64{0, 0.5, 0.99, 1, 1 + 1e-12, 1.2, 2, 5} {
			z := newZipf(n, s)
			r := seeded(uint64(n), math.Float64bits(s))
			counts := make([]float64, n+1)
			for range draws {
				k := z.rank(&r)
				if k < 1 || k > n {
					t.Fatalf("n=%d s=%g: rank %d", n, s, k)
				}
				counts[k]++
			}
			norm := 0.0
			for k := n; k >= 1; k-- {
				norm += math.Pow(float64(k), -s)
			}
			square, bins := 0.0, 0
			got, want := 0.0, 0.0
			for k := int64(1); k <= n; k++ {
				got += counts[k]
				want += draws * math.Pow(float64(k), -s) / norm
				if want >= 100 || (k == n && want > 5) {
					square += (got - want) * (got - want) / want
					bins++
					got, want = 0, 0
				}
			}
			free := float64(max(bins-1, 0))
			if limit := free + 5*math.Sqrt(2*free) + 5; square > limit {
				t.Errorf("n=%d s=%g: chi-square %.1f of %d bins, want at most %.1f", n, s, square, bins, limit)
			}
		}
	}
}

// The test above must be able to fail.
func TestTheZipfTestSeesAnotherExponent(t *testing.T) {
	const n, draws = 1000, 500_000
	z := newZipf(n, 0.99)
	r := seeded(1)
	first := 0.0
	for range draws {
		if z.rank(&r) == 1 {
			first++
		}
	}
	norm := 0.0
	for k := 1; k <= n; k++ {
		norm += math.Pow(float64(k), -0.97)
	}
	want := draws / norm
	if square := (first - want) * (first - want) / want; square < 100 {
		t.Errorf("the first rank of exponent 0.99 passes for one of 0.97: chi-square %.1f", square)
	}
}

func BenchmarkZipf(b *testing.B) {
	z, r := newZipf(1_000_000, 0.99), seeded(1)
	for b.Loop() {
		z.rank(&r)
	}
}
