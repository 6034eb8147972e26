package node

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/micelio/micelio/object"
)

// A herd is thousands of clients that ask for one cold object at once.
type herd struct {
	*testing.T
	stage   *stage
	nodes   []*performer
	content []byte
	clients []*lean
}

// herdSize returns how many clients a herd has: 10,000, or 2,000 where the race
// detector makes each cost ten times as much; fewer if the process may not have
// so many files. Every client needs one at each end, and a request that goes on
// to another node two more.
func herdSize(t *testing.T, nodes int) int {
	t.Helper()
	want, spare := 10_000, 500
	if raceEnabled {
		want = 2000
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	size := min(want, (int(min(limit.Max, 1<<20))-spare)*nodes/(4*nodes-2))
	if size < 2000 {
		t.Skipf("%d open files are too few for a herd", limit.Max)
	}
	if size < want {
		t.Logf("%d open files are enough for %d clients of %d", limit.Max, size, want)
	}
	return size
}

// gather connects the clients, the first of which begins the fill.
func gather(t *testing.T, nodes []*performer, st *stage, size int) *herd {
	t.Helper()
	h := &herd{T: t, stage: st, nodes: nodes, content: st.bytes(0, st.size), clients: make([]*lean, size)}
	t.Cleanup(func() {
		for _, c := range h.clients {
			if c != nil {
				c.Close()
			}
		}
	})
	ask := func(i int) (err error) {
		h.clients[i], err = st.ask(nodes[i%len(nodes)], 0, 0, narrow)
		return err
	}
	if err := ask(0); err != nil {
		t.Fatal(err)
	}
	arrived(nodes, st, 1)
	h.each(1, ask)
	arrived(nodes, st, int64(size))
	return h
}

// each does something with each of the clients from first on, some at once.
func (h *herd) each(first int, do func(i int) error) {
	h.Helper()
	var next, failed atomic.Int64
	next.Store(int64(first))
	var hands sync.WaitGroup
	for range 64 {
		hands.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(h.clients); i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil && failed.Add(1) <= 3 {
					h.Errorf("client %d: %v", i, err)
				}
			}
		})
	}
	hands.Wait()
	if n := failed.Load(); n > 0 {
		h.Fatalf("%d of %d clients failed", n, len(h.clients))
	}
}

// begin reads the first bytes of all bodies, and upTo more of them.
func (h *herd) begin() {
	h.Helper()
	h.each(0, func(i int) error { return h.clients[i].begin() })
}

func (h *herd) upTo(to int64) {
	h.Helper()
	h.each(0, func(i int) error { return h.clients[i].upTo(to, h.content) })
}

func (h *herd) wantOneRead() {
	h.Helper()
	if whole, ranged := h.stage.whole.Load(), h.stage.ranged.Load(); whole != 1 || ranged != 0 {
		h.Errorf("%d clients cost %d reads of the origin and %d of a part, want 1 and none", len(h.clients), whole, ranged)
	}
}

// clusters are where a herd can break in.
var clusters = map[string]int{"a node": 1, "a cluster of three": 3}

func TestAHerdOverHTTPCostsOneReadOfTheOrigin(t *testing.T) {
	for name, n := range clusters {
		t.Run(name, func(t *testing.T) {
			st := newStage(1 << 10)
			h := gather(t, stageNodes(t, n, []*stage{st}), st, herdSize(t, n))
			st.release(st.size)
			h.begin()
			h.upTo(st.size)
			h.wantOneRead()
		})
	}
}

// heldPerClient bounds what a client in the middle of a body costs the process,
// in bytes of heap and stacks: for a node its two goroutines, the buffers of
// net/http and the gateway's of 64 KiB, into which the SSD tier reads; where another node owns the object, that node's part and
// the two buffers of 64 KiB of the connection between them as well. Measured,
// then rounded up.
var heldPerClient = map[string]int64{"a node": 192 << 10, "a cluster of three": 448 << 10}

