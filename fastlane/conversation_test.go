package fastlane_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// converse sends pieces to a server, each when nothing moves any more after the one
// before, and returns what the server has said by then and when it hung up, zero if
// it did not. It runs in a bubble.
func converse(p *pipes, pieces [][]byte, patience time.Duration) (said []byte, hungUp time.Duration) {
	began := time.Now()
	ours, theirs := net.Pipe()
	p.conns <- theirs
	var out bytes.Buffer
	var all sync.WaitGroup
	ended := make(chan struct{})
	all.Go(func() {
		_, _ = io.Copy(&out, ours)
		hungUp = time.Since(began)
		close(ended)
	})
	all.Go(func() {
		for _, piece := range pieces {
			if _, err := ours.Write(piece); err != nil {
				return // the server has hung up
			}
			synctest.Wait()
		}
	})
	select {
	case <-ended:
	case <-time.After(patience):
	}
	ours.Close()
	all.Wait()
	if hungUp >= patience {
		hungUp = 0
	}
	return out.Bytes(), hungUp
}

// checkConversation holds a server with the lane and one without against each other.
func checkConversation(t *testing.T, pieces [][]byte) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		with, _, _ := serveInBubble(t)
		without, plain := newPipes(), newServer(newShelf())
		var running sync.WaitGroup
		running.Go(func() { _ = plain.Serve(without) })
		defer running.Wait()
		defer plain.Close()
		// Long enough for a half request to be cut, and too short for an idle one.
		const patience = 3 * headerTimeout
		said, wantEnd := converse(without, pieces, patience)
		methods := *plain.methods.Load()
		want := replies(t, said, methods)
		said, end := converse(with, pieces, patience)
		if diff := cmp.Diff(want, replies(t, said, methods)); diff != "" {
			t.Errorf("%q: without the lane and with it:\n%s", pieces, diff)
		}
		if end != wantEnd {
			t.Errorf("%q: hung up after %v, without the lane after %v", pieces, end, wantEnd)
		}
	})
}

// A request that has begun within the server's own buffer goes on there, however its
// parts look by themselves: these made the lane answer the body of a PUT.
func TestNoPartOfARequestIsTakenForOne(t *testing.T) {
	const put = "PUT /micelio/new HTTP/1.1\r\nHost: a\r\nContent-Length: "
	for _, pieces := range [][]string{
		{get("missing") + put + "54\r\n\r\n", get("small")},
		{get("missing") + put + "57\r\n\r\nabc", get("small")},
		{get("missing") + "PUT /micelio/new HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", get("small")},
		{get("missing") + "GET /micelio/described HTTP/1.1\r\n", get("small"), "Host: a\r\n\r\n"},
		{get("missing") + "GET /micelio/described HTTP/1.1\r\n", get("small")},
		{put + "54\r\n\r\n", get("small"), get("small")},
		{get("missing") + get("missing"), get("small")},
		{get("missing") + "GE", "T /micelio/small HTTP/1.1\r\nHost: a\r\n\r\n", get("small")},
		{get("small") + "GE", "T /micelio/small HTTP/1.1\r\nHost: a\r\n\r\n", get("small")},
		{get("small") + "GET /micelio/small HTTP/1.1\r\n", "Host: a\r\n\r\n", get("small")},
		{"GET /micelio/small HTTP/1.1\r\n", "Host: a\r\n", "\r\n", get("small")},
		{"GET /micelio/small HTTP/1.1\r\n", get("small")},
		{get("small"), "", "\x16\x03\x01\x02"},
	} {
		var sent [][]byte
		for _, piece := range pieces {
			sent = append(sent, []byte(piece))
		}
		checkConversation(t, sent)
	}
}

// Whatever a client says, and whenever it waits for an answer in between, a server
// with the lane answers, and hangs up, as one without.
func FuzzConversations(f *testing.F) {
	for i, request := range append(plainReads(), otherRequests()...) {
		f.Add([]byte(get("missing")+request+get("small")), uint16(len(get("missing"))+i), uint16(len(request)))
		f.Add([]byte(request+get("small")+request), uint16(len(request)), uint16(len(get("small"))))
	}
	f.Fuzz(func(t *testing.T, request []byte, first, second uint16) {
		// A server skips empty lines after a POST, but not after what the lane has
		// answered behind it, which RFC 9112 §2.2 leaves to it.
		if len(request) > 1<<14 || bytes.Contains(request, []byte(http.MethodPost)) {
			return
		}
		var pieces [][]byte
		for _, n := range []uint16{first, second} {
			n := min(int(n), len(request))
			pieces, request = append(pieces, request[:n]), request[n:]
		}
		pieces = append(pieces, request)
		for i := range pieces {
			if len(pieces[i]) == 0 && i < len(pieces)-1 {
				pieces[i] = pieces[len(pieces)-1]
				pieces = pieces[:len(pieces)-1]
				break
			}
		}
		checkConversation(t, pieces)
	})
}

// Answers to requests that came together each have their time.
func TestPipelinedAnswersToASlowReaderAllArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, s := serveInBubble(t)
		c := p.dial(t)
		c.send(strings.Repeat(get("large"), 3))
		size := len(s.objects["large"].bytes)
		for i := range 3 {
			if err := c.readAnswer(0); err != nil {
				t.Fatalf("answer %d: %v", i, err)
			}
			for got := 0; got < size; got += 50_000 {
				time.Sleep(45 * time.Second / 2)
				if _, err := io.CopyN(io.Discard, c.conn, 50_000); err != nil {
					t.Fatalf("answer %d, after %d bytes: %v", i, got, err)
				}
			}
		}
		time.Sleep(idleTimeout / 2) // of the time to idle nothing is gone
		c.send(get("small"))
		if err := c.readAnswer(100); err != nil {
			t.Errorf("the next request: %v", err)
		}
	})
}

// To the server a connection that only the lane has answered on is a new one, which
// it would wait for.
func TestShutdownDoesNotWaitForIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, srv, _ := serveInBubble(t)
		c := p.dial(t)
		c.send(get("small"))
		if err := c.readAnswer(100); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
