package tiers

import (
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/object"
)

// counters is what the cache counts.
type counters struct {
	origin, cdn, peer fillCounts // by where flights came from

	Joined, BadDigests, Resumes    atomic.Int64
	Validations, SharedValidations atomic.Int64
	Revalidated, Unvalidated       atomic.Int64

	Waiting atomic.Int64 // readers, now
}

// fillCounts counts the flights from one place. A flight that has begun looks its
// place up once, so that its bytes cost one addition each time that some come.
type fillCounts struct {
	tier                            object.Tier
	Done, Failed, Abandoned, Absent atomic.Int64
	Bytes                           atomic.Int64
}

// name names the places.
func (s *counters) name() {
	s.origin.tier, s.cdn.tier, s.peer.tier = object.TierOrigin, object.TierCDN, object.TierPeer
}

// from returns the counts of a place. What another Store calls itself counts as
// the origin: it is what the bytes come from in the end.
func (s *counters) from(t object.Tier) *fillCounts {
	switch t {
	case object.TierPeer:
		return &s.peer
	case object.TierCDN:
		return &s.cdn
	}
	return &s.origin
}

// filled tells whoever wants to know of a flight that is whole.
func (c *Cache) filled(from object.Tier, took time.Duration) {
	if c.onFilled != nil {
		c.onFilled(from, took)
	}
}

// Stats is what a Cache has done since it was made.
type Stats struct {
	RAM, SSD TierStats

	Fills          int64 // flights that brought a whole object
	FailedFills    int64 // flights that ended early
	AbandonedFills int64 // of those, because nobody was left
	FilledBytes    int64 // bytes that flights brought

	// Sources says the same by who answered the upstream read: [object.TierPeer],
	// [object.TierCDN] and [object.TierOrigin], which stands for everything else.
	Sources map[object.Tier]FillStats

	Joined      int64 // reads that followed a flight somebody else had started
	Validations int64 // questions whether a mutable key has changed
	Revalidated int64 // reads answered with a copy because it has not
	Unvalidated int64 // reads answered within their staleness budget, without asking

	// SharedValidations are reads that waited for a question together with
	// another one.
	SharedValidations int64

	BadDigests int64 // objects whose bytes were not what their name or the authority says
	Resumes    int64 // bodies that went on from another place
	InFlight   int64 // flights that can be joined now
	Waiting    int64 // reads that wait for a flight or follow one now, those of questions included
}

// FillStats are the flights from one place. A flight that never began counts
// nowhere, but for those that found nothing under an immutable key: they could be
// joined, and so were in [Stats.InFlight]. Questions about mutable keys are
// [Stats.Validations], whatever the answer.
type FillStats struct {
	Done      int64 // brought all they were to bring
	Failed    int64 // ended early, because what they read did
	Abandoned int64 // ended early, because nobody was left
	Absent    int64 // there was nothing to bring; counted for the origin alone
	Bytes     int64 // brought so far
}

func (f *fillCounts) stats() FillStats {
	return FillStats{Done: f.Done.Load(), Failed: f.Failed.Load(), Abandoned: f.Abandoned.Load(), Absent: f.Absent.Load(), Bytes: f.Bytes.Load()}
}

// Stats returns the counters. They are not of one instant.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	n := len(c.flights)
	for _, parts := range c.parts {
		n += len(parts)
	}
	c.mu.Unlock()
	s := &c.stats
	all := Stats{
		RAM: c.ram.Stats(), SSD: c.ssd.Stats(), InFlight: int64(n), Waiting: s.Waiting.Load(), Sources: make(map[object.Tier]FillStats, 3),
		Joined: s.Joined.Load(), Validations: s.Validations.Load(), SharedValidations: s.SharedValidations.Load(),
		Unvalidated: s.Unvalidated.Load(), Revalidated: s.Revalidated.Load(), BadDigests: s.BadDigests.Load(), Resumes: s.Resumes.Load(),
	}
	for _, from := range []*fillCounts{&s.origin, &s.cdn, &s.peer} {
		f := from.stats()
		all.Sources[from.tier] = f
		all.Fills += f.Done
		all.FailedFills += f.Failed + f.Abandoned
		all.AbandonedFills += f.Abandoned
		all.FilledBytes += f.Bytes
	}
	return all
}
