package loadtest

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A store is a server of objects over HTTP: it keeps what was put.
type store struct {
	mu      sync.Mutex
	objects map[string][]byte
	spoil   func(body []byte) []byte // what happens to bodies on their way out
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Cache", "none")
	if r.URL.Query().Has("list-type") {
		_, _ = io.WriteString(w, "<ListBucketResult/>")
		return
	}
	if r.Method == http.MethodPut {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.objects[r.URL.Path] = body
		return
	}
	s.mu.Lock()
	body, found := s.objects[r.URL.Path]
	s.mu.Unlock()
	if !found {
		http.Error(w, "NoSuchKey", http.StatusNotFound)
		return
	}
	w.Header().Set("X-Cache", "ram")
	if s.spoil != nil {
		body = s.spoil(body)
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(body)))
}

func newStore() *store { return &store{objects: map[string][]byte{}} }

// storeConfig is a run of all operations on objects of many sizes, in three
// classes, each body compared.
func storeConfig(target string) Config {
	cfg := DefaultConfig()
	cfg.Targets, cfg.Rate, cfg.Requests, cfg.Connections, cfg.CheckEvery = []string{target}, "max", 1000, 4, 1
	cfg.Duration = time.Hour // the requests are the bound
	cfg.Mix = Mix{}
	for _, class := range []string{ClassImmutable, ClassVerified, ClassMutable} {
		cfg.Mix.Parts = append(cfg.Mix.Parts, testPart(func(p *Part) {
			p.Name, p.Class, p.Keys = class, class, 20
			p.Ops = Ops{Get: 3, Head: 1, Put: 1, Range: 3, List: 0.2}
			p.Sizes = Sizes{Kind: SizesList, List: []int64{0, 1, 1000, 5000, 17_000, 200_000}}
		}))
	}
	return cfg
}

func TestWhatWasPreparedIsRead(t *testing.T) {
	plain := httptest.NewServer(newStore())
	defer plain.Close()
	secure := httptest.NewUnstartedServer(newStore())
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	h2c := httptest.NewUnstartedServer(newStore())
	h2c.Config.Protocols = new(http.Protocols)
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	defer h2c.Close()
	authorities := x509.NewCertPool()
	authorities.AddCert(secure.Certificate())
	for _, c := range []struct{ client, target string }{
		{ClientRaw, plain.Listener.Addr().String()}, {ClientHTTP, plain.URL}, {ClientHTTP, secure.URL}, {ClientHTTP2, secure.URL}, {ClientHTTP2, h2c.URL},
	} {
		cfg := storeConfig(c.target)
		cfg.Client, cfg.TLS = c.client, &tls.Config{RootCAs: authorities}
		prepared, err := Prepare(t.Context(), cfg)
		if err != nil {
			t.Fatalf("%s to %s: %v", c.client, c.target, err)
		}
		if prepared.Totals.Done != 60 {
			t.Errorf("%s to %s: %d objects were put, want 60", c.client, c.target, prepared.Totals.Done)
		}
		r, err := Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		checkResult(t, r)
		if r.Totals.Done != 1000 || r.Totals.Failed > 0 || r.Totals.Checked < 600 || r.Totals.BytesIn < 1e6 || r.Totals.BytesOut < 1e5 {
			t.Errorf("%s to %s: %+v %v", c.client, c.target, r.Totals, r.Examples)
		}
		ops := map[string]bool{}
		for i := range r.Series {
			s := &r.Series[i]
			ops[s.Op+" "+s.Cache] = true
		}
		for _, want := range []string{"get ram", "head ram", "range ram", "put none", "list none"} {
			if !ops[want] {
				t.Errorf("%s to %s: no series is %q", c.client, c.target, want)
			}
		}
	}
}

