package fastlane_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A reply is an answer without what differs each time.
type reply struct {
	Status int
	Header http.Header
	Body   string
	Error  string // why there is no further answer
}

// talk sends bytes to a server in two pieces, ends its side, and returns everything
// that comes back.
func talk(t *testing.T, addr string, request []byte, cut int) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// A server that does not answer is a failure, not a test that never ends.
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	cut = min(cut, len(request))
	for _, piece := range [][]byte{request[:cut], request[cut:]} {
		if len(piece) > 0 {
			_, _ = conn.Write(piece) // a server may refuse the first, and close
		}
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(conn)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("%v after %d bytes, for %q", err, len(got), request)
	}
	return got
}

var requestID = regexp.MustCompile(`<RequestId>[0-9A-F]*</RequestId>`)

// replies takes apart what a server sent in answer to requests of these methods.
func replies(t *testing.T, sent []byte, methods []string) (all []reply) {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(sent))
	for i := 0; ; i++ {
		if _, err := in.Peek(1); err == io.EOF {
			return all
		}
		method := http.MethodGet
		if i < len(methods) {
			method = methods[i]
		}
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return append(all, reply{Error: "head"})
		}
		body, err := io.ReadAll(resp.Body)
		r := reply{Status: resp.StatusCode, Header: resp.Header, Body: requestID.ReplaceAllString(string(body), "")}
		if err != nil {
			r.Error = "body"
		}
		for _, name := range []string{"Date", "X-Amz-Request-Id"} {
			if resp.StatusCode/100 == 2 && resp.Header.Get(name) == "" {
				t.Errorf("an answer has no %s: %v", name, resp.Header)
			}
			resp.Header.Del(name)
		}
		if requestID.Match(body) {
			resp.Header.Del("Content-Length")
		}
		all = append(all, r)
	}
}

// A pair is two servers of the same objects, one of which has the lane.
type pair struct{ with, without *server }

func newPair(t testing.TB, s *shelf) pair { return pair{serve(t, s, true), serve(t, s, false)} }

// check holds the two against each other.
func (p pair) check(t *testing.T, request []byte, cut int) {
	t.Helper()
	p.without.methods.Store(new([]string))
	plain := talk(t, p.without.addr, request, cut)
	methods := *p.without.methods.Load()
	want := replies(t, plain, methods)
	got := replies(t, talk(t, p.with.addr, request, cut), methods)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%q, cut at %d: without the lane and with it:\n%s", request, cut, diff)
	}
}

func get(path string, fields ...string) string { return read("GET", path, fields...) }

func read(method, path string, fields ...string) string {
	return method + " /micelio/" + path + " HTTP/1.1\r\nHost: localhost:8080\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n"
}

// plainReads are requests for the lane, each alone.
func plainReads() []string {
	const tag = `If-None-Match: "7a08b07e84641703e5f2c836aa59a170"` // of small
	all := []string{
		get("small"), read("HEAD", "small"), get("small?x-id=GetObject"), read("HEAD", "small?x-id=HeadObject"), get("large"), get("empty"),
		get("described"), read("HEAD", "described"), get("artifacts/sha256:ab"), get("artifacts/sha256%3aab"), get("artifacts%2Fsha256%3Aab"),
		get("small", "Range: bytes=0-9"), get("small", "Range: bytes=90-200"), get("small", "Range: bytes=-5"), get("small", "Range: bytes=95-"),
		get("large", "Range: bytes=100-199000"), read("HEAD", "small", "Range: bytes=5-6"), get("small", tag), read("HEAD", "small", tag),
		get("small", tag, "Range: bytes=0-1"), get("small", `If-None-Match: "other"`), get("described", `If-None-Match: "x"`, "Range: bytes=1-3"),
		get("small", tag, "If-Modified-Since: Sat, 07 Mar 2026 01:02:03 GMT"), get("small", "Connection: keep-alive"), get("small", "Connection: Keep-Alive"),
		get("small", "USER-AGENT: curl/8", "accept:*/*", "x-amz-content-sha256:  UNSIGNED-PAYLOAD  "),
	}
	for _, name := range []string{
		"User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Pragma", "Authorization", "X-Amz-Date",
		"X-Amz-Content-Sha256", "X-Amz-Security-Token", "X-Amz-User-Agent", "X-Amz-Checksum-Mode", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request",
		"Traceparent", "Tracestate", "Baggage", "X-Request-Id", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip",
		"Forwarded", "Via", "Referer", "Origin", "Cookie", "Dnt", "Priority", "Upgrade-Insecure-Requests",
	} {
		all = append(all, get("small", name+": no-cache, 1"))
	}
	return all
}

