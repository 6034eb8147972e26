package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(int) { http.DefaultClient.CloseIdleConnections() }))
}

// A member of a cluster under load, which can be replaced by its next start.
type member struct{ now atomic.Pointer[running] }

// A worker writes, reads and deletes a key of its own, each step through
// whichever node is ready, as behind a load balancer, and checks every answer.
type worker struct {
	t       *testing.T
	client  *http.Client
	members []*member
	key     string
	step    int
}

// do sends one request to a node that is ready.
func (w *worker) do(ctx context.Context, method, body string) (int, string) {
	for {
		w.step++
		n := w.members[w.step%len(w.members)].now.Load()
		if n == nil || n.phase.Load() != phaseReady {
			continue
		}
		req, err := http.NewRequestWithContext(ctx, method, "http://"+n.Addr()+"/micelio/"+w.key, strings.NewReader(body))
		if err != nil {
			w.t.Error(err)
			return 0, ""
		}
		resp, err := w.client.Do(req)
		if err != nil {
			w.t.Errorf("%s %s through %s: %v", method, w.key, n.ID(), err)
			return 0, ""
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			w.t.Errorf("%s %s through %s: the body: %v", method, w.key, n.ID(), err)
		}
		return resp.StatusCode, string(got)
	}
}

func (w *worker) want(ctx context.Context, method, body string, status int, answer string) {
	w.t.Helper()
	if got, text := w.do(ctx, method, body); got != status || (answer != "" && text != answer) {
		w.t.Errorf("%s %s: %d %.300s, want %d %s", method, w.key, got, text, status, answer)
	}
}

// work goes on until stop is closed, or something went wrong.
func (w *worker) work(stop <-chan struct{}) {
	ctx := context.Background()
	defer w.client.CloseIdleConnections()
	for round := 0; ; round++ {
		select {
		case <-stop:
			return
		default:
		}
		if w.t.Failed() {
			return
		}
		body := fmt.Sprintf("%s, round %d", w.key, round)
		w.want(ctx, http.MethodPut, body, http.StatusOK, "")
		w.want(ctx, http.MethodGet, "", http.StatusOK, body)
		w.want(ctx, http.MethodHead, "", http.StatusOK, "")
		w.want(ctx, http.MethodGet, "", http.StatusOK, body)
		if round%4 == 3 {
			w.want(ctx, http.MethodDelete, "", http.StatusNoContent, "")
			w.want(ctx, http.MethodGet, "", http.StatusNotFound, "")
		}
	}
}

func TestNothingFailsWhileNodesAreRestartedOneByOne(t *testing.T) {
	dir := t.TempDir()
	start := func(i int, join ...string) *running {
		return startNode(t, filepath.Join(dir, fmt.Sprint("node", i)), func(cfg *Config) {
			cfg.Name, cfg.Join = fmt.Sprint("node-", i), join
			cfg.LocalPath, cfg.DrainDelay = filepath.Join(dir, "origin"), time.Second
		})
	}
	nodes := []*running{start(0)}
	for i := 1; i < 3; i++ {
		nodes = append(nodes, start(i, nodes[0].GossipAddr()))
	}
	awaitServing(t, nodes, 3)
	members := []*member{{}, {}, {}}
	for i, n := range nodes {
		members[i].now.Store(n)
	}

	stop := make(chan struct{})
	var workers sync.WaitGroup
	for i := range 6 {
		pattern := []string{"sessions/%d/head", "cache/x/sha256:%d"}[i%2]
		w := &worker{
			t: t, client: &http.Client{Transport: &http.Transport{}}, members: members, step: i,
			key: fmt.Sprintf(pattern, i),
		}
		if i%2 == 1 { // what is named by a hash has one content
			workers.Go(func() { w.read(stop) })
			continue
		}
		workers.Go(func() { w.work(stop) })
	}
	for i := range nodes {
		if err := nodes[i].drained(); err != nil {
			t.Errorf("Run: %v", err)
		}
		awaitServing(t, []*running{nodes[(i+1)%3], nodes[(i+2)%3]}, 2)
		nodes[i] = start(i, nodes[(i+1)%3].GossipAddr())
		awaitServing(t, nodes, 3)
		members[i].now.Store(nodes[i])
	}
	close(stop)
	workers.Wait()
}

// read stores one object and reads it until stop is closed.
func (w *worker) read(stop <-chan struct{}) {
	ctx := context.Background()
	defer w.client.CloseIdleConnections()
	body := strings.Repeat(w.key, 20_000)
	w.want(ctx, http.MethodPut, body, http.StatusOK, "")
	for !w.t.Failed() {
		select {
		case <-stop:
			return
		default:
		}
		if status, got := w.do(ctx, http.MethodGet, ""); status != http.StatusOK || got != body {
			w.t.Errorf("GET %s: %d, %d bytes", w.key, status, len(got))
		}
	}
}

