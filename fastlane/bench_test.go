package fastlane_test

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micelio/micelio/fastlane"
	"github.com/micelio/micelio/gateway"
)

// A replay is a connection whose client sends the same request so many times, and
// reads everything.
type replay struct {
	request []byte
	left    int
	sent    int
}

func (r *replay) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	r.left--
	return copy(p, r.request), nil
}

func (r *replay) Write(p []byte) (int, error)      { r.sent += len(p); return len(p), nil }
func (r *replay) Close() error                     { return nil }
func (r *replay) LocalAddr() net.Addr              { return nil }
func (r *replay) RemoteAddr() net.Addr             { return nil }
func (r *replay) SetDeadline(time.Time) error      { return nil }
func (r *replay) SetReadDeadline(time.Time) error  { return nil }
func (r *replay) SetWriteDeadline(time.Time) error { return nil }

// A single is a listener with one connection.
type single struct{ net.Conn }

func (s single) Accept() (net.Conn, error) { return s.Conn, nil }
func (s single) Close() error              { return nil }
func (s single) Addr() net.Addr            { return nil }

// requests are what clients send: the least, and what an SDK does.
func requests() map[string][]byte {
	return map[string][]byte{
		"plain": []byte(get("small")),
		"sdk": []byte(get("artifacts%2Fsha256%3Aab?x-id=GetObject", "User-Agent: aws-sdk-go-v2/1.39.2 ua/2.1 os/linux lang/go#1.26.8 md/GOOS#linux md/GOARCH#amd64 api/s3#1.88.0",
			"Accept-Encoding: identity", "Amz-Sdk-Invocation-Id: 0cb1de6f-6a2c-4d70-b0b3-35b6f0b8d5b1", "Amz-Sdk-Request: attempt=1; max=3",
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261128/us-east-1/s3/aws4_request, SignedHeaders=accept-encoding;amz-sdk-invocation-id;amz-sdk-request;host;x-amz-checksum-mode;x-amz-content-sha256;x-amz-date, Signature=fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc963176630326f1024",
			"X-Amz-Checksum-Mode: ENABLED", "X-Amz-Content-Sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "X-Amz-Date: 20261128T093455Z")),
		"304":   []byte(get("small", `If-None-Match: "`+string(newShelf().objects["small"].info.ETag)+`"`)),
		"range": []byte(get("small", "Range: bytes=10-19")),
		"head":  []byte(read("HEAD", "small")),
		"large": []byte(get("large")),
	}
}

// play answers a request n times, and returns how many answers there were.
func play(tb testing.TB, request []byte, n int) int64 {
	var answers atomic.Int64
	s := newShelf()
	client := &replay{request: request, left: n}
	lane := fastlane.NewListener(single{client}, fastlane.Config{
		Bucket: bucket, Node: "this", Lookup: s.lookUp, Observe: func(fastlane.Observation) { answers.Add(1) },
		IdleTimeout: idleTimeout, HeaderTimeout: headerTimeout, StallTimeout: gateway.StallTimeout,
	})
	conn, err := lane.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 4096)); err != io.EOF {
		tb.Fatalf("%d bytes came through, %v", n, err)
	}
	return answers.Load()
}

func TestAnAnswerAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("with the race detector a pool drops things at random")
	}
	for name, request := range requests() {
		few := testing.AllocsPerRun(5, func() { play(t, request, 1) })
		many := testing.AllocsPerRun(5, func() { play(t, request, 1001) })
		// A collection may empty the pool, and a second may begin, now and then.
		if each := (many - few) / 1000; each > 0.05 {
			t.Errorf("%s: %v allocations an answer", name, each)
		}
	}
}

// BenchmarkAnswer is what the lane costs without look-up and system calls.
func BenchmarkAnswer(b *testing.B) {
	for name, request := range requests() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			if n := play(b, bytes.Clone(request), b.N); n != int64(b.N) {
				b.Fatalf("%d answers", n)
			}
		})
	}
}
