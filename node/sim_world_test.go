package node

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/history"
	"github.com/micelio/micelio/internal/mutant"
	"github.com/micelio/micelio/object"
)

// A simWorld is one simulation: a cluster, its authority, its clients, and what
// happens to them. All of it follows from the seed: whoever draws does so from a
// source of its own, named after what it is for, so that the order in which the
// scheduler runs goroutines of one moment makes no difference.
type simWorld struct {
	seed     uint64
	plan     simPlan
	began    time.Time
	views    simViews
	classes  *object.Classes
	keys     []object.Key
	nodes    []*simNode
	network  *simNetwork
	origin   *simOrigin
	recorder *history.Recorder
	stats    *routerStats
	fills    fillStats
	dying    sync.WaitGroup
	hedged   atomic.Int64                // reads that a second place was asked for
	verbose  bool                        // keep the log of the nodes too
	scripted func(*simLife) object.Store // instead of the simulated authority, if not nil
	front    func(*simLife) object.Store // before the router, if not nil

	mu     sync.Mutex // guards the following
	tags   map[object.ETag]string
	events []string
	faults []string // what clients found wrong besides the history
}

// A simPlan is how rough a simulation is: probabilities and sizes.
type simPlan struct {
	nodes, clients, ops int // ops of each client
	keys                int // mutable ones; 0 for all there are, and an immutable one now and then
	think               time.Duration
	reads, deletes      float64
	large               float64 // bodies larger than a chunk
	leaving             float64 // clients that do not wait

	lost, late, void, refused, slow, cutBody float64 // of requests to the authority
	connLoss                                 float64 // of pieces between nodes
	events                                   int     // faults of nodes and networks
	views                                    bool    // nodes disagree about the ring

	ramBytes int64
	ssd      bool

	staleness time.Duration // that every mutable key may have
	past      float64       // reads past the cluster, of the authority itself
	mutants   mutant.Set
}

// plan draws how rough a simulation is. One in five has no faults at all but
// what the ring believes: there the traps of ordinary caches show best.
func drawPlan(rng *rand.Rand) simPlan {
	p := simPlan{
		nodes: 3 + rng.IntN(simNodes-2), clients: 4 + rng.IntN(4), think: 120 * time.Millisecond,
		reads: 0.5 + 0.3*rng.Float64(), deletes: 0.08 * rng.Float64(), large: 0.02,
		ramBytes: []int64{0, 4 << 10, 1 << 20, 1 << 20}[rng.IntN(4)], ssd: rng.IntN(2) == 0, views: rng.IntN(4) > 0,
	}
	p.ops = 84 / p.clients
	if rng.IntN(4) == 0 {
		p.hot()
	}
	if rng.IntN(6) == 0 {
		p.staleness = time.Duration(rng.Int64N(int64(800 * time.Millisecond)))
	}
	if rng.IntN(5) == 0 {
		return p
	}
	rough := rng.Float64()
	p.leaving = 0.06 * rough
	p.lost, p.late, p.void, p.refused, p.slow = 0.03*rough, 0.05*rough, 0.05*rough, 0.03*rough, max(p.slow, 0.1*rough)
	p.cutBody, p.connLoss, p.events = 0.02*rough, 0.01*rough, rng.IntN(7)
	return p
}

// hot lets everybody want the same key, of a slow authority.
func (p *simPlan) hot() { p.keys, p.think, p.slow = 1, 20*time.Millisecond, 0.5 }

