package compare

import (
	"math"
	"slices"
)

// exactLimit is the number of values up to which the p-value is counted rather
// than approximated: C(50,25) is 1.3e14, and a float64 counts to 9e15.
const exactLimit = 50

// MannWhitney returns the two-sided p-value of the test of Mann and Whitney:
// how often two samples of these sizes would be ranked at least this unevenly
// if both came from one distribution. It supposes nothing about the shape of
// that distribution, which matters for latencies. Neither slice is changed. A
// sample without values gives 1.
//
// Up to fifty values in all it counts every way to deal the ranks out, ties
// included, so the value is exact. Beyond, it is the normal approximation with
// corrections for continuity and for ties (Lehmann, Nonparametrics, 1975,
// §1.2 and §1.4).
func MannWhitney(a, b []float64) float64 {
	if len(a) == 0 || len(b) == 0 {
		return 1
	}
	doubled, ties := doubledRanks(a, b)
	if len(doubled) <= exactLimit {
		return exactP(doubled, len(a))
	}
	return normalP(doubled, len(a), ties)
}

// doubledRanks returns twice the rank of each value, those of a first. Equal
// values share the mean of their ranks, and twice a mean of ranks is whole.
// ties is the sum of t^3-t over the groups of t equal values.
func doubledRanks(a, b []float64) (doubled []int, ties float64) {
	all := slices.Concat(a, b)
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		switch {
		case all[i] < all[j]:
			return -1
		case all[i] > all[j]:
			return 1
		}
		return 0
	})
	doubled = make([]int, len(all))
	for first := 0; first < len(order); {
		end := first + 1
		for end < len(order) && all[order[end]] == all[order[first]] {
			end++
		}
		for _, i := range order[first:end] {
			doubled[i] = first + 1 + end // ranks are first+1 … end
		}
		t := float64(end - first)
		ties += t*t*t - t
		first = end
	}
	return doubled, ties
}

// exactP counts, among all ways to choose n of the ranks, those whose sum is at
// least as far from the expected one as the sum of the first n.
func exactP(doubled []int, n int) float64 {
	total := 0
	for _, r := range doubled {
		total += r
	}
	// ways[k][s] is the number of choices of k ranks that sum to s.
	ways := make([][]float64, n+1)
	for k := range ways {
		ways[k] = make([]float64, total+1)
	}
	ways[0][0] = 1
	for i, r := range doubled {
		for k := min(n, i+1); k >= 1; k-- {
			for s := total; s >= r; s-- {
				ways[k][s] += ways[k-1][s-r]
			}
		}
	}
	// The expected sum is n*total/N: compare both sides times N, in whole numbers.
	N := len(doubled)
	sum := 0
	for _, r := range doubled[:n] {
		sum += r
	}
	far := distance(sum*N, n*total)
	extreme, all := 0.0, 0.0
	for s, w := range ways[n] {
		all += w
		if distance(s*N, n*total) >= far {
			extreme += w
		}
	}
	return extreme / all
}

func distance(a, b int) int { return max(a-b, b-a) }

// normalP is the approximation for large samples.
func normalP(doubled []int, n int, ties float64) float64 {
	N, x, y := float64(len(doubled)), float64(n), float64(len(doubled)-n)
	sum := 0.0
	for _, r := range doubled[:n] {
		sum += float64(r) / 2
	}
	variance := x * y / 12 * ((N + 1) - ties/(N*(N-1)))
	if variance <= 0 {
		return 1 // all values are equal
	}
	z := max(0, math.Abs(sum-x*(N+1)/2)-0.5) / math.Sqrt(variance)
	return min(1, math.Erfc(z/math.Sqrt2))
}
