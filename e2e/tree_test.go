package e2e

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// sourceTree returns the files of a part of the Go toolchain's own source: real
// files of all sizes, some four thousand in cmd, some thirteen hundred in internal.
func sourceTree(t *testing.T, part string) (root string, files []string) {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	root = filepath.Join(strings.TrimSpace(string(out)), "src", part)
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(root, path)
			files = append(files, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil || len(files) < 1000 {
		t.Fatalf("%d files under %s, %v", len(files), root, err)
	}
	return root, files
}

// escape percent-encodes a key for a URL.
func escape(key string) string { return (&url.URL{Path: key}).EscapedPath() }

// each calls do for every file on so many goroutines and collects the errors.
func each(t *testing.T, files []string, workers int, do func(i int, file string) error) {
	t.Helper()
	var next, failed atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(files) {
					return
				}
				if err := do(i, files[i]); err != nil && failed.Add(1) <= 10 {
					t.Errorf("%s: %v", files[i], err)
				}
			}
		})
	}
	all.Wait()
	if n := failed.Load(); n > 10 {
		t.Errorf("and %d errors more", n-10)
	}
}

// A reading compares what a node serves with the file it came from.
type reading struct {
	client  *http.Client
	root    string
	retried atomic.Int64 // broken connections, each followed by one retry
	tiers   sync.Map     // X-Cache to *atomic.Int64
}

func (r *reading) read(p *process, key, file string) error {
	want, err := os.ReadFile(filepath.Join(r.root, filepath.FromSlash(file)))
	if err != nil {
		return err
	}
	resp, got, err := r.get(p, key)
	if err != nil { // a broken connection: what every HTTP client retries
		r.retried.Add(1)
		if resp, got, err = r.get(p, key); err != nil {
			return err
		}
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s from %s: %.300s", resp.Status, p.addr["client"], got)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes, and not the %d that were put", len(got), len(want))
	}
	if resp.Header.Get("Micelio-Node") == "" {
		return fmt.Errorf("the answer names no node")
	}
	n, _ := r.tiers.LoadOrStore(resp.Header.Get("X-Cache"), new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
	return nil
}

func (r *reading) get(p *process, key string) (*http.Response, []byte, error) {
	resp, err := r.client.Get(p.url(escape("/micelio/" + key)))
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

func (r *reading) count(tier string) int64 {
	if n, ok := r.tiers.Load(tier); ok {
		return n.(*atomic.Int64).Load()
	}
	return 0
}

func (r *reading) String() string {
	var b strings.Builder
	r.tiers.Range(func(k, v any) bool {
		fmt.Fprintf(&b, "%s %d, ", k, v.(*atomic.Int64).Load())
		return true
	})
	return fmt.Sprintf("%sretried %d", b.String(), r.retried.Load())
}

func newReading(root string) *reading {
	return &reading{root: root, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
}

func originGets(nodes []*process) (n float64) {
	for _, p := range nodes {
		n += p.metric("micelio_origin_requests_total", `op="get"`)
	}
	return n
}

// The Go source tree goes in through node 1 and comes out of nodes 2 and 3,
// every byte compared; a node dies and comes back while it does.
func TestTheGoSourceTreeThroughACluster(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3)
	root, files := sourceTree(t, "cmd")
	immutable := func(file string) string { return "artifacts/sha256:go-src/" + file }
	mutable := func(file string) string { return "sessions/go/files/" + file }

	each(t, files, 16, func(i int, file string) error {
		for _, key := range []string{immutable(file), mutable(file)} {
			if strings.HasPrefix(key, "sessions/") && i%10 != 0 {
				continue // a tenth is enough
			}
			f, err := os.Open(filepath.Join(root, filepath.FromSlash(file)))
			if err != nil {
				return err
			}
			st, err := f.Stat()
			if err == nil {
				err = nodes[0].put(escape("/micelio/"+key), io.NopCloser(f), st.Size())
			}
			f.Close()
			if err != nil {
				return err
			}
		}
		return nil
	})
	if t.Failed() {
		return
	}

	first := newReading(root)
	each(t, files, 8, func(i int, file string) error {
		err := first.read(nodes[1+i%2], immutable(file), file)
		if err == nil && i%10 == 0 {
			err = first.read(nodes[2-i%2], mutable(file), file)
		}
		return err
	})
	t.Logf("first pass: %v", first)

	before := originGets(nodes)
	second := newReading(root)
	each(t, files, 8, func(i int, file string) error { return second.read(nodes[2-i%2], immutable(file), file) })
	t.Logf("second pass: %v", second)
	if after := originGets(nodes); after != before {
		t.Errorf("the second pass cost %.0f reads of the origin", after-before)
	}
	if n := second.count("ram") + second.count("ssd"); n != int64(len(files)) {
		t.Errorf("%d of %d reads came from the tiers", n, len(files))
	}

	t.Run("a node is killed and comes back", func(t *testing.T) { readThroughACrash(t, nodes, root, files, immutable, mutable) })
}

// readThroughACrash reads everything through nodes 2 and 3 while node 1 is
// killed after a quarter of the files and started again after half of them.
func readThroughACrash(t *testing.T, nodes []*process, root string, files []string, immutable, mutable func(string) string) {
	r := newReading(root)
	crash, back := sync.OnceFunc(nodes[0].kill), sync.OnceFunc(nodes[0].restart)
	each(t, files, 8, func(i int, file string) error {
		switch i {
		case len(files) / 4:
			crash()
		case len(files) / 2:
			back()
		}
		err := r.read(nodes[1+i%2], immutable(file), file)
		if err == nil && i%10 == 0 {
			err = r.read(nodes[2-i%2], mutable(file), file)
		}
		return err
	})
	t.Logf("through the crash: %v", r)
	agree(t, nodes)
	if err := r.read(nodes[0], immutable(files[0]), files[0]); err != nil {
		t.Errorf("through the node that came back: %v", err)
	}
	for i, p := range nodes {
		if code := p.terminate(); code != 0 {
			t.Errorf("node %d exits with %d:\n%s", i+1, code, p.log.text())
		}
	}
}