// While all clients of a herd are in the middle of a body, none has its own copy
// of it in the memory of the process.
func TestAHerdOfSlowReadersIsServedInBoundedMemory(t *testing.T) {
	for name, n := range clusters {
		t.Run(name, func(t *testing.T) {
			st := newStage(1 << 20)
			st.narrow = true
			size := herdSize(t, n)
			if raceEnabled {
				size = 500 // it costs the whole bodies, besides
			}
			nodes := stageNodes(t, n, []*stage{st})
			for range 3 { // the second takes away what pools of earlier tests have
				runtime.GC()
			}
			before := heap()
			h := gather(t, nodes, st, size)
			st.release(st.size)
			h.begin()
			h.upTo(100_000) // by now nobody reads from the fill's memory any more
			if got := inside(nodes); got != int64(size) {
				t.Errorf("%d bodies are on their way, want %d", got, size)
			}
			used := (heap() - before) / int64(size)
			t.Logf("%d clients in the middle of a body of %d KiB hold %d KiB each", size, st.size>>10, used>>10)
			if limit := heldPerClient[name]; used > limit && !raceEnabled {
				t.Errorf("a client holds %d bytes, want at most %d", used, limit)
			}
			h.each(0, func(i int) error {
				if err := widen(h.clients[i]); err != nil {
					return err
				}
				return h.clients[i].upTo(st.size, h.content)
			})
			h.wantOneRead()
		})
	}
}

// Half of a herd leaves before the origin answers: the others have all of the
// object, with one read.
func TestHalfAHerdMayLeave(t *testing.T) {
	for name, n := range clusters {
		t.Run(name, func(t *testing.T) {
			st := newStage(100_000)
			nodes := stageNodes(t, n, []*stage{st})
			h := gather(t, nodes, st, 2000)
			pick := rand.New(rand.NewPCG(1, 2))
			var stay []*lean
			for i, c := range h.clients {
				if i == 0 || pick.IntN(2) == 0 { // the first is the one who began the fill
					c.Close()
				} else {
					stay = append(stay, c)
				}
			}
			h.clients = stay
			eventually(func() bool { return inside(nodes) == int64(len(stay)) })
			st.release(st.size)
			h.begin()
			h.upTo(st.size)
			h.wantOneRead()
		})
	}
}

// A small object whose clients have all left is on its way into the tiers all
// the same, whichever node they asked.
func TestASmallObjectIsKeptForClientsThatLeft(t *testing.T) {
	for name, n := range clusters {
		t.Run(name, func(t *testing.T) {
			st := newStage(100_000)
			nodes := stageNodes(t, n, []*stage{st})
			h := gather(t, nodes, st, 30)
			for _, c := range h.clients {
				c.Close()
			}
			eventually(func() bool { return inside(nodes) == 0 })
			st.release(st.size)
			owner, _ := roles(nodes, st)
			eventually(func() bool { return len(owner.cache.Holds(st.key)) == 2 })
			for _, node := range nodes {
				wantTier(t, node, st, object.TierRAM)
			}
			h.wantOneRead()
		})
	}
}

// wantTier reads the staged object through a node.
func wantTier(t *testing.T, node *performer, st *stage, tier object.Tier) {
	t.Helper()
	obj := want(t, node.running, st.key, st.bytes(0, st.size))
	if obj.Tier != tier {
		t.Errorf("through %s: from %q, want %q", node.ID(), obj.Tier, tier)
	}
}

// The read of a large object is broken off, across nodes, when less than half of
// it has arrived and the last client leaves. Nothing of it is kept for whole, and
// whoever comes next begins a new one.
func TestALargeReadEndsWithItsLastClient(t *testing.T) {
	for name, n := range clusters {
		t.Run(name, func(t *testing.T) {
			st := newStage(12 << 20)
			nodes := stageNodes(t, n, []*stage{st})
			h := gather(t, nodes, st, 30)
			const first = 100_000
			st.release(first)
			h.begin()
			h.upTo(first)
			for _, c := range h.clients[1:] {
				c.Close()
			}
			eventually(func() bool { return inside(nodes) == 1 })
			st.release(2 * first)
			if err := h.clients[0].upTo(2*first, h.content); err != nil {
				t.Errorf("the last client: %v", err)
			}
			h.clients[0].Close()
			eventually(func() bool { return st.cut.Load() == 1 && inside(nodes) == 0 })
			owner, _ := roles(nodes, st)
			settled(owner.running)
			if held := owner.cache.Holds(st.key); len(held) != 0 {
				t.Errorf("an object of which %d bytes arrived is held in %v", 2*first, held)
			}
			h.wantOneRead()
			st.release(st.size)
			wantTier(t, nodes[0], st, object.TierOrigin)
			if got := st.whole.Load(); got != 2 {
				t.Errorf("%d reads of the origin, want another one", got)
			}
		})
	}
}
