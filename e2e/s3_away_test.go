package e2e

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micelio/micelio/origin/s3test"
)

const (
	outageLasts   = 60 * time.Second
	backWithin    = 10 * time.Second
	nodeBurst     = 10 // attempts that a node may make at once beyond its tenth of retries
	outageClients = 6
)

// A gate is a proxy in front of an S3 service that can refuse everything.
type gate struct {
	url      string
	refusing atomic.Bool
	refused  atomic.Int64
}

func startGate(t *testing.T, server *s3test.Server) *gate {
	t.Helper()
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{}
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // which is signed
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), // clients may leave
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.refusing.Load() {
			proxy.ServeHTTP(w, r)
			return
		}
		g.refused.Add(1)
		_, _ = io.Copy(io.Discard, r.Body) // or a client that still sends may see no answer
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
	}))
	t.Cleanup(front.Close)
	g.url = front.URL
	return g
}

// An outage of the origin and the clients of a cluster that go on through it.
type outage struct {
	t      *testing.T
	nodes  []*process
	client *http.Client
	kept   map[string][]byte // in the tiers
	keys   []string          // of kept
	cold   atomic.Int64      // the next cold key

	hits, asked atomic.Int64
}

func (o *outage) store(key string, body []byte) {
	o.t.Helper()
	if err := o.nodes[0].put(escape("/micelio/"+key), bytes.NewReader(body), int64(len(body))); err != nil {
		o.t.Fatal(err)
	}
}

// visit makes one round through a node. Every read of a kept key is a hit; what
// needs the origin is refused, and says when to come back.
func (o *outage) visit(p *process, i int) {
	key := o.keys[i%len(o.keys)]
	o.hits.Add(1)
	if got, err := p.ask(o.client, http.MethodGet, key); err != nil || got.status != http.StatusOK || !bytes.Equal(got.body, o.kept[key]) {
		o.t.Errorf("a kept key, %s: %d, %d bytes, %v", key, got.status, len(got.body), err)
	}
	away := fmt.Sprintf("cache/x/sha256:%d/cold", o.cold.Add(1))
	if i%3 == 0 {
		away = fmt.Sprintf("projects/%d/head", i%10)
	}
	o.asked.Add(1)
	got, err := p.ask(o.client, http.MethodGet, away)
	if err != nil || got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		o.t.Errorf("GET %s: %d %.100q, Retry-After %q, %v; want 503", away, got.status, got.body, got.header.Get("Retry-After"), err)
	}
}

// A minute without the origin, with clients that read cold keys all the time:
// what the tiers have is served without a miss, an origin that asks for less gets
// less, and soon after its end everything is served again. The keys that nobody
// ever stored are cold keys too: a node that says 404 to one has made it up.
func TestAMinuteWithoutTheOrigin(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than a minute")
	}
	t.Parallel()
	server := s3test.VersityGW(t)
	g := startGate(t, server)
	o := &outage{t: t, client: newReading("").client, kept: map[string][]byte{}, nodes: startCluster(t, 3, over(server, g.url)...)}
	defer o.client.CloseIdleConnections()
	for i := range 30 {
		body := randomBytes(uint64(i), 100+i*i*300)
		key := keyOf(i%2 == 0, body)
		o.kept[key], o.keys = body, append(o.keys, key)
		o.store(key, body)
	}
	for i := range 10 {
		o.store(fmt.Sprintf("projects/%d/head", i), []byte("old"))
	}
	for i := range 3 {
		each(t, o.keys, 4, func(_ int, key string) error {
			if got, err := o.nodes[i].ask(o.client, http.MethodGet, key); err != nil || got.status != http.StatusOK {
				return fmt.Errorf("%d, %w", got.status, err)
			}
			return nil
		})
	}

	g.refusing.Store(true)
	over := time.NewTimer(outageLasts)
	defer over.Stop()
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for w := range outageClients {
		clients.Go(func() {
			pause := time.NewTicker(30 * time.Millisecond)
			defer pause.Stop()
			for i := w; !t.Failed(); i++ {
				select {
				case <-pause.C:
					o.visit(o.nodes[i%3], i)
				case <-stop:
					return
				}
			}
		})
	}
	<-over.C
	close(stop)
	clients.Wait()

	attempts, allowed := g.refused.Load(), o.asked.Load()*11/10+3*nodeBurst
	demand := 0.0
	for _, p := range o.nodes {
		demand += p.metric("micelio_origin_s3_demand_total")
	}
	t.Logf("%d hits; %d attempts at the origin for %d requests, %.0f demanded by the nodes", o.hits.Load(), attempts, o.asked.Load(), demand)
	if attempts > allowed || attempts == 0 || o.hits.Load() < 1000 {
		t.Errorf("%d attempts at the origin for %d requests, at most %d are allowed", attempts, o.asked.Load(), allowed)
	}
	g.refusing.Store(false)
	o.wantBack()
}

// wantBack waits until each node answers for the origin again.
func (o *outage) wantBack() {
	o.t.Helper()
	began := time.Now()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for i, p := range o.nodes {
		for n := range 10 {
			for {
				got, err := p.ask(o.client, http.MethodGet, fmt.Sprintf("projects/%d/head", n))
				if err == nil && got.status == http.StatusOK {
					if string(got.body) != "old" {
						o.t.Errorf("node %d: %q", i+1, got.body)
					}
					break
				}
				if err != nil || got.status != http.StatusServiceUnavailable || time.Since(began) > backWithin {
					o.t.Fatalf("node %d, %v after the end: %d, %v", i+1, time.Since(began), got.status, err)
				}
				<-pause.C
			}
		}
		got, err := p.ask(o.client, http.MethodGet, "cache/x/sha256:never/cold")
		if err != nil || got.status != http.StatusNotFound {
			o.t.Errorf("node %d: a missing key: %d, %v", i+1, got.status, err)
		}
	}
	o.t.Logf("back after %v", time.Since(began))
	o.store("projects/0/head", []byte("new"))
	for i, p := range o.nodes {
		if got, err := p.ask(o.client, http.MethodGet, "projects/0/head"); err != nil || string(got.body) != "new" {
			o.t.Errorf("node %d: %q, %v", i+1, got.body, err)
		}
	}
}
