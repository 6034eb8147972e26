package origin

import "github.com/micelio/micelio/pace"

// S3Stats are figures of an S3 origin since it was opened, except for what
// says "now".
type S3Stats struct {
	Demand   int64 // requests that callers wanted; the parts of a body count each
	Attempts int64 // requests that were sent, probes included

	Retries, RetriesRefused int64 // attempts after a failure, and those the budget did not allow
	Hedges, HedgesWon       int64 // requests beside slow ones, and those that answered first

	Limit, InFlight, Waiting int   // now: of the adaptive limit of concurrency
	Shed                     int64 // requests that waited too long for their turn

	Breaker        pace.State // now
	BreakerRefused int64      // requests that an open breaker refused

	Resumed          int64 // bodies that went on after they broke off
	Settled, Unknown int64 // writes without a clear answer, and those of them that stayed so
}

// Stats returns the figures of this moment. They are not of one instant.
func (s *S3) Stats() S3Stats {
	p := s.pace
	retries, hedges, limit, breaker := p.retries.Stats(), p.hedger.Stats(), p.limiter.Stats(), p.breaker.Stats()
	return S3Stats{
		Demand: p.counts.demand.Load(), Attempts: p.counts.attempts.Load(),
		Retries: retries.Taken, RetriesRefused: retries.Refused,
		Hedges: hedges.Sent, HedgesWon: hedges.Won,
		Limit: limit.Limit, InFlight: limit.InFlight, Waiting: limit.Waiting, Shed: limit.Shed,
		Breaker: breaker.State, BreakerRefused: breaker.Refused,
		Resumed: p.counts.resumed.Load(), Settled: p.counts.settled.Load(), Unknown: p.counts.unknown.Load(),
	}
}
