package origin_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/micelio/micelio/internal/trail"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin/s3test"
)

// A recordingProxy is a proxy that notes the headers of what it passes on.
type recordingProxy struct {
	url string
	mu  sync.Mutex
	all []http.Header
}

func newRecordingProxy(t *testing.T, endpoint string) *recordingProxy {
	t.Helper()
	target, err := url.Parse(endpoint)
	must(t, err)
	transport := &http.Transport{DisableCompression: true}
	r := &recordingProxy{}
	front := httptest.NewServer(&httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			r.mu.Lock()
			r.all = append(r.all, p.In.Header.Clone())
			r.mu.Unlock()
			p.SetURL(target)
			p.Out.Host = p.In.Host // which is signed
		},
	})
	t.Cleanup(func() {
		front.Close()
		transport.CloseIdleConnections()
	})
	r.url = front.URL
	return r
}

// take returns what was noted since the last time.
func (r *recordingProxy) take() []http.Header {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// versitygw checks each signature: it takes requests whose traceparent is not signed,
// and so do proxies between that change it.
func TestS3IsAskedInTheTraceOfTheRequest(t *testing.T) {
	t.Parallel()
	server := s3test.VersityGW(t)
	proxy := newRecordingProxy(t, server.Endpoint)
	cfg := s3Config(t, server)
	cfg.Endpoint = proxy.url
	s := openS3(t, cfg)
	proxy.take()
	ctx := trail.With(t.Context(), trail.Continue("00A1", []string{traceparent}, []string{"a=1"}))
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"put", func() error {
			_, err := s.Put(ctx, "key", object.BytesSource([]byte("body")), object.PutOptions{})
			return err
		}},
		{"upload in parts", func() error {
			_, err := s.Put(ctx, "large", object.BytesSource(bytes.Repeat([]byte("x"), 11<<20)), object.PutOptions{})
			return err
		}},
		{"get", func() error {
			_, err := read(ctx, s, "large", object.GetOptions{})
			return err
		}},
		{"head", func() error {
			_, err := s.Head(ctx, "key", object.HeadOptions{})
			return err
		}},
		{"delete", func() error { return s.Delete(ctx, "key", object.DeleteOptions{}) }},
		{"list", func() error {
			for _, err := range s.List(ctx, object.ListOptions{}) {
				return err
			}
			return nil
		}},
	} {
		name := c.name
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		spans := map[string]bool{}
		for _, h := range proxy.take() {
			parent := h.Get("Traceparent")
			if trail.TraceOf(parent) != traceparent[3:35] || spans[parent] || h.Get("Tracestate") != "a=1" {
				t.Errorf("%s: traceparent %q, tracestate %q", name, parent, h.Get("Tracestate"))
			}
			if _, signed, _ := strings.Cut(h.Get("Authorization"), "SignedHeaders="); signed == "" || strings.Contains(signed, "trace") {
				t.Errorf("%s: signed %q", name, signed)
			}
			if h.Get("Micelio-Request") != "" {
				t.Errorf("%s: the request's id leaves the cluster", name)
			}
			spans[parent] = true
		}
		if len(spans) == 0 {
			t.Errorf("%s: nothing was asked", name)
		}
	}
	if _, err := s.Head(t.Context(), "large", object.HeadOptions{}); err != nil {
		t.Error(err)
	}
	for _, h := range proxy.take() {
		if h.Get("Traceparent") != "" {
			t.Errorf("a request of nobody's has traceparent %q", h.Get("Traceparent"))
		}
	}
}

func TestTheCDNIsAskedInTheTraceOfTheRequest(t *testing.T) {
	r := newCDNRig(t)
	key, _ := r.verified(1, 100)
	ctx := trail.With(t.Context(), trail.Continue("00A1", []string{traceparent}, nil))
	if _, _, err := readCDN(ctx, r.CDN, key); err != nil {
		t.Fatal(err)
	}
	if got := r.edge.lastRequest().Header.Get("Traceparent"); trail.TraceOf(got) != traceparent[3:35] {
		t.Errorf("traceparent %q", got)
	}
}
