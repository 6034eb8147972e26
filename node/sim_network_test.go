package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A simNetwork joins the nodes of a simulation. Bytes take their time, in order,
// and are held while the way from one node to another is cut or one of the two
// stands still, as TCP holds what it cannot deliver; connections break.
type simNetwork struct {
	w *simWorld

	mu        sync.Mutex // guards the following
	listeners map[int]*simListener
	cut       map[[2]int]bool       // from, to
	slow      map[int]time.Duration // what is sent to a node, and by it, takes so much longer
	pipes     []*simPipe            // of connections that are open, in the order of their making
}

func newSimNetwork(w *simWorld) *simNetwork {
	return &simNetwork{w: w, listeners: map[int]*simListener{}, cut: map[[2]int]bool{}}
}

// stuck reports whether nothing gets from one node to another at present.
func (n *simNetwork) stuck(from, to int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[[2]int{from, to}] || n.w.nodes[from].standing() || n.w.nodes[to].standing()
}

// slowness is how much longer than others what one node sends to another takes.
func (n *simNetwork) slowness(from, to int) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.slow[from] + n.slow[to]
}

// setCut cuts or mends the way from one node to another.
func (n *simNetwork) setCut(from, to int, cut bool) {
	n.mu.Lock()
	n.cut[[2]int{from, to}] = cut
	n.mu.Unlock()
	n.stir()
}

// stir lets bytes go on whose way may be free again.
func (n *simNetwork) stir() {
	n.mu.Lock()
	pipes := append([]*simPipe(nil), n.pipes...)
	n.mu.Unlock()
	for _, p := range pipes {
		p.stir()
	}
}

// breakAll breaks the connections of a node, each at a moment of its own for
// each side.
func (n *simNetwork) breakAll(node int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.pipes {
		if p.from == node || p.to == node {
			p.conn.breakSoon()
		}
	}
}

// dial opens a connection between two nodes, as a node's pool does.
func (n *simNetwork) dial(ctx context.Context, from int, addr string) (net.Conn, error) {
	to := n.w.nodeAt(addr)
	way := [2]int{from, to}
	rng := n.w.moment("dial", from, to, time.Now())
	if err := sleep(ctx, simLatency(rng)+simLatency(rng)); err != nil {
		return nil, err
	}
	n.mu.Lock()
	l := n.listeners[to]
	cut := n.cut[way] || n.cut[[2]int{to, from}]
	n.mu.Unlock()
	switch {
	case cut:
		<-ctx.Done()
		return nil, ctx.Err()
	case l == nil:
		return nil, syscall.ECONNREFUSED
	}
	c := &simLink{}
	there, back := n.pipe(c, from, to), n.pipe(c, to, from)
	c.pipes = [2]*simPipe{there, back}
	n.mu.Lock()
	n.pipes = append(n.pipes, there, back)
	n.mu.Unlock()
	select {
	case l.conns <- &simConn{in: there, out: back}:
		return &simConn{in: back, out: there}, nil
	default:
		return nil, syscall.ECONNREFUSED
	}
}

// listen opens the peer listener of a node.
func (n *simNetwork) listen(node int) *simListener {
	l := &simListener{network: n, node: node, conns: make(chan net.Conn, 64), done: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[node] = l
	return l
}

type simListener struct {
	network *simNetwork
	node    int
	conns   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

func (l *simListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close also closes what has not been accepted.
func (l *simListener) Close() error {
	l.once.Do(func() {
		l.network.mu.Lock()
		if l.network.listeners[l.node] == l {
			delete(l.network.listeners, l.node)
		}
		l.network.mu.Unlock()
		close(l.done)
		for {
			select {
			case c := <-l.conns:
				c.Close()
			default:
				return
			}
		}
	})
	return nil
}

func (l *simListener) Addr() net.Addr { return simAddr(l.node) }

// A simAddr is a node's address.
type simAddr int

func (a simAddr) Network() string { return "sim" }
func (a simAddr) String() string  { return fmt.Sprintf("node-%d:1", int(a)) }

// A simConn is one end of a connection.
type simConn struct{ in, out *simPipe }

func (c *simConn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *simConn) Write(b []byte) (int, error) { return c.out.write(b) }
func (c *simConn) LocalAddr() net.Addr         { return simAddr(c.in.to) }
func (c *simConn) RemoteAddr() net.Addr        { return simAddr(c.in.from) }

// Close ends both directions. What was written before still arrives.
func (c *simConn) Close() error {
	c.in.close()
	c.out.finish()
	return nil
}

func (c *simConn) SetReadDeadline(t time.Time) error {
	c.in.deadline(&c.in.readBy, t)
	return nil
}

func (c *simConn) SetWriteDeadline(t time.Time) error {
	c.out.deadline(&c.out.writeBy, t)
	return nil
}

func (c *simConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// A simLink is what the two directions of a connection share.
type simLink struct {
	pipes [2]*simPipe
	once  sync.Once
}

// breakSoon resets the connection: each side learns of it after a while of its
// own, or not at all as long as its way is cut.
func (c *simLink) breakSoon() {
	c.once.Do(func() {
		for _, p := range c.pipes {
			delay := simLatency(p.network.w.moment("break", p.from, p.to, time.Now()))
			time.AfterFunc(delay, func() { c.reset(p) })
		}
	})
}

// reset tells the reader of p that the connection is gone, and the writer of the
// other direction, who is the same.
func (c *simLink) reset(p *simPipe) {
	p.fail(syscall.ECONNRESET)
	other := c.pipes[0]
	if other == p {
		other = c.pipes[1]
	}
	other.failWrites(syscall.EPIPE)
}

// errDeadline is what net.Conn returns for a deadline that has passed.
var errDeadline = os.ErrDeadlineExceeded
