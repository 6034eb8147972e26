package report

import (
	"math"
	"strconv"
)

// A tick is a labelled place on an axis, from 0 to 1.
type tick struct {
	At    float64
	Label string
}

// A scale places values on an axis from 0 to 1.
type scale struct {
	low, high float64
	log       bool
	ticks     []tick
}

// at returns the place of a value, within the axis.
func (s scale) at(v float64) float64 {
	if s.log {
		if v < s.low {
			return 0
		}
		return clamp(math.Log(v/s.low) / math.Log(s.high/s.low))
	}
	return clamp((v - s.low) / (s.high - s.low))
}

func clamp(v float64) float64 { return max(0, min(1, v)) }

// linear is a scale from nought to a round number that is not below high, with
// three to six ticks.
func linear(high float64, format func(float64) string) scale {
	if !(high > 0) || math.IsInf(high, 1) {
		high = 1
	}
	step := roundStep(high / 4)
	steps := math.Ceil(high/step - 1e-9)
	s := scale{high: steps * step}
	for i := range int(steps) + 1 {
		s.ticks = append(s.ticks, tick{float64(i) / steps, format(float64(i) * step)})
	}
	return s
}

// roundStep returns the smallest of 1, 2 and 5 times a power of ten that is not
// below v.
func roundStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// logarithmic is a scale from a power of ten to another around the values, with
// a tick for each power: latencies of a cache lie over five of them.
func logarithmic(low, high float64, format func(float64) string) scale {
	if !(low > 0) || math.IsInf(low, 1) {
		low = 1e-6
	}
	if !(high > low) || math.IsInf(high, 1) {
		high = low
	}
	first, last := math.Floor(math.Log10(low)+1e-9), math.Ceil(math.Log10(high)-1e-9)
	if last <= first {
		last = first + 1
	}
	s := scale{low: math.Pow(10, first), high: math.Pow(10, last), log: true}
	for p := first; p <= last; p++ {
		s.ticks = append(s.ticks, tick{(p - first) / (last - first), format(math.Pow(10, p))})
	}
	return s
}

// seconds is the axis of the time since the start.
func seconds(high float64) scale {
	steps := []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 2 * 3600, 6 * 3600, 12 * 3600, 24 * 3600}
	if !(high > 0) {
		high = 1
	}
	step := steps[len(steps)-1]
	for _, candidate := range steps {
		if high/candidate <= 6 {
			step = candidate
			break
		}
	}
	s := scale{high: high}
	for v := 0.0; v <= high*(1+1e-9); v += step {
		s.ticks = append(s.ticks, tick{v / high, clock(v)})
	}
	return s
}

// clock writes a number of seconds since the start: 45s, 1:30, 2:00:00.
func clock(v float64) string {
	whole := int(v)
	switch {
	case whole >= 3600:
		return strconv.Itoa(whole/3600) + ":" + two(whole/60%60) + ":" + two(whole%60)
	case whole >= 60:
		return strconv.Itoa(whole/60) + ":" + two(whole%60)
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) + "s"
}

func two(n int) string {
	if n < 10 {
		return "0" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

// nines is the axis of the distribution: each further nine of a percentile
// takes as much room as the one before, up to the percentile that n values can
// tell.
func nines(n int64) scale {
	count := 1.0
	for float64(n) >= 2*math.Pow(10, count) && count < 7 {
		count++
	}
	s := scale{high: count}
	labels := []string{"0", "90%", "99%", "99.9%", "99.99%", "99.999%", "99.9999%", "99.99999%"}
	for i := range int(count) + 1 {
		s.ticks = append(s.ticks, tick{float64(i) / count, labels[i]})
	}
	return s
}
