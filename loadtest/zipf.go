package loadtest

import "math"

// A zipf draws ranks 1 to n so that rank k comes in proportion to 1/k^s, for any
// s >= 0, in constant time and without a table. It is immutable.
//
// The method is rejection-inversion (W. Hörmann, G. Derflinger: Rejection-
// inversion to generate variates from monotone discrete distributions, ACM
// Transactions on Modeling and Computer Simulation 6.3, 1996). The area under
// the hat x^-s is inverted, and a rank is rejected where the hat exceeds its bar:
// less than one draw in ten is. (math/rand's Zipf needs s > 1, and the
// popularity of what caches see has less.)
type zipf struct {
	n, s      float64
	low, high float64 // the range of the area
	shortcut  float64 // how far below its rank a point needs no look at the area
	exponent  float64 // 1-s
}

func newZipf(n int64, s float64) *zipf {
	z := &zipf{n: float64(n), s: s, exponent: 1 - s}
	z.low = z.area(1.5) - 1
	z.high = z.area(z.n + 0.5)
	z.shortcut = 2 - z.point(z.area(2.5)-z.height(2))
	return z
}

// rank draws a rank, 1 to n.
func (z *zipf) rank(r *random) int64 {
	for {
		u := z.high + r.float()*(z.low-z.high)
		x := z.point(u)
		k := min(max(math.Floor(x+0.5), 1), z.n)
		if k-x <= z.shortcut || u >= z.area(k+0.5)-z.height(k) {
			return int64(k)
		}
	}
}

// height is the hat x^-s.
func (z *zipf) height(x float64) float64 { return math.Exp(-z.s * math.Log(x)) }

// area is the integral of the hat from 1 to x, which is (x^(1-s)-1)/(1-s), or
// log x where s is 1: written so that nothing cancels near there.
func (z *zipf) area(x float64) float64 {
	l := math.Log(x)
	return expm1Ratio(z.exponent*l) * l
}

// point is the inverse of area.
func (z *zipf) point(area float64) float64 {
	t := max(area*z.exponent, -1) // rounding can bring it below
	return math.Exp(log1pRatio(t) * area)
}

// log1pRatio is log(1+x)/x, and its limit at 0.
func log1pRatio(x float64) float64 {
	if math.Abs(x) > 1e-8 {
		return math.Log1p(x) / x
	}
	return 1 - x/2
}

// expm1Ratio is (e^x-1)/x, and its limit at 0.
func expm1Ratio(x float64) float64 {
	if math.Abs(x) > 1e-8 {
		return math.Expm1(x) / x
	}
	return 1 + x/2
}
