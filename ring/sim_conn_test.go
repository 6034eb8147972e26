package ring

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// A simPipe is one direction of a connection. Like the kernel it takes what is
// written at once, and like the kernel it brings it in order, later or never.
type simPipe struct {
	network  *network
	from, to string
	way      chan []byte // written; a nil slice is the end
	arrived  chan []byte
	finish   sync.Once
	gone     chan struct{} // closed when the reader closes
	leave    sync.Once
}

func newSimPipe(n *network, from, to string) *simPipe {
	p := &simPipe{
		network: n, from: from, to: to,
		way: make(chan []byte, 64), arrived: make(chan []byte), gone: make(chan struct{}),
	}
	go p.carry() // until the writer finishes, which every owner of a connection does
	return p
}

func (p *simPipe) carry() {
	for piece := range p.way {
		for wait := p.network.carriage(); wait > 0; wait = p.network.held(p.from, p.to) {
			<-time.After(wait)
		}
		if p.network.swallowed(p.from, p.to) {
			continue
		}
		select {
		case p.arrived <- piece:
		case <-p.gone:
		}
	}
	if !p.network.swallowed(p.from, p.to) {
		close(p.arrived)
	}
}

func (p *simPipe) close() { p.finish.Do(func() { close(p.way) }) }

// A simConn is one end of a connection.
type simConn struct {
	in, out *simPipe

	mu   sync.Mutex // guards the following
	by   time.Time
	rest []byte
}

func (c *simConn) Read(b []byte) (int, error) {
	c.mu.Lock()
	by, rest := c.by, c.rest
	c.mu.Unlock()
	if len(rest) == 0 {
		var late <-chan time.Time
		if !by.IsZero() {
			timer := time.NewTimer(time.Until(by))
			defer timer.Stop()
			late = timer.C
		}
		var open bool
		select {
		case rest, open = <-c.in.arrived:
			if !open {
				return 0, io.EOF
			}
		case <-late:
			return 0, os.ErrDeadlineExceeded
		case <-c.in.gone:
			return 0, net.ErrClosed
		}
	}
	n := copy(b, rest)
	c.mu.Lock()
	c.rest = rest[n:]
	c.mu.Unlock()
	return n, nil
}

func (c *simConn) Write(b []byte) (int, error) {
	select {
	case <-c.out.gone:
		return 0, io.ErrClosedPipe
	default:
	}
	c.out.way <- append([]byte(nil), b...)
	return len(b), nil
}

func (c *simConn) Close() error {
	c.in.leave.Do(func() { close(c.in.gone) })
	c.out.close()
	return nil
}

func (c *simConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by = t
	return nil
}

func (c *simConn) SetReadDeadline(t time.Time) error  { return c.SetDeadline(t) }
func (c *simConn) SetWriteDeadline(t time.Time) error { return nil } // nothing waits to be written
func (c *simConn) LocalAddr() net.Addr                { return simTCPAddr(c.in.to) }
func (c *simConn) RemoteAddr() net.Addr               { return simTCPAddr(c.in.from) }

func simTCPAddr(addr string) net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))
}
