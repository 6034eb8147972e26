package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/micelio/micelio/hotset"
	"github.com/micelio/micelio/object"
)

// fetch asks a node over HTTP, with pairs of header names and values.
func fetch(t *testing.T, n *running, method string, key object.Key, header ...string) (*http.Response, []byte) {
	t.Helper()
	resp, body, err := dialect(t.Context(), http.DefaultClient, n, method, string(key), nil, header...)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// heat reads a key through a node until the node has a copy.
func heat(t *testing.T, n *running, key object.Key, content []byte) {
	t.Helper()
	for {
		obj := want(t, n, key, content)
		if obj.Tier == object.TierHot {
			return
		}
		if t.Context().Err() != nil {
			t.Fatalf("no copy of %q came into being on %s", key, n.ID())
		}
	}
}

// One key, read through all nodes of five, is answered by all of them, in every
// way that its owner answers it.
func TestAHotKeyIsAnsweredByAllNodes(t *testing.T) {
	nodes := startCluster(t, 5)
	content := bytes.Repeat([]byte("0123456789abcdef"), 256)
	key := ownedBy(t, nodes, 2, "cache/builds/sha256:%d/out")
	info := put(t, nodes[0], key, content)
	var readers sync.WaitGroup
	for i, n := range nodes {
		if i != 2 {
			readers.Go(func() { heat(t, n, key, content) })
		}
	}
	readers.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for i, n := range nodes {
		tier := "hot"
		if i == 2 {
			tier = "ram"
		}
		for _, c := range []struct {
			method string
			header []string
			status int
			body   []byte
		}{
			{"GET", nil, 200, content},
			{"HEAD", nil, 200, nil},
			{"GET", []string{"Range", "bytes=16-31"}, 206, content[16:32]},
			{"GET", []string{"Range", "bytes=-7"}, 206, content[len(content)-7:]},
			{"GET", []string{"If-None-Match", info.ETag.Quoted()}, 304, nil},
			{"GET", []string{"If-Match", info.ETag.Quoted(), "Range", "bytes=4090-"}, 206, content[4090:]},
		} {
			if i != 2 {
				heat(t, n, key, content) // however long the last one took
			}
			resp, body := fetch(t, n, c.method, key, c.header...)
			if resp.StatusCode != c.status || !bytes.Equal(body, c.body) || resp.Header.Get("ETag") != info.ETag.Quoted() {
				t.Errorf("%s %v of node %d: %d, %d bytes, ETag %s; want %d, %d bytes, %s", c.method, c.header, i,
					resp.StatusCode, len(body), resp.Header.Get("ETag"), c.status, len(c.body), info.ETag.Quoted())
			}
			if resp.Header.Get("X-Cache") != tier || resp.Header.Get("Micelio-Node") != n.ID() || resp.Header.Get("Age") == "" {
				t.Errorf("%s %v of node %d: X-Cache %q, Micelio-Node %q, Age %q; want %q of %q", c.method, c.header, i,
					resp.Header.Get("X-Cache"), resp.Header.Get("Micelio-Node"), resp.Header.Get("Age"), tier, n.ID())
			}
		}
		resp, _ := fetch(t, n, "GET", key, "If-Match", `"other"`)
		if resp.StatusCode != http.StatusPreconditionFailed {
			t.Errorf("a wrong If-Match of node %d: %d", i, resp.StatusCode)
		}
		if resp, _ = fetch(t, n, "GET", key, "Range", "bytes=5000-"); resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("a range behind the end of node %d: %d", i, resp.StatusCode)
		}
	}
	for i, n := range nodes {
		before := n.hot.Stats()
		const reads = 1000
		for range reads {
			want(t, n, key, content)
		}
		after := n.hot.Stats()
		if i == 2 && (after.Hits != 0 || after.Copies != 0) {
			t.Errorf("the owner answered from copies: %+v", after)
		}
		// A node that stands still for seconds loses its copy, and asks for another.
		if hits := after.Hits - before.Hits; i != 2 && hits < reads*9/10 {
			t.Errorf("node %d answered %d of %d reads itself", i, hits, reads)
		}
	}
}

