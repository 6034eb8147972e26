package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/ring"
)

// A running node and the end of its Run.
type running struct {
	*Node
	stop context.CancelFunc // begins the drain
	done chan struct{}      // closed when Run has returned
	err  error              // what it returned, once done is closed
}

// startNode runs a node on free ports in dir, changed by edits.
func startNode(t *testing.T, dir string, edits ...func(*Config)) *running {
	t.Helper()
	return startLogging(t, slog.DiscardHandler, dir, edits...)
}

// startLogging is startNode with somebody who reads the log.
func startLogging(t *testing.T, log slog.Handler, dir string, edits ...func(*Config)) *running {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir, cfg.DrainDelay, cfg.CanaryInterval = dir, 0, 0
	cfg.Listen, cfg.PeerListen, cfg.AdminListen, cfg.GossipListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	for _, edit := range edits {
		edit(&cfg)
	}
	n, err := Open(cfg, slog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	return runNode(t, n)
}

// runNode runs a node that is open until the test ends.
func runNode(t *testing.T, n *Node) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Node: n, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = n.Run(ctx)
	}()
	t.Cleanup(func() {
		if err := r.drained(); err != nil {
			t.Errorf("%s: Run: %v", n.ID(), err)
		}
	})
	return r
}

// drained stops the node and returns what Run returned.
func (r *running) drained() error {
	r.stop()
	<-r.done
	return r.err
}

// startCluster runs n nodes, changed by edits, over one origin until all see all.
// The origin is a directory unless an edit says otherwise.
func startCluster(t *testing.T, n int, edits ...func(*Config)) []*running {
	t.Helper()
	dir := t.TempDir()
	var nodes []*running
	for i := range n {
		member := func(cfg *Config) {
			cfg.Name = fmt.Sprint("node-", i)
			cfg.LocalPath = filepath.Join(dir, "origin")
			if i > 0 {
				cfg.Join = []string{nodes[0].GossipAddr()}
			}
		}
		nodes = append(nodes, startNode(t, filepath.Join(dir, fmt.Sprint("node", i)), append([]func(*Config){member}, edits...)...))
	}
	awaitServing(t, nodes, n)
	return nodes
}

// awaitServing waits until each of the nodes is ready and sees so many serving
// members.
func awaitServing(t *testing.T, nodes []*running, want int) {
	t.Helper()
	for _, n := range nodes {
		select {
		case <-n.Ready():
		case <-n.done:
			t.Fatalf("%s ended: %v", n.ID(), n.err)
		}
		for {
			changed := n.ring.Changed()
			serving := 0
			for _, m := range n.ring.View().Members() {
				if m.State == ring.Serving {
					serving++
				}
			}
			if serving == want {
				break
			}
			select {
			case <-changed:
			case <-n.done:
				t.Fatalf("%s ended: %v", n.ID(), n.err)
			case <-t.Context().Done():
				t.Fatal("the test ended before the cluster agreed")
			}
		}
	}
}

// roundRobin is a Store whose every call goes to another node.
type roundRobin struct {
	mu     sync.Mutex
	next   int
	stores []object.Store
}

func inTurns(nodes []*running) *roundRobin {
	r := &roundRobin{}
	for _, n := range nodes {
		r.stores = append(r.stores, n.Store())
	}
	return r
}

func (r *roundRobin) pick() object.Store {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	return r.stores[r.next%len(r.stores)]
}

func (r *roundRobin) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	return r.pick().Get(ctx, key, opt)
}

func (r *roundRobin) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	return r.pick().Head(ctx, key, opt)
}

func (r *roundRobin) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	return r.pick().Put(ctx, key, src, opt)
}

func (r *roundRobin) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	return r.pick().Delete(ctx, key, opt)
}

func (r *roundRobin) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return r.pick().List(ctx, opt)
}

// parts returns what opens a part of a Store that nobody used before: a cluster
// takes seconds to start, too long for each claim of the suite.
func parts(store object.Store) func(*testing.T) object.Store {
	opened := 0
	return func(*testing.T) object.Store {
		opened++
		return objecttest.Under(store, fmt.Sprintf("claim-%d/", opened))
	}
}

// A cluster of three is a Store like any other, whichever node each call enters.
// Keys of the full length are with TestANodeOverHTTPConforms.
func TestAClusterConforms(t *testing.T) {
	objecttest.Test(t, parts(inTurns(startCluster(t, 3))))
}

