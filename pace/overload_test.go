package pace_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/pace"
)

// A server has ten workers that take 100 ms for a request: 100 requests per
// second. It works off what it has accepted, even if nobody waits for it any
// more, which is what makes a collapse last (Bronson et al., Metastable
// Failures in Distributed Systems, HotOS 2021).
type server struct{ queue chan chan struct{} }

const (
	capacity = 100              // requests per second
	patience = time.Second      // of a client, for an answer
	cold     = 20 * time.Second // for so long the cache is cold and demand twice the capacity
	total    = 120 * time.Second
)

func (s *server) work() {
	for answer := range s.queue {
		<-time.After(100 * time.Millisecond)
		close(answer)
	}
}

func (s *server) ask() pace.Outcome {
	answer := make(chan struct{})
	select {
	case s.queue <- answer:
	default:
		return pace.Overload
	}
	select {
	case <-answer:
		return pace.OK
	case <-time.After(patience):
		return pace.Overload
	}
}

// guards are what a client uses; nil for what it does without.
type guards struct {
	limiter *pace.Limiter
	breaker *pace.Breaker
	budget  *pace.Budget
}

// attempt reports the outcome, and false if the server was not asked.
func (g guards) attempt(s *server) (pace.Outcome, bool) {
	answered, free := func(pace.Outcome) {}, func(pace.Outcome) {}
	if g.breaker != nil {
		done, err := g.breaker.Allow()
		if err != nil {
			return pace.Overload, false
		}
		answered = done
	}
	if g.limiter != nil {
		permit, err := g.limiter.Acquire(context.Background())
		if err != nil {
			answered(pace.Ignore)
			return pace.Overload, false
		}
		free = permit.Done
	}
	o := s.ask()
	answered(o)
	free(o)
	return o, true
}

// A run is what became of demand.
type run struct {
	demand, attempts     int64
	coldGood             int64 // answers to what was wanted while the cache was cold
	lastDemand, lastGood int64 // of the last 30 s
}

func simulate(t *testing.T, with func() guards) (r run) {
	synctest.Test(t, func(t *testing.T) {
		g := with() // in the bubble, for its clock
		s := &server{queue: make(chan chan struct{}, 4*capacity)}
		var workers sync.WaitGroup
		for range capacity / 10 {
			workers.Go(s.work)
		}
		var attempts, coldGood, lastGood atomic.Int64
		var clients sync.WaitGroup
		began := time.Now()
		for time.Since(began) < total {
			at := time.Since(began)
			clients.Go(func() {
				if g.budget != nil {
					g.budget.Demand()
				}
				for attempt := range 3 {
					o, asked := g.attempt(s)
					if asked {
						attempts.Add(1)
					}
					switch {
					case o == pace.OK && at < cold:
						coldGood.Add(1)
					case o == pace.OK && at >= total-30*time.Second:
						lastGood.Add(1)
					}
					if o == pace.OK || !asked || g.budget != nil && !g.budget.Take() {
						return
					}
					time.Sleep(pace.FullJitter(attempt, 50*time.Millisecond, time.Second))
				}
			})
			r.demand++
			if at >= total-30*time.Second {
				r.lastDemand++
			}
			if at < cold {
				time.Sleep(time.Second / (2 * capacity))
			} else {
				time.Sleep(time.Second * 10 / (8 * capacity)) // 80 % of the capacity
			}
		}
		clients.Wait()
		close(s.queue)
		workers.Wait()
		r.attempts, r.coldGood, r.lastGood = attempts.Load(), coldGood.Load(), lastGood.Load()
	})
	t.Logf("%+v", r)
	return r
}

func newGuards() guards {
	return guards{
		limiter: pace.NewLimiter(pace.LimiterConfig{Initial: 32, Min: 4}),
		breaker: pace.NewBreaker(pace.BreakerConfig{Window: 10 * time.Second, MinRequests: 20, FailureRatio: 0.5, OpenFor: 3 * time.Second, Probes: 3}),
		budget:  pace.NewBudget(0.1, 0),
	}
}

func (r run) recovered() bool { return r.lastGood*100 >= r.lastDemand*95 }

func (r run) withinBudget() bool {
	return float64(r.attempts) <= 1.1*float64(r.demand)+pace.DefaultBurst
}

func TestAColdCacheAtTwiceTheCapacityConverges(t *testing.T) {
	r := simulate(t, newGuards)
	if !r.recovered() || !r.withinBudget() {
		t.Fatal("it did not converge")
	}
	if r.coldGood < int64(cold.Seconds())*capacity*7/10 {
		t.Errorf("%d good answers during the overload", r.coldGood)
	}
}

func TestTheBudgetAloneLetsAnOverloadEnd(t *testing.T) {
	r := simulate(t, func() guards { return guards{budget: pace.NewBudget(0.1, 0)} })
	if !r.recovered() || !r.withinBudget() {
		t.Fatal("it did not converge")
	}
}

// This one proves that the simulation can fail.
func TestWithoutABudgetTheOverloadOutlivesItsCause(t *testing.T) {
	r := simulate(t, func() guards { return guards{} })
	if r.lastGood*10 > r.lastDemand || r.withinBudget() {
		t.Fatal("the simulation shows no collapse: it proves nothing")
	}
}
