package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micelio/micelio/node"
)

// startNodes runs some nodes in this process, over one directory, until all of
// them show the same ring.
func startNodes(t *testing.T, count int) []*node.Node {
	t.Helper()
	dir := t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	var nodes []*node.Node
	for i := range count {
		cfg := node.DefaultConfig()
		cfg.Name, cfg.DataDir, cfg.LocalPath = fmt.Sprint("node-", i+1), filepath.Join(dir, fmt.Sprint(i)), filepath.Join(dir, "origin")
		cfg.Listen, cfg.PeerListen, cfg.AdminListen, cfg.GossipListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		cfg.SSDBytes, cfg.DrainDelay, cfg.CanaryInterval = 64<<20, 0, 0
		if i > 0 {
			cfg.Join = []string{nodes[0].GossipAddr()}
		}
		n, err := node.Open(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			if err := n.Run(ctx); err != nil {
				t.Errorf("%s: %v", n.ID(), err)
			}
		})
		<-n.Ready()
		nodes = append(nodes, n)
	}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for { // the command under test says when, or the test's time runs out
		code, said, _ := runWith(t, nil, "ring", "--admin-listen", nodes[0].AdminAddr())
		if code == exitOK && strings.Count(said, "serving") == count {
			return nodes
		}
		<-again.C
	}
}

// request sends one to a node's data listener, and expects 200.
func request(t *testing.T, method string, n *node.Node, key, body string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+n.Addr()+"/micelio/"+key, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s", method, key, resp.Status)
	}
}
