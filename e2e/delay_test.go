package e2e

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A delay stands between a node and those who ask it, and holds back for a while
// what the node answers. It keeps the order and the rate.
type delay struct {
	target string
	by     atomic.Int64 // nanoseconds
}

// startDelay serves at a listener until the test ends.
func startDelay(t *testing.T, l net.Listener, target string) *delay {
	t.Helper()
	d := &delay{target: target}
	var all sync.WaitGroup
	open := &connections{}
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // closed
			}
			if open.add(client) {
				all.Go(func() { d.serve(client, open) })
			}
		}
	})
	t.Cleanup(func() { l.Close(); open.close(); all.Wait() })
	return d
}

// connections are those to close in the end.
type connections struct {
	mu     sync.Mutex // guards the following
	all    map[net.Conn]struct{}
	closed bool
}

// add reports false, and closes the connection, if the end has come.
func (c *connections) add(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close()
		return false
	}
	if c.all == nil {
		c.all = map[net.Conn]struct{}{}
	}
	c.all[conn] = struct{}{}
	return true
}

func (c *connections) drop(conn net.Conn) {
	conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, conn)
}

func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.all {
		conn.Close()
	}
}

func (d *delay) serve(client net.Conn, open *connections) {
	defer open.drop(client)
	node, err := net.Dial("tcp", d.target)
	if err != nil || !open.add(node) {
		return
	}
	defer open.drop(node)
	var sending sync.WaitGroup
	sending.Go(func() {
		_, _ = io.Copy(node, client) // until one of them leaves
		_ = node.(*net.TCPConn).CloseWrite()
	})
	d.answer(client, node)
	client.Close()
	sending.Wait()
}

// A late is a piece of an answer and when it may be passed on.
type late struct {
	at    time.Time
	bytes []byte
}

// answer passes on what the node sends, each piece when it is due.
func (d *delay) answer(client, node net.Conn) {
	const most = 1024 // pieces of 32 KiB under way
	pieces := make(chan late, most)
	var passing sync.WaitGroup
	passing.Go(func() {
		broken := false
		for p := range pieces {
			pause(time.Until(p.at))
			if !broken {
				_, err := client.Write(p.bytes)
				broken = err != nil
			}
			if broken {
				node.Close() // so that no more comes
			}
		}
	})
	for {
		b := make([]byte, 32<<10)
		n, err := node.Read(b)
		if n > 0 {
			pieces <- late{time.Now().Add(time.Duration(d.by.Load())), b[:n]}
		}
		if err != nil {
			break
		}
	}
	close(pieces)
	passing.Wait()
}
