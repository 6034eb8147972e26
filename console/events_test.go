package console

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A served is a console behind a server, whose connections are pipes, so that a
// write waits for its reader and time is that of the bubble.
type served struct {
	*Console
	source *script
	stop   context.CancelFunc // ends Run
	conns  chan net.Conn
	closed chan struct{}
}

func (s *served) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.closed:
		return nil, errors.New("closed")
	}
}
func (s *served) Close() error   { return nil }
func (s *served) Addr() net.Addr { return &net.TCPAddr{} }

// serve starts a console until the test ends.
func serve(t *testing.T, opt Options) *served {
	s := &served{source: newScript(time.Now()), conns: make(chan net.Conn), closed: make(chan struct{})}
	s.Console = New(s.source, opt)
	ctx, cancel := context.WithCancel(t.Context())
	s.stop = cancel
	server := &http.Server{Handler: s.Console}
	var all sync.WaitGroup
	all.Go(func() { s.Run(ctx) })
	all.Go(func() { _ = server.Serve(s) })
	t.Cleanup(func() {
		cancel()
		close(s.closed)
		_ = server.Close()
		all.Wait()
	})
	synctest.Wait()
	return s
}

// A reader is a client of a stream.
type reader struct {
	conn   net.Conn
	answer *http.Response
	lines  *bufio.Reader
}

func (s *served) connect(t *testing.T, query, headers string) *reader {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close() })
	s.conns <- server
	if _, err := fmt.Fprintf(client, "GET /events%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", query, headers); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &reader{client, answer, bufio.NewReader(answer.Body)}
}

// An event is what a stream brings; a comment is an event without a name.
type event struct{ id, name, data string }

func (r *reader) next() (event, error) {
	var e event
	for some := false; ; some = true {
		line, err := r.lines.ReadString('\n')
		if err != nil {
			return e, err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data", "retry":
			e.data = value
		case "":
			if value != "" { // a comment
				e.data = value
			} else if some {
				return e, nil
			}
		}
	}
}

// want reads the next event and fails the test if it has another name.
func (r *reader) want(t *testing.T, name string) event {
	t.Helper()
	e, err := r.next()
	if err != nil || e.name != name {
		t.Fatalf("got event %q %.80s, %v, want %q", e.name, e.data, err, name)
	}
	return e
}

func TestAStreamTellsEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Options{})
		time.Sleep(7 * time.Second)
		r := s.connect(t, "", "")
		if r.answer.StatusCode != 200 || r.answer.Header.Get("Content-Type") != "text/event-stream" || r.answer.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%s, %v", r.answer.Status, r.answer.Header)
		}
		began := time.Now()
		r.want(t, "") // retry
		r.want(t, "status")
		if e := r.want(t, "history"); e.id != fmt.Sprint(time.Now().Add(-2*time.Second).UnixMilli()) {
			t.Errorf("the history so far has the id %s", e.id)
		}
		if at := time.Since(began); at != 0 {
			t.Errorf("the first figures come after %s", at)
		}
		for i := 1; i <= 2; i++ {
			var status Status
			if err := json.Unmarshal([]byte(r.want(t, "status").data), &status); err != nil || status.Rates.Minute.Requests < 1000 {
				t.Fatalf("%v, %+v", err, status.Rates)
			}
			if at := time.Since(began); at != time.Duration(i)*time.Second {
				t.Errorf("status %d comes after %s", i, at)
			}
		}
		e := event{name: "status"}
		for e.name == "status" { // the sample of the tenth second is taken while its status is made, before or after
			e, _ = r.next()
		}
		var series Series
		if err := json.Unmarshal([]byte(e.data), &series); err != nil || len(series.At) != 1 || time.Since(began) > 4*time.Second {
			t.Errorf("what is new in the history: %+v, %v, after %s", series, err, time.Since(began))
		}
	})
}

func TestStatusIsComputedOnceForAllStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Options{})
		asked := func() int {
			s.source.mu.Lock()
			defer s.source.mu.Unlock()
			return s.source.statuses
		}
		time.Sleep(time.Minute)
		if n := asked(); n != 0 {
			t.Fatalf("%d statuses were computed for nobody", n)
		}
		var readers []*reader
		for range 20 {
			r := s.connect(t, "", "")
			readers = append(readers, r)
			go func() { _, _ = io.Copy(io.Discard, r.answer.Body) }()
			synctest.Wait()
		}
		if n := asked(); n != 1 {
			t.Errorf("%d statuses for twenty who came at once, want 1", n)
		}
		time.Sleep(10*time.Second + time.Millisecond)
		if n := asked(); n != 11 {
			t.Errorf("%d statuses for twenty streams of ten seconds, want 11", n)
		}
		for _, r := range readers {
			r.conn.Close()
		}
		synctest.Wait()
		time.Sleep(2 * time.Second) // a write finds out that they left
		before := asked()
		time.Sleep(time.Minute)
		if n := asked(); n != before {
			t.Errorf("%d statuses after all had left", n-before)
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Options{Streams: 2})
		first := s.connect(t, "", "")
		s.connect(t, "?every=60", "")
		if r := s.connect(t, "", ""); r.answer.StatusCode != http.StatusServiceUnavailable || r.answer.Header.Get("Retry-After") == "" {
			t.Errorf("the third of two: %s", r.answer.Status)
		}
		first.conn.Close()
		synctest.Wait()
		time.Sleep(2 * time.Second)
		if r := s.connect(t, "", ""); r.answer.StatusCode != http.StatusOK {
			t.Errorf("after one left: %s", r.answer.Status)
		}
	})
}

func TestASlowReaderIsDroppedAndHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Options{})
		s.connect(t, "", "") // reads its headers and nothing else
		quick := s.connect(t, "", "")
		quick.want(t, "")
		quick.want(t, "status")
		// Eight wait to be written and the ninth is too many: that is before the server's patience with a
		// write ends, which would not come where the kernel takes what nobody reads.
		for began, i := time.Now(), 1; i <= 9; {
			e, err := quick.next()
			if err != nil {
				t.Fatal(err)
			}
			if e.name != "status" {
				continue
			}
			if at := time.Since(began); at != time.Duration(i)*time.Second {
				t.Fatalf("status %d comes after %s", i, at)
			}
			i++
		}
		s.hub.mu.Lock()
		defer s.hub.mu.Unlock()
		if n := len(s.hub.streams); n != 1 {
			t.Errorf("%d streams are left, want the one that is read", n)
		}
	})
}

func TestStreamsEndWithRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Options{})
		r := s.connect(t, "", "")
		r.want(t, "")
		r.want(t, "status")
		s.stop()
		if _, err := io.Copy(io.Discard, r.answer.Body); err != nil {
			t.Errorf("the stream has no clean end: %v", err)
		}
		if late := s.connect(t, "", ""); late.answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a stream of a console that has ended: %s", late.answer.Status)
		}
		if a := ask(s.Console, "GET", "/status"); a.StatusCode != http.StatusOK {
			t.Errorf("the status of a console that has ended: %s", a.Status)
		}
	})
}

func TestWhoComesBackGetsWhatItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Options{})
		time.Sleep(time.Minute + time.Second)
		id := time.Now().Add(-11 * time.Second).UnixMilli()
		r := s.connect(t, "", fmt.Sprintf("Last-Event-ID: %d\r\n", id))
		r.want(t, "")
		r.want(t, "status")
		var series Series
		if err := json.Unmarshal([]byte(r.want(t, "history").data), &series); err != nil || len(series.At) != 2 || series.At[0] != id+5000 {
			t.Errorf("after %d: %v, %v", id, series.At, err)
		}
		for _, strange := range []string{"nonsense", "99999999999999999999", "-1"} {
			r := s.connect(t, "", "Last-Event-ID: "+strange+"\r\n")
			r.want(t, "")
			r.want(t, "status")
			if strange == "99999999999999999999" { // the end of time
				continue
			}
			if err := json.Unmarshal([]byte(r.want(t, "history").data), &series); err != nil || len(series.At) != 12 {
				t.Errorf("after %q: %d intervals, %v", strange, len(series.At), err)
			}
		}
	})
}

func TestAQuietStreamIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Options{})
		r := s.connect(t, "?every=40s", "")
		r.want(t, "")
		r.want(t, "status")
		began := time.Now()
		for _, want := range []struct {
			name string
			at   time.Duration
		}{{"", 15 * time.Second}, {"", 30 * time.Second}, {"status", 40 * time.Second}, {"history", 40 * time.Second}, {"", 55 * time.Second}} {
			r.want(t, want.name)
			if at := time.Since(began).Round(time.Second); at != want.at {
				t.Errorf("%q after %s, want %s", want.name, at, want.at)
			}
		}
		for _, every := range []string{"0", "61", "x", "-1", "1.5", "1m"} {
			if a := ask(s.Console, "GET", "/events?every="+every); a.StatusCode != http.StatusBadRequest {
				t.Errorf("every %s: %s", every, a.Status)
			}
		}
	})
}
