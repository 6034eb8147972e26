package fastlane

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

const (
	// pieceSize is how much of a body a client has Config.StallTimeout for.
	pieceSize = 64 << 10

	// leastRequest is how many bytes of a further request net/http waits for, as for
	// the idle connection that it is, before it takes them for one. It answers to
	// less of them, and nothing behind, only if they are the first of a connection.
	leastRequest = 4

	// finishTimeout is what is left to an answer under way when the server closes
	// the connection, which it takes for idle.
	finishTimeout = 5 * time.Second
)

// A Conn is a connection that answers plain reads while its server waits for a
// request. Reads belong to one goroutine at a time.
type Conn struct {
	net.Conn
	l *Listener

	room   int  // the server's buffer when it is empty; 0 until its first Read
	handed bool // the server has part of a request, and has not said that it is done
	armed  bool // the next deadline that it sets is that for its next request to begin
	isNew  bool // it has not had any request

	// Deadlines that were set here, zero where the server's counts.
	readBy, writeBy time.Time

	phase atomic.Int32
	alone atomic.Bool // the server has had no request, and the lane has answered some
}

// The phases of a connection decide between a Close and an answer under way.
const (
	waiting   int32 = iota // or the server's
	answering              // a request has come, and its answer is being sent
	closing                // the same, and the connection is to be closed after it
	closed
)

// Read gives the server the next bytes that are its own. It answers what comes
// before them.
func (c *Conn) Read(p []byte) (int, error) {
	if c.handed {
		return c.Conn.Read(p)
	}
	if c.room == 0 {
		c.room = len(p)
	}
	if len(p) != c.room { // the server has the beginning of a request already
		c.handed = true
		return c.Conn.Read(p)
	}
	return c.answerAll(p)
}

// SetReadDeadline is the server's. It sets one before it waits for a request, and
// the next when it has the beginning of one: also if that was in its buffer
// already, in which case it does not read before it is within the request.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if !c.handed { // or others may be reading
		c.handed, c.armed = !c.armed, false
	}
	return c.Conn.SetReadDeadline(t)
}

// answerAll answers one request after the other, and returns with what is not for
// here at the beginning of p.
func (c *Conn) answerAll(p []byte) (int, error) {
	kept := 0 // bytes of a request at the beginning of p
	for any := false; ; {
		n, err := c.Conn.Read(p[kept:])
		if err != nil {
			return 0, err
		}
		n += kept
		left, err := c.answer(p[:n])
		if err != nil {
			return 0, err
		}
		any = any || left < n
		if left > 0 {
			copy(p, p[n-left:n])
			if any && left < leastRequest {
				kept = left
				continue
			}
			c.handOver()
			return left, nil
		}
		kept = 0
	}
}

// answer answers the requests in buf as far as it can, and returns how many bytes
// are left.
func (c *Conn) answer(buf []byte) (left int, err error) {
	if !c.phase.CompareAndSwap(waiting, answering) {
		return 0, net.ErrClosed
	}
	defer func() { // also if the Lookup panics, which the server sees to
		if !c.phase.CompareAndSwap(answering, waiting) {
			c.phase.Store(closed)
			_ = c.Close()
			left, err = 0, net.ErrClosed
		}
	}()
	x := c.l.exchanges.Get().(*exchange)
	defer x.putBack(&c.l.exchanges)
	x.conn, x.now = c, time.Now()
	if left, err = x.answerAll(buf); err == nil && left < len(buf) {
		c.awaitNext(x.now)
		if c.isNew && !c.alone.Load() {
			c.alone.Store(true)
		}
	}
	return left, err
}

// awaitNext gives the client time for its next request. A deadline that is nearly
// as late stays: to set one costs as much as to parse a request.
func (c *Conn) awaitNext(now time.Time) {
	idle := c.l.cfg.IdleTimeout
	if c.readBy.Sub(now) < idle-idle/8 {
		c.readBy = now.Add(idle)
		_ = c.Conn.SetReadDeadline(c.readBy) // one that fails shows at the next read
	}
}

// awaitPiece gives the client time for a piece of an answer.
func (c *Conn) awaitPiece(now time.Time) {
	stall := c.l.cfg.StallTimeout
	if c.writeBy.Sub(now) < stall-stall/6 {
		c.writeBy = now.Add(stall)
		_ = c.Conn.SetWriteDeadline(c.writeBy)
		if c.phase.Load() == closing { // Close has set another meanwhile, or is about to
			_ = c.Conn.SetDeadline(time.Now().Add(finishTimeout))
		}
	}
}

// handOver leaves the connection to the server as it would have it. The server
// gives the header its time by itself, but the first one's began long ago.
func (c *Conn) handOver() {
	c.handed = true
	c.alone.Store(false)
	if !c.readBy.IsZero() && c.isNew {
		_ = c.Conn.SetReadDeadline(time.Now().Add(c.l.cfg.HeaderTimeout))
	}
	if !c.writeBy.IsZero() {
		_ = c.Conn.SetWriteDeadline(time.Time{})
	}
	c.readBy, c.writeBy = time.Time{}, time.Time{}
}

// Close closes the connection. If an answer of this package is under way, the
// server takes the connection for idle: it is closed when the client has got the
// answer, which it has a few seconds for, however often it is closed meanwhile.
func (c *Conn) Close() error {
	switch {
	case c.phase.CompareAndSwap(answering, closing):
		return c.Conn.SetDeadline(time.Now().Add(finishTimeout))
	case c.phase.Load() == closing:
		return nil
	}
	c.phase.CompareAndSwap(waiting, closed)
	c.l.forget(c)
	return c.Conn.Close()
}

// ReadFrom lets the server send files as it would without this package.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

// CloseWrite lets the server end its side first, so that a client which is still
// sending reads the answer before the connection is reset.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
