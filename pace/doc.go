// Package pace decides how much may be asked of a server that can be
// overloaded, and when to ask again: a [Limiter] of concurrency that adapts, a
// [Budget] for retries and hedges, a [Breaker] that stops asking, a [Hedger]
// that races slow requests, and the pauses between attempts.
//
// What they have in common is that a server which has too much to do must not
// be given more for that reason. Nothing here knows what a request is. All
// types are safe for concurrent use, start no goroutines of their own, except
// that [Do] runs the requests it is given, and tell time with package time.
package pace

import "time"

// An Outcome is how one request went, as far as the health of the server is
// concerned.
type Outcome int

// The outcomes. An answer that refuses the request, such as "not found", is OK:
// the server did its work.
const (
	OK       Outcome = iota // an answer
	Overload                // the server asked for less, or answered too late
	Failure                 // no usable answer
	Ignore                  // nothing is known: the caller left
)

// An OverloadError refuses a request without asking the server.
type OverloadError struct {
	What       string        // why
	RetryAfter time.Duration // when it may be worth asking again
}

func (e *OverloadError) Error() string { return e.What }
