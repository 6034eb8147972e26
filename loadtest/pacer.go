package loadtest

import "time"

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

// ParsePacer reads a Pacer as the command line has it.
func ParsePacer(spec string) (Pacer, error) {
	return nil, nil
}
