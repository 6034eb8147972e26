package node

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
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
			h := gather(t, stageNodes(t, n, st), st, herdSize(t, n))
			st.release(st.size)
			h.begin()
			h.upTo(st.size)
			h.wantOneRead()
		})
	}
}

// While all clients of a herd are in the middle of a body, none has its own copy
// of it in the memory of the process.
func TestAHerdOfSlowReadersIsServedInBoundedMemory(t *testing.T) {
	for name, n := range clusters {
		t.Run(name, func(t *testing.T) {
			st := newStage(1 << 20)
			nodes := stageNodes(t, n, st)
			runtime.GC()
			before := heap()
			h := gather(t, nodes, st, herdSize(t, n))
			st.release(st.size)
			h.begin()
			var peak int64
			for _, to := range []int64{10, st.size / 2} {
				h.upTo(to)
				if got := inside(nodes); got != int64(len(h.clients)) {
					t.Errorf("%d bodies are on their way at byte %d, want %d", got, to, len(h.clients))
				}
				now := heap() - before
				peak = max(peak, now)
				t.Logf("at byte %d: %d KiB a client", to, now/int64(len(h.clients))>>10)
			}
			h.each(0, func(i int) error {
				c := h.clients[i]
				if err := widen(c); err != nil {
					return err
				}
				return c.upTo(st.size, h.content)
			})
			h.wantOneRead()
		})
	}
}

var _ = fmt.Sprint
var _ = rand.IntN
