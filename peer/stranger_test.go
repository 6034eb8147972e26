package peer

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/object"
)

func TestAStrangersAnswerIsNever(t *testing.T) {
	page := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			fmt.Fprint(w, "<html>an answer</html>")
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"a page":       page(200),
		"a 404 page":   page(404),
		"a 412 page":   page(412),
		"a 500 page":   page(500),
		"nothing":      func(http.ResponseWriter, *http.Request) {},
		"no content":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"not modified": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) },
		"a code, no cluster": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(headerError, "not-found")
			w.WriteHeader(404)
		},
		"a gateway's answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Micelio-Node", "n1")
			w.WriteHeader(204)
		},
		"a hang-up": func(w http.ResponseWriter, _ *http.Request) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := poolOf(t, testConfig).Client(serve(t, h))
			src := &oneShot{size: 4, r: strings.NewReader("body")}
			for op, err := range operations(t.Context(), c, src) {
				switch op {
				case "put":
					wantErr(t, op, err, object.ErrUnavailable, ErrNotSent)
				case "delete":
					wantErr(t, op, err, object.ErrUnknownOutcome)
				default:
					wantErr(t, op, err, object.ErrUnavailable)
				}
			}
			if src.opened {
				t.Error("the source was opened for a stranger")
			}
		})
	}
}

func TestAStrangerThatTakesTheBodyLeavesTheOutcomeUnknown(t *testing.T) {
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(503)
	}))
	for name, src := range sources("body") {
		_, err := poolOf(t, testConfig).Client(addr).Put(t.Context(), "key", src, object.PutOptions{})
		wantErr(t, name, err, object.ErrUnknownOutcome)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var followed atomic.Int32
	target := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	for _, status := range []int{301, 302, 303, 307, 308} {
		addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+target+r.URL.Path, status)
		}))
		for op, err := range operations(t.Context(), poolOf(t, testConfig).Client(addr), object.BytesSource([]byte("x"))) {
			if err == nil {
				t.Errorf("%d: %s succeeded", status, op)
			}
		}
	}
	if n := followed.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// says answers every request with fixed bytes and hangs up.
func says(t *testing.T, answer string) *Client {
	addr := raw(t, func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, answer)
		}
	})
	return poolOf(t, testConfig).Client(addr)
}

func TestNoiseIsUnavailable(t *testing.T) {
	const mark = "Micelio-Cluster: the%20cluster\r\nMicelio-Info: key=key&size=4\r\n"
	for name, answer := range map[string]string{
		"silence":              "",
		"another protocol":     "SSH-2.0-OpenSSH_9.9\r\n",
		"a cut status":         "HTTP/1.1 20",
		"a cut header":         "HTTP/1.1 200 OK\r\n" + mark,
		"no length":            "HTTP/1.1 200 OK\r\n" + mark + "\r\nbody",
		"a wrong length":       "HTTP/1.1 200 OK\r\n" + mark + "Content-Length: 3\r\n\r\nbod",
		"a negative length":    "HTTP/1.1 200 OK\r\n" + mark + "Content-Length: -4\r\n\r\nbody",
		"two lengths":          "HTTP/1.1 200 OK\r\n" + mark + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
		"chunks":               "HTTP/1.1 200 OK\r\n" + mark + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"two infos":            "HTTP/1.1 200 OK\r\n" + mark + mark + "Content-Length: 4\r\n\r\nbody",
		"an endless header":    "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*MaxHeaderBytes),
		"a switch of protocol": "HTTP/1.1 101 Switching Protocols\r\n" + mark + "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := says(t, answer).Get(t.Context(), "key", object.GetOptions{})
			wantErr(t, "get", err, object.ErrUnavailable)
		})
	}
}

func TestACutBodyIsAnErrorAndNoEnd(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nMicelio-Cluster: the%20cluster\r\nMicelio-Info: key=key&size=4\r\nContent-Length: 4\r\n\r\n"
	for sent := range 4 {
		obj, err := says(t, head+"body"[:sent]).Get(t.Context(), "key", object.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(obj.Body)
		wantErr(t, "reading", err, object.ErrUnavailable, io.ErrUnexpectedEOF)
		if len(got) != sent {
			t.Errorf("%d bytes of %d", len(got), sent)
		}
		if _, again := obj.Body.Read(make([]byte, 1)); again != err {
			t.Errorf("then %v", again)
		}
		if err := obj.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}
