package compare

import (
	"math/rand/v2"
	"slices"
)

// resamples is how often the bootstrap draws: the ends of the interval of 95 %
// then rest on 250 draws each, and differ by little from seed to seed.
const resamples = 10_000

// Median returns the middle value, the mean of the two middle ones if there are
// as many below as above, and 0 of nothing. It does not change values.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return medianOfSorted(sorted)
}

func medianOfSorted(sorted []float64) float64 {
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// An Interval is where a difference lies, both ends included.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Contains reports whether v is within the interval.
func (i Interval) Contains(v float64) bool { return i.Low <= v && v <= i.High }

// BootstrapMedians returns the interval that holds the difference of the
// medians, those of b less those of a, in 95 % of the samples that could be
// drawn from the given ones with replacement (Efron's percentile method). The
// same seed gives the same interval. With five runs a side it is an indication
// rather than a guarantee: no more than the given values can be drawn.
func BootstrapMedians(a, b []float64, seed uint64) Interval {
	if len(a) == 0 || len(b) == 0 {
		return Interval{}
	}
	random := rand.New(rand.NewPCG(seed, 0))
	as, bs := make([]float64, len(a)), make([]float64, len(b))
	differences := make([]float64, resamples)
	for i := range differences {
		differences[i] = drawnMedian(random, b, bs) - drawnMedian(random, a, as)
	}
	slices.Sort(differences)
	return Interval{differences[resamples*25/1000], differences[resamples*975/1000-1]}
}

// drawnMedian is the median of as many draws from values; room is for them.
func drawnMedian(random *rand.Rand, values, room []float64) float64 {
	for i := range room {
		room[i] = values[random.IntN(len(values))]
	}
	slices.Sort(room)
	return medianOfSorted(room)
}
