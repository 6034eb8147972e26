package loadtest

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"
	"time"
)

// Sizes of the buffers of one connection. A small answer is read in one piece
// with its header, a large one in pieces that pass the buffer by.
const (
	readBuffer  = 8 << 10
	pieceBuffer = 32 << 10
	inlineBody  = 16 << 10 // bodies up to this are sent in one write with their header
)

// A rawSender speaks HTTP/1.1 over one connection at a time.
//
// What makes it take half of the CPU time of net/http: the goroutine that
// sends also reads, the request is put together from pieces that are made once,
// and of the answer nothing is kept.
type rawSender struct {
	plan    *plan
	dial    func(context.Context) (net.Conn, error)
	hard    context.Context // ends what is under way
	timeout time.Duration

	conn     net.Conn // nil while there is none
	unhook   func() bool
	in       *bufio.Reader
	used     bool            // conn has answered a request
	deadline time.Time       // of conn
	line     [opCount]string // what a request begins with
	end      string          // what follows its key
	out      []byte
	scratch  []byte
	head     head
	judge    judge
	caches   []string
}

func newRawSender(hard context.Context, p *plan, host string, timeout time.Duration, dial func(context.Context) (net.Conn, error)) *rawSender {
	s := &rawSender{plan: p, dial: dial, hard: hard, timeout: timeout,
		in: bufio.NewReaderSize(nil, readBuffer), scratch: make([]byte, pieceBuffer)}
	for op, method := range [opCount]string{OpGet: "GET", OpHead: "HEAD", OpPut: "PUT", OpRange: "GET", OpList: "GET"} {
		s.line[op] = method + " /" + p.bucket + "/"
	}
	s.line[OpList] = "GET /" + p.bucket + listQuery
	s.end = " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: micelio-load\r\n"
	return s
}

// listQuery asks for a first page of a listing; the prefix follows.
const listQuery = "?list-type=2&max-keys=100&prefix="

func (s *rawSender) ready() error {
	if s.conn != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.hard, s.timeout)
	defer cancel()
	conn, err := s.dial(ctx)
	if err != nil {
		return err
	}
	s.conn, s.used, s.deadline = conn, false, time.Time{}
	s.unhook = context.AfterFunc(s.hard, func() { conn.Close() })
	s.in.Reset(conn)
	return nil
}

func (s *rawSender) close() {
	if s.conn != nil {
		s.unhook()
		s.conn.Close()
		s.conn = nil
	}
}

func (s *rawSender) send(q *request) (a answer) {
	if s.conn != nil && s.in.Buffered() > 0 {
		s.close() // more came than was asked for: it would be taken for the answer to this
	}
	if err := s.ready(); err != nil {
		a.fail(s.hard, err)
		return a
	}
	reused := s.used
	again, err := s.exchange(q, &a)
	if again && reused && q.op != OpPut && s.hard.Err() == nil {
		// The server had ended the connection when it was idle, which it may at any
		// moment.
		s.close()
		a = answer{redialed: true}
		if err = s.ready(); err == nil {
			_, err = s.exchange(q, &a)
		}
	}
	if err != nil {
		a.fail(s.hard, err)
		s.close()
	}
	return a
}

// exchange sends a request and reads the answer. again says that the connection
// ended before any of it came.
func (s *rawSender) exchange(q *request, a *answer) (again bool, err error) {
	// A deadline that is put off with each request would cost as much as a read. So
	// one request may take up to an eighth longer than the timeout.
	if now := time.Now(); s.deadline.Sub(now) < s.timeout {
		s.deadline = now.Add(s.timeout + s.timeout/8)
		if err := s.conn.SetDeadline(s.deadline); err != nil {
			return true, err
		}
	}
	writeErr := s.write(q, a)
	if writeErr != nil && q.op != OpPut {
		return classify(writeErr) == errorClosed, writeErr
	}
	// A server that refuses a body may answer and close before it has read it, so
	// that there is an answer although the write failed.
	if _, err := s.in.Peek(1); err != nil {
		err = cmp.Or(writeErr, err)
		return classify(err) == errorClosed, fmt.Errorf("before the answer began: %w", err)
	}
	h := &s.head
	if err := readHead(s.in, h); err != nil {
		return false, err
	}
	a.status, a.cache = h.status, s.intern(h.cache)
	s.judge.begin(q, h.status)
	if h.hasBody(q.op) {
		if _, err := readBody(s.in, h, s.scratch, s.judge.piece); err != nil {
			a.in = s.judge.at
			return false, err
		}
	}
	s.judge.end(a, h.length)
	s.used = true
	if h.close || writeErr != nil {
		s.close()
	}
	return false, nil
}

// write sends a request.
func (s *rawSender) write(q *request, a *answer) error {
	b := append(s.out[:0], s.line[q.op]...)
	if q.op == OpList {
		b = s.plan.appendPrefix(b, q)
	} else {
		b = s.plan.appendKey(b, q)
	}
	b = append(b, s.end...)
	switch q.op {
	case OpRange:
		b = append(b, "Range: bytes="...)
		b = strconv.AppendInt(b, q.offset, 10)
		b = append(b, '-')
		b = strconv.AppendInt(b, q.offset+q.length-1, 10)
		b = append(b, "\r\n"...)
	case OpPut:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, q.length, 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	body := int64(0)
	if q.op == OpPut && q.length <= inlineBody {
		body = q.length
		b = append(b, s.scratch[:body]...)
		q.body.fill(b[int64(len(b))-body:], 0)
	}
	s.out = b
	if _, err := s.conn.Write(b); err != nil {
		return err
	}
	if a.out = body; q.op != OpPut {
		return nil
	}
	for body < q.length {
		piece := s.scratch[:min(int64(len(s.scratch)), q.length-body)]
		q.body.fill(piece, body)
		n, err := s.conn.Write(piece)
		body += int64(n)
		if a.out = body; err != nil {
			return err
		}
	}
	return nil
}

// intern returns the string without making a new one each time. A server that
// thinks up others all the time gets one for all.
func (s *rawSender) intern(b []byte) string {
	for _, known := range s.caches {
		if known == string(b) {
			return known
		}
	}
	if len(s.caches) == maxCaches || len(b) > maxCacheName {
		return otherCache
	}
	name := string(b)
	s.caches = append(s.caches, name)
	return name
}

// Bounds of what a server may name its tiers.
const (
	maxCaches    = 32
	maxCacheName = 32
	otherCache   = "other"
)