// Who deletes through a node sees it there, also if the node has a copy.
func TestADeleteIsSeenByTheNodeThatItWentThrough(t *testing.T) {
	nodes := startCluster(t, 2)
	key := ownedBy(t, nodes, 1, "cache/builds/sha256:%d/out")
	put(t, nodes[0], key, []byte("content"))
	heat(t, nodes[0], key, []byte("content"))
	if resp, _ := fetch(t, nodes[0], "DELETE", key); resp.StatusCode != http.StatusNoContent {
		t.Fatalf("DELETE: %d", resp.StatusCode)
	}
	if resp, _ := fetch(t, nodes[0], "GET", key); resp.StatusCode != http.StatusNotFound {
		t.Errorf("GET after DELETE: %d from %s", resp.StatusCode, resp.Header.Get("X-Cache"))
	}
}

// However much it is read, a key that can change is asked for at its owner, and
// not in the list of the hottest, which names the others.
func TestMutableKeysAreNotAmongTheHot(t *testing.T) {
	nodes := startCluster(t, 2)
	mutable := ownedBy(t, nodes, 1, "sessions/%d/head")
	fixed := ownedBy(t, nodes, 1, "cache/builds/sha256:%d/a?b&c")
	put(t, nodes[0], mutable, []byte("v"))
	put(t, nodes[0], fixed, []byte("content"))
	for range 300 {
		if obj := want(t, nodes[0], mutable, []byte("v")); obj.Tier == object.TierHot || obj.Node != nodes[1].ID() {
			t.Fatalf("a mutable key was answered by %s of %q", obj.Tier, obj.Node)
		}
	}
	heat(t, nodes[0], fixed, []byte("content"))
	resp, err := http.Get("http://" + nodes[0].AdminAddr() + "/hot")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var report hotReport
	if err := json.NewDecoder(resp.Body).Decode(&report); err != nil {
		t.Fatal(err)
	}
	if len(report.Keys) != 1 || !report.On || report.Bytes == 0 || report.Most != DefaultConfig().hotBytes() {
		t.Fatalf("%+v", report)
	}
	k := report.Keys[0]
	if k.Key != fixed || k.Class != "immutable" || k.Owner != nodes[1].ID() || k.Rate < hotset.DefaultMinRate || k.Copy == 0 || report.Rate < k.Rate {
		t.Errorf("%+v of %.1f reads a second", k, report.Rate)
	}
}

func TestCopiesOfHotKeysCanBeTurnedOff(t *testing.T) {
	nodes := startCluster(t, 2, func(cfg *Config) { cfg.HotCopies = false })
	key := ownedBy(t, nodes, 1, "cache/builds/sha256:%d/out")
	put(t, nodes[0], key, []byte("content"))
	for range 500 {
		if obj := want(t, nodes[0], key, []byte("content")); obj.Tier == object.TierHot {
			t.Fatal("a copy was made")
		}
	}
	resp, err := http.Get("http://" + nodes[0].AdminAddr() + "/hot")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); !strings.Contains(string(body), `"on": false`) {
		t.Errorf("/hot says %s", body)
	}
}

// What copies may take is part of what was configured, and leaves fills theirs.
func TestWhatCopiesOfHotKeysMayTake(t *testing.T) {
	for _, c := range []struct {
		ram, fill, want int64
		edit            func(*Config)
	}{
		{ram: 64_000_000, fill: 32_000_000, want: 8_000_000},
		{ram: 16 << 30, fill: 8 << 30, want: 2 << 30},
		{ram: 16 << 30, fill: 64 << 20, want: 16 << 20},
		{ram: 2 << 20, fill: 32 << 20, want: 256 << 10},
		{ram: 1 << 20, fill: 32 << 20},
		{ram: 0, fill: 32 << 20},
		{ram: 64 << 20, fill: 3 << 20},
		{ram: 64 << 20, fill: 32 << 20, edit: func(c *Config) { c.HotCopies = false }},
		{ram: 64 << 20, fill: 32 << 20, edit: func(c *Config) { c.Backend = BackendLocal }},
	} {
		cfg := DefaultConfig()
		cfg.RAMBytes, cfg.FillMemoryBytes = c.ram, c.fill
		if c.edit != nil {
			c.edit(&cfg)
		}
		if got := cfg.hotBytes(); got != c.want {
			t.Errorf("%s: %d, want %d", fmt.Sprint(c.ram, " and ", c.fill), got, c.want)
		}
	}
}
