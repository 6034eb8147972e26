package fastlane_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/gateway"
)

func newLogger(w io.Writer) *log.Logger { return log.New(w, "", 0) }

// A pipes is a listener whose connections are pipes: what is written waits for who
// reads it, and time is a test's.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(t *testing.T) *client {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	c := &client{t: t, conn: ours}
	t.Cleanup(func() { ours.Close() })
	return c
}

// serveInBubble starts a server in the time of a test.
func serveInBubble(t *testing.T) (*pipes, *server, *shelf) {
	p, s := newPipes(), newShelf()
	srv := newServer(s)
	lane := srv.withLane(p, s.lookUp, s.observe)
	var running sync.WaitGroup
	running.Go(func() { _ = srv.Serve(lane) })
	t.Cleanup(func() {
		srv.Close()
		running.Wait()
	})
	return p, srv, s
}

// cutAfter returns how long it takes the server to close the connection.
func (c *client) cutAfter() time.Duration {
	began := time.Now()
	_, _ = io.Copy(io.Discard, c.conn)
	return time.Since(began)
}

// readAnswer reads one answer of the lane, of so many bytes of body.
func (c *client) readAnswer(body int) error {
	head := make([]byte, 0, 1024)
	for !strings.HasSuffix(string(head), "\r\n\r\n") {
		var one [1]byte
		if _, err := io.ReadFull(c.conn, one[:]); err != nil {
			return err
		}
		head = append(head, one[0])
	}
	_, err := io.CopyN(io.Discard, c.conn, int64(body))
	return err
}

func TestAHalfRequestIsCutOnTime(t *testing.T) {
	for name, before := range map[string]int{"the first of its connection": 0, "behind one that was answered": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _, _ := serveInBubble(t)
				c := p.dial(t)
				for range before {
					c.send(get("small"))
					if err := c.readAnswer(100); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
				c.send("GET /micelio/small HTTP/1.1\r\nHos")
				if took := c.cutAfter(); took != headerTimeout {
					t.Errorf("cut after %v", took)
				}
			})
		})
	}
}

func TestSilentConnectionsAreCutOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, _ := serveInBubble(t)
		if took := p.dial(t).cutAfter(); took != headerTimeout {
			t.Errorf("one that never said anything was cut after %v", took)
		}
		c := p.dial(t)
		for range 10 { // the limit begins anew with each request
			c.send(get("small"))
			if err := c.readAnswer(100); err != nil {
				t.Fatal(err)
			}
			time.Sleep(idleTimeout / 2)
		}
		// Deadlines are set anew when an eighth of their time has passed.
		if took := c.cutAfter(); took < idleTimeout/2-idleTimeout/8 || took > idleTimeout/2 {
			t.Errorf("an idle one was cut %v after its last %v", took, idleTimeout/2)
		}
	})
}

func TestAReaderThatStandsStillIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, s := serveInBubble(t)
		c := p.dial(t)
		c.send(get("large"))
		began := time.Now()
		var some [1000]byte
		if _, err := io.ReadFull(c.conn, some[:]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * gateway.StallTimeout)
		_, err := io.Copy(io.Discard, c.conn)
		synctest.Wait()
		if lane, _ := s.counts(); lane != 1 || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d answers, %v", lane, err)
		}
		if since := time.Since(began); since != 2*gateway.StallTimeout {
			t.Errorf("the end came after %v", since)
		}
	})
}

// A reader who is slow and moves has the time of one piece for each.
func TestASlowReaderGetsItAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, s := serveInBubble(t)
		c := p.dial(t)
		c.send(get("large"))
		size := len(s.objects["large"].bytes)
		if err := c.readAnswer(0); err != nil {
			t.Fatal(err)
		}
		for got, piece := 0, 50_000; got < size; got += piece {
			time.Sleep(gateway.StallTimeout / 3)
			if _, err := io.CopyN(io.Discard, c.conn, int64(piece)); err != nil {
				t.Fatalf("after %d bytes: %v", got, err)
			}
		}
	})
}

// A handler may take longer than any deadline that the lane has set before.
func TestTheLanesDeadlinesEndWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, srv, _ := serveInBubble(t)
		dialect := srv.Handler
		srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(10 * time.Minute)
			dialect.ServeHTTP(w, r)
		})
		c := p.dial(t)
		for range 2 {
			c.send(get("small"))
			if err := c.readAnswer(100); err != nil {
				t.Fatal(err)
			}
			c.send(get("small", "Unknown: x"))
			if err := c.readAnswer(100); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// To the server a connection in the lane is idle, and it closes it.
func TestShutdownLetsAnAnswerUnderWayEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, srv, s := serveInBubble(t)
		idle, busy := p.dial(t), p.dial(t)
		for _, c := range []*client{idle, busy} {
			c.send(get("small"))
			if err := c.readAnswer(100); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second) // a server takes what is new for idle after 5
		busy.send(get("large"))
		synctest.Wait()
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		if took := idle.cutAfter(); took != 0 {
			t.Errorf("the idle connection was closed after %v", took)
		}
		if err := busy.readAnswer(len(s.objects["large"].bytes)); err != nil {
			t.Errorf("the answer under way: %v", err)
		}
		if took := busy.cutAfter(); took != 0 {
			t.Errorf("its connection was closed after %v", took)
		}
	})
}

func TestShutdownDoesNotWaitForAReaderThatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, srv, _ := serveInBubble(t)
		gone := make(chan struct{})
		count := srv.ConnState
		srv.ConnState = func(c net.Conn, state http.ConnState) {
			count(c, state)
			if state == http.StateClosed {
				close(gone)
			}
		}
		c := p.dial(t)
		time.Sleep(headerTimeout / 2)
		c.send(get("small"))
		if err := c.readAnswer(100); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		c.send(get("large"))
		synctest.Wait()
		began := time.Now()
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		<-gone
		if took := time.Since(began); took == 0 || took > 10*time.Second {
			t.Errorf("the connection was given up after %v", took)
		}
	})
}
