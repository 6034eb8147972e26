package node

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func withSecret(secret string) func(*Config) {
	return func(c *Config) { c.ClusterSecret = Secret(secret) }
}

func TestAClusterWithASecretServes(t *testing.T) {
	nodes := startCluster(t, 3, withSecret(secretA+"\n"))
	key := ownedBy(t, nodes, 1, "cache/b/sha256:%d/file")
	put(t, nodes[0], key, []byte("x"))
	want(t, nodes[2], key, []byte("x"))
	for _, n := range nodes {
		if _, says := readyz(t, n); !strings.Contains(says, `[+] cluster: "micelio", gossip is encrypted`) {
			t.Errorf("%s says\n%s", n.ID(), says)
		}
	}
}

// A node that is alone because it is not let in says so, and by whom, and what
// to do, where an operator looks.
func TestANodeThatIsRefusedSaysWhy(t *testing.T) {
	first := startNode(t, t.TempDir(), withSecret(secretA))
	<-first.Ready()
	if _, says := readyz(t, first); !strings.Contains(says, "[+] cluster: ") {
		t.Errorf("the first node of a cluster says\n%s", says)
	}
	second := startNode(t, t.TempDir(), withSecret(secretB), func(c *Config) { c.Join = []string{first.GossipAddr()} })
	line := "[!] cluster: alone, refused by " + first.GossipAddr() + " (secret): give all nodes of a cluster the same cluster secret\n"
	awaitReadyz(t, second, line)
	for _, n := range []*running{first, second} {
		if _, metrics := ask(t, n, "/metrics"); strings.Contains(metrics, "micelio_ring_refused_total{reason=\"secret\"} 0\n") ||
			!strings.Contains(metrics, "micelio_ring_refused_total{reason=\"secret\"} ") {
			t.Errorf("%s does not count whom it refused", n.ID())
		}
	}
	if len(first.ring.View().Members()) != 1 {
		t.Error("it was let in")
	}
}

func TestANodeThatFindsNobodySaysSo(t *testing.T) {
	n := startNode(t, t.TempDir(), func(c *Config) { c.Join = []string{"127.0.0.1:1"} })
	awaitReadyz(t, n, "[!] cluster: alone, no other node answers at [127.0.0.1:1]\n")
}

// awaitReadyz waits until a node says a line.
func awaitReadyz(t *testing.T, n *running, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for {
		_, says := readyz(t, n)
		if strings.Contains(says, line) {
			return
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			t.Fatalf("never said %q, but\n%s", line, says)
		}
	}
}

// The listeners of nodes need no loopback and no --allow-anonymous if there is a
// secret.
func TestASecretProtectsTheListenersOfNodesOnly(t *testing.T) {
	for setting, edit := range map[string]func(*Config){
		"":             func(c *Config) { c.GossipListen, c.PeerListen = "0.0.0.0:7946", "0.0.0.0:8081" },
		"listen":       func(c *Config) { c.Listen = "0.0.0.0:8080" },
		"admin-listen": func(c *Config) { c.AdminListen = "0.0.0.0:8082" },
	} {
		c := DefaultConfig()
		c.DataDir, c.ClusterSecret = filepath.Join(t.TempDir(), "data"), Secret(secretA)
		edit(&c)
		got := faults(t, c)
		if setting == "" && got != nil || setting != "" && (len(got) != 1 || got[0].Setting != setting) {
			t.Errorf("%q: %v", setting, got)
		}
	}
}
