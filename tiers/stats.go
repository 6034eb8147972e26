package tiers

import "sync/atomic"

// counters is what the cache counts.
type counters struct {
	Fills, FailedFills, AbandonedFills, Joined atomic.Int64
	FilledBytes, BadDigests, Resumes           atomic.Int64
	Validations, SharedValidations             atomic.Int64
	Revalidated, Unvalidated                   atomic.Int64
}

// Stats is what a Cache has done since it was made.
type Stats struct {
	RAM, SSD TierStats

	Fills          int64 // flights that brought a whole object
	FailedFills    int64 // flights that ended early
	AbandonedFills int64 // of those, because nobody was left
	FilledBytes    int64 // bytes that flights brought
	Joined         int64 // reads that followed a flight somebody else had started
	Validations    int64 // questions whether a mutable key has changed
	Revalidated    int64 // reads answered with a copy because it has not
	Unvalidated    int64 // reads answered within their staleness budget, without asking

	// SharedValidations are reads that waited for a question together with
	// another one.
	SharedValidations int64

	BadDigests int64 // objects whose bytes were not what their name or the authority says
	Resumes    int64 // bodies that went on from another place
	InFlight   int64 // flights that can be joined now
}

// Stats returns the counters.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	n := len(c.flights)
	c.mu.Unlock()
	s := &c.stats
	return Stats{
		RAM: c.ram.Stats(), SSD: c.ssd.Stats(), InFlight: int64(n),
		Fills: s.Fills.Load(), FailedFills: s.FailedFills.Load(), AbandonedFills: s.AbandonedFills.Load(),
		FilledBytes: s.FilledBytes.Load(), Joined: s.Joined.Load(), Validations: s.Validations.Load(),
		SharedValidations: s.SharedValidations.Load(), Unvalidated: s.Unvalidated.Load(), Revalidated: s.Revalidated.Load(), BadDigests: s.BadDigests.Load(), Resumes: s.Resumes.Load(),
	}
}
