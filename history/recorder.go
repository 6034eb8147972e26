package history

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// A Recorder collects the operations of all clients of a run. It is safe for
// concurrent use.
type Recorder struct {
	began time.Time

	mu  sync.Mutex // guards the following
	ops []*Op
}

// NewRecorder returns a Recorder whose clock starts now. In a synctest bubble
// the clock is the bubble's.
func NewRecorder() *Recorder { return &Recorder{began: time.Now()} }

// Now returns the time on the recorder's clock, in nanoseconds.
func (r *Recorder) Now() int64 { return int64(time.Since(r.began)) }

// A Call is an operation that runs. It belongs to one client.
type Call struct {
	recorder *Recorder
	op       *Op
}

// Begin notes that a client is about to send op, of which it has set Client,
// Key, Kind and, if it writes, Value and Expect.
func (r *Recorder) Begin(op Op) *Call {
	op.Outcome = Unknown
	c := &Call{r, &op}
	r.mu.Lock()
	defer r.mu.Unlock()
	op.Call = r.Now()
	op.Return = op.Call
	r.ops = append(r.ops, c.op)
	return c
}

// Read ends a read that returned value.
func (c *Call) Read(value, note string) { c.end(OK, note, func(op *Op) { op.Value = value }) }

// End ends an operation. A Read with a value ends by Read.
func (c *Call) End(outcome Outcome, note string) { c.end(outcome, note, func(*Op) {}) }

// Leave ends an operation whose client did not wait to be told.
func (c *Call) Leave(note string) { c.end(Unknown, note, func(op *Op) { op.Left = true }) }

func (c *Call) end(outcome Outcome, note string, set func(*Op)) {
	c.recorder.mu.Lock()
	defer c.recorder.mu.Unlock()
	set(c.op)
	c.op.Outcome, c.op.Note, c.op.Return = outcome, note, c.recorder.Now()
}

// Ops returns the operations so far, ordered by their calls. Those that have not
// ended are Unknown, given up now.
func (r *Recorder) Ops() []Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	ops := make([]Op, len(r.ops))
	for i, op := range r.ops {
		if ops[i] = *op; op.Outcome == Unknown && op.Note == "" && op.Return == op.Call {
			ops[i].Return = r.Now()
		}
	}
	slices.SortStableFunc(ops, func(a, b Op) int {
		return cmp.Or(cmp.Compare(a.Call, b.Call), cmp.Compare(a.Client, b.Client))
	})
	return ops
}
