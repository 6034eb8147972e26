package hotset

import (
	"cmp"
	"slices"
	"time"

	"github.com/micelio/micelio/object"
)

// squeezeInterval is how often at most all copies are weighed against one that
// finds no room: it takes some 0.1 ms. One that is read more than the last one
// does not wait, or those that never win could keep it from its turn.
const squeezeInterval = 100 * time.Millisecond

// roomFor returns the most that a copy of an object can take, in bytes.
func roomFor(info object.Info) int64 { return costOf(info, roundUp(info.Size)) }

// take takes memory for a copy of a key of this rate, if need be from copies of
// others that are read less.
func (s *Store) take(room int64, rate float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held+room > s.cfg.Capacity {
		s.sweepLocked(time.Now())
		if missing := s.held + room - s.cfg.Capacity; missing > 0 && !s.squeezeLocked(missing, rate) {
			return false
		}
	}
	if s.cfg.Memory != nil && !s.cfg.Memory.Borrow(room) {
		return false
	}
	s.held += room
	return true
}

func (s *Store) giveBackLocked(n int64) {
	if n == 0 {
		return
	}
	s.held -= n
	if s.cfg.Memory != nil {
		s.cfg.Memory.GiveBack(n)
	}
}

// squeezeLocked drops copies that together take at least so many bytes and are
// together read less than rate: those first that save least for what they take.
func (s *Store) squeezeLocked(missing int64, rate float64) bool {
	now := time.Now()
	if now.Sub(s.squeezed) < squeezeInterval && rate <= s.squeezedFor {
		return false
	}
	s.squeezed, s.squeezedFor = now, rate
	type victim struct {
		*hotCopy
		rate float64
	}
	var all []victim
	s.copies.each(func(_ *place, c *hotCopy) {
		all = append(all, victim{c, s.sketch.of(c.hash).rate})
	})
	slices.SortFunc(all, func(a, b victim) int { return cmp.Compare(a.rate*float64(b.cost), b.rate*float64(a.cost)) })
	n, freed, lost := 0, int64(0), 0.0
	for ; n < len(all) && freed < missing; n++ {
		freed += all[n].cost
		lost += all[n].rate
	}
	if freed < missing || lost >= rate {
		return false
	}
	for _, v := range all[:n] {
		s.dropLocked(v.hash, v.info.Key)
	}
	return true
}

// keepLocked puts a copy into the table, in place of an older one.
func (s *Store) keepLocked(f *fill, got fetched) (err error) {
	at := s.copies.placeOf(f.hash, f.key)
	var before *hotCopy
	if at != nil {
		before = at.Load()
	}
	switch {
	case f.void:
		err = errVoid
	case at == nil, got.again && before != f.old: // it has ended meanwhile, and its memory is gone
		err = errNoRoom
	}
	switch {
	case err == nil && got.again:
		at.Store(got.hotCopy)
	case err == nil:
		at.Store(got.hotCopy)
		if s.kept++; before != nil {
			s.kept--
			s.giveBackLocked(before.cost)
		}
	case !got.again:
		s.giveBackLocked(got.cost)
	}
	return err
}

// drop removes the copy of a key, and sees to it that a fill under way brings none.
func (s *Store) drop(hash uint64, key object.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.fills[key]; f != nil {
		f.void = true
	}
	s.dropLocked(hash, key)
}

func (s *Store) dropLocked(hash uint64, key object.Key) {
	if at := s.copies.placeOf(hash, key); at != nil {
		s.removeLocked(at)
	}
}

// sweepLocked removes the copies that have ended.
func (s *Store) sweepLocked(now time.Time) {
	if s.kept == 0 {
		return
	}
	s.copies.each(func(at *place, c *hotCopy) {
		if !now.Before(c.ends) {
			s.removeLocked(at)
		}
	})
}

func (s *Store) removeLocked(at *place) {
	if c := at.Swap(nil); c != nil {
		s.kept--
		s.giveBackLocked(c.cost)
	}
}
