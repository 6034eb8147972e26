package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/internal/bulk"
	"github.com/micelio/micelio/object"
)

// A pipeListener hands one connection in memory to a server, whose deadlines
// then run on the test's own clock.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { close(l.done); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// dialPipe serves cfg to one connection and returns the client's end of it.
func dialPipe(t *testing.T, cfg Config) net.Conn {
	cfg.Bucket = testBucket
	l := &pipeListener{conns: make(chan net.Conn, 1), done: make(chan struct{})}
	s := &http.Server{Handler: New(cfg)}
	ended := make(chan error)
	go func() { ended <- s.Serve(l) }()
	client, server := net.Pipe()
	l.conns <- server
	t.Cleanup(func() {
		client.Close()
		s.Close()
		<-ended
	})
	return client
}

func TestAClientThatStopsReadingIsCutOff(t *testing.T) {
	const size = 2 << 20
	for name, c := range map[string]struct {
		body  func() io.Reader
		piece int // what the client takes at a time
	}{
		"streamed":    {func() io.Reader { return struct{ io.Reader }{bytes.NewReader(make([]byte, size))} }, bulk.Small},
		"from memory": {func() io.Reader { return bytes.NewReader(make([]byte, size)) }, writePiece},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				observed := make(chan Observation, 1)
				conn := dialPipe(t, Config{Store: bodyStore{newMemStore(), size, c.body}, Observe: func(o Observation) { observed <- o }})
				start := time.Now()
				if _, err := io.WriteString(conn, "GET /micelio/k HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				// Slow is not stalled: a piece just in time, a few times over.
				r := bufio.NewReaderSize(conn, c.piece)
				for range 5 {
					time.Sleep(StallTimeout - time.Second)
					if _, err := r.Discard(c.piece); err != nil {
						t.Fatalf("a client that still reads was cut off: %v", err)
					}
				}
				o := <-observed
				if took := time.Since(start); !o.Aborted || took < 6*(StallTimeout-time.Second) || took > 7*StallTimeout {
					t.Errorf("%+v after %v", o, took)
				}
			})
		})
	}
}

func TestAnUploadThatStallsIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		conn := dialPipe(t, Config{Store: store})
		if _, err := io.WriteString(conn, "PUT /micelio/k HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := io.ReadAll(resp.Body)
		if resp.StatusCode != 400 || codeOf(string(doc)) != "RequestTimeout" || !resp.Close {
			t.Errorf("%d %s, %v", resp.StatusCode, doc, err)
		}
		if took := time.Since(start); took < StallTimeout || took > StallTimeout+2*drainTimeout {
			t.Errorf("refused after %v", took)
		}
		if keys := store.keys(t); len(keys) != 0 {
			t.Errorf("stored %q", keys)
		}
	})
}

// A slowCommit takes longer over a complete upload than a stalled read may.
type slowCommit struct{ *memStore }

func (s slowCommit) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	info, err := s.memStore.Put(ctx, key, src, opt)
	<-time.After(2 * StallTimeout) // on the bubble's clock
	return info, errors.Join(err, ctx.Err())
}

func TestAStoreMayTakeItsTimeOverACompleteUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := dialPipe(t, Config{Store: slowCommit{newMemStore()}})
		r := bufio.NewReader(conn)
		for range 2 { // the connection serves the next request too
			if _, err := io.WriteString(conn, "PUT /micelio/k HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("%v, %v", resp, err)
			}
		}
	})
}

// A leavingStore returns from Put while something of it still reads.
type leavingStore struct {
	*memStore
	read chan error
}

func (l leavingStore) Put(_ context.Context, _ object.Key, src object.Source, _ object.PutOptions) (object.Info, error) {
	r, err := src.Open()
	if err != nil {
		return object.Info{}, err
	}
	go func() {
		_, err := io.Copy(io.Discard, r)
		_, again := r.Read(make([]byte, 1))
		l.read <- errors.Join(err, again)
	}()
	synctest.Wait() // the reader waits for the client
	return object.Info{}, object.ErrPrecondition
}

func TestAReaderLeftBehindGetsAnErrorAndNotTheNextRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := leavingStore{newMemStore(), make(chan error, 1)}
		conn := dialPipe(t, Config{Store: store})
		if _, err := io.WriteString(conn, "PUT /micelio/k HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 412 || !resp.Close {
			t.Errorf("%v, %v, want 412 and the end of the connection", resp, err)
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("the answer waited %v for a body that nobody can read", took)
		}
		if err := <-store.read; err == nil {
			t.Error("the reader ended cleanly")
		}
	})
}

// A deadlineRecorder is a ResponseWriter that keeps the deadlines set on it.
type deadlineRecorder struct {
	http.ResponseWriter
	reads []time.Time
}

func (d *deadlineRecorder) SetReadDeadline(at time.Time) error {
	d.reads = append(d.reads, at)
	return nil
}

func TestNoDeadlineIsLeftBetweenReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &deadlineRecorder{}
		b := clientBody{rc: http.NewResponseController(d), body: strings.NewReader("abc")}
		if _, err := b.Read(make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		b.stop()
		want := []time.Time{time.Now().Add(StallTimeout), {}, time.Now().Add(drainTimeout)}
		if !slices.EqualFunc(d.reads, want, time.Time.Equal) {
			t.Errorf("deadlines %v, want %v", d.reads, want)
		}
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, errStopped) {
			t.Errorf("a read after the end: %v", err)
		}
	})
}
