package compare

import (
	"math"
	"math/rand/v2"
	"testing"
)

// samplesOf returns two samples without ties whose statistic U, the number of
// pairs in which the value of the first is greater, is u.
func samplesOf(n, m, u int) (a, b []float64) {
	for i := range m {
		b = append(b, float64(i+1))
	}
	for i := n - 1; i >= 0; i-- { // the greatest values first take what is left of u
		above := min(u, m)
		u -= above
		a = append(a, float64(above)+0.5+float64(i)/1000)
	}
	return a, b
}

// The probabilities are the counts of the arrangements in the table of Mann and
// Whitney (Annals of Mathematical Statistics 18, 1947) over C(n+m, n), and for
// the larger sizes the critical values at 5 % of the usual table: the greatest
// U whose two-sided probability is not above 0.05.
func TestMannWhitneyAgreesWithTheTables(t *testing.T) {
	for _, c := range []struct {
		n, m, u int
		want    float64
	}{
		{3, 3, 0, 2.0 / 20}, {3, 3, 1, 4.0 / 20}, {3, 3, 2, 8.0 / 20},
		{4, 4, 0, 2.0 / 70}, {4, 4, 1, 4.0 / 70}, {4, 4, 2, 8.0 / 70}, {4, 4, 3, 14.0 / 70},
		{5, 5, 0, 2.0 / 252}, {5, 5, 1, 4.0 / 252}, {5, 5, 2, 8.0 / 252}, {5, 5, 3, 14.0 / 252},
		{3, 5, 0, 2.0 / 56}, {3, 5, 1, 4.0 / 56},
	} {
		a, b := samplesOf(c.n, c.m, c.u)
		if got := MannWhitney(a, b); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("n=%d m=%d U=%d: p is %.6f, want %.6f", c.n, c.m, c.u, got, c.want)
		}
		if got, back := MannWhitney(a, b), MannWhitney(b, a); got != back {
			t.Errorf("n=%d m=%d U=%d: p is %v one way and %v the other", c.n, c.m, c.u, got, back)
		}
	}
	for _, c := range []struct{ n, m, critical int }{
		{5, 5, 2}, {6, 6, 5}, {7, 7, 8}, {8, 8, 13}, {9, 9, 17}, {10, 10, 23}, {12, 12, 37}, {15, 15, 64}, {20, 20, 127},
		{5, 10, 8}, {6, 12, 14}, {8, 15, 29}, {10, 20, 55},
	} {
		at, past := 0.0, 0.0
		a, b := samplesOf(c.n, c.m, c.critical)
		at = MannWhitney(a, b)
		a, b = samplesOf(c.n, c.m, c.critical+1)
		past = MannWhitney(a, b)
		if at > 0.05 || past <= 0.05 {
			t.Errorf("n=%d m=%d: p is %.4f at U=%d and %.4f at the next, want 0.05 between them", c.n, c.m, at, c.critical, past)
		}
	}
}

// bruteP deals the values out in every way, by bits, and ranks anew each time.
func bruteP(a, b []float64) float64 {
	all := append(append([]float64{}, a...), b...)
	// The statistic counts pairs, not ranks: one for greater, a half for equal.
	statistic := func(mask int) float64 {
		u := 0.0
		for i := range all {
			for j := range all {
				if mask&(1<<i) != 0 && mask&(1<<j) == 0 {
					switch {
					case all[i] > all[j]:
						u++
					case all[i] == all[j]:
						u += 0.5
					}
				}
			}
		}
		return u
	}
	mean := float64(len(a)*len(b)) / 2
	far := math.Abs(statistic(1<<len(a)-1) - mean)
	extreme, total := 0, 0
	for mask := range 1 << len(all) {
		ones := 0
		for i := range all {
			ones += mask >> i & 1
		}
		if ones != len(a) {
			continue
		}
		total++
		if math.Abs(statistic(mask)-mean) >= far-1e-9 {
			extreme++
		}
	}
	return float64(extreme) / float64(total)
}

func TestTiesAreCountedExactly(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		a, b := make([]float64, 1+random.IntN(5)), make([]float64, 1+random.IntN(5))
		for i := range a {
			a[i] = float64(random.IntN(4))
		}
		for i := range b {
			b[i] = float64(random.IntN(4))
		}
		if got, want := MannWhitney(a, b), bruteP(a, b); math.Abs(got-want) > 1e-12 {
			t.Fatalf("%v against %v: p is %v, dealing every way gives %v", a, b, got, want)
		}
	}
}

func TestTheApproximationMeetsTheCount(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		a, b := make([]float64, 25), make([]float64, 25)
		shift := random.Float64()
		for i := range a {
			a[i], b[i] = math.Round(10*random.NormFloat64())/10, math.Round(10*(random.NormFloat64()+shift))/10
		}
		doubled, ties := doubledRanks(a, b)
		exact, approximate := exactP(doubled, len(a)), normalP(doubled, len(a), ties)
		if math.Abs(exact-approximate) > 0.01 {
			t.Errorf("p is %v by counting and %v by the normal distribution", exact, approximate)
		}
	}
}

// scipy 1.10.1: mannwhitneyu(x, y, method="asymptotic") of what the loop makes.
func TestMannWhitneyOfManyAgreesWithAnotherProgram(t *testing.T) {
	var a, b []float64
	for i := range 40 {
		a = append(a, float64(i*37%50))
		b = append(b, float64(i*29%50+6))
	}
	if got, want := MannWhitney(a, b), 0.15157794692057597; math.Abs(got-want) > 1e-9 {
		t.Errorf("p is %.12f, scipy says %.12f", got, want)
	}
}

func TestEqualSamplesDoNotDiffer(t *testing.T) {
	same := make([]float64, 60)
	for _, n := range []int{1, 5, 60} {
		if p := MannWhitney(same[:n], same[:n]); p != 1 {
			t.Errorf("%d equal values on each side: p is %v, want 1", n, p)
		}
	}
	if p := MannWhitney(nil, same); p != 1 {
		t.Errorf("p of nothing is %v, want 1", p)
	}
}
