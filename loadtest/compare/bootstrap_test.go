package compare

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestMedians(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 2}, 2}, {[]float64{9, 1, 2, 4}, 3}} {
		if got := Median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
	}
}

func TestTheIntervalDependsOnTheSeedAlone(t *testing.T) {
	a, b := []float64{1, 2, 3, 4, 5}, []float64{4, 5, 6, 7, 8}
	if one, two := BootstrapMedians(a, b, 7), BootstrapMedians(a, b, 7); one != two {
		t.Errorf("one seed gave %v and %v", one, two)
	}
	got := BootstrapMedians(a, b, 7)
	if !got.Contains(3) || got.Low < -1 || got.High > 7 {
		t.Errorf("the interval is %v, want one around 3 within [-1, 7], the extremes of the values", got)
	}
}

// The median of five draws from five values is known exactly: it is at most the
// k-th value if at least three draws are. The bootstrap must come to the same
// distribution; against a constant side the interval is that of one median.
func TestTheIntervalIsThatOfTheExactDistribution(t *testing.T) {
	b := []float64{10, 20, 30, 40, 50}
	atMost := func(k int) (p float64) { // P(median <= k-th value)
		q := float64(k) / 5
		for j := 3; j <= 5; j++ {
			choose := []float64{10, 5, 1}[j-3]
			p += choose * math.Pow(q, float64(j)) * math.Pow(1-q, float64(5-j))
		}
		return p
	}
	want := Interval{}
	for k := 5; k >= 1; k-- {
		if atMost(k) >= 0.025 {
			want.Low = b[k-1]
		}
		if atMost(k) >= 0.975 {
			want.High = b[k-1]
		}
	}
	if got := BootstrapMedians(make([]float64, 5), b, 1); got != want {
		t.Errorf("the interval is %v, the exact distribution gives %v", got, want)
	}
}

// Of experiments in which both sides come from one distribution, nine in ten
// intervals or more hold the true difference, which is nought: with twenty runs
// a side the percentile method is near its nominal 95 %.
func TestTheIntervalCovers(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	covered := 0
	const experiments = 60
	for i := range experiments {
		a, b := make([]float64, 20), make([]float64, 20)
		for j := range a {
			a[j], b[j] = random.ExpFloat64(), random.ExpFloat64()
		}
		if BootstrapMedians(a, b, uint64(i)).Contains(0) {
			covered++
		}
	}
	if covered < experiments*9/10 {
		t.Errorf("%d of %d intervals hold the true difference, want nine in ten", covered, experiments)
	}
}
