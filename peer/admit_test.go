package peer

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

// ask sends a request as it is to the handler of store.
func ask(t *testing.T, store object.Store, method, target string, header map[string]string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, "/", nil)
	r.RequestURI = target
	for name, value := range header {
		r.Header.Set(name, value)
	}
	handlerOf(store).ServeHTTP(w, r)
	return w.Result()
}

func marked(more ...string) map[string]string {
	h := map[string]string{headerHop: "1", headerCluster: "the%20cluster", headerFrom: "tester"}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = more[i+1]
	}
	return h
}

func without(name string) map[string]string {
	h := marked()
	delete(h, name)
	return h
}

// untouchable is a Store that must not be asked.
type untouchable struct{ object.Store }

func TestRequestsThatAreNotAPeersAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		header map[string]string
		status int
		code   string
	}{
		"no mark":          {nil, 400, "unmarked"},
		"no hop":           {without(headerHop), 400, "unmarked"},
		"no cluster":       {without(headerCluster), 400, "unmarked"},
		"no sender":        {without(headerFrom), 400, "unmarked"},
		"another cluster":  {marked(headerCluster, "staging"), 421, "wrong-cluster"},
		"a second hop":     {marked(headerHop, "2"), 508, "hop-limit"},
		"a hop of nothing": {marked(headerHop, ""), 508, "hop-limit"},
		"a garbled hop":    {marked(headerHop, "1, 1"), 508, "hop-limit"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
				resp := ask(t, untouchable{}, method, "/o/key", c.header)
				if got := resp.Header.Get(headerError); resp.StatusCode != c.status || got != c.code {
					t.Errorf("%s: status %d, code %q, want %d, %q", method, resp.StatusCode, got, c.status, c.code)
				}
			}
			if resp := ask(t, untouchable{}, "GET", "/l", c.header); resp.Header.Get(headerError) != c.code {
				t.Errorf("list: code %q, want %q", resp.Header.Get(headerError), c.code)
			}
		})
	}
}

func TestRefusalsAreLogged(t *testing.T) {
	var log strings.Builder
	h := NewHandler(untouchable{}, HandlerConfig{Cluster: "the cluster", Log: textLog(&log)})
	r := httptest.NewRequest("GET", "/o/key", nil)
	for name, value := range marked(headerCluster, "staging", headerFrom, "node-7") {
		r.Header.Set(name, value)
	}
	h.ServeHTTP(httptest.NewRecorder(), r)
	for _, want := range []string{"WARN", "wrong-cluster", "staging", "node-7"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log %q lacks %q", log.String(), want)
		}
	}
}

