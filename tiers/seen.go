package tiers

import (
	"slices"
	"time"

	"github.com/micelio/micelio/object"
)

// A Copy is what a tier has of an object.
type Copy struct {
	Info  object.Info // Tier says which tier, Age how old the copy is
	Whole bool        // nothing of the object is missing
}

// Copies says what the tiers have of key at this moment, the fastest first. It is for
// people who look, and counts as no use of the key, but it reads the description of a
// copy on disk.
func (c *Cache) Copies(key object.Key) []Copy {
	var copies []Copy
	if e, ok := c.ram.Peek(key); ok {
		copies = append(copies, Copy{e.info(), true})
	}
	if s, ok := c.ssd.Peek(key); ok {
		copies = append(copies, Copy{s.Info(), s.Complete()})
		s.Close()
	}
	return copies
}

// Holds says which tiers have a whole copy of key at this moment. It reads no disk.
func (c *Cache) Holds(key object.Key) []object.Tier {
	var tiers []object.Tier
	if c.ram.Has(key) {
		tiers = append(tiers, object.TierRAM)
	}
	if c.ssd.Has(key) {
		tiers = append(tiers, object.TierSSD)
	}
	return tiers
}

// A Flight is a read of the upstream that is under way.
type Flight struct {
	Key     object.Key
	From    object.Tier   // that answers, "" until that is known
	Bytes   int64         // that have come
	Size    int64         // of what it brings, -1 until that is known
	Readers int           // that follow it, or wait for it to begin
	Age     time.Duration // since it was asked for
}

// Flights returns the flights that reads can join, oldest first, at most n of
// them, and how many there are.
func (c *Cache) Flights(n int) (oldest []Flight, all int) {
	c.mu.Lock()
	var flights []*flight
	for _, f := range c.flights {
		flights = append(flights, f)
	}
	for _, parts := range c.parts {
		flights = append(flights, parts...)
	}
	c.mu.Unlock()
	slices.SortFunc(flights, func(a, b *flight) int { return a.since.Compare(b.since) })
	now := time.Now()
	for _, f := range flights[:min(n, len(flights))] {
		oldest = append(oldest, f.seen(now))
	}
	return oldest, len(flights)
}

// seen describes the flight.
func (f *flight) seen(now time.Time) Flight {
	s := Flight{Key: f.key, Size: -1, Age: now.Sub(f.since)}
	known := f.isReady() && f.begun
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Readers = f.waiting + len(f.followers)
	if known {
		s.From, s.Bytes, s.Size = f.tier, f.head-f.from, f.to-f.from
	}
	return s
}
