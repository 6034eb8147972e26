package drive

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/bench/proc"
)

// serve starts a server that says in a header how often each path was asked for.
func serve(t *testing.T) (addr string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/object/{size}", func(w http.ResponseWriter, r *http.Request) {
		size, err := strconv.Atoi(r.PathValue("size"))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Length", strconv.Itoa(size))
		w.Header().Set("X-Cache", "ram")
		_, _ = w.Write(make([]byte, size))
	})
	mux.HandleFunc("PUT /put", func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err != nil || n != 1<<20 {
			t.Errorf("a body of %d bytes came, %v", n, err)
		}
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("no length"))
		_ = http.NewResponseController(w).Flush()
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func shot(method, path string, status int, body int64) *Shot {
	return &Shot{Raw: fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: x\r\n\r\n", method, path), Status: status, Body: body}
}

func TestAllAnswersAreCounted(t *testing.T) {
	addr := serve(t)
	put := shot("PUT", "/put", 200, 0)
	put.Raw = append([]byte("PUT /put HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n"), make([]byte, 1<<20)...)
	marked := shot("GET", "/object/100", 200, 100)
	marked.Mark = []byte("\r\nX-Cache: ram\r\n")
	unmarked := shot("GET", "/object/100", 200, 100)
	unmarked.Mark = []byte("\r\nX-Cache: ssd\r\n")
	all := []*Shot{marked, shot("GET", "/object/1000000", 200, 1_000_000), shot("HEAD", "/object/5", 200, 0), shot("GET", "/none", 404, 19), put, unmarked}
	n := 0
	load := Load{Addr: addr, Conns: 7, For: time.Hour, Most: 600, Renew: 5, Core: proc.Any, Next: func() *Shot {
		n++
		return all[n%len(all)]
	}}
	got, err := load.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Requests != 600 || got.Bytes != 100*(100+1_000_000+19+100) || got.Unmarked != 100 || len(got.Latencies) != 600 || got.Rate() <= 0 {
		t.Errorf("%d requests, %d bytes, %d without their mark, %d latencies", got.Requests, got.Bytes, got.Unmarked, len(got.Latencies))
	}
}

func TestAWrongAnswerEndsTheRun(t *testing.T) {
	addr := serve(t)
	for _, s := range []*Shot{
		shot("GET", "/object/100", 206, 100), shot("GET", "/object/100", 200, 99), shot("GET", "/object/100", 200, 101),
		shot("GET", "/none", 200, 100), shot("GET", "/endless", 200, 9), shot("GET", "/object/100", 200, 0),
	} {
		load := Load{Addr: addr, Conns: 2, For: time.Hour, Core: proc.Any, Next: func() *Shot { return s }}
		if got, err := load.Run(t.Context()); err == nil {
			t.Errorf("%q: %+v", s.line(), got)
		}
	}
}

func TestALoadEndsWithItsContext(t *testing.T) {
	addr := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := shot("GET", "/object/1", 200, 1)
	n := 0
	load := Load{Addr: addr, Conns: 3, For: time.Hour, Core: proc.Any, Next: func() *Shot {
		if n++; n == 50 {
			cancel()
		}
		return s
	}}
	if got, err := load.Run(ctx); err != nil || got.Requests < 50 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheFieldOfAHeaderIsFoundWhateverItsCase(t *testing.T) {
	header := []byte("HTTP/1.1 200 OK\r\nX-Content-Length: 1\r\nCONTENT-length:  42 \r\nA: b\r\n")
	if got, ok := value(header, "content-length"); !ok || string(got) != "42" {
		t.Errorf("found %q, %v", got, ok)
	}
	if got, ok := value(header, "etag"); ok {
		t.Errorf("found %q", got)
	}
}

func TestQuantiles(t *testing.T) {
	sorted := []time.Duration{1, 2, 3, 4}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 3, 0.99: 4, 1: 4} {
		if got := Quantile(sorted, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := Quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing it is %v", got)
	}
}