func TestANodeWithoutTiersConforms(t *testing.T) {
	objecttest.Test(t, func(t *testing.T) object.Store {
		return startNode(t, t.TempDir(), func(cfg *Config) { cfg.Backend = BackendLocal }).Store()
	})
}

func TestNodesAgreeOnTheEpochAndShareTheKeys(t *testing.T) {
	nodes := startCluster(t, 3)
	sum := 0.0
	for _, n := range nodes {
		if got, want := n.ring.View().Epoch(), nodes[0].ring.View().Epoch(); got != want {
			t.Errorf("%s has epoch %x, %s has %x", n.ID(), got, nodes[0].ID(), want)
		}
		sum += n.ring.View().Share(n.ID())
	}
	if sum < 0.999 || sum > 1.001 {
		t.Errorf("the shares add up to %v", sum)
	}
}

// put stores a body through a node.
func put(t *testing.T, n *running, key object.Key, body []byte) object.Info {
	t.Helper()
	info, err := n.Store().Put(t.Context(), key, object.BytesSource(body), object.PutOptions{})
	if err != nil {
		t.Fatalf("Put %q through %s: %v", key, n.ID(), err)
	}
	return info
}

func read(ctx context.Context, n *running, key object.Key) (*object.Object, []byte, error) {
	obj, err := n.Store().Get(ctx, key, object.GetOptions{})
	if err != nil {
		return nil, nil, err
	}
	defer obj.Body.Close()
	body, err := io.ReadAll(obj.Body)
	return obj, body, err
}

func want(t *testing.T, n *running, key object.Key, body []byte) *object.Object {
	t.Helper()
	obj, got, err := read(t.Context(), n, key)
	if err != nil || !bytes.Equal(got, body) {
		t.Fatalf("Get %q through %s: %d bytes, %v; want %d", key, n.ID(), len(got), err, len(body))
	}
	return obj
}

func TestAnObjectIsHeldByItsOwnerWhoeverIsAsked(t *testing.T) {
	nodes := startCluster(t, 3)
	for i := range 20 {
		key := object.Key(fmt.Sprintf("cache/builds/sha256:%d/out", i))
		put(t, nodes[i%3], key, []byte(key))
		owner, _ := nodes[0].ring.View().Owner(string(key))
		for _, n := range nodes {
			obj := want(t, n, key, []byte(key))
			if obj.Tier != object.TierRAM || (obj.Node != owner.ID && !(obj.Node == "" && n.ID() == owner.ID)) {
				t.Errorf("%q through %s: from %s of %q, want the RAM of %s", key, n.ID(), obj.Tier, obj.Node, owner.ID)
			}
			if held := n.cache.Holds(key); (len(held) > 0) != (n.ID() == owner.ID) {
				t.Errorf("%q: %s holds it in %v, the owner is %s", key, n.ID(), held, owner.ID)
			}
		}
	}
}

// Reads and writes go on while a node is gone without a word: its sockets are
// closed, but the others still have it in their view.
func TestADeadOwnerIsGoneAround(t *testing.T) {
	nodes := startCluster(t, 3)
	key := ownedBy(t, nodes, 2, "sessions/%d/head")
	blob := ownedBy(t, nodes, 2, "cache/x/sha256:%d")
	put(t, nodes[0], key, []byte("one"))
	put(t, nodes[0], blob, []byte("blob"))

	nodes[2].peers.server.Close() // deaf to its peers from here on
	want(t, nodes[0], key, []byte("one"))
	want(t, nodes[1], blob, []byte("blob"))
	put(t, nodes[1], key, []byte("two"))
	want(t, nodes[0], key, []byte("two"))
	want(t, nodes[2], key, []byte("two")) // it serves its own clients, and validates
	if err := nodes[0].Store().Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
		t.Errorf("Delete: %v", err)
	}
	for _, n := range nodes {
		if _, _, err := read(t.Context(), n, key); !errors.Is(err, object.ErrNotFound) {
			t.Errorf("after a delete, through %s: %v", n.ID(), err)
		}
	}
}

// ownedBy returns a key of the pattern that node i owns.
func ownedBy(t *testing.T, nodes []*running, i int, pattern string) object.Key {
	t.Helper()
	for n := range 1000 {
		key := fmt.Sprintf(pattern, n)
		if owner, ok := nodes[0].ring.View().Owner(key); ok && owner.ID == nodes[i].ID() {
			return object.Key(key)
		}
	}
	t.Fatal("a node owns nothing")
	return ""
}

