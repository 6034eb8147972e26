package console

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

func TestNamesThatSomebodyCouldHaveRegisteredAreRefused(t *testing.T) {
	c := New(newScript(time.Now()), Options{Hosts: []string{"Node1.Example.com", ".forge.example.org"}, HostsHint: "name it with --admin-hosts"})
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{
		"127.0.0.1:8082": 200, "[::1]:8082": 200, "[::1]": 200, "10.4.0.11:8082": 200, "[fe80::1%25eth0]:8082": 200, // addresses
		"localhost:9000": 200, "localhost": 200, "app.localhost": 200, "LOCALHOST:80": 200, // tunnels and port-forwards
		"micelio-0": 200, "node2:8082": 200, "": 200, own: 200, // containers, this machine
		"micelio-0.micelio.forge.svc.cluster.local:8082": 200, "micelio.forge.svc:8082": 200, "nas.local": 200, "n1.corp.internal": 200, "pi.home.arpa.": 200,
		"node1.example.com:8082": 200, "NODE1.example.com": 200, "a.forge.example.org": 200, // set
		"evil.example:8082": 421, "rebind.example.com": 421, "node1.example.com.evil.example": 421, "xnode1.example.com": 421, "forge.example.org": 421,
		"localhost.evil.example": 421, "127.0.0.1.evil.example:8082": 421, "notlocal.example": 421, "x.local.evil.example": 421, "svc.example": 421, "1.2.3": 421,
	} {
		a := ask(c, "GET", "/status", "Host", host)
		if a.StatusCode != want {
			t.Errorf("%q: %s, want %d", host, a.Status, want)
		}
		if text := body(t, a); want == 421 && !strings.Contains(text, "ask for it by its address, or name it with --admin-hosts") {
			t.Errorf("%q: %s", host, text)
		}
	}
	any := New(newScript(time.Now()), Options{Hosts: []string{"*"}})
	if a := ask(any, "GET", "/", "Host", "evil.example"); a.StatusCode != 200 {
		t.Errorf("any host: %s", a.Status)
	}
}

func TestPagesOfOtherSitesGetNothing(t *testing.T) {
	c := New(newScript(time.Now()), Options{})
	const site, mode, dest = "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest"
	for _, q := range []struct {
		what    string
		headers []string
		want    int
	}{
		{"curl", nil, 200},
		{"typed into the browser", []string{site, "none", mode, "navigate", dest, "document"}, 200},
		{"the page itself", []string{site, "same-origin", mode, "cors", dest, "empty"}, 200},
		{"the page itself, with Origin", []string{"Origin", "http://127.0.0.1:8082"}, 200},
		{"a script elsewhere", []string{site, "cross-site", mode, "cors", dest, "empty"}, 403},
		{"another port of this machine", []string{site, "same-site", mode, "no-cors", dest, "image"}, 403},
		{"a frame elsewhere", []string{site, "cross-site", mode, "navigate", dest, "iframe"}, 403},
		{"an older browser's script elsewhere", []string{"Origin", "http://evil.example"}, 403},
		{"a file, or a frame without an origin", []string{"Origin", "null"}, 403},
	} {
		for _, target := range []string{"/", "/status", "/lookup?key=a"} {
			if a := ask(c, "GET", target, q.headers...); a.StatusCode != q.want {
				t.Errorf("%s, %s: %s, want %d", q.what, target, a.Status, q.want)
			}
		}
	}
}

// A page can send its visitor wherever it likes, so a link must not make a node work:
// a lookup asks every member, a profile takes a minute. The page's own links do.
func TestALinkElsewhereLeadsOnlyToWhatCostsNothing(t *testing.T) {
	neighbours := New(newScript(time.Now()), Options{}).Guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for target, want := range map[string]int{
		"/": 200, "/status": 200, "/history": 200, "/metrics": 200,
		"/lookup?key=a": 403, "/where/a?check": 403, "/ring?check": 403, "/debug/pprof/profile?seconds=60": 403, "/events": 403, "/debug/../": 403,
	} {
		for from, want := range map[string]int{"cross-site": want, "same-site": want, "same-origin": 200, "none": 200} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, target, nil)
			r.Host = "127.0.0.1:8082"
			for name, value := range map[string]string{"Sec-Fetch-Site": from, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"} {
				r.Header.Set(name, value)
			}
			neighbours.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s from %s: %d, want %d", target, from, w.Code, want)
			}
		}
	}
}

func TestEveryAnswerForbidsWhatItCan(t *testing.T) {
	c := New(newScript(time.Now()), Options{})
	for _, a := range []*http.Response{ask(c, "GET", "/"), ask(c, "GET", "/status"), ask(c, "GET", "/nothing"), ask(c, "GET", "/", "Host", "evil.example"), ask(c, "GET", "/", "Origin", "null")} {
		policy := a.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "script-src 'self'", "connect-src 'self'", "base-uri 'none'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: the policy %q has no %s", a.Status, policy, part)
			}
		}
		if strings.Contains(policy, "unsafe") || a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", a.Status, a.Header)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin"} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", a.Status, name, got, want)
			}
		}
	}
}
