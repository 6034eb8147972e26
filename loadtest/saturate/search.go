// Package saturate finds the highest rate at which a target keeps what is asked
// of it: it doubles the rate until a step fails, halves the gap between the
// best step that passed and the least that failed, and confirms what it found.
// It makes no load itself: a Probe does.
package saturate

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// What the search does where the caller does not say.
const (
	defaultPrecision     = 0.05 // a step of a few seconds does not tell rates apart that are closer
	defaultConfirmations = 3
	defaultSteps         = 60 // 10 s each with as long a pause: twenty minutes
	defaultTries         = 3  // a busy moment on the generator's machine is no verdict on its limit
)

// A Verdict is how a step ended.
type Verdict int

// The verdicts.
const (
	Passed  Verdict = iota // the target kept what is asked
	Failed                 // it did not
	Invalid                // the generator was at its own limit, and the step says nothing about the target
)

// String names the verdict as the table prints it.
func (v Verdict) String() string {
	switch v {
	case Passed:
		return "passed"
	case Failed:
		return "failed"
	}
	return "INVALID"
}

// An Outcome is what a Probe says of one rate.
type Outcome struct {
	Verdict Verdict
	Why     string // the bounds that were broken, or what makes the step invalid
}

// A Probe offers the load of one step at rate arrivals a second. An error ends
// the search.
type Probe func(ctx context.Context, rate float64) (Outcome, error)

// A Phase is the part of the search that a step belongs to.
type Phase string

// The phases, in the order in which they come.
const (
	Doubling   Phase = "doubling"
	Halving    Phase = "halving" // downwards: the first rate failed already
	Bisection  Phase = "bisection"
	Confirming Phase = "confirming"
)

// A Step is one call of the Probe.
type Step struct {
	Phase Phase
	Rate  float64 // arrivals a second
	Outcome
}

// A Config says where to search. The zero value of a field stands for the
// default that it names.
type Config struct {
	Start         float64 // the first rate; it has no default
	Max           float64 // never offer more; 0 is no bound
	Precision     float64 // stop when the gap is this part of the rate; 0.05
	Confirmations int     // how often the knee must pass anew; 3
	Steps         int     // at most so many probes in all; 60
	Tries         int     // how often a rate is offered until it is valid; 3
}

// An End is why a search stopped.
type End string

// The ends.
const (
	Found          End = "found"           // a step above the knee failed and the knee was confirmed
	ReachedMax     End = "reached max"     // Config.Max was confirmed: the knee is not below it
	GeneratorLimit End = "generator limit" // a rate was INVALID at every try: the knee is not below what passed, and unknown
	Nothing        End = "nothing passed"  // not even a rate of one a second passed
	Stopped        End = "stopped"         // an error ended it: see there
	OutOfSteps     End = "out of steps"    // the target answers so unevenly that no rate could be confirmed
)

// A Knee is the outcome of a search.
type Knee struct {
	End           End
	Rate          float64 // the highest rate that passed, 0 if none did
	Confirmations int     // how often it passed again
	Steps         []Step  // in the order in which they were made
}

// Search looks for the knee. On an error it returns what was found until then
// as well.
func Search(ctx context.Context, cfg Config, probe Probe) (Knee, error) {
	if cfg.Precision <= 0 {
		cfg.Precision = defaultPrecision
	}
	if cfg.Confirmations <= 0 {
		cfg.Confirmations = defaultConfirmations
	}
	if cfg.Steps <= 0 {
		cfg.Steps = defaultSteps
	}
	if cfg.Tries <= 0 {
		cfg.Tries = defaultTries
	}
	if cfg.Max <= 0 {
		cfg.Max = math.Inf(1)
	}
	if !(cfg.Start >= 1) || cfg.Start > cfg.Max {
		return Knee{}, fmt.Errorf("saturate: the first rate must be from 1 to the highest one: %v", cfg.Start)
	}
	s := &search{Config: cfg, probe: probe, high: math.Inf(1)}
	end, err := s.run(ctx)
	knee := Knee{End: end, Rate: s.low, Confirmations: s.confirmed, Steps: s.steps}
	if err != nil {
		return knee, fmt.Errorf("saturate: %w", err)
	}
	return knee, nil
}

// errStop ends a search early with an end of its own.
var errStop = errors.New("stop")

// A search knows of two rates: low passed and high failed.
type search struct {
	Config
	probe     Probe
	steps     []Step
	low, high float64 // 0 and +Inf as long as there is none
	confirmed int
	end       End
}

func (s *search) run(ctx context.Context) (End, error) {
	err := s.bracket(ctx)
	for err == nil && s.low > 0 {
		if err = s.bisect(ctx); err == nil {
			err = s.confirm(ctx)
		}
		if err == nil && s.confirmed >= s.Confirmations {
			break
		}
	}
	switch {
	case errors.Is(err, errStop):
		return s.end, nil
	case err != nil:
		return Stopped, err
	case s.low == 0:
		return Nothing, nil
	case math.IsInf(s.high, 1):
		return ReachedMax, nil
	}
	return Found, nil
}

// bracket doubles the rate until one fails, or halves it until one passes.
func (s *search) bracket(ctx context.Context) error {
	passed, err := s.try(ctx, Doubling, s.Start)
	for err == nil && passed && s.low < s.Max {
		passed, err = s.try(ctx, Doubling, min(2*s.low, s.Max))
	}
	for err == nil && s.low == 0 && s.high > 1 {
		_, err = s.try(ctx, Halving, max(1, s.high/2))
	}
	return err
}

// bisect narrows the gap between low and high.
func (s *search) bisect(ctx context.Context) error {
	for !math.IsInf(s.high, 1) && s.high-s.low > s.Precision*s.high {
		if _, err := s.try(ctx, Bisection, (s.low+s.high)/2); err != nil {
			return err
		}
	}
	return nil
}

// confirm offers low again. If it fails now, low had luck: the search goes on
// below it, from the best rate that has not failed.
func (s *search) confirm(ctx context.Context) error {
	for s.confirmed < s.Confirmations {
		passed, err := s.try(ctx, Confirming, s.low)
		if err != nil {
			return err
		}
		if !passed {
			return s.fallBack(ctx)
		}
		s.confirmed++
	}
	return nil
}

// fallBack takes the best rate that passed below the one that failed or, if
// none did, looks for one.
func (s *search) fallBack(ctx context.Context) error {
	s.low = 0
	for _, step := range s.steps {
		if step.Verdict == Passed && step.Rate < s.high {
			s.low = max(s.low, step.Rate)
		}
	}
	for s.low == 0 && s.high > 1 {
		if _, err := s.try(ctx, Halving, max(1, s.high/2)); err != nil {
			return err
		}
	}
	return nil
}

// try makes one step and moves low or high to it.
func (s *search) try(ctx context.Context, phase Phase, rate float64) (passed bool, err error) {
	for range s.Tries {
		if len(s.steps) == s.Steps {
			s.end = OutOfSteps
			return false, errStop
		}
		outcome, err := s.probe(ctx, rate)
		if err != nil {
			return false, err
		}
		s.steps = append(s.steps, Step{phase, rate, outcome})
		switch outcome.Verdict {
		case Passed:
			if rate != s.low {
				s.low, s.confirmed = rate, 0
			}
			return true, nil
		case Failed:
			s.high, s.confirmed = rate, 0
			return false, nil
		}
	}
	s.end = GeneratorLimit
	return false, errStop
}
