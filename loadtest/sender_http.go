package loadtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// An httpSender sends by net/http.
type httpSender struct {
	plan      *plan
	transport *http.Transport // with HTTP/2, of all workers of a target
	dialler   *dialler        // of the transport
	base      string
	hard      context.Context
	timeout   time.Duration
	scratch   []byte
	line      []byte
	judge     judge
}

// newTransport makes a transport whose connections all come from dial. It has
// one connection for HTTP/1.1, and one for HTTP/2 that all share.
func newTransport(client string, secure bool, config *tls.Config, d *dialler) *http.Transport {
	t := &http.Transport{
		DialContext:        d.take,
		TLSClientConfig:    config.Clone(),
		DisableCompression: true,
		MaxConnsPerHost:    1,
		Protocols:          new(http.Protocols),
	}
	switch {
	case client != ClientHTTP2:
		t.Protocols.SetHTTP1(true)
	case secure:
		t.Protocols.SetHTTP2(true)
	default:
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	return t
}

func (s *httpSender) ready() error {
	ctx, cancel := context.WithTimeout(s.hard, s.timeout)
	defer cancel()
	return s.dialler.ready(ctx)
}

func (s *httpSender) close() {
	s.dialler.close()
	s.transport.CloseIdleConnections()
}

// A dialler can dial before a transport asks it to.
type dialler struct {
	dial func(context.Context) (net.Conn, error)

	mu   sync.Mutex
	conn net.Conn // dialled, and not yet taken
}

// ready dials, if there is no connection to be taken. It holds the lock meanwhile:
// whoever shares the dialler wants the same connection.
func (d *dialler) ready(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		return nil
	}
	var err error
	d.conn, err = d.dial(ctx)
	return err
}

// take is for http.Transport.
func (d *dialler) take(ctx context.Context, _, _ string) (net.Conn, error) {
	d.mu.Lock()
	conn := d.conn
	d.conn = nil
	d.mu.Unlock()
	if conn != nil {
		return conn, nil
	}
	return d.dial(ctx)
}

func (d *dialler) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
}

func (s *httpSender) send(q *request) (a answer) {
	ctx, cancel := context.WithTimeout(s.hard, s.timeout)
	defer cancel()
	if err := s.exchange(ctx, q, &a); err != nil {
		a.fail(s.hard, err)
	}
	return a
}

func (s *httpSender) exchange(ctx context.Context, q *request, a *answer) error {
	r, err := s.request(ctx, q)
	if err != nil {
		return err
	}
	response, err := s.transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if q.op == OpPut {
		a.out = q.length
	}
	a.status, a.cache = response.StatusCode, response.Header.Get("X-Cache")
	if len(a.cache) > maxCacheName {
		a.cache = otherCache
	}
	s.judge.begin(q, a.status)
	for {
		n, err := response.Body.Read(s.scratch)
		s.judge.piece(s.scratch[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			a.in = s.judge.at
			return err
		}
	}
	s.judge.end(a, response.ContentLength)
	return nil
}

func (s *httpSender) request(ctx context.Context, q *request) (*http.Request, error) {
	s.line = append(s.line[:0], s.base...)
	method := http.MethodGet
	var body io.Reader
	switch q.op {
	case OpHead:
		method = http.MethodHead
	case OpPut:
		method = http.MethodPut
		body = newStreamReader(q)
	}
	if q.op == OpList {
		s.line = append(s.line, listQuery...)
		s.line = s.plan.appendPrefix(s.line, q)
	} else {
		s.line = append(s.line, '/')
		s.line = s.plan.appendKey(s.line, q)
	}
	r, err := http.NewRequestWithContext(ctx, method, string(s.line), body)
	if err != nil {
		return nil, err
	}
	r.Header["User-Agent"] = []string{"micelio-load"}
	switch q.op {
	case OpRange:
		r.Header["Range"] = []string{"bytes=" + strconv.FormatInt(q.offset, 10) + "-" + strconv.FormatInt(q.offset+q.length-1, 10)}
	case OpPut:
		r.ContentLength = q.length
		if q.length == 0 {
			r.Body = http.NoBody
		}
		// A connection that the server ended when it was idle is no reason to fail.
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(newStreamReader(q)), nil }
	}
	return r, nil
}

// newStreamReader returns a reader of the object that q puts.
func newStreamReader(q *request) io.Reader {
	if q.length <= inlineBody {
		b := make([]byte, q.length)
		q.body.fill(b, 0)
		return bytes.NewReader(b)
	}
	return &streamReader{body: q.body, left: q.length}
}

// A streamReader reads a stream up to a length.
type streamReader struct {
	body     stream
	at, left int64
}

func (r *streamReader) Read(b []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), r.left)]
	r.body.fill(b, r.at)
	r.at += int64(len(b))
	r.left -= int64(len(b))
	return len(b), nil
}