// otherRequests are requests that the lane must leave to the server.
func otherRequests() []string {
	long := strings.Repeat("x", 5000)
	return []string{
		get("missing"), get("odd"), get(""), get("small/"), get("%zz"), get("%00"), get("a%2"), get("small#a"), get("small?acl"), get("small?x-id=PutObject"),
		get("small", "Range: bytes=200-300"), get("small", "Range: bytes=0-1,3-4"), get("small", "Range: bytes=a-b"), get("empty", "Range: bytes=0-0"),
		get("small", "Range: bytes=0-1", "Range: bytes=0-2"), get("small", "If-Range: \"a\"", "Range: bytes=0-1"), get("small", `If-Match: "a"`),
		get("small", `If-None-Match: *`), get("small", `If-None-Match: W/"a"`), get("small", `If-None-Match: "a", "b"`), get("small", `If-None-Match: a`),
		get("small", `If-None-Match: ""`), get("small", `If-None-Match: "a"`, `If-None-Match: "b"`), get("small", "If-None-Match:"),
		get("small", "If-Modified-Since: Sat, 07 Mar 2026 01:02:03 GMT"), get("small", "If-Unmodified-Since: Sat, 07 Mar 2020 01:02:03 GMT"),
		get("small", "Content-Length: 0"), get("small", "Content-Length: 3") + "abc", get("small", "Transfer-Encoding: chunked") + "0\r\n\r\n",
		get("small", "Connection: close"), get("small", "Connection: upgrade", "Upgrade: h2c"), get("small", "Expect: 100-continue"), get("small", "Expect: x"),
		get("small", "Host: again"), get("small", "Unknown: x"), get("small", "CDN-Loop: x"), get("small", "Micelio-Hop: 1"), get("small", "Accept : x"),
		get("small", "Accept: \x01"), get("small", "Accept: a\tb"), get("small", "Accept: \xe9"), get("small", "Accept: a", " folded"), get("small", ": x"),
		get("small", "Cookie: "+long), get("small", strings.TrimSuffix(strings.Repeat("Via: 1\r\n", 300), "\r\n")), get(long),
		"GET /micelio/small HTTP/1.1\r\n\r\n", "GET /micelio/small HTTP/1.0\r\n\r\n", "GET /micelio/small HTTP/1.0\r\nConnection: keep-alive\r\nHost: a\r\n\r\n",
		"GET /micelio/small HTTP/1.1\r\nHost:\r\n\r\n", "GET /micelio/small HTTP/1.1\r\nHost: a b\r\n\r\n", "GET /micelio/small HTTP/1.1\nHost: a\n\n",
		"GET  /micelio/small HTTP/1.1\r\nHost: a\r\n\r\n", "get /micelio/small HTTP/1.1\r\nHost: a\r\n\r\n", "\r\nGET /micelio/small HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET http://a/micelio/small HTTP/1.1\r\nHost: a\r\n\r\n", "GET /other/small HTTP/1.1\r\nHost: a\r\n\r\n", "GET /micelio HTTP/1.1\r\nHost: a\r\n\r\n",
		"PUT /micelio/new HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "PUT /micelio/new HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"POST /micelio?delete HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "DELETE /micelio/small HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /micelio/small HTTP/1.1\r\nHost: a\r\n", "GET /micel", "G", "\x16\x03\x01",
	}
}

func TestBothLanesAnswerTheSame(t *testing.T) {
	p := newPair(t, newShelf())
	for _, request := range append(plainReads(), otherRequests()...) {
		for _, sent := range []string{request, request + get("small"), get("small") + request, get("described") + request + get("large")} {
			p.check(t, []byte(sent), len(sent))
			p.check(t, []byte(sent), len(sent)/2)
		}
	}
}

// Whatever bytes come, in whatever pieces, a server with the lane answers what one
// without answers.
func FuzzBothLanesAnswerTheSame(f *testing.F) {
	for i, request := range append(plainReads(), otherRequests()...) {
		f.Add([]byte(request+get("small")), uint16(len(request)))
		f.Add([]byte(get("small", fmt.Sprint("Cookie: ", i))+request), uint16(i))
	}
	p := newPair(f, newShelf())
	f.Fuzz(func(t *testing.T, request []byte, cut uint16) {
		if len(request) > 1<<15 {
			return
		}
		p.check(t, request, int(cut))
	})
}
