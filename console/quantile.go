package console

import "math"

// quantiles returns the median and the 99th percentile of the answers between
// two counts of one place, NaN if there were none.
func quantiles(first, last *AnswerCount) (p50, p99 float64) {
	between := make([]int64, len(last.Buckets))
	highest := int64(0)
	for i, n := range last.Buckets {
		if i < len(first.Buckets) {
			n -= first.Buckets[i]
		}
		// Counters that are read one after the other while answers come may not
		// fit together: a bucket has at least what the ones below it have.
		highest = max(highest, n)
		between[i] = highest
	}
	count := max(highest, last.Count-first.Count)
	return quantile(.5, last.Bounds, between, count), quantile(.99, last.Bounds, between, count)
}

// quantile estimates a quantile from cumulative buckets the way PromQL's
// histogram_quantile does (bucketQuantile in Prometheus' promql/quantile.go), so
// that the page and a dashboard say the same: values are spread evenly within a
// bucket, the first bucket begins at nought, and what lies above the last
// bound counts as being at it. Count includes the values above the last bound.
// It is NaN without values or bounds.
func quantile(q float64, bounds []float64, buckets []int64, count int64) float64 {
	n := min(len(bounds), len(buckets))
	if count <= 0 || n == 0 {
		return math.NaN()
	}
	rank := q * float64(count)
	low, below := 0.0, 0.0
	for i := range n {
		if upTo := float64(buckets[i]); upTo >= rank { // so above below, which rank is above
			return low + (bounds[i]-low)*(rank-below)/(upTo-below)
		}
		low, below = bounds[i], float64(buckets[i])
	}
	return bounds[n-1]
}
