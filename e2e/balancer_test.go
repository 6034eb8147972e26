package e2e

import (
	"math/rand/v2"
	"sync"
	"time"
)

// A balanced node is one behind a load balancer.
type balanced struct {
	*hosted
	open bool // clients are sent there, if it is ready; never changed while they are

	mu      sync.Mutex // guards the following
	unready bool
}

const (
	// balanceEvery is how often the load balancer asks each node whether it is
	// ready. A node that drains says that it is not some time before it goes.
	balanceEvery = 100 * time.Millisecond

	// balanceWithin is how long a node may take to say so.
	balanceWithin = time.Second
)

// balance keeps asking the nodes whether they are ready until end is closed.
func (tr *traffic) balance(end <-chan struct{}) {
	var asking sync.WaitGroup
	for _, n := range tr.nodes {
		asking.Go(func() {
			tick := time.NewTicker(balanceEvery)
			defer tick.Stop()
			for {
				_, err := n.ask("/readyz", balanceWithin)
				n.mu.Lock()
				n.unready = err != nil
				n.mu.Unlock()
				select {
				case <-tick.C:
				case <-end:
					return
				}
			}
		})
	}
	asking.Wait()
}

func (n *balanced) ready() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.open && !n.unready
}

// pick chooses a node that is ready, another than the one given if there is one.
func (tr *traffic) pick(r *rand.Rand, but *balanced) *balanced {
	first := r.IntN(len(tr.nodes))
	for _, strict := range []bool{true, false} { // if none is ready, any that clients are sent to
		for i := range tr.nodes {
			n := tr.nodes[(first+i)%len(tr.nodes)]
			if n != but && (n.ready() || !strict && n.open) {
				return n
			}
		}
	}
	return but
}
