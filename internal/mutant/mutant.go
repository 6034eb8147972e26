// Package mutant names ways to break the consistency protocol on purpose. A test
// that lets a broken variant pass proves nothing, so the simulation runs with
// each of them and must catch it. Being internal, they can be switched on by
// this module's own tests only; the program never does.
package mutant

// A Set is the variants that are on. The zero Set is the protocol.
type Set uint16

// Variants, each of which ordinary code falls into.
const (
	Join           Set = 1 << iota // a read joins a validation that was sent before it arrived
	NoValidate                     // a copy of a mutable key is served unvalidated, for ever
	NoFence                        // what was fetched before a write is kept after it
	HitDuringWrite                 // a copy is served unvalidated while its key is being written
	ETagOnly                       // a copy is current if its bytes are, whatever was said about them
	Retry                          // a write without an answer is sent to the authority again, unconditionally
	Resend                         // a write without an answer is sent to another node
	Torn                           // the rest of a broken body is read without asking for the same version
	Negative                       // an authority that cannot be asked has no object
	Peek                           // a mutable key is filled from a copy of its previous owner
)

// Has reports whether all variants of t are on.
func (s Set) Has(t Set) bool { return s&t == t }
