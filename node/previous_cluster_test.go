package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/ring"
)

// A growing cluster is one whose nodes come and go while it is read, and whose
// reads of the origin are counted.
type growing struct {
	*testing.T
	dir     string
	all     []*running
	keys    []object.Key
	bodies  map[object.Key][]byte
	live    atomic.Pointer[[]*running] // those that clients are sent to
	reads   atomic.Int64
	readers sync.WaitGroup
	stop    chan struct{}
}

// grow starts a node. Patience is not what is tested: a machine that is busy
// with other tests must not make a node ask the origin.
func (g *growing) grow(n int) {
	g.Helper()
	for range n {
		cfg := DefaultConfig()
		cfg.Name, cfg.DataDir = fmt.Sprint("node-", len(g.all)), filepath.Join(g.dir, fmt.Sprint("node", len(g.all)))
		cfg.LocalPath = filepath.Join(g.dir, "origin")
		cfg.DrainDelay, cfg.DrainHandover, cfg.CanaryInterval, cfg.SSDBytes = 0, time.Minute, 0, 128<<20
		cfg.Listen, cfg.PeerListen, cfg.AdminListen, cfg.GossipListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		if len(g.all) > 0 {
			cfg.Join = []string{g.serving()[0].GossipAddr()}
		}
		node, err := Open(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			g.Fatal(err)
		}
		node.previous.patience, node.previous.stall = time.Minute, time.Minute
		r := runNode(g.T, node)
		g.all = append(g.all, r)
		live := append(append([]*running{}, g.serving()...), r)
		awaitServing(g.T, live, len(live))
		g.live.Store(&live)
	}
}

func (g *growing) serving() []*running {
	if live := g.live.Load(); live != nil {
		return *live
	}
	return nil
}

// drain stops the first n nodes, one by one. Clients are sent elsewhere first, as
// by a load balancer.
func (g *growing) drain(n int) {
	g.Helper()
	for range n {
		live := g.serving()
		rest := append([]*running{}, live[1:]...)
		g.live.Store(&rest)
		if err := live[0].drained(); err != nil {
			g.Errorf("%s: %v", live[0].ID(), err)
		}
		awaitServing(g.T, rest, len(rest))
	}
}

// fill writes objects through the cluster.
func (g *growing) fill(n int) {
	g.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		body := make([]byte, 1+rng.IntN(20_000))
		if i%100 == 99 {
			body = make([]byte, 3<<20)
		}
		made(body, int64(i)<<32)
		key := object.Key(fmt.Sprintf("artifacts/sha256:%x", sha256.Sum256(body)))
		if i%2 == 0 {
			key = object.Key(fmt.Sprintf("cache/x/sha256:%d/out", i))
		}
		put(g.T, g.all[i%len(g.all)], key, body)
		g.keys, g.bodies[key] = append(g.keys, key), body
	}
}

// read reads a key through any node.
func (g *growing) read(rng *rand.Rand, key object.Key) {
	live := g.serving()
	n := live[rng.IntN(len(live))]
	obj, err := n.Store().Get(context.Background(), key, object.GetOptions{})
	if err != nil {
		g.Errorf("%s through %s: %v", key, n.ID(), err)
		return
	}
	defer obj.Body.Close()
	body, err := io.ReadAll(obj.Body)
	if err != nil || !bytes.Equal(body, g.bodies[key]) {
		g.Errorf("%s through %s: %d of %d bytes, %v", key, n.ID(), len(body), len(g.bodies[key]), err)
	}
	g.reads.Add(1)
}

// readOn lets clients read until halt, some objects more often than others.
func (g *growing) readOn(clients int) {
	g.stop = make(chan struct{})
	for i := range clients {
		rng := rand.New(rand.NewPCG(3, uint64(i)))
		popular := rand.NewZipf(rng, 1.1, 1, uint64(len(g.keys)-1))
		g.readers.Go(func() {
			for pause := time.NewTicker(time.Millisecond); ; {
				select {
				case <-g.stop:
					pause.Stop()
					return
				case <-pause.C:
					g.read(rng, g.keys[popular.Uint64()])
				}
			}
		})
	}
}

func (g *growing) halt() {
	close(g.stop)
	g.readers.Wait()
}

// readAll reads every object once.
func (g *growing) readAll() {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, key := range g.keys {
		g.read(rng, key)
	}
}

