package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

const (
	largeObject = 1 << 30
	memoryBound = 300 << 20 // bytes a node may ever have resident while it passes by
)

// pattern is an endless stream of random bytes, the same every time.
func pattern() io.Reader { return rand.NewChaCha8([32]byte{'m'}) }

// A 1 GiB file goes in through one node and out through the others, and no node
// ever needs the memory for it: neither when it is stored and the owner's disk
// has it from then on, nor when it was laid into the origin's folder and must be
// fetched.
func TestALargeFileNeedsLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 6 GiB")
	}
	t.Parallel()
	t.Run("stored", func(t *testing.T) {
		nodes := startCluster(t, 3)
		const key = "sessions/large/files/image"
		sum := sha256.New()
		body := io.TeeReader(io.LimitReader(pattern(), largeObject), sum)
		if err := nodes[0].put("/micelio/"+key, body, largeObject); err != nil {
			t.Fatal(err)
		}
		wantLarge(t, nodes, key, fmt.Sprintf("%x", sum.Sum(nil)))
	})
	t.Run("fetched", func(t *testing.T) {
		dir := t.TempDir()
		part := filepath.Join(dir, "part")
		file, err := os.Create(part)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		sum := sha256.New()
		if _, err := io.Copy(io.MultiWriter(file, sum), io.LimitReader(pattern(), largeObject)); err != nil {
			t.Fatal(err)
		}
		digest := fmt.Sprintf("%x", sum.Sum(nil))
		key := "artifacts/sha256:" + digest
		nodes := startCluster(t, 3, "--local-path="+filepath.Join(dir, "origin"))
		if err := os.Mkdir(filepath.Join(dir, "origin", "artifacts"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(part, filepath.Join(dir, "origin", filepath.FromSlash(key))); err != nil {
			t.Fatal(err)
		}
		before := originGets(nodes)
		wantLarge(t, nodes, key, digest)
		if got := originGets(nodes) - before; got != 1 {
			t.Errorf("%.0f reads of the origin, want 1", got)
		}
	})
}

// wantLarge reads the object through two nodes at once, then again, and holds
// all nodes to their memory.
func wantLarge(t *testing.T, nodes []*process, key, digest string) {
	t.Helper()
	for pass := range 2 {
		var readers sync.WaitGroup
		for i, p := range nodes[1:] {
			readers.Go(func() {
				n, got, cache, err := download(p, "/micelio/"+key)
				t.Logf("pass %d, node %d: %d bytes from %s", pass+1, i+2, n, cache)
				if err != nil || got != digest {
					t.Errorf("pass %d, node %d: digest %s, %v; want %s", pass+1, i+2, got, err, digest)
				}
			})
		}
		readers.Wait()
	}
	for i, p := range nodes {
		peak := p.peakRSS()
		t.Logf("node %d had at most %d MiB resident", i+1, peak>>20)
		if peak > memoryBound {
			t.Errorf("node %d: more than %d MiB", i+1, memoryBound>>20)
		}
	}
}

func download(p *process, path string) (n int64, digest, cache string, err error) {
	resp, err := http.Get(p.url(path))
	if err != nil {
		return 0, "", "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, "", "", errors.New(resp.Status)
	}
	sum := sha256.New()
	n, err = io.Copy(sum, resp.Body)
	return n, fmt.Sprintf("%x", sum.Sum(nil)), resp.Header.Get("X-Cache"), err
}

// A file that is copied into the origin's folder is an object at once.
func TestFilesCopiedIntoTheOriginAreServed(t *testing.T) {
	dir := t.TempDir()
	p := start(t, "--data-dir="+dir)
	path := filepath.Join(dir, "storage", "sessions", "s 1", "files", ".env")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"A=1\n", "A=1\nB=two\n"} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := p.get(p.url("/micelio/sessions/s%201/files/.env")); got != content {
			t.Errorf("got %q, want %q", got, content)
		}
	}
}
