// Package drive asks an HTTP/1.1 server over some connections, one request after
// the other on each (a closed loop), and says how many were answered and how long
// that took. One thread does it all with epoll and a parser that knows no more
// than it has to, so that one processor can ask for more than a server on another
// one can answer. An answer that is not what was expected ends the run. It knows
// nothing of what is asked for.
package drive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/micelio/micelio/bench/proc"
)

// A Shot is a request and what its answer must be. It may be sent many times.
type Shot struct {
	Raw    []byte // all that is sent
	Status int
	Body   int64  // bytes that follow the header; 0 also if the header announces some that do not come, as for HEAD
	Mark   []byte // what the header of a good answer contains; nil for anything
}

// A Load is how a server is asked.
type Load struct {
	Addr   string // an IP address and a port
	Conns  int
	For    time.Duration // no request is sent after that
	Most   int64         // requests; 0 for as many as there is time for
	Renew  int           // requests after which a connection is replaced by a new one; 0 for never
	Core   int           // processor of who asks, or proc.Any
	Window time.Duration // how often Watch is told the latencies since it was told last, sorted; 0 for never
	Watch  func([]time.Duration)
	Next   func() *Shot // called by one goroutine
	Buffer int          // bytes that are read at once; 0 for enough for small answers
}

const (
	smallBuffer = 64 << 10
	// patience is how long a server may say nothing on all connections.
	patience = 20 * time.Second
	// keptLatencies bounds memory: 100 s of 100,000 answers a second.
	keptLatencies = 10_000_000
)

// A Tally is what a load brought.
type Tally struct {
	Requests  int64 // that were answered as expected
	Bytes     int64 // of bodies
	Unmarked  int64 // answers without their mark, which count all the same
	Took      time.Duration
	Latencies []time.Duration // sorted, each from sending a request to the last byte of its answer; without those that Watch was told
}

// Rate returns the answers a second.
func (t *Tally) Rate() float64 { return float64(t.Requests) / t.Took.Seconds() }

// Quantile returns the latency that a part q of the answers does not exceed, 0 if
// there are none.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// Run asks until the time is over, the requests are, or ctx is, which is no error.
// Requests that were sent are waited for.
func (l Load) Run(ctx context.Context) (*Tally, error) {
	release, err := proc.Pin(l.Core)
	if err != nil {
		return nil, err
	}
	defer release()
	d, err := l.dial()
	if err != nil {
		return nil, err
	}
	defer d.close()
	// A collection of garbage would take its time from the requests under way.
	runtime.GC()
	start := time.Now()
	err = d.loop(ctx, start)
	d.tally.Took = time.Since(start)
	slices.Sort(d.tally.Latencies)
	return d.tally, err
}

// A driver is a run.
type driver struct {
	Load
	to     *unix.SockaddrInet4
	poll   int
	conns  map[int32]*conn // by descriptor
	buffer []byte
	sent   int64
	busy   int // connections that wait for an answer
	tally  *Tally
}

// A conn is a connection.
type conn struct {
	fd     int
	shot   *Shot // nil: none is under way
	since  time.Time
	left   int64  // bytes of the body that are to come; -1 while the header is
	header []byte // what has come of a header that is not complete
	used   int    // requests so far
}

func (l Load) dial() (*driver, error) {
	addr, err := netip.ParseAddrPort(l.Addr)
	if err != nil {
		return nil, err
	}
	if !addr.Addr().Is4() {
		return nil, fmt.Errorf("%s is not an address of IPv4", addr)
	}
	d := &driver{Load: l, to: &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}, conns: map[int32]*conn{}, tally: &Tally{}}
	size := l.Buffer
	if size == 0 {
		size = smallBuffer
	}
	d.buffer = make([]byte, size)
	if d.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	for range l.Conns {
		if _, err := d.connect(); err != nil {
			d.close()
			return nil, err
		}
	}
	return d, nil
}

func (d *driver) connect() (*conn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	err = unix.Connect(fd, d.to)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = unix.EpollCtl(d.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("connect to %s: %w", d.Addr, err)
	}
	c := &conn{fd: fd, left: -1}
	d.conns[int32(fd)] = c
	return c, nil
}

func (d *driver) close() {
	for _, c := range d.conns {
		_ = unix.Close(c.fd)
	}
	_ = unix.Close(d.poll)
}

