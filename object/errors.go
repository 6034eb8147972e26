package object

import (
	"errors"
	"time"
)

// The closed list of errors that callers may tell apart with errors.Is. Any
// other error from a Store means that something broke in a way no caller can
// act on.
//
// ErrNotFound is an answer of the authority: "there is no such object". A tier
// that could not be asked reports ErrUnavailable instead, because callers treat
// a missing object as empty data and would overwrite it.
var (
	ErrNotFound       = errors.New("object not found")
	ErrPrecondition   = errors.New("precondition failed")
	ErrNotModified    = errors.New("not modified")
	ErrRange          = errors.New("range not satisfiable")
	ErrTooLarge       = errors.New("object too large")
	ErrInvalidKey     = errors.New("invalid key")
	ErrDigest         = errors.New("digest mismatch")
	ErrConflict       = errors.New("immutable object exists with other content")
	ErrUnavailable    = errors.New("unavailable")
	ErrUnknownOutcome = errors.New("outcome unknown")
)

// ErrReplay is returned by a [Source] that can be read only once when it is
// opened a second time.
var ErrReplay = errors.New("source cannot be read again")

// A NotModifiedError answers a read whose If-None-Match named the current
// version. It matches ErrNotModified and carries what is current.
type NotModifiedError struct {
	Info Info
}

func (e *NotModifiedError) Error() string { return ErrNotModified.Error() }

// Is reports whether target is ErrNotModified.
func (e *NotModifiedError) Is(target error) bool { return target == ErrNotModified }

// A RetryLaterError is an ErrUnavailable that knows when it is worth asking
// again: nothing was asked, because what would have to answer has too much to
// do or does not answer.
type RetryLaterError struct {
	After time.Duration // at least 0
	Err   error         // what is in the way
}

func (e *RetryLaterError) Error() string { return ErrUnavailable.Error() + ": " + e.Err.Error() }

// Unwrap returns what the error matches: ErrUnavailable and the reason.
func (e *RetryLaterError) Unwrap() []error { return []error{ErrUnavailable, e.Err} }
