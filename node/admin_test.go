package node

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/ring"
)

// ask returns status and body of an admin page.
func ask(t *testing.T, n *running, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + n.AdminAddr() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestTheAdminPagesAnswer(t *testing.T) {
	nodes := startCluster(t, 2)
	key := ownedBy(t, nodes, 1, "cache/b/sha256:%d/file (1)")
	put(t, nodes[0], key, []byte("x"))

	for path, part := range map[string]string{
		"/": "/where/KEY", "/healthz": "ok", "/readyz": "ready", "/readyz?verbose": "[+] ring", "/metrics": "micelio_requests_total",
		"/debug/pprof/": "goroutine",
	} {
		want(t, nodes[0], key, []byte("x"))
		resp, err := http.Get("http://" + nodes[0].Addr() + "/micelio/nothing")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if status, body := ask(t, nodes[0], path); status != http.StatusOK || !strings.Contains(body, part) {
			t.Errorf("%s: %d, no %q in %.200s", path, status, part, body)
		}
	}

	var where whereReport
	_, body := ask(t, nodes[1], "/where/"+strings.ReplaceAll(string(key), " ", "%20"))
	if err := json.Unmarshal([]byte(body), &where); err != nil {
		t.Fatal(err)
	}
	if where.Key != key || where.Class != "immutable" || where.Owner != nodes[1].ID() || len(where.Held) == 0 || where.Held[0] != object.TierRAM {
		t.Errorf("where: %+v", where)
	}
	if status, _ := ask(t, nodes[0], "/where/a//b"); status == http.StatusOK {
		t.Error("/where answers for an invalid key")
	}

	var report ringReport
	_, body = ask(t, nodes[0], "/ring")
	if err := json.Unmarshal([]byte(body), &report); err != nil || len(report.Members) != 2 || report.Epoch == "" {
		t.Errorf("ring: %v, %s", err, body)
	}
}

func TestAStartingOrDrainingNodeIsNotReady(t *testing.T) {
	n := openNode(t)
	for phase, want := range map[int32]int{
		phaseStarting: http.StatusServiceUnavailable, phaseReady: http.StatusOK, phaseDraining: http.StatusServiceUnavailable,
	} {
		n.phase.Store(phase)
		if answer := n.answer(http.MethodGet, "/readyz?verbose"); answer.Code != want ||
			strings.Contains(answer.Body.String(), "[-]") != (want != http.StatusOK) {
			t.Errorf("phase %d: %d %s", phase, answer.Code, answer.Body)
		}
		if answer := n.answer(http.MethodGet, "/healthz"); answer.Code != http.StatusOK {
			t.Errorf("phase %d: not alive", phase)
		}
	}
}

// An opened node was opened and does not run.
type opened struct{ *Node }

func openNode(t testing.TB, edits ...func(*Config)) opened {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir = t.TempDir()
	cfg.Listen, cfg.PeerListen, cfg.AdminListen, cfg.GossipListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	for _, edit := range edits {
		edit(&cfg)
	}
	n, err := Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.release)
	return opened{n}
}

// answer is what the admin pages say to one request.
func (o opened) answer(method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, target, nil)
	r.Host = o.AdminAddr()
	o.admin.server.Handler.ServeHTTP(w, r)
	return w
}

func TestWhereTakesAnyKey(t *testing.T) {
	n := openNode(t)
	for target, key := range map[string]object.Key{
		"/where/a/b":                        "a/b",
		"/where/a%2Fb":                      "a/b",
		"/where/100%25+1%3F%23%3C%26%3E%22": `100%+1?#<&>"`,
		"/where/where/":                     "",
		"/where/a/../b":                     "",
		"/where/":                           "",
		"/where/%00":                        "",
		"/where/%E2%82%AC/%20":              "€/ ",
		"/where/a;b=c":                      "a;b=c",
	} {
		answer := n.answer(http.MethodGet, target)
		var report whereReport
		if err := json.Unmarshal(answer.Body.Bytes(), &report); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		if report.Key != key || (answer.Code == http.StatusOK) != (key != "") {
			t.Errorf("%s: %d, key %q, want %q", target, answer.Code, report.Key, key)
		}
	}
	if body := n.answer(http.MethodGet, "/where/%3C%26%3E").Body.String(); !strings.Contains(body, `"<&>"`) {
		t.Errorf("a key cannot be read in %s", body)
	}
	for method, want := range map[string]int{http.MethodHead: http.StatusOK, http.MethodPut: http.StatusMethodNotAllowed, http.MethodDelete: http.StatusMethodNotAllowed} {
		if answer := n.answer(method, "/where/k"); answer.Code != want {
			t.Errorf("%s: %d, want %d", method, answer.Code, want)
		}
	}
}

func TestWithoutTiersNobodyOwnsAKey(t *testing.T) {
	n := openNode(t, func(cfg *Config) { cfg.Backend = BackendLocal })
	if err := n.ring.SetState(t.Context(), ring.Serving); err != nil {
		t.Fatal(err)
	}
	var report whereReport
	if err := json.Unmarshal(n.answer(http.MethodGet, "/where/k").Body.Bytes(), &report); err != nil || report.Owner != "" || len(report.Candidates) != 0 {
		t.Errorf("%v, %+v", err, report)
	}
}