func TestADrainingNodeGivesItsKeysUpAndServesOn(t *testing.T) {
	nodes := startCluster(t, 3)
	key := ownedBy(t, nodes, 0, "sessions/%d/head")
	put(t, nodes[0], key, []byte("v1"))
	if err := nodes[0].ring.SetState(t.Context(), ring.Draining); err != nil {
		t.Fatal(err)
	}
	awaitServing(t, nodes, 2)
	for _, n := range nodes {
		want(t, n, key, []byte("v1"))
	}
	if err := nodes[0].drained(); err != nil {
		t.Fatalf("Run: %v", err)
	}
	put(t, nodes[1], key, []byte("v2"))
	want(t, nodes[2], key, []byte("v2"))
}

func TestWritesOfEveryClassKeepTheirPromise(t *testing.T) {
	nodes := startCluster(t, 3)
	body := []byte("the bytes")
	verified := object.Key(fmt.Sprintf("artifacts/sha256:%x", sha256.Sum256(body)))
	put(t, nodes[0], verified, body)
	put(t, nodes[1], verified, body) // again is fine
	_, err := nodes[2].Store().Put(t.Context(), verified, object.BytesSource([]byte("others")), object.PutOptions{})
	if !errors.Is(err, object.ErrDigest) {
		t.Errorf("wrong bytes under a digest: %v", err)
	}
	put(t, nodes[0], "derivations/sha256:abc", body)
	put(t, nodes[1], "derivations/sha256:abc", body)
	_, err = nodes[2].Store().Put(t.Context(), "derivations/sha256:abc", object.ReaderSource(strings.NewReader("others"), -1), object.PutOptions{})
	if !errors.Is(err, object.ErrConflict) {
		t.Errorf("a second content of an immutable key: %v", err)
	}
	for _, n := range nodes {
		want(t, n, verified, body)
		want(t, n, "derivations/sha256:abc", body)
	}
}

// Twenty writers compare and swap one key through three nodes: one wins each
// round.
func TestOneOfManyConditionalWritersWins(t *testing.T) {
	nodes := startCluster(t, 3)
	for round := range 3 {
		info := put(t, nodes[0], "projects/1/head", []byte(fmt.Sprint("round ", round)))
		var mu sync.Mutex
		var won []string
		var writers sync.WaitGroup
		for w := range 20 {
			writers.Go(func() {
				body := fmt.Sprintf("round %d writer %d", round, w)
				_, err := nodes[w%3].Store().Put(context.Background(), "projects/1/head", object.BytesSource([]byte(body)),
					object.PutOptions{IfMatch: object.MatchETag(info.ETag)})
				if err == nil {
					mu.Lock()
					won = append(won, body)
					mu.Unlock()
				} else if !errors.Is(err, object.ErrPrecondition) {
					t.Errorf("writer %d: %v", w, err)
				}
			})
		}
		writers.Wait()
		if len(won) != 1 {
			t.Fatalf("winners: %q", won)
		}
		for _, n := range nodes {
			want(t, n, "projects/1/head", []byte(won[0]))
		}
	}
}

func TestOpenNamesEverythingThatIsWrongAndKeepsNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	first := startNode(t, dir)
	cfg := DefaultConfig()
	cfg.DataDir = dir // its cache belongs to the first node
	cfg.Listen, cfg.PeerListen, cfg.AdminListen, cfg.GossipListen = taken.Addr().String(), "127.0.0.1:0", first.AdminAddr(), "127.0.0.1:0"
	_, err = Open(cfg, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Fatal("opened")
	}
	for _, part := range []string{"client listener", "admin listener", "another process is using it"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not named in: %v", part, err)
		}
	}
	cfg.CachePath = filepath.Join(t.TempDir(), "cache")
	cfg.Listen, cfg.AdminListen = "127.0.0.1:0", "127.0.0.1:0"
	again, err := Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("after the faults were mended: %v", err)
	}
	again.release()
}

func TestANodeKeepsTheIDItChose(t *testing.T) {
	dir := t.TempDir()
	first := startNode(t, dir)
	id := first.ID()
	if err := first.drained(); err != nil {
		t.Fatal(err)
	}
	if again := startNode(t, dir); again.ID() != id || id == "" {
		t.Errorf("id %q, then %q", id, again.ID())
	}
}
