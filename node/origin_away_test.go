package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/micelio/micelio/object"
)

// A listing is the origin's. Immutable keys exist as long as the tiers have
// them; mutable ones exactly as long as the origin does.
func TestWhatExistsIsDecidedByClass(t *testing.T) {
	n := startNode(t, t.TempDir())
	put(t, n, "cache/x/sha256:1/out", []byte("x"))
	put(t, n, "sessions/1/state", []byte("x"))
	loseOrigin(t, n.cfg.LocalPath)
	outside(t, n.cfg.LocalPath, "sessions/2/.env", []byte("theirs"))
	var listed []string
	for e, err := range n.Store().List(t.Context(), object.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, e.Name())
	}
	if !slices.Equal(listed, []string{"sessions/2/.env"}) {
		t.Errorf("listed: %q", listed)
	}
	if _, err := n.Store().Head(t.Context(), "cache/x/sha256:1/out", object.HeadOptions{}); err != nil {
		t.Errorf("an immutable key with a copy: %v", err)
	}
	wantMissing(t, n, "sessions/1/state")
}

// An origin that cannot be asked is no origin that says no.
func TestAnUnreachableOriginIsNeverANo(t *testing.T) {
	for name, cut := range map[string]func(*running) error{
		"closed":  func(n *running) error { return n.authority.Close() },
		"removed": func(n *running) error { return os.RemoveAll(n.cfg.LocalPath) },
	} {
		t.Run(name, func(t *testing.T) {
			n := startNode(t, t.TempDir())
			body := []byte("body")
			for _, key := range append(keep(body), "sessions/1/state") {
				put(t, n, key, body)
			}
			if err := cut(n); err != nil {
				t.Fatal(err)
			}
			for _, key := range keep(body) {
				if obj := want(t, n, key, body); obj.Tier != object.TierRAM {
					t.Errorf("%q from %q", key, obj.Tier)
				}
			}
			for _, key := range []object.Key{"sessions/1/state", "sessions/never", "cache/x/sha256:never/out"} {
				for op, err := range everyCall(t.Context(), n, key) {
					if !errors.Is(err, object.ErrUnavailable) || errors.Is(err, object.ErrNotFound) {
						t.Errorf("%s %q: %v, want unavailable", op, key, err)
					}
				}
			}
		})
	}
}

// everyCall makes each call of a Store and returns how it ended.
func everyCall(ctx context.Context, n *running, key object.Key) map[string]error {
	ended := map[string]error{"List": nil}
	_, _, ended["Get"] = read(ctx, n, key)
	_, ended["Head"] = n.Store().Head(ctx, key, object.HeadOptions{})
	_, ended["Put"] = n.Store().Put(ctx, key, object.BytesSource([]byte("x")), object.PutOptions{})
	_, ended["Put If-Match"] = n.Store().Put(ctx, key, object.BytesSource([]byte("x")), object.PutOptions{IfMatch: object.MatchAny()})
	ended["Delete"] = n.Store().Delete(ctx, key, object.DeleteOptions{})
	for _, err := range n.Store().List(ctx, object.ListOptions{}) {
		ended["List"] = err
	}
	return ended
}

// A node alone is a cluster of one.
func TestANodeServesWithoutPeers(t *testing.T) {
	n := startNode(t, t.TempDir())
	awaitServing(t, []*running{n}, 1)
	for _, key := range append(keep([]byte("x")), "sessions/test 123/file (1).txt") {
		put(t, n, key, []byte("x"))
		want(t, n, key, []byte("x"))
		if owner, ok := n.ring.View().Owner(string(key)); !ok || owner.ID != n.ID() {
			t.Errorf("%q is owned by %q", key, owner.ID)
		}
	}
}

