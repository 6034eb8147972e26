package history

import (
	"fmt"
	"slices"
	"time"
)

// stale returns the reads of values that had been replaced for certain more
// than by before the read began.
//
// That is a test of its own and not a search for an order: a bound on staleness
// lets successive reads go back and forth, and each is judged alone.
func stale(key string, ops []Op, by time.Duration) (faults []Fault) {
	for _, r := range ops {
		if r.Kind != Read || r.Outcome != OK {
			continue
		}
		if w, ok := replaced(r.Value, r.Call-int64(by), ops); ok {
			faults = append(faults, Fault{Rule: Stale, Key: key, Ops: []Op{w, r}, Text: fmt.Sprintf(
				"what was read had been replaced for %v, %v is allowed", time.Duration(r.Call-w.Return), by)})
		}
	}
	return faults
}

// replaced returns a write that was done at the given time and had begun after
// every write that can have brought the value was done.
func replaced(value string, at int64, ops []Op) (Op, bool) {
	since := sourceUntil(value, ops)
	for _, w := range ops {
		if w.changes() && w.Outcome == OK && w.written() != value && w.Call > since && w.Return < at {
			return w, true
		}
	}
	return Op{}, false
}

// sourceUntil returns when the last write that can have brought a value was done
// for certain. A key begins without an object.
func sourceUntil(value string, ops []Op) int64 {
	until := int64(forever)
	for _, w := range ops {
		if w.possible() && w.written() == value {
			until = max(until, w.until())
		}
	}
	return until
}

// late returns the reads that saw an unknown write only after a write had
// succeeded that its client, or anybody else, began after it was given up.
//
// If the unknown write came before that one, as it must, then its value was gone
// when that one was acknowledged. It does not matter whether somebody saw it
// before: a value that comes back breaks the order besides.
//
// A read that may be stale by some time speaks of the moment before that.
func late(key string, ops []Op, by time.Duration) (faults []Fault) {
	for _, u := range ops {
		if !u.changes() || u.Outcome != Unknown || u.Left {
			continue
		}
		for _, r := range ops {
			if r.Kind != Read || r.Outcome != OK || r.Value != u.written() || r.Call < u.Return {
				continue
			}
			if w, ok := overtaken(u, r, ops, r.Call-int64(by)); ok {
				faults = append(faults, Fault{Rule: Late, Key: key, Ops: []Op{u, w, r},
					Text: "a write of unknown outcome was done after a later one had succeeded"})
				break
			}
		}
	}
	return faults
}

// overtaken returns a write that succeeded, all of it after u was given up and
// before the time that r speaks of, which read what u writes: unless there is
// another explanation.
func overtaken(u, r Op, ops []Op, at int64) (Op, bool) {
	for _, w := range ops {
		if !w.changes() || w.Outcome != OK || w.written() == u.written() || w.Call <= u.Return || w.Return >= at {
			continue
		}
		if !explained(u, w, r, ops) {
			return w, true
		}
	}
	return Op{}, false
}

// explained reports whether r could read what u writes after w although u was
// not done against the promise: because another operation wrote the same, which
// only deletes do, or because the key was back in the state that u found when it
// was sent. A write that was lost on its way is conditioned on that state, so it
// can land when the state comes back: that is the one exception.
func explained(u, w, r Op, ops []Op) bool {
	return slices.ContainsFunc(ops, func(x Op) bool {
		if x == u || !x.possible() || x.until() < w.Call || x.Call > r.Return {
			return false
		}
		return x.written() == u.written() || found(x.written(), u, x, ops)
	})
}

// found reports whether u may be conditioned on what there is after x: on a
// state with the same tag, brought by something else, or on the absence of the
// object.
func found(value string, u, x Op, ops []Op) bool {
	if u.Kind == CAS {
		return matches(u.Expect, value)
	}
	if value == Absent && !slices.ContainsFunc(ops, func(w Op) bool {
		return w.changes() && w.Outcome == OK && w.Return < u.Call
	}) {
		return true // as it was in the beginning
	}
	return slices.ContainsFunc(ops, func(y Op) bool {
		return y != x && y != u && y.possible() && y.Call <= u.Return && Tag(y.written()) == Tag(value)
	})
}
