package tiers

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/micelio/micelio/object"
)

// A writing is one write of a key, from before it is sent until it has been
// answered. It belongs to one caller, except that takeTurn may be called by
// whoever reads the source.
type writing struct {
	cache   *Cache
	key     object.Key
	of      *writes
	mutable bool
	sighted bool // the key has a staleness budget, so sightings of it are kept

	seen *sighting     // what it has made current, nil if that is not known
	drop bool          // the copy is not to be trusted after it
	over chan struct{} // closed when it has ended

	// mu guards the following: an upstream may answer while something below it
	// still reads the source.
	mu      sync.Mutex
	ended   bool
	turn    bool      // it is this one's
	decided time.Time // when that began
}

// beginWrite makes sure that nothing fetched before this write is kept.
func (c *Cache) beginWrite(key object.Key, class object.Class) *writing {
	w := &writing{cache: c, key: key, mutable: class == object.Mutable, over: make(chan struct{})}
	if w.sighted = w.mutable && c.staleness(key) > 0; w.sighted {
		c.fresh.writeBegins(key)
	}
	c.mu.Lock()
	of := c.writes[key]
	if of == nil {
		of = &writes{turn: make(chan struct{}, 1)}
		c.writes[key] = of
	}
	of.active++
	of.mixed = of.mixed || of.active > 1
	landing := c.forgetLocked(key)
	c.mu.Unlock()
	w.of = of
	for _, landed := range landing {
		if landed != nil {
			<-landed
		}
	}
	return w
}

// takeTurn waits until no other write of the key is being decided. The turn is
// kept until the end. A key that never changes needs none: its first write wins.
func (w *writing) takeTurn(ctx context.Context) error {
	if !w.mutable || w.hasTurn() {
		return nil
	}
	select {
	case w.of.turn <- struct{}{}:
	case <-w.over:
		return errWriteOver
	case <-ctx.Done():
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		<-w.of.turn
		return errWriteOver
	}
	w.turn, w.decided = true, time.Now()
	return nil
}

// errWriteOver is what somebody below gets who reads on after the answer.
var errWriteOver = errors.New("tiers: the write is over")

func (w *writing) hasTurn() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.turn
}

// made notes what the write has made current.
func (w *writing) made(info object.Info) {
	if w.hasTurn() {
		seen := sight(info, w.decided)
		w.seen = &seen
	}
}

// end does again what beginWrite did, for what was fetched during the write, and
// gives up the turn last, so that all this happens in the order of the writes. It
// drops what is cached if the object is gone or nobody knows whether it was
// written, and if the write overlapped with another and neither waited for its
// turn: then nobody here knows which of them won. A write that was refused
// changed nothing, and a forge that puts what is there already (If-None-Match)
// must not lose the copy by it.
func (w *writing) end() {
	c := w.cache
	w.mu.Lock()
	w.ended = true
	turn := w.turn
	w.mu.Unlock()
	close(w.over)

	c.mu.Lock()
	drop := w.drop || w.of.mixed && !turn
	c.mu.Unlock()
	if drop {
		c.drop(w.key)
	}
	if w.sighted {
		c.fresh.writeEnds(w.key, w.seen)
	}
	c.mu.Lock()
	if w.of.active--; w.of.active == 0 {
		delete(c.writes, w.key)
	}
	c.forgetLocked(w.key) // it began during the write, and so was forgotten from the start
	c.mu.Unlock()
	if turn {
		<-w.of.turn
	}
}
