package node

import (
	"sync"
	"time"

	"github.com/micelio/micelio/ring"
)

// worth decides which previous owners are worth asking. A question that is
// answered with "no" costs what a round trip within the cluster does, half a
// millisecond, and one that finds the object saves a request of tens of
// milliseconds that somebody has to pay for. So asking pays while one question
// in fifty finds something; after that one in thirty-two is still asked, to
// notice when that changes. How long that is depends on what clients read, so no
// time is set for it; the ring forgets placements after an hour.
type worth struct {
	mu sync.Mutex // guards the following
	of map[memberID]*memberWorth
}

// A memberWorth is what is known of one start of a member.
type memberWorth struct {
	hits   float64   // share of questions that it answered, the latest count most
	turn   int       // counts questions that were left out
	paused time.Time // until then it is not asked
	last   time.Time // that it had an object
}

const (
	worthLeast  = 0.02     // share of hits from which on asking pays
	worthWeight = 1.0 / 64 // of the latest answer
	worthProbe  = 32       // one in so many is asked all the same

	// worthPause is how long a member that did not answer is left alone.
	worthPause = 5 * time.Second

	// worthMemory is how long the last object of a member says something.
	worthMemory = time.Hour

	// maxWorth bounds the members that are remembered; all are, but for starts
	// of long ago.
	maxWorth = 256
)

// asking reports whether to ask a member.
func (w *worth) asking(m ring.Member, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.get(m)
	switch {
	case now.Before(one.paused):
		return false
	case one.hits >= worthLeast:
		return true
	}
	one.turn++
	return one.turn%worthProbe == 0
}

// note notes whether a member had what it was asked for.
func (w *worth) note(m ring.Member, had bool, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.get(m)
	one.hits *= 1 - worthWeight
	if had {
		one.hits += worthWeight
		one.last = now
	}
}

// failed notes that a member did not answer.
func (w *worth) failed(m ring.Member, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.get(m).paused = now.Add(worthPause)
}

// get returns what is known of a member, of whom the best is expected. The caller
// holds mu.
func (w *worth) get(m ring.Member) *memberWorth {
	id := memberID{m.ID, m.Boot}
	one := w.of[id]
	if one == nil {
		if w.of == nil || len(w.of) >= maxWorth {
			w.of = make(map[memberID]*memberWorth)
		}
		one = &memberWorth{hits: 1}
		w.of[id] = one
	}
	return one
}

// best returns the largest share of hits of the members that were asked, and when
// one of them last had an object.
func (w *worth) best() (hits float64, last time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.of {
		if time.Since(one.last) > worthMemory {
			continue
		}
		if one.last.After(last) {
			last = one.last
		}
		if !one.last.IsZero() {
			hits = max(hits, one.hits)
		}
	}
	return hits, last
}
