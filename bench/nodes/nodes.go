// Package nodes runs micelio-node, each in a process of its own, on free ports of
// this machine. It measures nothing.
package nodes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/micelio/micelio/bench/proc"
)

// patience is how long a node may take to serve, or a cluster to agree.
const patience = 30 * time.Second

// Build builds the program from the module above the working directory into dir,
// and returns where it is.
func Build(dir string) (string, error) {
	binary := filepath.Join(dir, "micelio-node")
	build := exec.Command("go", "build", "-C", "..", "-trimpath", "-o", binary, "./cmd/micelio-node")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return binary, nil
}

// A Node is a micelio-node that serves.
type Node struct {
	ID                    string
	Process               *proc.Process
	Client, Admin, Gossip string // addresses
}

// Options say how a node is started.
type Options struct {
	Binary string
	Core   int    // that it is held to, or proc.Any
	Dir    string // for what it keeps
	Origin string // directory
	Join   []*Node
	Args   []string // further arguments
}

// Start starts a node and waits until it is ready. Nothing of this program's
// environment reaches it, so that nobody's S3_BUCKET makes another node of it.
func Start(id string, o Options) (*Node, error) {
	args := []string{
		"serve", "--name", id, "--data-dir", o.Dir, "--local-path", o.Origin, "--log-format", "text",
		"--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--gossip-listen", "127.0.0.1:0",
		"--canary-interval", "0", "--drain-delay", "0",
	}
	for _, other := range o.Join {
		args = append(args, "--join", other.Gossip)
	}
	n, log := &Node{ID: id}, &log{ready: make(chan struct{})}
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + o.Dir, "TMPDIR=" + os.TempDir(), "GOMAXPROCS=1"}
	var err error
	if n.Process, err = proc.Start(o.Core, env, log, o.Binary, append(args, o.Args...)...); err != nil {
		return nil, err
	}
	select {
	case <-log.ready:
	case <-n.Process.Ended():
		return nil, fmt.Errorf("%s did not start:\n%s", id, log.text())
	case <-time.After(patience):
		n.Stop()
		return nil, fmt.Errorf("%s is not ready after %v:\n%s", id, patience, log.text())
	}
	n.addresses(log.text())
	return n, nil
}

// Stop ends the node and waits for it.
func (n *Node) Stop() {
	if n != nil {
		n.Process.Stop()
	}
}

// addresses takes the node's addresses from its log.
func (n *Node) addresses(log string) {
	for line := range strings.Lines(log) {
		addr := field(line, "addr")
		switch {
		case strings.Contains(line, "for=client"):
			n.Client = addr
		case strings.Contains(line, "for=admin"):
			n.Admin = addr
		case strings.Contains(line, "msg=gossiping"):
			n.Gossip = addr
		}
	}
}

// field returns the value of a field of a log line.
func field(line, name string) string {
	_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "+name+"=")
	value, _, _ := strings.Cut(rest, " ")
	return value
}

// A log keeps the beginning of what a node says, up to that it is ready.
type log struct {
	mu    sync.Mutex
	kept  []byte
	done  bool
	ready chan struct{} // closed when it is
}

// mostLog is what is kept at most, of a node that never gets ready.
const mostLog = 64 << 10

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.done && len(l.kept) < mostLog {
		l.kept = append(l.kept, p...)
		if bytes.Contains(l.kept, []byte("msg=ready")) {
			l.done = true
			close(l.ready)
		}
	}
	return len(p), nil
}

func (l *log) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.kept)
}

// AwaitMembers waits until the node sees so many that serve.
func (n *Node) AwaitMembers(count int) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		var ring struct {
			Members []struct{ State string }
		}
		if err := n.Ask("/ring", &ring); err != nil {
			return err
		}
		serving := 0
		for _, other := range ring.Members {
			if other.State == "serving" {
				serving++
			}
		}
		if serving == count {
			return nil
		}
	}
	return fmt.Errorf("%s does not see %d members", n.ID, count)
}

// Owner returns the id of the node that owns a key, as this one sees it.
func (n *Node) Owner(key string) (string, error) {
	var where struct{ Owner string }
	err := n.Ask("/where/"+key, &where)
	return where.Owner, err
}

// Ask reads a JSON answer of the admin listener into v.
func (n *Node) Ask(path string, v any) error {
	resp, err := http.Get("http://" + n.Admin + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}
