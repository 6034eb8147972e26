package s3test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// A Proxy is toxiproxy in front of a server: it passes on what TCP carries, and
// spoils it as it is told.
type Proxy struct {
	Addr string // HOST:PORT where it listens

	api string // URL of the proxy in toxiproxy's own interface
}

// A Toxic is one way to spoil a connection. Attributes are toxiproxy's own, in
// milliseconds, bytes and KB per second: "latency", "timeout", "limit_data",
// "reset_peer", "bandwidth", "slow_close", "slicer".
type Toxic struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Stream     string         `json:"stream"`   // "downstream", to the client, or "upstream"
	Toxicity   float64        `json:"toxicity"` // part of the connections; 1 for all
	Attributes map[string]any `json:"attributes"`
}

// Toxiproxy starts a proxy in front of upstream, a HOST:PORT or a URL without
// a path.
func Toxiproxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	if _, addr, found := strings.Cut(upstream, "://"); found {
		upstream = addr
	}
	base := "http://" + listenAt(t, func(addr string) error {
		host, port, _ := strings.Cut(addr, ":")
		return start(t, answers(plainClient(), "http://"+addr+"/version", http.StatusOK), program(t, "toxiproxy-server"), "-host", host, "-port", port)
	})
	p := &Proxy{api: base + "/proxies/s3"}
	p.Addr = listenAt(t, func(addr string) error {
		status, said := p.ask(t, http.MethodPost, base+"/proxies", map[string]any{"name": "s3", "listen": addr, "upstream": upstream, "enabled": true})
		if strings.Contains(said, syscall.EADDRINUSE.Error()) {
			return errAddrInUse
		}
		if status >= 300 {
			return fmt.Errorf("toxiproxy: %d: %s", status, said)
		}
		return nil
	})
	return p
}

// URL returns the endpoint of the proxy.
func (p *Proxy) URL() string { return "http://" + p.Addr }

// Add spoils all connections from now on.
func (p *Proxy) Add(t testing.TB, toxic Toxic) {
	t.Helper()
	if toxic.Toxicity == 0 {
		toxic.Toxicity = 1
	}
	if toxic.Stream == "" {
		toxic.Stream = "downstream"
	}
	p.call(t, http.MethodPost, p.api+"/toxics", toxic)
}

// Remove ends a toxic.
func (p *Proxy) Remove(t testing.TB, name string) {
	t.Helper()
	p.call(t, http.MethodDelete, p.api+"/toxics/"+name, nil)
}

// Down refuses connections and cuts those there are, Up ends that.
func (p *Proxy) Down(t testing.TB) { t.Helper(); p.enable(t, false) }

// Up accepts connections again.
func (p *Proxy) Up(t testing.TB) { t.Helper(); p.enable(t, true) }

func (p *Proxy) enable(t testing.TB, on bool) {
	t.Helper()
	p.call(t, http.MethodPost, p.api, map[string]any{"enabled": on})
}

func (p *Proxy) call(t testing.TB, method, url string, body any) {
	t.Helper()
	if status, said := p.ask(t, method, url, body); status >= 300 {
		t.Fatalf("%s %s: %d: %s", method, url, status, said)
	}
}

// ask returns what toxiproxy's own interface answers.
func (p *Proxy) ask(t testing.TB, method, url string, body any) (status int, said string) {
	t.Helper()
	var raw bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&raw).Encode(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, &raw)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := plainClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
