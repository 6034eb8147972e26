package node

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/micelio/micelio/object"
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
	n := startNode(t, t.TempDir())
	awaitServing(t, []*running{n}, 1)
	for _, phase := range []int32{phaseStarting, phaseDraining} {
		n.phase.Store(phase)
		if status, body := ask(t, n, "/readyz?verbose"); status != http.StatusServiceUnavailable || !strings.Contains(body, "[-]") {
			t.Errorf("phase %d: %d %s", phase, status, body)
		}
		if status, _ := ask(t, n, "/healthz"); status != http.StatusOK {
			t.Errorf("phase %d: not alive", phase)
		}
	}
}
