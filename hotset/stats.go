package hotset

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/object"
)

// counts is how fills ended.
type counts struct {
	kept, renewed, declined, failed atomic.Int64
}

// ended counts the end of a fill.
func (c *counts) ended(err error, again bool) {
	switch {
	case err == nil && again:
		c.renewed.Add(1)
	case err == nil:
		c.kept.Add(1)
	case errors.Is(err, errCooled), errors.Is(err, errNoRoom), errors.Is(err, errVoid), errors.Is(err, object.ErrNotFound):
		c.declined.Add(1)
	default:
		c.failed.Add(1)
	}
}

// Stats is what a Store holds and has done since it was made.
type Stats struct {
	Copies   int64 // that there are
	Bytes    int64 // that they take, and those that are being fetched; see Config.Capacity
	Capacity int64 // most that Bytes can reach
	Hits     int64 // reads that a copy answered

	Kept     int64 // copies that were fetched
	Renewed  int64 // copies whose life was prolonged without their bytes being fetched
	Declined int64 // fetches that brought none: no room, not hot any more, written or deleted meanwhile
	Failed   int64 // fetches that broke
}

// Stats returns the figures.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	held, kept := s.held, s.kept
	s.mu.Unlock()
	return Stats{
		Copies: kept, Bytes: held, Capacity: s.cfg.Capacity, Hits: s.hits.sum(),
		Kept: s.counters.kept.Load(), Renewed: s.counters.renewed.Load(),
		Declined: s.counters.declined.Load(), Failed: s.counters.failed.Load(),
	}
}

// A Hot is one of the keys that are read most through this node.
type Hot struct {
	Key object.Key

	// Rate is how often it is read, in reads a second over the last seconds, and
	// surely so; the true rate is at most Rate+Slack.
	Rate, Slack float64

	Copied bool  // there is a copy
	Bytes  int64 // that it takes
}

// Hottest returns up to n keys of classes that never change which are read most
// through this node, whoever owns them, and how often all keys together are read.
// It costs some 0.1 ms.
func (s *Store) Hottest(n int) (keys []Hot, total float64) {
	now := time.Now()
	top, total := s.sketch.top(n)
	for _, w := range top {
		if w.rate+w.slack < leastRate {
			continue
		}
		h := Hot{Key: w.key, Rate: w.rate, Slack: w.slack}
		if c := s.copies.find(w.hash, w.key); c != nil && now.Before(c.ends) {
			h.Copied, h.Bytes = true, c.cost
		}
		keys = append(keys, h)
	}
	return keys, total
}

// leastRate is how often a key must be read to be worth a line: one that was read
// twice counts for less after three half-lives.
const leastRate = 0.1
