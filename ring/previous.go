package ring

import (
	"slices"
	"time"
)

const (
	// formerMemory is how long a placement is remembered after its end. What
	// nobody has asked for within an hour of a move is not worth a question any
	// more. Most placements stop being asked about long before: whoever asks
	// counts what it brings.
	formerMemory = time.Hour

	// maxFormer bounds the placements that are remembered, of 256 KiB each. It is
	// more than a cluster goes through while it is grown to twice its size, or
	// restarted node by node, in steps of three.
	maxFormer = 8

	// maxPrevious bounds how many members are named for a key: each costs whoever
	// asks them all a round trip.
	maxPrevious = 4
)

// A former is a placement that was in force before.
type former struct {
	table *table
	until time.Time
}

// After returns v as the view that took the place of old at this moment: it
// remembers the placement of old and what that remembered. Neither is changed.
func (v *View) After(old *View, at time.Time) *View {
	next := *v
	next.past = nil
	if old.table.epoch != v.table.epoch && len(old.table.ids) > 0 {
		next.past = append(next.past, former{old.table.owners(), at})
	}
	for _, f := range old.past {
		again := slices.ContainsFunc(next.past, func(g former) bool { return g.table.epoch == f.table.epoch })
		if again || f.table.epoch == v.table.epoch || len(next.past) == maxFormer || f.over(at) {
			continue
		}
		next.past = append(next.past, f)
	}
	return &next
}

func (f former) over(now time.Time) bool { return now.Sub(f.until) > formerMemory }

// Previous returns the members that owned the key before the latest changes and
// do not now, as far as they are still known, the last owner first: who may
// still have what the present owner does not. They are at most four, of the
// last eight placements and the last hour. It allocates nothing if there is
// none, and never computes a placement.
func (v *View) Previous(key string) []Member {
	if len(v.past) == 0 {
		return nil
	}
	now := time.Now()
	owner := v.table.ownerID(key)
	var members []Member
	for _, f := range v.past { // latest first
		if f.over(now) || len(members) == maxPrevious {
			break
		}
		id := f.table.ownerID(key)
		if id == owner || slices.ContainsFunc(members, func(m Member) bool { return m.ID == id }) {
			continue
		}
		if m, ok := v.Member(id); ok {
			members = append(members, m)
		}
	}
	return members
}

// RemembersWithout reports whether a placement is remembered in which somebody owned
// keys and the member did not. A node that came into the ring together with others
// may never have seen one without itself.
func (v *View) RemembersWithout(id string) bool {
	now := time.Now()
	for _, f := range v.past {
		if _, with := slices.BinarySearch(f.table.ids, id); !with && !f.over(now) {
			return true
		}
	}
	return false
}

// Moved returns when keys last moved, as far as that is remembered.
func (v *View) Moved() (time.Time, bool) {
	if len(v.past) == 0 || v.past[0].over(time.Now()) {
		return time.Time{}, false
	}
	return v.past[0].until, true
}

// ownerID returns the owner of a key, "" if nobody serves. Tables can have
// different secrets, so each finds the partition anew.
func (t *table) ownerID(key string) string {
	if len(t.ids) == 0 {
		return ""
	}
	return t.ids[t.owner[t.partition(key)]]
}

// owners returns what is left of a table if it has to say only who owns what.
func (t *table) owners() *table {
	return &table{ids: t.ids, key: t.key, epoch: t.epoch, owner: t.owner}
}