func TestMalformedRequestsTouchNothing(t *testing.T) {
	for _, c := range []struct{ method, target, options, code string }{
		{"GET", "/", "", "bad-request"},
		{"GET", "/o", "", "bad-request"},
		{"GET", "//o/key", "", "bad-request"},
		{"GET", "http://127.0.0.1/o/key", "", "bad-request"},
		{"GET", "*", "", "bad-request"},
		{"GET", "/l?prefix=a", "", "bad-request"},
		{"GET", "/o/", "", "invalid-key"},
		{"GET", "/o//key", "", "invalid-key"},
		{"GET", "/o/../l", "", "invalid-key"},
		{"GET", "/o/%2e%2e%2fetc", "", "invalid-key"},
		{"GET", "/o/a%00b", "", "invalid-key"},
		{"GET", "/o/a%0d%0ab", "", "invalid-key"},
		{"GET", "/o/%ff", "", "invalid-key"},
		{"GET", "/o/%zz", "", "invalid-key"},
		{"GET", "/o/%2", "", "invalid-key"},
		{"GET", "/o/a\\b", "", "invalid-key"},
		{"GET", "/o/key?x", "", "invalid-key"},
		{"GET", "/o/" + strings.Repeat("k", object.MaxKeyLen+1), "", "invalid-key"},
		{"POST", "/o/key", "", "bad-request"},
		{"PUT", "/l", "limit=1", "bad-request"},
		{"GET", "/o/key", "if-modified-since=1", "bad-request"},
		{"GET", "/o/key", "range=bytes=1-0", "bad-request"},
		{"GET", "/o/key", "if-match=\"", "bad-request"},
		{"GET", "/o/key", "range=bytes=0-&if-match=*", "bad-request"},
		{"GET", "/o/key", "if-match=*&if-match=*", "bad-request"},
		{"HEAD", "/o/key", "range=bytes=0-", "bad-request"},
		{"PUT", "/o/key", "size=5", "bad-request"},
		{"PUT", "/o/key", "", "bad-request"},
		{"PUT", "/o/key", "md5=00&size=0", "bad-request"},
		{"PUT", "/o/key", "sha256=00&size=0", "bad-request"},
		{"PUT", "/o/key", "size=0&ttl=5", "bad-request"},
		{"DELETE", "/o/key", "if-none-match=*", "bad-request"},
		{"GET", "/l", "", "bad-request"},
		{"GET", "/l", "limit=0", "bad-request"},
		{"GET", "/l", "limit=1001", "bad-request"},
		{"GET", "/l", "limit=-1", "bad-request"},
		{"GET", "/l", "limit=1&start=a", "bad-request"},
		{"GET", "/o/key", "cached=2", "bad-request"},
		{"GET", "/o/key", "cached=1&", "bad-request"},
		{"GET", "/o/key", "cached=1&cached=1", "bad-request"},
		{"GET", "/o/key", "cached=1if-match=*", "bad-request"},
		{"GET", "/o/key", "if-match=*&cached=1", "bad-request"},
		{"HEAD", "/o/key", "cached=1&if-match=*", "bad-request"},
		{"PUT", "/o/key", "cached=1&size=0", "bad-request"},
		{"DELETE", "/o/key", "cached=1", "bad-request"},
		{"GET", "/l", "cached=1&limit=1", "bad-request"},
		{"GET", "/h", "keys=a", "bad-request"},
		{"POST", "/h", "", "bad-request"},
		{"POST", "/h", "keys=", "bad-request"},
		{"POST", "/h", "keys=a//b", "bad-request"},
		{"POST", "/h", "keys=a&limit=1", "bad-request"},
		{"POST", "/h", "keys=" + strings.Repeat("k%0A", MaxHandover+1), "bad-request"},
	} {
		resp := ask(t, untouchable{}, c.method, c.target, marked(headerOptions, c.options))
		if got := resp.Header.Get(headerError); got != c.code {
			t.Errorf("%s %.40s %q: code %q, want %q", c.method, c.target, c.options, got, c.code)
		}
	}
}

func TestKeysAreDecodedOnce(t *testing.T) {
	store := new(objecttest.Memory)
	put(t, store, "%2e", "percent")
	for target, status := range map[string]int{"/o/%252e": 200, "/o/%25%32%65": 200, "/o/%2e": 400, "/o/%25252e": 404} {
		if resp := ask(t, store, "HEAD", target, marked()); resp.StatusCode != status {
			t.Errorf("%s: status %d, want %d", target, resp.StatusCode, status)
		}
	}
}

func TestARefusedClusterIsAnUnusablePeer(t *testing.T) {
	addr := serve(t, handlerOf(new(objecttest.Memory)))
	stranger := poolOf(t, Config{Cluster: "staging"}).Client(addr)
	for op, err := range operations(t.Context(), stranger, object.BytesSource([]byte("body"))) {
		switch op {
		case "put":
			wantErr(t, op, err, object.ErrUnavailable, ErrNotSent)
		case "delete":
			wantErr(t, op, err, object.ErrUnknownOutcome)
		default:
			wantErr(t, op, err, object.ErrUnavailable)
		}
		if !strings.Contains(err.Error(), "the%20cluster") {
			t.Errorf("%s: the other cluster is not named: %v", op, err)
		}
	}
}
