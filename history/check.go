package history

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// A Rule is what a history can break.
type Rule string

// The rules.
const (
	// Malformed: the history cannot be judged, because two writes have one
	// value, or an operation no legal form.
	Malformed Rule = "malformed"

	// Foreign: a read returned what nobody ever wrote under the key: a mix of
	// two versions, or another key's.
	Foreign Rule = "foreign"

	// Order: no order of the operations of a key explains what they returned.
	Order Rule = "order"

	// Undecided: the search for an order took too long. It is a failure: a
	// checker that does not answer proves nothing.
	Undecided Rule = "undecided"

	// Late: a write whose client was told that the outcome is unknown became
	// visible only after a later write had succeeded.
	Late Rule = "late"

	// Stale: a read returned what had been replaced for longer than the
	// staleness that was allowed.
	Stale Rule = "stale"
)

// A Fault is one way in which a history is wrong.
type Fault struct {
	Rule Rule
	Key  string
	Ops  []Op // that show it best
	Text string
}

// String describes the fault over several lines.
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: key %s: %s", f.Rule, f.Key, f.Text)
	for _, op := range f.Ops {
		fmt.Fprintf(&b, "\n\t%s", op)
	}
	return b.String()
}

// Options say how a history is judged.
type Options struct {
	// Bounded says that reads may be stale by up to Staleness. They are then
	// held to that alone, and need no place in the order of the writes, which
	// is checked as always.
	Bounded   bool
	Staleness time.Duration

	// Timeout bounds the search for an order of one key; 0 is a minute. Check
	// must not be called in a synctest bubble, where it could not pass.
	Timeout time.Duration
}

const defaultTimeout = time.Minute

// Check returns what is wrong with a history: nothing if there is, for each key,
// an order of its operations that explains what every client was told.
func Check(ops []Op, opt Options) []Fault {
	if opt.Timeout <= 0 {
		opt.Timeout = defaultTimeout
	}
	var faults []Fault
	for _, key := range keys(ops) {
		faults = append(faults, checkKey(key, ofKey(ops, key), opt)...)
	}
	return faults
}

func checkKey(key string, ops []Op, opt Options) []Fault {
	if faults := malformed(key, ops); len(faults) > 0 {
		return faults
	}
	if faults := foreign(key, ops); len(faults) > 0 {
		return faults // they would break every other rule too
	}
	if !opt.Bounded {
		opt.Staleness = 0
	}
	faults := late(key, ops, opt.Staleness)
	if opt.Bounded {
		faults = append(faults, stale(key, ops, opt.Staleness)...)
	}
	return append(faults, unordered(key, ops, opt)...)
}

// unordered returns what is wrong with a key if no order explains its
// operations. One that was found is checked and believed; that there is none is
// for the general checker to say.
func unordered(key string, ops []Op, opt Options) []Fault {
	list := needed(ops, opt)
	order, sure := findOrder(list, orderSteps)
	if order != nil && explains(order, list) {
		return nil
	}
	switch porcupine.CheckOperationsTimeout(model(), operations(list), opt.Timeout) {
	case porcupine.Illegal:
		return []Fault{{Rule: Order, Key: key, Text: "no order of its operations explains them"}}
	case porcupine.Unknown:
		text := fmt.Sprintf("no order was found within %v", opt.Timeout)
		if sure {
			text += ", and a quicker search says that there is none"
		}
		return []Fault{{Rule: Undecided, Key: key, Text: text}}
	}
	return nil
}

// keys returns the keys of a history, sorted.
func keys(ops []Op) (names []string) {
	for _, op := range ops {
		names = append(names, op.Key)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func ofKey(ops []Op, key string) (some []Op) {
	for _, op := range ops {
		if op.Key == key {
			some = append(some, op)
		}
	}
	return some
}

// malformed returns what makes the operations of a key no history.
func malformed(key string, ops []Op) (faults []Fault) {
	writers := make(map[string]Op)
	fault := func(text string, ops ...Op) {
		faults = append(faults, Fault{Rule: Malformed, Key: key, Ops: ops, Text: text})
	}
	for _, op := range ops {
		switch {
		case !slices.Contains([]Kind{Read, Write, CAS, Delete}, op.Kind):
			fault("no such kind", op)
		case !slices.Contains([]Outcome{OK, Refused, Failed, Unknown}, op.Outcome):
			fault("no such outcome", op)
		case op.Return < op.Call:
			fault("it returned before it was called", op)
		case op.Outcome == Refused && op.Kind != CAS:
			fault("only a cas can be refused", op)
		case op.Kind == Write && op.Value == Absent:
			fault("a write without a value", op)
		}
		if op.changes() && op.written() != Absent {
			if other, ok := writers[op.Value]; ok {
				fault("two writes of one value", other, op)
			}
			writers[op.Value] = op
		}
	}
	return faults
}

// foreign returns the reads of values that nobody can have written before.
func foreign(key string, ops []Op) (faults []Fault) {
	writers := make(map[string]Op)
	for _, op := range ops {
		if op.changes() && op.written() != Absent {
			writers[op.Value] = op
		}
	}
	for _, op := range ops {
		if op.Kind != Read || op.Outcome != OK || op.Value == Absent {
			continue
		}
		switch w, ok := writers[op.Value]; {
		case !ok:
			faults = append(faults, Fault{Rule: Foreign, Key: key, Ops: []Op{op}, Text: "nobody wrote what was read"})
		case !w.possible():
			faults = append(faults, Fault{Rule: Foreign, Key: key, Ops: []Op{w, op}, Text: "what was read was refused or had failed"})
		case w.Call > op.Return:
			faults = append(faults, Fault{Rule: Foreign, Key: key, Ops: []Op{op, w}, Text: "it was read before it was written"})
		}
	}
	return faults
}
