package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/origin/s3test"
)

// A lie is what a CDN makes of an honest answer.
type lie func(h http.Header, status int, body []byte) (int, []byte)

const sorryPage = "<html><title>Sorry</title>We will be back soon.</html>"

// page is an error page with any status.
func page(status int) lie {
	return func(h http.Header, _ int, _ []byte) (int, []byte) {
		h.Set("Content-Type", "text/html")
		h.Del("ETag")
		return status, []byte(sorryPage)
	}
}

// lies are what CDNs do in the field, and what attackers would.
func lies() map[string]lie {
	return map[string]lie{
		"flips a bit": func(_ http.Header, s int, b []byte) (int, []byte) {
			b[len(b)/2] ^= 1
			return s, b
		},
		"flips the last bit": func(_ http.Header, s int, b []byte) (int, []byte) {
			b[len(b)-1] ^= 1
			return s, b
		},
		"breaks off": func(h http.Header, s int, b []byte) (int, []byte) {
			h.Set("Content-Length", strconv.Itoa(len(b)))
			return s, b[:len(b)/2]
		},
		"cuts and says so":   func(_ http.Header, s int, b []byte) (int, []byte) { return s, b[:len(b)-1] },
		"adds a byte":        func(_ http.Header, s int, b []byte) (int, []byte) { return s, append(b, 0) },
		"has nothing":        func(_ http.Header, s int, _ []byte) (int, []byte) { return s, nil },
		"has another object": func(_ http.Header, s int, b []byte) (int, []byte) { return s, randomBytes(1<<20, len(b)) },
		"compresses": func(h http.Header, s int, b []byte) (int, []byte) {
			h.Set("Content-Encoding", "gzip")
			return s, zipped(b)
		},
		"compresses in secret": func(_ http.Header, s int, b []byte) (int, []byte) { return s, zipped(b) },
		"has an error page":    page(http.StatusOK),
		"has a part": func(h http.Header, _ int, b []byte) (int, []byte) {
			h.Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(b)-2, len(b)))
			return http.StatusPartialContent, b[:len(b)-1]
		},
		"says 403": page(http.StatusForbidden), "says 404": page(http.StatusNotFound), "says 410": page(http.StatusGone),
		"says 429": page(http.StatusTooManyRequests), "says 500": page(http.StatusInternalServerError), "says 304": page(http.StatusNotModified),
		"says 302": func(h http.Header, _ int, b []byte) (int, []byte) {
			h.Set("Location", "/elsewhere")
			return http.StatusFound, b
		},
		"hangs up": func(http.Header, int, []byte) (int, []byte) { panic(http.ErrAbortHandler) },
	}
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b) // a buffer takes all
	_ = z.Close()
	return out.Bytes()
}

// liar starts a CDN in front of a server that lies whenever it is asked.
func liar(t *testing.T, server *s3test.Server, told lie) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		honest, err := http.Get(server.Endpoint + r.URL.EscapedPath())
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer honest.Body.Close()
		body, err := io.ReadAll(honest.Body)
		if err != nil || honest.StatusCode != http.StatusOK {
			w.WriteHeader(honest.StatusCode)
			return
		}
		h := honest.Header.Clone()
		h.Del("Content-Length")
		status, forged := told(h, honest.StatusCode, body)
		for name, values := range h {
			w.Header()[name] = values
		}
		if h.Get("Content-Length") == "" && status != http.StatusNotModified {
			w.Header().Set("Content-Length", strconv.Itoa(len(forged)))
		}
		w.WriteHeader(status)
		_, _ = w.Write(forged) // a client that noticed leaves
	}))
	front.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	front.Start()
	t.Cleanup(front.Close)
	return front.URL + "/" + server.Bucket, asked
}

const (
	smallLies = 300 // objects, each read twice
	largeLies = 4   // objects of more than a CDN's answer is proven of beforehand
)

// Six hundred reads while the CDN lies, for each way of lying: no wrong byte and
// no missing object, and nothing wrong is kept. After some lies a node stops
// asking; package origin tests each lie a thousand times for its own sake.
func TestALyingCDNChangesNothing(t *testing.T) {
	t.Parallel()
	server := s3test.VersityGW(t, s3test.WithPublicRead())
	writer := startOver(t, server)
	var keys []string
	bodies := map[string][]byte{}
	for i := range smallLies + largeLies {
		size := 100 + i
		if i >= smallLies {
			size = 1_300_000
		}
		body := randomBytes(uint64(i), size)
		key := keyOf(i%2 == 0, body)
		keys, bodies[key] = append(keys, key), body
	}
	each(t, keys, 8, func(_ int, key string) error {
		return writer.put(escape("/micelio/"+key), bytes.NewReader(bodies[key]), int64(len(bodies[key])))
	})
	for name, told := range lies() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, asked := liar(t, server, told)
			p := startOver(t, server, "--cdn-base-url="+url, "--cdn-allow-private")
			client := newReading("").client
			defer client.CloseIdleConnections()
			for pass := range 2 {
				each(t, keys, 4, func(i int, key string) error { return readLie(client, p, i, key, bodies[key], pass) })
			}
			for _, key := range []string{keyOf(true, []byte("nowhere")), keyOf(false, []byte("nowhere"))} {
				if got, err := p.ask(client, http.MethodGet, key); err != nil || got.status != http.StatusNotFound {
					t.Errorf("a missing key: %d, %v", got.status, err)
				}
			}
			t.Logf("%d of %d reads met the lie", asked.Load(), 2*len(keys))
			if asked.Load() < 3 {
				t.Error("the liar was hardly asked")
			}
			if hits := p.metric("micelio_cdn_hits_total"); hits != 0 {
				t.Errorf("%v lies were believed", hits)
			}
		})
	}
}

// readLie reads one object. A large one may break off, but it never ends
// cleanly with wrong bytes, and is right the next time.
func readLie(client *http.Client, p *process, i int, key string, body []byte, pass int) error {
	if i%10 == 0 {
		if got, err := p.ask(client, http.MethodHead, key); err != nil || got.status != http.StatusOK || got.header.Get("Content-Length") != strconv.Itoa(len(body)) {
			return fmt.Errorf("HEAD: %d, %v", got.status, err)
		}
	}
	got, err := p.ask(client, http.MethodGet, key)
	if err != nil && len(body) > 1<<20 && pass == 0 {
		got, err = p.ask(client, http.MethodGet, key)
	}
	if err != nil || got.status != http.StatusOK || !bytes.Equal(got.body, body) {
		return fmt.Errorf("%d, %d bytes from %q, %w; want %d", got.status, len(got.body), got.header.Get("X-Cache"), err, len(body))
	}
	return nil
}