// simulate runs the simulation of a seed. It must be called in a bubble.
func (s *simulator) simulate(seed uint64, verbose bool) *simWorld {
	w := &simWorld{
		seed: seed, views: s.views, classes: s.classes, front: s.front, began: time.Now(), verbose: verbose,
		recorder: history.NewRecorder(), stats: newRouterStats(), tags: map[object.ETag]string{},
		keys: []object.Key{"sessions/a/head", "sessions/b/head"},
	}
	rng := w.rand("plan")
	w.plan = drawPlan(rng)
	if s.adjust != nil {
		s.adjust(&w.plan)
	}
	if w.plan.keys > 0 {
		w.keys = w.keys[:w.plan.keys]
	} else if rng.IntN(2) == 0 {
		w.keys = append(w.keys, "cache/x/sha256:1/out")
	}
	w.network, w.origin = newSimNetwork(w), newSimOrigin(w)
	for id := range w.plan.nodes {
		n := &simNode{w: w, id: id}
		n.believe(w.views[1<<w.plan.nodes-1])
		w.nodes = append(w.nodes, n)
	}
	for _, n := range w.nodes {
		n.start()
	}
	var clients, trouble sync.WaitGroup
	over := make(chan struct{})
	trouble.Go(func() { w.trouble(over) })
	for id := range w.plan.clients {
		c := &simClient{w: w, id: id, rng: w.rand(fmt.Sprint("client ", id)), seen: map[object.Key]simVersion{}}
		clients.Go(func() { c.run(w.plan.ops) })
	}
	clients.Wait()
	close(over)
	trouble.Wait()
	w.calm()
	for _, n := range w.nodes {
		n.crash()
	}
	w.dying.Wait()
	pass(signTimeout) // for dials that nobody waits for
	return w
}

// calm lets all trouble end, waits for what is late, and reads every key through
// every node once more.
func (w *simWorld) calm() {
	for _, n := range w.nodes {
		n.believe(w.views[1<<w.plan.nodes-1])
		w.origin.set(n.id, false)
		for _, m := range w.nodes {
			w.network.setCut(n.id, m.id, false)
		}
		if n.alive() == nil {
			n.start()
		}
	}
	w.origin.set(-1, false)
	pass(10 * time.Second)
	c := &simClient{w: w, id: w.plan.clients, rng: w.rand("last client"), seen: map[object.Key]simVersion{}}
	for _, key := range w.keys {
		for _, n := range w.nodes {
			c.read(context.Background(), n, key)
		}
	}
}

// rand returns the source of randomness for one purpose.
func (w *simWorld) rand(purpose string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

// moment returns the source of randomness for what happens between two machines
// at a time. It depends on nothing else: not on how many connections there were,
// nor on which of them is used, because that is up to the scheduler where two
// requests begin at one moment.
func (w *simWorld) moment(purpose string, from, to int, at time.Time) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(w.seed^h.Sum64(), uint64(at.Sub(w.began))<<8|uint64(from)<<4|uint64(to)))
}

// nodeAt returns the number of the node at an address.
func (w *simWorld) nodeAt(addr string) int {
	for _, n := range w.nodes {
		if simAddr(n.id).String() == addr {
			return n.id
		}
	}
	panic("no node at " + addr)
}

func (w *simWorld) class(key object.Key) object.Class {
	class, _ := w.classes.Of(key)
	return class
}

// elapsed is how long the simulation has run.
func (w *simWorld) elapsed() time.Duration { return time.Since(w.began) }

// logf notes an event.
func (w *simWorld) logf(format string, args ...any) {
	if !w.verbose {
		return
	}
	line := fmt.Sprintf("%12v ", w.elapsed()) + fmt.Sprintf(format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, line)
}

func (w *simWorld) slog(node int) *slog.Logger {
	if !w.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(&simLog{w: w, id: node})
}

// expect notes what a client found wrong.
func (w *simWorld) expect(ok bool, format string, args ...any) {
	if ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// simLatency is how long a piece takes from one machine to another: no two take
// equally long.
func simLatency(rng *rand.Rand) time.Duration {
	d := 200*time.Microsecond + time.Duration(rng.Int64N(int64(3*time.Millisecond)))
	if rng.IntN(30) == 0 {
		d += time.Duration(rng.Int64N(int64(50 * time.Millisecond)))
	}
	return d
}

// pass lets simulated time pass.
func pass(d time.Duration) { <-time.After(d) }

// sleep waits, or returns the error of a context that ends before.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
