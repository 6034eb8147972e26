package loadtest

import (
	"math"
	"time"
)

// A Pacer says when requests are due. It is pure: the same question always has
// the same answer, whoever asks and when, and any number may ask at once.
//
// The two methods are those of vegeta's Pacer.
type Pacer interface {
	// Pace returns how long to wait, elapsed into the run, until the next request
	// after the first hits ones is due; not more than 0 if it is due already. stop
	// says that none is due any more. So Pace(0, i) is when request i is due, counted
	// from 0, which is how the engine asks.
	Pace(elapsed time.Duration, hits uint64) (wait time.Duration, stop bool)

	// Rate returns the requests a second that are aimed at, elapsed into the run; 0
	// if there is no such aim.
	Rate(elapsed time.Duration) float64
}

// A curve is a rate over time. Request i is due when i requests' worth of the
// area under it have passed, so the first is due at once.
type curve interface {
	// at returns after how many seconds the area is n, false if it never grows
	// beyond n.
	at(n float64) (seconds float64, ok bool)
	rate(seconds float64) float64
}

func pace(c curve, elapsed time.Duration, n float64) (time.Duration, bool) {
	seconds, ok := c.at(n)
	if !ok {
		return 0, true
	}
	if due := seconds * float64(time.Second); due < math.MaxInt64 {
		return time.Duration(due) - elapsed, false
	}
	return math.MaxInt64 - elapsed, false
}

// Constant is so many requests a second, evenly. It must be more than 0.
type Constant float64

// Pace is part of Pacer.
func (c Constant) Pace(elapsed time.Duration, hits uint64) (time.Duration, bool) {
	return pace(c, elapsed, float64(hits))
}

// Rate is part of Pacer.
func (c Constant) Rate(time.Duration) float64 { return float64(c) }

func (c Constant) at(n float64) (float64, bool) { return n / float64(c), true }
func (c Constant) rate(float64) float64         { return float64(c) }

// A Ramp goes from one rate to another in a straight line, and stays there. One
// of the two must be more than 0, and neither less.
type Ramp struct {
	From, To float64       // requests a second
	Over     time.Duration // more than 0
}

// Pace is part of Pacer.
func (r Ramp) Pace(elapsed time.Duration, hits uint64) (time.Duration, bool) {
	return pace(r, elapsed, float64(hits))
}

// Rate is part of Pacer.
func (r Ramp) Rate(elapsed time.Duration) float64 { return r.rate(elapsed.Seconds()) }

func (r Ramp) rate(seconds float64) float64 {
	share := min(max(seconds/r.Over.Seconds(), 0), 1)
	return r.From + share*(r.To-r.From)
}

// at solves n = From t + slope t²/2, in the form in which nothing cancels.
func (r Ramp) at(n float64) (float64, bool) {
	over := r.Over.Seconds()
	sloping := (r.From + r.To) / 2 * over
	if n >= sloping {
		if r.To <= 0 {
			return 0, false
		}
		return over + (n-sloping)/r.To, true
	}
	if n == 0 {
		return 0, true
	}
	slope := (r.To - r.From) / over
	root := math.Sqrt(max(r.From*r.From+2*slope*n, 0))
	return min(2*n/(r.From+root), over), true
}

// Steps are constant rates, one after the other. Nothing is due after the last.
type Steps []Step

// A Step is a rate for a while. With a rate of 0 it is a pause.
type Step struct {
	For  time.Duration // more than 0
	Rate float64       // requests a second
}

// Pace is part of Pacer.
func (s Steps) Pace(elapsed time.Duration, hits uint64) (time.Duration, bool) {
	return pace(s, elapsed, float64(hits))
}

// Rate is part of Pacer.
func (s Steps) Rate(elapsed time.Duration) float64 { return s.rate(elapsed.Seconds()) }

func (s Steps) rate(seconds float64) float64 {
	for _, step := range s {
		if seconds < step.For.Seconds() {
			return step.Rate
		}
		seconds -= step.For.Seconds()
	}
	return 0
}

func (s Steps) at(n float64) (float64, bool) {
	begin := 0.0
	for _, step := range s {
		requests := step.Rate * step.For.Seconds()
		if n < requests {
			return begin + n/step.Rate, true
		}
		n -= requests
		begin += step.For.Seconds()
	}
	return 0, false
}

// A Sine swings around a rate, upwards first.
type Sine struct {
	Mean      float64       // requests a second, more than 0
	Amplitude float64       // requests a second, at most Mean
	Period    time.Duration // more than 0
}

// Pace is part of Pacer.
func (s Sine) Pace(elapsed time.Duration, hits uint64) (time.Duration, bool) {
	return pace(s, elapsed, float64(hits))
}

// Rate is part of Pacer.
func (s Sine) Rate(elapsed time.Duration) float64 { return s.rate(elapsed.Seconds()) }

func (s Sine) rate(seconds float64) float64 {
	return s.Mean + s.Amplitude*math.Sin(2*math.Pi*seconds/s.Period.Seconds())
}

// at inverts the area Mean t + swing (1 - cos(2 pi t/Period)). The second term
// lies between 0 and twice the swing, which brackets t; Newton's method goes on
// from there, and halves the bracket where a step would leave it, because near a
// rate of 0 it would.
func (s Sine) at(n float64) (float64, bool) {
	omega := 2 * math.Pi / s.Period.Seconds()
	swing := s.Amplitude / omega
	low, high := max(n-2*swing, 0)/s.Mean, n/s.Mean
	t := high
	for range 100 {
		excess := s.Mean*t + swing*(1-math.Cos(omega*t)) - n
		if excess > 0 {
			high = t
		} else {
			low = t
		}
		next := t - excess/s.rate(t)
		if !(low <= next && next <= high) { // also where it is no number
			next = low + (high-low)/2
		}
		if math.Abs(next-t) < 1e-10 { // a tenth of a nanosecond
			return next, true
		}
		t = next
	}
	return t, true
}

// Max is as fast as the connections allow: each sends its next request when the
// last one is answered. Such a closed loop slows down with the servers, so it
// finds out what they can do, and not how long anyone would wait for them at a
// given rate.
type Max struct{}

// Pace is part of Pacer: a request is always due.
func (Max) Pace(elapsed time.Duration, _ uint64) (time.Duration, bool) { return -elapsed, false }

// Rate is part of Pacer: none is aimed at.
func (Max) Rate(time.Duration) float64 { return 0 }

// Length is how long all steps take together.
func (s Steps) Length() time.Duration {
	var sum time.Duration
	for _, step := range s {
		sum += step.For
	}
	return sum
}
