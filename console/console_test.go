package console

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// ask returns the answer of a handler to a request with headers, which come in pairs.
func ask(h http.Handler, method, target string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, "/", nil)
	r.Host = "127.0.0.1:8082"
	r.RequestURI = target
	r.URL, _ = url.ParseRequestURI(target)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, answer *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestThePageNamesItsAssetsByTheirHash(t *testing.T) {
	c := New(newScript(time.Now()), Options{})
	index := ask(c, "GET", "/")
	text := body(t, index)
	if got := index.Header.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("the page may be kept: %q", got)
	}
	if again := ask(c, "GET", "/", "If-None-Match", index.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("the page again: %s", again.Status)
	}
	names := regexp.MustCompile(`assets/[0-9a-f]{16}/[a-z]+\.[a-z]+`).FindAllString(text, -1)
	if len(names) < 5 || strings.Contains(text, assetsMark) {
		t.Fatalf("assets %q", names)
	}
	for name, want := range map[string]string{"app.js": "text/javascript; charset=utf-8", "style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"} {
		i := slices.IndexFunc(names, func(n string) bool { return strings.HasSuffix(n, "/"+name) })
		if i < 0 {
			t.Errorf("the page has no %s", name)
			continue
		}
		a := ask(c, "GET", "/"+names[i])
		if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != want || a.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
			t.Errorf("%s: %s, %v", names[i], a.Status, a.Header)
		}
		if again := ask(c, "GET", "/"+names[i], "If-None-Match", a.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %s", names[i], again.Status)
		}
		other := strings.Replace(names[i], "assets/", "assets/0", 1)
		if a := ask(c, "GET", "/"+other); a.StatusCode != http.StatusNotFound || strings.Contains(a.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %s, kept as %q", other, a.Status, a.Header.Get("Cache-Control"))
		}
	}
}

// What the policy forbids would only be seen in a browser, and only in some.
func TestThePageIsPlain(t *testing.T) {
	entries, err := pageFiles.ReadDir("page")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		text, err := pageFiles.ReadFile("page/" + entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(string(text), "\n"); lines > 400 {
			t.Errorf("%s has %d lines", entry.Name(), lines)
		}
		for _, forbidden := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style=", "onclick=\"", "https://", "@import"} {
			if strings.Contains(string(text), forbidden) {
				t.Errorf("%s has %s", entry.Name(), forbidden)
			}
		}
	}
}

func TestOnlyGetAndHead(t *testing.T) {
	c := New(newScript(time.Now()), Options{})
	for _, target := range []string{"/", "/status", "/history", "/events", "/lookup?key=a"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
			if a := ask(c, method, target); a.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(a.Header.Get("Allow"), "GET") {
				t.Errorf("%s %s: %s, Allow %q", method, target, a.Status, a.Header.Get("Allow"))
			}
		}
		if a := ask(c, "HEAD", target); a.StatusCode != http.StatusOK {
			t.Errorf("HEAD %s: %s", target, a.Status)
		}
	}
	if a := ask(c, "GET", "/metrics"); a.StatusCode != http.StatusNotFound {
		t.Errorf("what the console does not know: %s", a.Status)
	}
}

func TestStatusHasRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(newScript(time.Now()), Options{})
		for range 13 {
			c.history.sample(c.source.Counters())
			time.Sleep(sampleEvery)
		}
		a := ask(c, "GET", "/status")
		var s Status
		if err := json.Unmarshal([]byte(body(t, a)), &s); err != nil {
			t.Fatal(err)
		}
		if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("headers %v", a.Header)
		}
		if m := s.Rates.Minute; m.Seconds != 60 || m.Requests < 1000 || m.Hits < .5 || m.Tiers["ram"] < .5 {
			t.Errorf("rates %+v", m)
		}
		if ram := s.Answers[1]; ram.From != "ram" || ram.Rate < 500 || ram.P50 < 50e-6 || ram.P99 < ram.P50 {
			t.Errorf("answers from ram %+v", ram)
		}
		if s.Node.ID != "build-eu-1" || s.Fills[2].Key != hostile {
			t.Errorf("status %+v", s)
		}
		var h Series
		if err := json.Unmarshal([]byte(body(t, ask(c, "GET", "/history"))), &h); err != nil || len(h.At) != 12 {
			t.Errorf("history %+v, %v", h, err)
		}
	})
}

func TestWhatIsNoNumberIsNoCrash(t *testing.T) {
	source := newScript(time.Now())
	source.set(func(s *Status) { s.Node.CPUSeconds = math.NaN() })
	if a := ask(New(source, Options{}), "GET", "/status"); a.StatusCode != http.StatusInternalServerError || !strings.Contains(body(t, a), `{"error":`) {
		t.Errorf("a status that is no JSON: %s", a.Status)
	}
}

func TestLookupSaysWhereAKeyIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(newScript(time.Now()), Options{})
		for _, q := range []struct {
			query string
			want  int
			has   string
		}{
			{"key=artifacts%2Fa%20b%3Fc", 200, `"key":"artifacts/a b?c"`},
			{"key=" + url.QueryEscape(hostile), 200, `"key":"x/<img src=x onerror=document.title=\"broken\"><script>`},
			{"key=%2Fa", 400, `{"error":"object: invalid key: begins with /"}`},
			{"", 400, `{"error":"which key?`},
			{"key=%zz", 400, `{"error":"the query cannot be read`},
			{"a;b", 400, `{"error":"the query cannot be read`},
			{"key=slow", 504, `{"error":"the members did not answer in time"}`},
		} {
			a := ask(c, "GET", "/lookup?"+q.query)
			if text := body(t, a); a.StatusCode != q.want || !strings.Contains(text, q.has) {
				t.Errorf("%s: %s %s", q.query, a.Status, text)
			}
		}
	})
}

func TestLookupsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(newScript(time.Now()), Options{})
		var all sync.WaitGroup
		for range maxLookups {
			all.Go(func() { ask(c, "GET", "/lookup?key=slow") })
		}
		synctest.Wait()
		if a := ask(c, "GET", "/lookup?key=a"); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
			t.Errorf("one more than enough: %s", a.Status)
		}
		all.Wait()
		if a := ask(c, "GET", "/lookup?key=a"); a.StatusCode != http.StatusOK {
			t.Errorf("after the others: %s", a.Status)
		}
	})
}

// Whatever is asked for, the answer is JSON that either has the very key or says
// what is wrong with it.
func FuzzLookup(f *testing.F) {
	for _, seed := range []string{"a", "/a", hostile, "a b&c=d", "\x00", "ä\xff", "..", "%2e", "a\nb"} {
		f.Add("key=" + url.QueryEscape(seed))
		f.Add("key=" + seed)
	}
	c := New(newScript(time.Now()), Options{})
	f.Fuzz(func(t *testing.T, query string) {
		if query == "key=slow" { // which waits
			return
		}
		r := httptest.NewRequest("GET", "/lookup", nil)
		r.Host = "localhost"
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		var answer struct {
			Key   *string `json:"key"`
			Error string  `json:"error"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%s: %v", w.Body, err)
		}
		values, err := url.ParseQuery(query)
		key := values.Get("key")
		switch {
		case w.Code == 400:
			if answer.Error == "" || err == nil && key != "" && !strings.HasPrefix(key, "/") {
				t.Errorf("%q is refused: %q", query, answer.Error)
			}
		case w.Code != 200 || answer.Key == nil || *answer.Key != strings.ToValidUTF8(key, "\ufffd") && *answer.Key != string([]rune(key)):
			t.Errorf("%q: %d %s", query, w.Code, w.Body)
		}
	})
}
