package e2e

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

const (
	largeObject = 2 << 30
	memoryBound = 300 << 20 // bytes a node may ever have resident while it passes by
)

// pattern is an endless stream of random bytes, the same every time.
func pattern() io.Reader { return rand.NewChaCha8([32]byte{'m'}) }

// A 2 GiB file goes in through one node and out through the others, twice, and
// no node ever needs the memory for it.
func TestALargeFileNeedsLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 10 GiB")
	}
	sum := sha256.New()
	if _, err := io.CopyN(sum, pattern(), largeObject); err != nil {
		t.Fatal(err)
	}
	digest := fmt.Sprintf("%x", sum.Sum(nil))
	for _, key := range []string{"artifacts/sha256:" + digest, "sessions/large/files/image"} {
		t.Run(key[:8], func(t *testing.T) {
			nodes := startCluster(t, 3)
			if err := nodes[0].put("/micelio/"+key, io.LimitReader(pattern(), largeObject), largeObject); err != nil {
				t.Fatal(err)
			}
			for pass := range 2 {
				for i, p := range nodes[1:] {
					n, got, cache := download(t, p, "/micelio/"+key)
					t.Logf("pass %d, node %d: %d bytes from %s", pass+1, i+2, n, cache)
					if got != digest {
						t.Errorf("pass %d, node %d: digest %s, want %s", pass+1, i+2, got, digest)
					}
				}
			}
			for i, p := range nodes {
				peak := p.peakRSS()
				t.Logf("node %d had at most %d MiB resident", i+1, peak>>20)
				if peak > memoryBound {
					t.Errorf("node %d: more than %d MiB", i+1, memoryBound>>20)
				}
			}
		})
	}
}

func download(t *testing.T, p *process, path string) (n int64, digest, cache string) {
	t.Helper()
	resp, err := http.Get(p.url(path))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var sum hash.Hash = sha256.New()
	n, err = io.Copy(sum, resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s after %d bytes: %v", resp.Status, n, err)
	}
	return n, fmt.Sprintf("%x", sum.Sum(nil)), resp.Header.Get("X-Cache")
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
