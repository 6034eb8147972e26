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
	transport *http.Transport // the peer's, or one for a single request

	verb   string          // names the operation in errors,
	key    object.Key      // with this
	parent context.Context // the caller's
	ctx    context.Context // the request's: ends with the parent, the call or a budget

	sum  macSum                       // the proof of the request, if there are secrets
	lane atomic.Pointer[atomic.Int64] // where it is counted

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
	l := &call{Client: c, transport: c.transport, verb: verb, key: key, parent: ctx}
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
	l.leave()
	l.cancel(nil)
	if l.gone.Load() {
		l.Client.transport.CloseIdleConnections()
	}
}

// request makes the call's request. Its body, if any, is sent only when the
// peer asks for it.
func (l *call) request(method, target string, options []byte) (*http.Request, error) {
	if len(target)+len(options) > MaxHeaderBytes-headerReserve {
		return nil, fmt.Errorf("%s: %w", l.what(), errBudget)
	}
	header := make(http.Header, len(l.pool.marks)+4)
	for name, values := range l.pool.marks {
		header[name] = values
	}
	if len(options) > 0 {
		header[headerOptions] = []string{string(options)}
	}
	l.pool.epoch.set(header)
	setTrail(header, l.parent)
	req := &http.Request{
		Method: method,
		URL:    &url.URL{Scheme: "http", Host: l.addr, Opaque: target}, // Opaque is sent as it is
		Host:   l.addr,
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header,
	}
	l.sign(req)
	return req.WithContext(l.traced(l.ctx)), nil
}

// sign proves req, if there are secrets.
func (l *call) sign(req *http.Request) {
	if len(l.pool.keys) == 0 {
		return
	}
	key := l.pool.keys[0]
	s := stamp{session: l.session, number: l.number.Add(1)}
	if c := l.challenge.Load(); c != nil {
		s.challenge = *c
	}
	l.sum = key.ofRequest(req.Method, req.URL.Opaque, req.Header, &s)
	req.Header[headerProof] = []string{encodeProof(key, &s, l.sum)}
}

// proves reports whether an answer, of which there are a status and headers,
// proves that it is one to the call's request.
func (l *call) proves(status int, header http.Header) bool {
	if len(l.pool.keys) == 0 {
		return true
	}
	values := header[headerProof]
	if len(values) != 1 {
		return false
	}
	sum, ok := parseSum(values[0])
	return ok && sum.equal(l.pool.keys[0].ofAnswer(l.sum, status, header))
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
//
// A peer that has just been met says what a proof has to be bound to, and a
// request without a body is then sent again: the peer has done nothing.
func (l *call) send(req *http.Request, wanted ...int) (*http.Response, error) {
	if l.lane.Load() == nil {
		if err := l.enter(false); err != nil {
			return nil, err
		}
	}
	resp, err := l.exchange(req, wanted...)
	if met := (*challengeError)(nil); errors.As(err, &met) {
		l.challenge.Store(&met.challenge)
		// Whatever repeated a DELETE on its way, its second coming may find what
		// somebody wrote after the first.
		if req.Body == nil && !(met.replayed && req.Method == http.MethodDelete) {
			again := req.Clone(req.Context())
			l.sign(again)
			l.allow(&budget{l.pool.cfg.ConnectTimeout + l.pool.cfg.FirstByteTimeout, errFirstByte})
			resp, err = l.exchange(again, wanted...)
		}
	}
	return resp, err
}

func (l *call) exchange(req *http.Request, wanted ...int) (*http.Response, error) {
	resp, err := l.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	err = l.readAnswer(resp, wanted...)
	if proven := err == nil || Answered(err) || errors.Is(err, object.ErrNotModified); proven && l.pool.cfg.OtherEpoch != nil {
		if epoch, differs := l.pool.epoch.other(resp.Header); differs {
			l.pool.cfg.OtherEpoch(l.addr, epoch)
		}
	}
	if err != nil {
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
	case errors.Is(err, ErrBusy):
		return l.busy(err)
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
