package saturate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// capacity answers as a server that keeps up to limit arrivals a second, under
// a generator that can offer no more than reach.
func capacity(limit, reach float64) Probe {
	return func(_ context.Context, rate float64) (Outcome, error) {
		switch {
		case rate > reach:
			return Outcome{Invalid, "the generator is late"}, nil
		case rate > limit:
			return Outcome{Failed, "p99"}, nil
		}
		return Outcome{Verdict: Passed}, nil
	}
}

func find(t *testing.T, cfg Config, probe Probe) Knee {
	t.Helper()
	knee, err := Search(t.Context(), cfg, probe)
	if err != nil {
		t.Fatal(err)
	}
	return knee
}

func TestTheKneeIsWithinThePrecision(t *testing.T) {
	for _, limit := range []float64{1, 3, 99, 100, 101, 1234, 50_000, 1e6} {
		for _, start := range []float64{1, 100, 70_000} {
			for _, precision := range []float64{0.01, 0.05, 0.2} {
				knee := find(t, Config{Start: start, Precision: precision}, capacity(limit, math.Inf(1)))
				if knee.End != Found || knee.Confirmations != 3 {
					t.Fatalf("limit %v from %v: %v with %d confirmations, want it found with 3", limit, start, knee.End, knee.Confirmations)
				}
				if knee.Rate > limit || knee.Rate < limit*(1-precision)-1e-9 && limit > 1 {
					t.Errorf("limit %v from %v: the knee is %v, want it at most %v%% below", limit, start, knee.Rate, 100*precision)
				}
			}
		}
	}
}

func TestTheStepsAreTheShortestWay(t *testing.T) {
	knee := find(t, Config{Start: 100, Precision: 0.1}, capacity(700, math.Inf(1)))
	var got []string
	for _, s := range knee.Steps {
		got = append(got, fmt.Sprintf("%s %v %s", s.Phase, s.Rate, s.Verdict))
	}
	want := []string{
		"doubling 100 passed", "doubling 200 passed", "doubling 400 passed", "doubling 800 failed",
		"bisection 600 passed", "bisection 700 passed", "bisection 750 failed",
		"confirming 700 passed", "confirming 700 passed", "confirming 700 passed",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the steps were\n%q, want\n%q", got, want)
	}
}

// What the generator cannot offer says nothing about the server, wherever the
// search is when it meets the limit.
func TestTheGeneratorsLimitIsNeverTheServers(t *testing.T) {
	for _, limit := range []float64{90, 650, 750, 800, 1600, 1e6} {
		for _, reach := range []float64{50, 100, 650, 700, 850, 1500} {
			knee := find(t, Config{Start: 100, Precision: 0.01}, capacity(limit, reach))
			beyond := slices.ContainsFunc(knee.Steps, func(s Step) bool { return s.Verdict == Invalid })
			if beyond != (knee.End == GeneratorLimit) {
				t.Errorf("limit %v, reach %v: the end is %q and INVALID steps seen: %v", limit, reach, knee.End, beyond)
			}
			if knee.Rate > min(limit, reach) {
				t.Errorf("limit %v, reach %v: the knee is %v", limit, reach, knee.Rate)
			}
			if knee.End == GeneratorLimit {
				last := knee.Steps[len(knee.Steps)-3:]
				if last[0].Verdict != Invalid || last[1].Verdict != Invalid || last[2].Verdict != Invalid || last[0].Rate != last[2].Rate {
					t.Errorf("limit %v, reach %v: stopped after %v, want the same rate INVALID three times", limit, reach, last)
				}
			}
		}
	}
}

func TestAnInvalidStepIsMadeAgain(t *testing.T) {
	server, calls := capacity(700, math.Inf(1)), 0
	knee := find(t, Config{Start: 100}, func(ctx context.Context, rate float64) (Outcome, error) {
		if calls++; calls%3 != 0 {
			return Outcome{Invalid, "a busy moment"}, nil
		}
		return server(ctx, rate)
	})
	if knee.End != Found || knee.Rate > 700 || knee.Rate < 665 || knee.Confirmations != 3 {
		t.Errorf("found %v (%s), want 665 to 700", knee.Rate, knee.End)
	}
}

