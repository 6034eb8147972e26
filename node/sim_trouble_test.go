package node

import (
	"math/rand/v2"
	"sync"
	"time"
)

// trouble makes the faults of a simulation happen until it is over.
func (w *simWorld) trouble(over <-chan struct{}) {
	rng := w.rand("trouble")
	var running sync.WaitGroup
	defer running.Wait()
	events := w.plan.events
	if w.plan.views {
		events += 2 + rng.IntN(4)
	}
	for range events {
		wait := time.NewTimer(time.Duration(rng.Int64N(int64(600 * time.Millisecond))))
		select {
		case <-over:
			wait.Stop()
			return
		case <-wait.C:
		}
		own := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
		kind := own.IntN(8)
		if w.plan.events == 0 || (w.plan.views && own.IntN(3) == 0) {
			kind = -1
		}
		running.Go(func() { w.event(own, kind) })
	}
}

// event makes one fault happen, and end.
func (w *simWorld) event(rng *rand.Rand, kind int) {
	n := w.nodes[rng.IntN(len(w.nodes))]
	m := w.nodes[rng.IntN(len(w.nodes))]
	d := time.Duration(rng.Int64N(int64(2500 * time.Millisecond)))
	all := 1<<len(w.nodes) - 1
	switch kind {
	case -1: // one node believes in other members
		mask := rng.IntN(all + 1)
		w.logf("node %d believes in %05b", n.id, mask)
		n.believe(w.views[mask])
	case 0: // a node dies, comes back, and the others notice both, one by one
		wipe := rng.IntN(3) == 0
		w.logf("node %d dies, wiped: %v", n.id, wipe)
		n.crash()
		if wipe {
			n.disk.wipe()
		}
		w.believe(rng, all&^(1<<n.id))
		pass(d)
		if n.alive() == nil {
			n.start()
		}
		w.logf("node %d is back", n.id)
		w.believe(rng, all)
	case 1: // a node leaves the ring and takes part again
		w.logf("node %d leaves", n.id)
		w.believe(rng, all&^(1<<n.id))
		pass(d)
		w.logf("node %d joins", n.id)
		w.believe(rng, all)
	case 2:
		w.logf("node %d stands still for %v", n.id, d)
		n.pause(d)
	case 3, 4: // a partition, of one direction or both
		both := rng.IntN(2) == 0
		w.logf("%d to %d is cut for %v, both ways: %v", n.id, m.id, d, both)
		w.network.setCut(n.id, m.id, true)
		if both {
			w.network.setCut(m.id, n.id, true)
		}
		pass(d)
		if rng.IntN(2) == 0 {
			w.network.breakAll(n.id)
		}
		w.network.setCut(n.id, m.id, false)
		w.network.setCut(m.id, n.id, false)
	case 5:
		w.logf("node %d does not reach the authority for %v", n.id, d)
		w.origin.set(n.id, true)
		pass(d)
		w.origin.set(n.id, false)
	case 6:
		w.logf("nobody reaches the authority for %v", d/3)
		w.origin.set(-1, true)
		pass(d / 3)
		w.origin.set(-1, false)
	case 7:
		w.logf("the connections of node %d break", n.id)
		w.network.breakAll(n.id)
	}
}

// believe makes all nodes learn of a view, each after a while of its own.
func (w *simWorld) believe(rng *rand.Rand, mask int) {
	for _, n := range w.nodes {
		time.AfterFunc(time.Duration(rng.Int64N(int64(time.Second))), func() { n.believe(w.views[mask]) })
	}
}