// counted returns what all nodes that ever were have counted.
func (g *growing) counted(name string, labels map[string]string) (sum float64) {
	g.Helper()
	for _, n := range g.all {
		families, err := n.meter.registry.Gather()
		if err != nil {
			g.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != name {
				continue
			}
		metrics:
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if want, ok := labels[l.GetName()]; ok && want != l.GetValue() {
						continue metrics
					}
				}
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func (g *growing) originGets() float64 {
	return g.counted("micelio_origin_requests_total", map[string]string{"op": "get"})
}

// moved returns how many objects have another owner in one view than in another.
func (g *growing) moved(a, b *ring.View) (n int) {
	for _, key := range g.keys {
		before, _ := a.Owner(string(key))
		after, _ := b.Owner(string(key))
		if before.ID != after.ID {
			n++
		}
	}
	return n
}

// wantMoved checks what a change of the ring has cost: of a hundred objects that
// moved at most one was read at the origin.
func (g *growing) wantMoved(what string, from *ring.View, gets float64) {
	g.Helper()
	moved := g.moved(from, g.serving()[0].ring.View())
	asked := func(result string) float64 {
		return g.counted("micelio_peer_fill_requests_total", map[string]string{"result": result})
	}
	g.Logf("%s: %d of %d objects moved, %v reads of the origin, %d reads of clients; questions: %v hits, %v absent, %v failed, %v slow, %v skipped; %v handed on, %v taken over",
		what, moved, len(g.keys), gets, g.reads.Load(), asked("hit"), asked("absent"), asked("failed"), asked("slow"), asked("skipped"),
		g.counted("micelio_handover_objects_total", map[string]string{"direction": "given"}),
		g.counted("micelio_handover_objects_total", map[string]string{"direction": "taken"}))
	if moved < len(g.keys)/5 {
		g.Errorf("%s: only %d of %d objects moved", what, moved, len(g.keys))
	}
	// Where the machine is so busy that a node takes 100 ms for a hit, the origin is
	// asked as well, and instead for some seconds.
	if gets > float64(moved)/100+asked("slow")+asked("skipped") {
		g.Errorf("%s: %v reads of the origin for %d objects that moved, want at most one in a hundred", what, gets, moved)
	}
}

// A cluster is doubled and halved again while it is read: who owns an object now
// gets it from who had it before, and nobody notices.
func TestAClusterGrowsAndShrinksWithoutTheOrigin(t *testing.T) {
	g := &growing{T: t, dir: t.TempDir(), bodies: make(map[object.Key][]byte)}
	g.grow(3)
	g.fill(400)
	three, gets := g.serving()[0].ring.View(), g.originGets()
	g.readOn(4)
	g.grow(1)
	g.grow(2)
	g.halt()
	g.readAll()
	g.wantMoved("3 to 4 to 6", three, g.originGets()-gets)
	newest := g.all[5]
	moved, _ := newest.ring.View().Moved()
	if c := newest.warmthAt(moved.Add(time.Second)); c.ok || !c.says || !strings.Contains(c.say, "warming") {
		t.Errorf("a second after it joined: %+v", c)
	}
	if c := newest.warmthAt(time.Now().Add(warmQuiet)); !c.ok || strings.Contains(c.say, "warming") {
		t.Errorf("when nothing comes from others any more: %+v", c)
	}

	six, gets := g.serving()[0].ring.View(), g.originGets()
	g.readOn(4)
	g.drain(3)
	g.halt()
	g.readAll()
	g.wantMoved("6 to 3", six, g.originGets()-gets)
}

// Of a large object the parts that are wanted come from who had it before, and
// the rest when it is.
func TestPartsOfLargeObjectsComeFromTheirPreviousOwner(t *testing.T) {
	g := &growing{T: t, dir: t.TempDir(), bodies: make(map[object.Key][]byte)}
	g.grow(1)
	body := make([]byte, 9<<20)
	made(body, 0)
	for i := range 6 {
		put(t, g.all[0], object.Key(fmt.Sprintf("cache/x/sha256:%d/large", i)), body)
	}
	gets := g.originGets()
	g.grow(1)
	key := ownedBy(t, g.all, 1, "cache/x/sha256:%d/large")
	for _, part := range []object.Range{object.Bytes(5<<20, 1000), object.Suffix(10), {}} {
		obj, err := g.all[0].Store().Get(t.Context(), key, object.GetOptions{Range: part})
		if err != nil {
			t.Fatalf("%v: %v", part, err)
		}
		got, err := io.ReadAll(obj.Body)
		obj.Body.Close()
		if err != nil || !bytes.Equal(got, body[obj.Offset:obj.Offset+obj.Length]) {
			t.Errorf("%v: %d of %d bytes, %v", part, len(got), obj.Length, err)
		}
		if part.IsSet() && obj.Tier != object.TierPeer {
			t.Errorf("%v came from %q of %q", part, obj.Tier, obj.Node)
		}
	}
	if got := g.originGets() - gets; got != 0 {
		t.Errorf("%v reads of the origin", got)
	}
	if got := g.all[1].meter.fill.bytes.Load(); got != int64(len(body)) {
		t.Errorf("%d bytes came from the previous owner, want each of %d once", got, len(body))
	}
}
