package loadtest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// A reading is an answer as somebody read it.
type reading struct {
	status int
	cache  string
	body   string
	close  bool
	rest   string // what follows it on the connection
}

// rawReading reads an answer as a rawSender does.
func rawReading(b []byte, op Op) (r reading, err error) {
	in := bufio.NewReaderSize(bytes.NewReader(b), readBuffer)
	var h head
	if err := readHead(in, &h); err != nil {
		return r, err
	}
	r.status, r.cache = h.status, string(h.cache)
	if h.hasBody(op) {
		var body bytes.Buffer
		n, err := readBody(in, &h, make([]byte, 100), func(b []byte) { body.Write(b) })
		if err != nil {
			return r, err
		}
		if r.body = body.String(); n != int64(body.Len()) {
			return r, fmt.Errorf("%d bytes were counted, %d came", n, body.Len())
		}
	}
	rest, err := io.ReadAll(in)
	r.close, r.rest = h.close, string(rest)
	return r, err
}

// netReading reads an answer with net/http, past interim ones.
func netReading(b []byte, op Op) (r reading, err error) {
	in := bufio.NewReader(bytes.NewReader(b))
	request := &http.Request{Method: http.MethodGet}
	if op == OpHead {
		request.Method = http.MethodHead
	}
	var response *http.Response
	for {
		if response, err = http.ReadResponse(in, request); err != nil {
			return r, err
		}
		if response.StatusCode >= 200 {
			break
		}
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return r, err
	}
	if err := response.Body.Close(); err != nil {
		return r, err
	}
	rest, err := io.ReadAll(in)
	// net/http does not call it a close when an answer has no length, and closes.
	closes := response.Close || (response.ContentLength < 0 && response.TransferEncoding == nil && op != OpHead)
	return reading{response.StatusCode, response.Header.Get("X-Cache"), string(body), closes, string(rest)}, err
}

var answers = []string{
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Cache: ram\r\n\r\nhelloHTTP/1.1 204 No Content\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Cache: ssd\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: 1\r\n\r\nrest",
	"HTTP/1.1 200 OK\nContent-Length:5\nX-CACHE:\t ram \t\n\nhello",
	"HTTP/1.1 200 OK\r\nConnection: Keep-Alive, close\r\ncontent-length: 0\r\n\r\n",
	"HTTP/1.0 200 OK\r\n\r\nuntil the end",
	"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nxy",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nabc",
	"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nX-Cache: a\r\nX-Cache: b\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n",
}

// Whatever the raw client takes, net/http takes too, and reads the same of it,
// to the byte where the next answer begins.
func FuzzRawReadsAsNetHTTPDoes(f *testing.F) {
	for _, answer := range answers {
		f.Add([]byte(answer), false)
		f.Add([]byte(answer), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, isHead bool) {
		op := OpGet
		if isHead {
			op = OpHead
		}
		got, err := rawReading(b, op)
		if err != nil {
			return
		}
		want, err := netReading(b, op)
		if err != nil {
			t.Fatalf("%q is %+v, but net/http says: %v", b, got, err)
		}
		if got != want {
			t.Fatalf("%q is\n%+v, but net/http says\n%+v", b, got, want)
		}
	})
}

// What net/http writes, the raw client reads.
func FuzzRawReadsWhatNetHTTPWrites(f *testing.F) {
	f.Add(200, "ram", "hello", 0)
	f.Add(404, "none", "", 1)
	f.Add(206, "a b", strings.Repeat("x", 100_000), 2)
	f.Add(204, "", "", 3)
	f.Fuzz(func(t *testing.T, status int, cache, body string, how int) {
		if status < 200 || status > 999 {
			return
		}
		if status == 204 || status == 304 {
			body = ""
		}
		response := &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(body)),
			Header: http.Header{"X-Cache": {cache}, "X-Other": {"Content-Length: 7"}}, Body: io.NopCloser(strings.NewReader(body))}
		if how&1 != 0 && body != "" {
			response.ContentLength, response.TransferEncoding = -1, []string{"chunked"}
		}
		response.Close = how&2 != 0
		var wire bytes.Buffer
		if err := response.Write(&wire); err != nil {
			t.Skip(err)
		}
		want, err := netReading(wire.Bytes(), OpGet)
		if err != nil {
			t.Skip(err) // it writes header values that it does not read
		}
		got, err := rawReading(wire.Bytes(), OpGet)
		if err != nil || got != want {
			t.Fatalf("%q is\n%+v (%v), want\n%+v", wire.Bytes(), got, err, want)
		}
		if got.body != body {
			t.Fatalf("the body is %d bytes, want %d", len(got.body), len(body))
		}
	})
}

func TestWhatIsNoAnswerIsTold(t *testing.T) {
	for _, text := range []string{
		"SSH-2.0-OpenSSH\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000\r\n\r\n", "HTTP/1.1 099 X\r\n\r\n",
		"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n", "HTTP/1.1 200 OK\r\n folded\r\n\r\n", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 101 Switching\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 20_000) + "\r\n", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", 10_000) + "\r\n\r\n",
	} {
		got, err := rawReading([]byte(text), OpGet)
		if kind := classify(err); err == nil || kind != errorProtocolKind {
			t.Errorf("%.60q is %+v, %v (%v), want an error of the protocol", text, got, err, kind)
		}
	}
}

func TestACutAnswerIsNoAnswer(t *testing.T) {
	for _, whole := range answers[:2] {
		end := strings.Index(whole, "HTTP/1.1 204")
		if end < 0 {
			end = strings.Index(whole, "rest")
		}
		for n := range end {
			got, err := rawReading([]byte(whole[:n]), OpGet)
			if err == nil || classify(err) != errorClosed {
				t.Fatalf("%q is %+v, %v, want a closed connection", whole[:n], got, err)
			}
			if n > 0 && errors.Is(err, io.EOF) {
				t.Fatalf("%q ends like nothing at all: %v", whole[:n], err)
			}
		}
	}
}

func BenchmarkReadAnswer(b *testing.B) {
	text := "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nAge: 0\r\nContent-Length: 1024\r\nContent-Type: binary/octet-stream\r\n" +
		"Etag: \"0123456789abcdef0123456789abcdef\"\r\nLast-Modified: Sat, 28 Nov 2026 09:00:00 GMT\r\nMicelio-Node: node-t3jw65pxkp\r\n" +
		"X-Cache: ram\r\nx-amz-request-id: 0123456789ABCDEF\r\nDate: Sat, 28 Nov 2026 09:00:00 GMT\r\n\r\n" + strings.Repeat("x", 1024)
	r := strings.NewReader("")
	in := bufio.NewReaderSize(r, readBuffer)
	scratch := make([]byte, pieceBuffer)
	var h head
	for b.Loop() {
		r.Reset(text)
		in.Reset(r)
		if err := readHead(in, &h); err != nil {
			b.Fatal(err)
		}
		if _, err := readBody(in, &h, scratch, func([]byte) {}); err != nil {
			b.Fatal(err)
		}
	}
}