// loop sends a request on each connection, and the next one when it was answered.
func (d *driver) loop(ctx context.Context, start time.Time) error {
	first := make([]*conn, 0, len(d.conns))
	for _, c := range d.conns {
		first = append(first, c)
	}
	now := start
	end, heard, told := start.Add(d.For), start, start
	for _, c := range first {
		if err := d.send(c, now); err != nil {
			return err
		}
	}
	events := make([]unix.EpollEvent, 512)
	for d.busy > 0 {
		n, err := unix.EpollWait(d.poll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll: %w", err)
		}
		now = time.Now()
		if n > 0 {
			heard = now
		} else if now.Sub(heard) > patience {
			return fmt.Errorf("%s has not said anything for %v", d.Addr, patience)
		}
		over := now.After(end) || ctx.Err() != nil
		for _, event := range events[:max(n, 0)] {
			c := d.conns[event.Fd]
			if c == nil {
				continue // replaced in this batch
			}
			if err := d.receive(c, over); err != nil {
				return fmt.Errorf("%s: %w", d.Addr, err)
			}
		}
		if d.Window > 0 && now.Sub(told) >= d.Window {
			told = now
			d.tell()
		}
	}
	return nil
}

// tell tells Watch the latencies since it was told last, which are its own then.
func (d *driver) tell() {
	since := d.tally.Latencies
	d.tally.Latencies = nil
	slices.Sort(since)
	d.Watch(since)
}

// send sends the next request.
func (d *driver) send(c *conn, now time.Time) error {
	if d.Most > 0 && d.sent >= d.Most {
		return nil
	}
	c.shot, c.since, c.left = d.Next(), now, -1
	d.sent++
	d.busy++
	c.used++
	for raw := c.shot.Raw; len(raw) > 0; {
		n, err := unix.Write(c.fd, raw)
		switch {
		case err == nil:
			raw = raw[n:]
		case errors.Is(err, unix.EAGAIN):
			// The server is slow to take it. The others wait meanwhile, which
			// does not happen to requests that fit a socket.
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLOUT}}, int(patience.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("poll: %w", err)
			}
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("write to %s: %w", d.Addr, err)
		}
	}
	return nil
}

// receive takes what has come on a connection, and sends the next request when the
// answer is complete, unless the time is over.
func (d *driver) receive(c *conn, over bool) error {
	n, err := unix.Read(c.fd, d.buffer)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case n == 0:
		return fmt.Errorf("the connection was closed after %d requests on it", c.used)
	case c.shot == nil:
		return fmt.Errorf("%q came without having been asked for", d.buffer[:min(n, 100)])
	}
	got := d.buffer[:n]
	if c.left < 0 {
		if got, err = d.head(c, got); err != nil || c.left < 0 {
			return err
		}
	}
	if int64(len(got)) > c.left {
		return fmt.Errorf("%d bytes more than announced", int64(len(got))-c.left)
	}
	if c.left -= int64(len(got)); c.left > 0 {
		return nil
	}
	now := time.Now()
	d.tally.Requests++
	d.tally.Bytes += c.shot.Body
	if len(d.tally.Latencies) < keptLatencies {
		d.tally.Latencies = append(d.tally.Latencies, now.Sub(c.since))
	}
	c.shot = nil
	d.busy--
	if over {
		return nil
	}
	if d.Renew > 0 && c.used >= d.Renew {
		delete(d.conns, int32(c.fd))
		_ = unix.Close(c.fd)
		if c, err = d.connect(); err != nil {
			return err
		}
	}
	return d.send(c, now)
}

// head takes what has come of a header, and returns what of it is body. The
// connection has bytes left of 0 or more if the header is complete.
func (d *driver) head(c *conn, got []byte) ([]byte, error) {
	if len(c.header) > 0 {
		c.header = append(c.header, got...)
		got = c.header
	}
	end := bytes.Index(got, []byte("\r\n\r\n"))
	if end < 0 {
		if len(got) > smallBuffer {
			return nil, fmt.Errorf("a header of more than %d bytes", smallBuffer)
		}
		if len(c.header) == 0 {
			c.header = append(c.header, got...)
		}
		return nil, nil
	}
	header := got[:end+2] // with the end of its last line
	if err := c.shot.check(header); err != nil {
		return nil, err
	}
	if c.shot.Mark != nil && !bytes.Contains(header, c.shot.Mark) {
		d.tally.Unmarked++
	}
	c.left = c.shot.Body
	c.header = c.header[:0]
	return got[end+4:], nil
}
