// Package trail says which request something is done for: its id, and the trace
// that it is part of, which travel with a context through a node and in headers
// from one node to the next and to what stands behind them. It records no spans
// and sends nothing anywhere.
//
// The trace is that of the W3C (Trace Context, level 1, https://www.w3.org/TR/trace-context-1/):
// whoever calls a node with a traceparent finds the same trace id in its log, in
// those of the other nodes that had part in the answer, and at the origin.
package trail

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
)

// A Trail is a request and the trace that it is part of. It is a value; the zero
// Trail is that of nothing.
type Trail struct {
	// Request is the id of the request, as the node that a client asked has given
	// it: the x-amz-request-id of the answer.
	Request string

	trace   [16]byte
	sampled bool
	state   string // a tracestate that was checked
}

// Begin returns the trail of a request that is part of no trace: of a new one,
// which is not sampled. Nobody records it here, and what is behind a node follows
// whoever asked it: it would record every request of a busy node.
func Begin(request string) Trail {
	t := Trail{Request: request}
	binary.BigEndian.PutUint64(t.trace[:8], rand.Uint64())
	binary.BigEndian.PutUint64(t.trace[8:], rand.Uint64()|1) // an id of zeroes is none
	return t
}

// Continue returns the trail of a request that came with these values of
// traceparent and tracestate, of which there may be none. One that is not
// well-formed, or is there twice, begins a new trace, and a malformed tracestate is
// left behind, as the specification has it (§3.3, §4.3).
func Continue(request string, parent, state []string) Trail {
	if len(parent) != 1 {
		return Begin(request)
	}
	t, ok := parse(parent[0])
	if !ok {
		return Begin(request)
	}
	t.Request = request
	if len(state) > 0 {
		t.state = checkState(state)
	}
	return t
}

// TraceOf returns the id of the trace that a traceparent names, "" for one that is
// not well-formed.
func TraceOf(parent string) string {
	t, _ := parse(parent)
	return t.Trace()
}

// maxClientID is the longest X-Request-Id that is noted, in bytes: ids are 36, or
// twice that where two are joined.
const maxClientID = 128

// ClientID returns the id that a client gave its request in these values of
// X-Request-Id, "" if there is none that can be looked for: one of visible ASCII.
func ClientID(values ...string) string {
	if len(values) != 1 || len(values[0]) > maxClientID {
		return ""
	}
	for i := range len(values[0]) {
		if c := values[0][i]; c <= ' ' || c > '~' {
			return ""
		}
	}
	return values[0]
}

// IsZero reports whether there is no trail.
func (t *Trail) IsZero() bool { return t.trace == [16]byte{} }

// Trace returns the id of the trace, 32 hexadecimal digits, "" for the zero Trail.
func (t *Trail) Trace() string {
	if t.IsZero() {
		return ""
	}
	return hex.EncodeToString(t.trace[:])
}

// State returns the tracestate to be sent on, "" if there is none.
func (t *Trail) State() string { return t.state }

// Parent returns the traceparent of a further request that belongs to the trace,
// with an id of its own: another one with each call.
func (t *Trail) Parent() string {
	var span [8]byte
	binary.BigEndian.PutUint64(span[:], rand.Uint64()|1)
	return t.format(span)
}

// contextKey is the key of a Trail in a context.
type contextKey struct{}

// A carrier is a context with a Trail. It costs one allocation, where
// context.WithValue costs two.
type carrier struct {
	context.Context
	trail Trail
}

func (c *carrier) Value(key any) any {
	if _, ok := key.(contextKey); ok {
		return &c.trail
	}
	return c.Context.Value(key)
}

// With returns a context of what is done for t.
func With(ctx context.Context, t Trail) context.Context { return &carrier{ctx, t} }

// From returns the trail of ctx. It allocates nothing.
func From(ctx context.Context) (t Trail, ok bool) {
	p, ok := ctx.Value(contextKey{}).(*Trail)
	if !ok {
		return Trail{}, false
	}
	return *p, true
}

// Copy returns to, with the trail of from if that has one: for work that outlives
// what it was begun for.
func Copy(to, from context.Context) context.Context {
	if t, ok := From(from); ok {
		return With(to, t)
	}
	return to
}