func TestADrainingNodeAsksItsClientsToGo(t *testing.T) {
	n := startNode(t, t.TempDir())
	awaitServing(t, []*running{n}, 1)
	get := func() *http.Response {
		resp, err := http.Get("http://" + n.Addr() + "/micelio/nothing")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	if get().Close {
		t.Error("a ready node closes connections")
	}
	n.phase.Store(phaseDraining)
	if !get().Close {
		t.Error("a draining node keeps connections")
	}
}

// A listener that fails ends the node at once, also while it looks for others.
func TestAFailedListenerEndsTheNode(t *testing.T) {
	for name, join := range map[string][]string{"while it looks for others": {"127.0.0.1:1"}, "alone": nil} {
		cfg := DefaultConfig()
		cfg.DataDir, cfg.Join = t.TempDir(), join
		cfg.Listen, cfg.PeerListen, cfg.AdminListen, cfg.GossipListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		n, err := Open(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		n.peers.Listener.Close()
		err = n.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "peer listener") {
			t.Errorf("%s: %v", name, err)
		}
		if join != nil && n.phase.Load() == phaseReady {
			t.Errorf("%s: it went on looking before it said so", name)
		}
	}
}

// held is a Store whose Get waits until its context ends, and a little longer.
type held struct {
	object.Store
	began chan struct{}
	ended atomic.Bool
}

func (h *held) Get(ctx context.Context, _ object.Key, _ object.GetOptions) (*object.Object, error) {
	close(h.began)
	<-ctx.Done()
	<-time.After(50 * time.Millisecond) // the time that disks and locks take
	h.ended.Store(true)
	return nil, ctx.Err()
}

func TestRunEndsAfterTheRequestsItCut(t *testing.T) {
	cfg := DefaultConfig()
	cfg.DataDir, cfg.DrainDelay, cfg.DrainTimeout = t.TempDir(), 0, time.Millisecond
	cfg.Listen, cfg.PeerListen, cfg.AdminListen, cfg.GossipListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	n, err := Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	store := &held{Store: n.stack, began: make(chan struct{})}
	n.peers.server.Handler = peer.NewHandler(store, peer.HandlerConfig{Node: n.id, Cluster: n.cfg.Cluster})
	ctx, stop := context.WithCancel(t.Context())
	var client sync.WaitGroup
	client.Go(func() {
		pool := peer.NewPool(peer.Config{Node: "x", Cluster: n.cfg.Cluster})
		defer pool.Close()
		if _, err := pool.Client(n.peers.Addr().String()).Get(context.Background(), "k", object.GetOptions{}); err == nil {
			t.Error("a cut request was answered")
		}
	})
	client.Go(func() { <-store.began; stop() })
	if err := n.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	if !store.ended.Load() {
		t.Error("Run ended before a request it had cut")
	}
	client.Wait()
}

func TestServersLogFaultsAndNotNoise(t *testing.T) {
	var out bytes.Buffer
	l := serverLog{slog.New(slog.NewTextHandler(&out, nil))} // info and above
	for line, level := range map[string]string{
		"http: panic serving 127.0.0.1:1: boom\n":                          "ERROR",
		"http: Accept error: too many open files; retrying in 5ms\n":       "WARN",
		"http: TLS handshake error from 127.0.0.1:1: EOF\n":                "",
		"http: superfluous response.WriteHeader call from x (y.go:1)\n":    "WARN",
		"http: URL query contains semicolon, which is no longer a thing\n": "",
	} {
		out.Reset()
		if _, err := l.Write([]byte(line)); err != nil {
			t.Error(err)
		}
		if got := out.String(); (level == "" && got != "") || !strings.Contains(got, level) {
			t.Errorf("%q is logged as %q, want level %q", line, got, level)
		}
	}
}

// Peers close connections that they do not use. If the server closed one first,
// a DELETE sent in that moment would have an unknown outcome.
func TestPeersCloseTheirConnectionsFirst(t *testing.T) {
	n := startNode(t, t.TempDir())
	if s := n.peers.server; s.IdleTimeout <= peer.IdleTimeout || s.ReadHeaderTimeout <= peer.IdleTimeout {
		t.Errorf("idle %v, new %v; clients keep them for %v", s.IdleTimeout, s.ReadHeaderTimeout, peer.IdleTimeout)
	}
}

func TestANodeThatIsToldToStopBeforeItStartedEnds(t *testing.T) {
	n := startNode(t, t.TempDir(), func(cfg *Config) {
		cfg.Join, cfg.DrainDelay = []string{"127.0.0.1:1"}, time.Hour // nobody was sent here who could be warned
	})
	if err := n.drained(); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
}