// Two nodes over one origin that do not know of each other: each caches the
// head of the project, and none ever serves an old one, its old ETag or its old
// length, however often the other replaces it.
func TestACopyIsNeverServedWhenAnotherNodeReplacedIt(t *testing.T) {
	for _, tiering := range tierings {
		t.Run(tiering.name, func(t *testing.T) {
			dir := t.TempDir()
			var nodes []*running
			for i := range 2 {
				nodes = append(nodes, startNode(t, filepath.Join(dir, strconv.Itoa(i)), tiering.edit, func(c *Config) { c.LocalPath = filepath.Join(dir, "origin") }))
			}
			key := object.Key("projects/1/head")
			info := put(t, nodes[0], key, []byte("landing 0"))
			for i := range 5 {
				writer, reader := nodes[i%2], nodes[1-i%2]
				body := []byte("landing " + strings.Repeat("I", i+1))
				next, err := writer.Store().Put(t.Context(), key, object.BytesSource(body), object.PutOptions{IfMatch: object.MatchETag(info.ETag)})
				if err != nil {
					t.Fatalf("landing %d: %v", i, err)
				}
				_, err = reader.Store().Put(t.Context(), key, object.BytesSource(body), object.PutOptions{IfMatch: object.MatchETag(info.ETag)})
				if !errors.Is(err, object.ErrPrecondition) {
					t.Errorf("landing %d on an old head: %v", i, err)
				}
				for _, n := range []*running{reader, writer, reader} {
					head, err := n.Store().Head(t.Context(), key, object.HeadOptions{})
					if err != nil || head.ETag != next.ETag || head.Size != int64(len(body)) {
						t.Errorf("landing %d: head %+v, %v", i, head, err)
					}
					if obj := want(t, n, key, body); obj.ETag != next.ETag {
						t.Errorf("landing %d: ETag %q, want %q", i, obj.ETag, next.ETag)
					}
				}
				info = next
			}
			if err := nodes[1].Store().Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			wantMissing(t, nodes[0], key)
		})
	}
}

func TestANodeThatWasAwayServesWhatWasWrittenMeanwhile(t *testing.T) {
	nodes := startCluster(t, 3)
	away := nodes[2]
	head := ownedBy(t, nodes, 2, "projects/%d/head")
	gone := ownedBy(t, nodes, 2, "sessions/%d/state")
	blob := ownedBy(t, nodes, 2, "cache/x/sha256:%d/out")
	put(t, nodes[0], head, []byte("before"))
	put(t, nodes[0], gone, []byte("before"))
	if err := away.drained(); err != nil {
		t.Fatal(err)
	}
	put(t, nodes[0], head, []byte("meanwhile"))
	put(t, nodes[1], blob, []byte("meanwhile"))
	if err := nodes[1].Store().Delete(t.Context(), gone, object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	again := startNode(t, away.cfg.DataDir, func(c *Config) {
		c.Name, c.LocalPath, c.Join = away.cfg.Name, away.cfg.LocalPath, []string{nodes[0].GossipAddr()}
	})
	nodes[2] = again
	awaitServing(t, nodes, 3)
	for _, n := range nodes {
		want(t, n, head, []byte("meanwhile"))
		want(t, n, blob, []byte("meanwhile"))
		wantMissing(t, n, gone)
	}
}

// Twenty readers of more than the tiers hold together: copies come and go under
// them, and none notices.
func TestReadersDoNotNoticeEviction(t *testing.T) {
	const readers, reads, objects = 20, 25, 24
	for _, class := range []string{"cache/x/sha256:%d/out", "sessions/%d/state"} {
		n := startNode(t, t.TempDir(), func(c *Config) { c.RAMBytes, c.SSDBytes = 128<<10, 4<<20 })
		body := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, 100+i*i*1000) }
		for i := range objects {
			put(t, n, object.Key(fmt.Sprintf(class, i)), body(i))
		}
		var all sync.WaitGroup
		for r := range readers {
			all.Go(func() {
				pick := rand.New(rand.NewPCG(1, uint64(r)))
				for range reads {
					i := pick.IntN(objects)
					_, got, err := read(t.Context(), n, object.Key(fmt.Sprintf(class, i)))
					if err != nil || !bytes.Equal(got, body(i)) {
						t.Errorf("reader %d: %d bytes, %v; want %d", r, len(got), err, len(body(i)))
					}
				}
			})
		}
		all.Wait()
		stats := n.cache.Stats()
		if stats.RAM.Evictions == 0 || stats.SSD.Evictions == 0 {
			t.Errorf("nothing was evicted: %+v", stats)
		}
	}
}