func TestTheHighestRateIsNotPassed(t *testing.T) {
	for _, highest := range []float64{100, 500, 1600} {
		knee := find(t, Config{Start: 100, Max: highest}, capacity(1e6, math.Inf(1)))
		if knee.End != ReachedMax || knee.Rate != highest || knee.Confirmations != 3 {
			t.Errorf("max %v: %v (%s) with %d confirmations", highest, knee.Rate, knee.End, knee.Confirmations)
		}
		for _, s := range knee.Steps {
			if s.Rate > highest {
				t.Errorf("max %v: a step at %v", highest, s.Rate)
			}
		}
	}
}

func TestAServerThatKeepsNothingHasNoKnee(t *testing.T) {
	knee := find(t, Config{Start: 1000}, capacity(0, math.Inf(1)))
	if knee.End != Nothing || knee.Rate != 0 || knee.Steps[len(knee.Steps)-1].Rate != 1 {
		t.Errorf("%v (%s), last step %v: want nothing, after one arrival a second", knee.Rate, knee.End, knee.Steps[len(knee.Steps)-1])
	}
}

// A rate that passed by luck must not be what is reported: each rate above 500
// passes only the first time that it is offered.
func TestLuckIsNotConfirmed(t *testing.T) {
	offered := map[float64]int{}
	knee := find(t, Config{Start: 100}, func(_ context.Context, rate float64) (Outcome, error) {
		offered[rate]++
		if rate > 1000 || rate > 500 && offered[rate] > 1 {
			return Outcome{Failed, "p99"}, nil
		}
		return Outcome{Verdict: Passed}, nil
	})
	if knee.End != Found || knee.Rate > 500 || knee.Confirmations != 3 {
		t.Errorf("%v (%s) with %d confirmations, want at most 500 with 3", knee.Rate, knee.End, knee.Confirmations)
	}
}

// Whatever a server does, the search ends, makes no more steps than allowed,
// and names no rate whose last step failed.
func TestEverySearchEnds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		cfg := Config{Start: 1 + 1000*random.Float64(), Steps: 1 + random.IntN(50)}
		verdicts := []Verdict{Passed, Failed, Failed, Passed, Passed, Invalid}[random.IntN(3):]
		knee := find(t, cfg, func(_ context.Context, rate float64) (Outcome, error) {
			if rate > 1e6 {
				return Outcome{Verdict: Failed}, nil
			}
			return Outcome{Verdict: verdicts[random.IntN(len(verdicts))]}, nil
		})
		if len(knee.Steps) > cfg.Steps {
			t.Fatalf("%d steps, %d allowed", len(knee.Steps), cfg.Steps)
		}
		if knee.Rate == 0 {
			continue
		}
		verdict, passes := Failed, 0
		for _, s := range knee.Steps {
			if s.Rate == knee.Rate && s.Verdict != Invalid {
				verdict = s.Verdict
				passes++
			}
		}
		if verdict != Passed || passes < 1+knee.Confirmations {
			t.Fatalf("the knee %v (%s, %d confirmations) rests on %d steps, the last %v: %v", knee.Rate, knee.End, knee.Confirmations, passes, verdict, knee.Steps)
		}
	}
}

func TestAnErrorOfTheProbeEndsTheSearch(t *testing.T) {
	broken := errors.New("no such host")
	knee, err := Search(t.Context(), Config{Start: 100}, func(_ context.Context, rate float64) (Outcome, error) {
		if rate > 300 {
			return Outcome{}, broken
		}
		return Outcome{Verdict: Passed}, nil
	})
	if !errors.Is(err, broken) || knee.Rate != 200 || len(knee.Steps) != 2 {
		t.Errorf("error %v, knee %v after %d steps: want the probe's, 200 and 2", err, knee.Rate, len(knee.Steps))
	}
}

func TestTheFirstRateMustBeARate(t *testing.T) {
	for _, cfg := range []Config{{}, {Start: 0.5}, {Start: math.NaN()}, {Start: 100, Max: 50}} {
		if _, err := Search(t.Context(), cfg, capacity(1, 1)); err == nil {
			t.Errorf("%+v was searched", cfg)
		}
	}
}