func TestDamagedBodiesAreSeen(t *testing.T) {
	s := newStore()
	server := httptest.NewServer(s)
	defer server.Close()
	for _, client := range []string{ClientRaw, ClientHTTP} {
		cfg := storeConfig(server.URL)
		cfg.Client = client
		for i := range cfg.Mix.Parts {
			cfg.Mix.Parts[i].Ops = Ops{Get: 1, Range: 1}
			cfg.Mix.Parts[i].Sizes = Sizes{Kind: SizesFixed, Bytes: 50_000}
		}
		s.spoil = nil
		if _, err := Prepare(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		for name, spoil := range map[string]func([]byte) []byte{
			"a bit":       func(b []byte) []byte { b = append([]byte{}, b...); b[len(b)/2] ^= 4; return b },
			"a byte less": func(b []byte) []byte { return b[:len(b)-1] },
			"a byte more": func(b []byte) []byte { return append(b[:len(b):len(b)], 0) },
			"another":     func(b []byte) []byte { return make([]byte, len(b)) },
		} {
			s.spoil = spoil
			r, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			bad := r.Totals.Errors[ErrorBody]
			if bad < 400 || (name == "another" && r.Totals.Damaged != 1000) { // ranges may miss what was spoilt
				t.Errorf("%s: %s: %d bodies were bad, %d damaged of %d", client, name, bad, r.Totals.Damaged, r.Totals.Checked)
			}
		}
	}
}

// roughServer answers each request with what the function says, as bytes, and
// ends the connection if it says so.
func roughServer(t *testing.T, answer func(n int64) (text string, end bool)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	var serving sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				stop := context.AfterFunc(ctx, func() { conn.Close() })
				defer stop()
				in := bufio.NewReader(conn)
				for {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					text, end := answer(n.Add(1))
					if _, err := io.WriteString(conn, text); err != nil || end {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		cancel()
		serving.Wait()
	})
	return listener.Addr().String()
}

func TestErrorsAreToldApart(t *testing.T) {
	const good = "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\nxxxxxxxxxxxxxxxx"
	for _, c := range []struct {
		name   string
		answer func(n int64) (string, bool)
		want   map[string]int64
		dials  bool // connections are made anew
	}{
		{"good", func(int64) (string, bool) { return good, false }, nil, false},
		{"closed after each, and said so", func(int64) (string, bool) {
			return strings.Replace(good, "\r\n", "\r\nConnection: close\r\n", 1), true
		}, nil, false},
		{"closed after each, and not said", func(int64) (string, bool) { return good, true }, nil, true},
		// The second was taken for the answer to the next request, and so on.
		{"an answer too many", func(int64) (string, bool) { return good + strings.Replace(good, "200", "503", 1), false }, nil, false},
		{"a status", func(int64) (string, bool) { return strings.Replace(good, "200", "503", 1), false }, map[string]int64{ErrorStatus: 100}, false},
		{"a short body", func(int64) (string, bool) { return good[:len(good)-1], true }, map[string]int64{ErrorClosed: 100}, false},
		{"no answer", func(int64) (string, bool) { return "", true }, map[string]int64{ErrorClosed: 100}, false},
		{"no HTTP", func(int64) (string, bool) { return "hello\r\n", false }, map[string]int64{ErrorProtocol: 100}, false},
		{"too many bytes", func(int64) (string, bool) {
			return strings.Replace(good, "16", "17", 1) + "x", false
		}, map[string]int64{ErrorBody: 100}, false},
		{"silence", func(n int64) (string, bool) {
			if n <= 98 {
				return good, false
			}
			return "", false
		}, map[string]int64{ErrorTimeout: 2}, false},
	} {
		cfg := bubbleConfig("max", time.Hour, 1)
		cfg.Targets, cfg.Requests, cfg.Timeout = []string{roughServer(t, c.answer)}, 100, 200*time.Millisecond
		if c.want[ErrorTimeout] == 0 {
			cfg.Timeout = time.Minute
		}
		r, err := Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		checkResult(t, r)
		if fmt.Sprint(r.Totals.Errors) != fmt.Sprint(c.want) || (r.Totals.Redialed > 0) != c.dials {
			t.Errorf("%s: errors %v, %d connections made anew, want errors %v: %v", c.name, r.Totals.Errors, r.Totals.Redialed, c.want, r.Examples)
		}
		for kind := range c.want {
			if r.Examples[kind] == "" {
				t.Errorf("%s: no example of %s in %v", c.name, kind, r.Examples)
			}
		}
	}
}

func TestAServerThatGoesAwayIsAnErrorOfDialling(t *testing.T) {
	for _, client := range []string{ClientRaw, ClientHTTP} {
		var server *httptest.Server
		var once sync.Once
		server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			_, _ = io.WriteString(w, ok.body)
			once.Do(func() { server.Listener.Close() })
		}))
		defer server.Close()
		cfg := bubbleConfig("max", time.Hour, 1)
		cfg.Targets, cfg.Requests, cfg.Client = []string{server.URL}, 10, client
		r, err := Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Totals.Errors[ErrorDial]; got != 9 || r.Totals.Failed != 9 {
			t.Errorf("%s: errors %v, want 9 of dialling: %v", client, r.Totals.Errors, r.Examples)
		}
	}
}

func TestARunThatCannotBeginSaysWhy(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close() // nobody is there now
	for name, change := range map[string]func(*Config){
		"is not on this machine":     func(c *Config) { c.Targets = []string{"192.0.2.1:80"} },
		"metrics: the target is not": func(c *Config) { c.Metrics = []string{"http://192.0.2.1:80/metrics"} },
		"nobody answers":             func(c *Config) { c.Targets = []string{listener.Addr().String()} },
		"neither http nor https":     func(c *Config) { c.Targets = []string{"ftp://127.0.0.1:1"} },
		"does not speak":             func(c *Config) { c.Targets = []string{"https://127.0.0.1:1"} },
		"more than HOST:PORT":        func(c *Config) { c.Targets = []string{"http://127.0.0.1:1/x"} },
		"no target":                  func(c *Config) { c.Targets = nil },
		"the rate":                   func(c *Config) { c.Rate = "fast" },
		"connections":                func(c *Config) { c.Connections = 0 },
		"duration":                   func(c *Config) { c.Duration = 0 },
		"bucket":                     func(c *Config) { c.Bucket = "a b" },
		"the client":                 func(c *Config) { c.Client = "curl" },
		"mix":                        func(c *Config) { c.Mix = Mix{} },
	} {
		cfg := bubbleConfig("10", time.Second, 1)
		change(&cfg)
		if r, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want an error about %q, got %v, %v", name, r, err)
		}
	}
}

func TestPrepareTriesAgain(t *testing.T) {
	inner := newStore()
	refused := map[string]bool{}
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		first := !refused[r.URL.Path]
		refused[r.URL.Path] = true
		mu.Unlock()
		if first {
			http.Error(w, "SlowDown", http.StatusServiceUnavailable)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	cfg := storeConfig(server.URL)
	r, err := Prepare(t.Context(), cfg)
	if err != nil || r.Totals.Errors[ErrorStatus] != 60 || len(inner.objects) != 60 {
		t.Errorf("%d objects are stored after %v, %v", len(inner.objects), r.Totals, err)
	}
	never := httptest.NewServer(http.NotFoundHandler())
	defer never.Close()
	cfg.Targets = []string{never.URL}
	if _, err := Prepare(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "60 of 60") {
		t.Errorf("a server that stores nothing: %v", err)
	}
}
