package node

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/origin/s3test"
)

// over makes a bucket the origin of a node, which reaches it at endpoint. The
// bucket of the node's clients is called as without one.
func over(server *s3test.Server, endpoint string) func(*Config) {
	return func(c *Config) {
		c.Bucket = "micelio"
		c.S3.Bucket, c.S3.Region, c.S3.Endpoint = server.Bucket, server.Region, endpoint
		c.S3.AccessKeyID, c.S3.SecretAccessKey = Secret(server.AccessKey), Secret(server.SecretKey)
	}
}

// openPast opens the bucket of a server past all nodes.
func openPast(t *testing.T, server *s3test.Server) *origin.S3 {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir = t.TempDir()
	over(server, server.Endpoint)(&cfg)
	s, err := origin.OpenS3(context.Background(), cfg.S3Origin(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A gate is a proxy in front of an S3 service. It passes everything on until it
// is told to refuse everything.
type gate struct {
	URL      string
	refusing atomic.Bool  // with 503 SlowDown
	breaking atomic.Bool  // with a connection that closes
	refused  atomic.Int64 // requests
	change   func(*http.Request)
}

func newGate(t *testing.T, server *s3test.Server) *gate {
	t.Helper()
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{change: func(*http.Request) {}}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // which is signed
			g.change(r.Out)
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), // clients may leave
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.breaking.Load() {
			panic(http.ErrAbortHandler)
		}
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
	t.Cleanup(func() {
		front.Close()
		transport.CloseIdleConnections()
	})
	g.URL = front.URL
	return g
}

// dialect sends one request to a node and returns the answer with its body.
func dialect(ctx context.Context, client *http.Client, n *running, method, key string, body io.Reader, header ...string) (*http.Response, []byte, error) {
	target := url.URL{Scheme: "http", Host: n.Addr(), Path: "/micelio/" + key}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, nil, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return resp, got, err
}

// newClient returns an HTTP client whose connections end with the test.
func newClient(t *testing.T) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
