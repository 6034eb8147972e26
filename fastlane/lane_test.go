package fastlane_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/micelio/micelio/fastlane"
	"github.com/micelio/micelio/object"
)

// A client is one connection to a server.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t, conn, bufio.NewReader(conn)}
}

func (c *client) send(request string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, request); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads the next answer.
func (c *client) answer(method string) (status int, body string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestPlainReadsNeverReachTheServer(t *testing.T) {
	s := newShelf()
	srv := serve(t, s, true)
	c := dial(t, srv.addr)
	for _, request := range plainReads() {
		method, _, _ := strings.Cut(request, " ")
		c.send(request)
		status, _ := c.answer(method)
		s.await(1)
		if lane, served := s.counts(); lane != 1 || served != 0 || status/100 > 3 {
			t.Errorf("%q: answered %d, %d times by the lane and %d by the server", request, status, lane, served)
		}
	}
}

func TestTheLaneLeavesEverythingElseToTheServer(t *testing.T) {
	s := newShelf()
	srv := serve(t, s, true)
	for _, request := range otherRequests() {
		talk(t, srv.addr, []byte(request), len(request))
		if lane, _ := s.counts(); lane != 0 {
			t.Errorf("the lane answered %q", request)
		}
	}
}

// A connection is nobody's for good: a client that writes once in a while has its
// reads answered by the lane between that. A read that comes before the server has
// put the request before it away is the server's too.
func TestAConnectionComesBackToTheLane(t *testing.T) {
	s := newShelf()
	srv := serve(t, s, true)
	c := dial(t, srv.addr)
	for range 3 {
		for _, request := range []string{
			"PUT /micelio/new HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + strings.Repeat("x", 5000),
			"PUT /micelio/new HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX-Amz-Decoded-Content-Length: 3\r\nContent-Encoding: aws-chunked\r\n\r\n" +
				"d\r\n3\r\nabc\r\n0\r\n\r\n\r\n0\r\n\r\n",
			get("missing"), get("small", "Accept: a\tb"),
		} {
			c.send(request)
			if status, body := c.answer("GET"); status >= 500 {
				t.Fatalf("%.60q: %d %s", request, status, body)
			}
			s.counts()
			for tries := 0; ; tries++ {
				c.send(get("small"))
				if status, _ := c.answer("GET"); status != http.StatusOK {
					t.Fatal(status)
				}
				s.await(1)
				if lane, _ := s.counts(); lane == 1 {
					break
				}
				if tries == 1000 {
					t.Fatalf("%.60q: the lane answers nothing after it", request)
				}
			}
		}
	}
}

func TestRequestsSentTogetherAreAnsweredInTheirOrder(t *testing.T) {
	s := newShelf()
	srv := serve(t, s, true)
	c := dial(t, srv.addr)
	keys := []string{"small", "artifacts/sha256:ab", "large", "described", "missing", "small", "large", "artifacts/sha256:ab"}
	var all strings.Builder
	for _, key := range keys {
		all.WriteString(get(key))
	}
	c.send(all.String())
	for _, key := range keys {
		want := "" // of a key that is missing any answer will do
		if h := s.objects[object.Key(key)]; h != nil {
			want = string(h.bytes)
		}
		if _, body := c.answer("GET"); want != "" && body != want {
			t.Fatalf("the answer for %s is %.20q of %d bytes", key, body, len(body))
		}
	}
	s.await(len(keys))
	if lane, served := s.counts(); lane < 4 {
		t.Errorf("%d answers by the lane, %d by the server; the lane has all before the one that is missing", lane, served)
	}
}

// releases counts them.
type releases int

func (r *releases) Release() { *r++ }

// To look up is the node's business, and it may refuse what the lane could answer.
func TestWhatTheLookupDoesNotFindIsTheServers(t *testing.T) {
	s := newShelf()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer(s)
	var released releases
	found := true
	lane := srv.withLane(l, func(key object.Key, a *fastlane.Answer) bool {
		if a.Info.Size != 0 || a.Bytes != nil || a.Held != nil {
			t.Error("the answer is not empty when it is looked up")
		}
		ok := s.lookUp(key, a)
		a.Held = &released
		return ok && found
	}, s.observe)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(lane)
	}()
	defer func() { srv.Close(); <-done }()
	for i := range 4 {
		found = i%2 == 0
		c := dial(t, l.Addr().String())
		c.send(get("small"))
		if status, body := c.answer("GET"); status != http.StatusOK || body != string(s.objects["small"].bytes) {
			t.Errorf("%d, %q", status, body)
		}
		s.await(1)
		if lane, served := s.counts(); (lane == 1) != found || (served == 1) == found {
			t.Errorf("found %t: %d answers by the lane, %d by the server", found, lane, served)
		}
	}
	if released != 4 {
		t.Errorf("what was looked up 4 times was released %d times", released)
	}
}

func TestALookupThatPanicsCostsItsConnection(t *testing.T) {
	s := newShelf()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer(s)
	var log strings.Builder
	srv.ErrorLog = newLogger(&log)
	lane := srv.withLane(l, func(object.Key, *fastlane.Answer) bool { panic("lost") }, nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(lane)
	}()
	c := dial(t, l.Addr().String())
	c.send(get("small"))
	if n, err := io.Copy(io.Discard, c.conn); err != nil || n != 0 {
		t.Errorf("%d bytes, %v", n, err)
	}
	srv.Close()
	<-done
	if !strings.Contains(log.String(), "panic serving") {
		t.Errorf("the server logged %q", log.String())
	}
}
