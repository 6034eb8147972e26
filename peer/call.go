package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/object"
)

// A call is one request to a peer, from before it is sent until its answer was
// read. Whoever begins one must end it.
type call struct {
	*Client
	verb   string          // names the operation in errors,
	key    object.Key      // with this
	parent context.Context // the caller's
	ctx    context.Context // the request's: ends with the parent, the call or a budget

	cancel context.CancelCauseFunc
	timer  *time.Timer
	budget atomic.Pointer[budget] // the one that runs
}

// A budget is a time limit of one stage of a call.
type budget struct {
	limit time.Duration
	err   error
}

var (
	errFirstByte = errors.New("no answer in time")
	errInactive  = errors.New("no progress in time")
	errCommit    = errors.New("no answer to the complete body in time")
	errBudget    = fmt.Errorf("%w: attributes and conditions take more than %d bytes", object.ErrTooLarge, MaxHeaderBytes)
)

// inactive is the budget of every pause inside a body.
var inactive = &budget{InactivityTimeout, errInactive}

// begin starts a call and the budget for its first byte.
func (c *Client) begin(ctx context.Context, verb string, key object.Key) *call {
	l := &call{Client: c, verb: verb, key: key, parent: ctx}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	first := &budget{c.pool.cfg.ConnectTimeout + c.pool.cfg.FirstByteTimeout, errFirstByte}
	l.budget.Store(first)
	l.timer = time.AfterFunc(first.limit, func() { l.cancel(l.budget.Load().err) })
	return l
}

// what names the call in errors.
func (l *call) what() string { return fmt.Sprintf("peer %s: %s %q", l.addr, l.verb, l.key) }

// allow starts another budget in the place of the one that runs.
func (l *call) allow(b *budget) {
	l.budget.Store(b)
	l.timer.Reset(b.limit)
}

// pause stops the budget that runs, while the caller is the one to act.
func (l *call) pause() { l.timer.Stop() }

// end releases what the call holds. It may be called more than once.
func (l *call) end() {
	l.timer.Stop()
	l.cancel(nil)
}

// request makes the call's request. Its body, if any, is sent only when the
// peer asks for it.
func (l *call) request(method, target string, options []byte) (*http.Request, error) {
	if len(target)+len(options) > MaxHeaderBytes-headerReserve {
		return nil, fmt.Errorf("%s: %w", l.what(), errBudget)
	}
	header := make(http.Header, len(l.pool.marks)+2)
	for name, values := range l.pool.marks {
		header[name] = values
	}
	if len(options) > 0 {
		header[headerOptions] = []string{string(options)}
	}
	req := &http.Request{
		Method: method,
		URL:    &url.URL{Scheme: "http", Host: l.addr, Opaque: target}, // Opaque is sent as it is
		Host:   l.addr,
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header,
	}
	return req.WithContext(l.ctx), nil
}

// headerReserve is what the header budget keeps for the marks and net/http's
// own headers, in bytes.
const headerReserve = 4 << 10

// send sends req and returns a successful answer with one of the wanted
// statuses. Its body is the caller's to close; after an error there is none.
//
// The transport is used directly: redirects are answers like any other, and
// there are no cookies and no proxies. It repeats by itself only requests
// without a body that met a connection which the peer had closed: reads, and
// writes of which nothing had been written.
func (l *call) send(req *http.Request, wanted ...int) (*http.Response, error) {
	resp, err := l.pool.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if err := readAnswer(resp, l.pool.cluster, wanted...); err != nil {
		l.discard(resp)
		return nil, err
	}
	return resp, nil
}

// DrainLimit is how many bytes of a body that nobody wants are read to keep its
// connection. They are on the way already, most likely; of more than that, a
// new connection is cheaper. DrainTimeout is how long that may take.
const (
	DrainLimit   = 64 << 10
	DrainTimeout = 100 * time.Millisecond
)

var draining = &budget{DrainTimeout, errInactive}

// discard closes the body of an answer, and reads what is left of a short one
// so that the connection can be used again.
func (l *call) discard(resp *http.Response) {
	l.allow(draining)
	// What is discarded may break: closing it is the answer to that too.
	_, _ = io.CopyN(io.Discard, resp.Body, DrainLimit)
	_ = resp.Body.Close()
}

// failed names the call in err and makes it the caller's: an answer of the
// peer's handler as it is, the end of the caller's context as that, all else as
// object.ErrUnavailable.
func (l *call) failed(err error) error {
	var nm *object.NotModifiedError
	var r *refusal
	switch {
	case errors.As(err, &r), errors.As(err, &nm):
		return fmt.Errorf("%s: %w", l.what(), err)
	case l.parent.Err() != nil:
		return fmt.Errorf("%s: %w", l.what(), l.parent.Err())
	}
	return fmt.Errorf("%s: %w: %w: %w", l.what(), ErrUnreachable, object.ErrUnavailable, l.reason(err))
}

// reason returns why the call failed, in a form that no caller can mistake for
// the end of a body or of its own context: the net package's timeouts match
// context.DeadlineExceeded.
func (l *call) reason(err error) error {
	if l.ctx.Err() != nil && l.parent.Err() == nil {
		if cause := context.Cause(l.ctx); cause != context.Canceled {
			return cause
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("connection closed: %w", io.ErrUnexpectedEOF)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return errors.New(err.Error())
	}
	return err
}
