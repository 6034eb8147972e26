package history

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// A Kind is what an operation asks for.
type Kind string

// The kinds of operation.
const (
	Read   Kind = "read"   // returns Value
	Write  Kind = "write"  // stores Value, whatever there is
	CAS    Kind = "cas"    // stores Value if what there is matches Expect; deletes if Value is Absent
	Delete Kind = "delete" // removes what there is, if anything
)

// An Outcome is what the client learnt.
type Outcome string

// The outcomes.
const (
	// OK: it was done. A Read has its Value.
	OK Outcome = "ok"

	// Refused: not done, because what there was did not match Expect (412, or
	// 404 to If-Match). It is an observation, and judged as one. Only a CAS can
	// be refused.
	Refused Outcome = "refused"

	// Failed: certainly not done, for a reason that says nothing about the key.
	Failed Outcome = "failed"

	// Unknown: nobody knows whether it was done, or will be.
	Unknown Outcome = "unknown"
)

// Absent is the value of a key without an object.
const Absent = ""

// Any is what a CAS expects that takes any existing object (If-Match: *).
const Any = "*"

// An Op is one operation of one client.
//
// Every write has a value of its own, so that a read tells which write it saw. A
// value is a tag and, behind a semicolon, whatever else belongs to the object:
// two writes of the same bytes with other attributes share the tag, which is
// what conditions compare, and differ behind it. Only Absent is written often.
type Op struct {
	Client int    `json:"client"`
	Key    string `json:"key"`
	Kind   Kind   `json:"kind"`
	Value  string `json:"value"`            // written, or read
	Expect string `json:"expect,omitempty"` // of a CAS: a tag, Any, or Absent

	// Call and Return are nanoseconds of one monotonic clock, before the
	// operation was sent and after its answer was received. Operations whose
	// closed intervals touch ran at the same time. The Return of an Unknown is
	// when its client gave up.
	Call    int64   `json:"call"`
	Return  int64   `json:"return"`
	Outcome Outcome `json:"outcome"`

	// Left says that the client of an Unknown went away instead of being told
	// so. What it had sent may still be on its way, and be done whenever it
	// arrives.
	Left bool `json:"left,omitempty"`

	// Note says how it went, for whoever reads a failing history: the node
	// asked, the tier that answered, the error.
	Note string `json:"note,omitempty"`
}

// Tag returns the part of a value that conditions compare.
func Tag(value string) string {
	tag, _, _ := strings.Cut(value, ";")
	return tag
}

// changes reports whether the operation would change the key if it were done.
func (o Op) changes() bool { return o.Kind != Read }

// possible reports whether the operation changed the key, or may have.
func (o Op) possible() bool { return o.changes() && (o.Outcome == OK || o.Outcome == Unknown) }

// written returns what the key holds after the operation was done.
func (o Op) written() string {
	if o.Kind == Delete {
		return Absent
	}
	return o.Value
}

// until returns when the operation was done for certain: never, if that is not
// known.
func (o Op) until() int64 {
	if o.Outcome == Unknown {
		return math.MaxInt64
	}
	return o.Return
}

// matches reports whether a value is what a CAS expects.
func matches(expect, value string) bool {
	switch expect {
	case Absent:
		return value == Absent
	case Any:
		return value != Absent
	}
	return value != Absent && Tag(value) == expect
}

// String describes the operation in one line.
func (o Op) String() string {
	var what string
	switch o.Kind {
	case Read:
		what = "read"
		if o.Outcome == OK {
			what += " -> " + shown(o.Value)
		}
	case Write:
		what = "write " + shown(o.Value)
	case CAS:
		what = "cas " + shown(o.Expect) + " => " + shown(o.Value)
	default:
		what = string(o.Kind)
	}
	if o.Outcome != OK {
		what += " " + string(o.Outcome)
	}
	line := fmt.Sprintf("%v..%v client %d %s: %s", time.Duration(o.Call), time.Duration(o.Return), o.Client, o.Key, what)
	if o.Note != "" {
		line += " (" + o.Note + ")"
	}
	return line
}

func shown(value string) string {
	if value == Absent {
		return "absent"
	}
	return value
}
