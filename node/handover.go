package node

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

const (
	// maxHandoverKeys and maxHandoverBytes bound what a node hands on when it
	// goes. What is not among the hottest gigabyte is fetched again when it is
	// wanted, if it ever is.
	maxHandoverKeys  = 1 << 17
	maxHandoverBytes = 1 << 30

	// takers is how many objects of a hand-over are fetched at once: enough that
	// round trips do not count, and few beside the requests of clients.
	takers = 8

	// maxStrays is how many objects of a hand-over may have to be fetched from
	// elsewhere before it is given up: the node that goes has gone, or has lost
	// them, and what nobody has asked for yet is not worth the origin's time.
	maxStrays = 2
)

// newPrevious returns the Store that fills from previous owners before behind is
// asked.
func (n *Node) newPrevious(behind object.Store) *previous {
	p := &previous{
		Store: behind, self: n.id, view: n.ring.View, class: n.classes.Of, log: n.log, stats: &n.meter.fill,
		dial:    func(m ring.Member) cachedPeer { return n.pool.Peer(m.PeerAddr, m.Boot) },
		suspect: func(m ring.Member) bool { return !n.vitals.passable(m, false) },
		started: time.Now(), patience: fillPatience, stall: fillStall,
	}
	n.meter.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "micelio_peer_fill_hit_ratio", Help: "Share of the latest questions to a node that owned keys before that it could answer, of the best such node.",
	}, func() float64 { share, _ := p.worth.best(); return share }))
	return p
}

// cached returns what other nodes' cached reads are answered from, nil without
// tiers.
func (n *Node) cached() peer.CachedReader {
	if n.cache == nil {
		return nil
	}
	return n.cache
}

// handOver tells the new owners of this node's keys of its hottest objects, which
// they fetch from it. It returns when they have, and after DrainHandover at the
// latest. A node that has nothing to hand on, or nobody to hand it to, returns at
// once.
func (n *Node) handOver(ctx context.Context) {
	if n.cache == nil || n.cfg.DrainHandover <= 0 {
		return
	}
	view, left := n.ring.View(), int64(maxHandoverBytes)
	heirs := make(map[ring.Member][]object.Key)
	for _, h := range n.cache.Hottest(maxHandoverKeys) {
		m, ok := view.Owner(string(h.Key))
		if !ok || m.ID == n.id || h.Size > left {
			continue
		}
		left -= h.Size
		heirs[m] = append(heirs[m], h.Key)
	}
	if len(heirs) == 0 {
		return
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, n.cfg.DrainHandover)
	defer cancel()
	var told atomic.Int64
	var telling sync.WaitGroup
	for heir, keys := range heirs {
		telling.Go(func() {
			for len(keys) > 0 {
				done, err := n.pool.Peer(heir.PeerAddr, heir.Boot).Handover(ctx, keys)
				if err != nil {
					n.log.Warn("not all hot objects were handed on", "peer", heir.ID, "left", len(keys), "err", err)
					return
				}
				keys = keys[done:]
				told.Add(int64(done))
				n.meter.fill.handedOver.Add(int64(done))
			}
		})
	}
	telling.Wait()
	n.log.Info("handed hot objects on", "objects", told.Load(), "nodes", len(heirs), "took", time.Since(began).Round(time.Millisecond))
}

// takeOver fetches objects from a node that goes, as far as this one has not got
// them, until ctx ends. It reports whether more are welcome: not if these had to
// come from elsewhere.
func (n *Node) takeOver(ctx context.Context, keys []object.Key) bool {
	if n.cache == nil {
		return false
	}
	next := make(chan object.Key)
	var strays atomic.Int32
	var taking sync.WaitGroup
	for range min(takers, len(keys)) {
		taking.Go(func() {
			for key := range next {
				tier, err := n.take(ctx, key)
				switch {
				case err != nil || tier == object.TierCDN || tier == object.TierOrigin:
					strays.Add(1)
				case tier == object.TierPeer:
					n.meter.fill.takenOver.Add(1)
				}
			}
		})
	}
	for _, key := range keys {
		if ctx.Err() != nil || strays.Load() > maxStrays {
			break
		}
		if class, _ := n.classes.Of(key); class != object.Mutable && len(n.cache.Holds(key)) == 0 {
			next <- key
		}
	}
	close(next)
	taking.Wait()
	return strays.Load() <= maxStrays
}

// take fetches one object and returns where it came from.
func (n *Node) take(ctx context.Context, key object.Key) (object.Tier, error) {
	obj, err := n.cache.Get(ctx, key, object.GetOptions{})
	if err != nil {
		return "", err
	}
	defer obj.Body.Close()
	_, err = io.Copy(io.Discard, obj.Body)
	return obj.Tier, err
}

const (
	// warmQuiet is how long nothing must have come from a previous owner before
	// a node counts as warm, and warmShare the share of fills that may.
	warmQuiet = 10 * time.Second
	warmShare = 0.1
)

// warmth is the line on /readyz?verbose that says whether this node still fills
// from those who owned its keys before. A node that is not warm is as ready as
// any: it only asks others more often.
func (n *Node) warmth() check { return n.warmthAt(time.Now()) }

func (n *Node) warmthAt(now time.Time) check {
	c := check{name: "warm", ok: true, says: true}
	moved, ok := n.ring.View().Moved()
	if !ok || n.previous == nil {
		c.say = "no keys have moved lately"
		return c
	}
	share, last := n.previous.worth.best()
	c.ok = now.Sub(moved) >= warmQuiet && (now.Sub(last) >= warmQuiet || share < warmShare)
	word := "warm"
	if !c.ok {
		word = "warming"
	}
	c.say = fmt.Sprintf("%s: keys moved %s ago; %d objects, %d bytes came from those who had them before, who have %.0f %% of what they are asked for",
		word, now.Sub(moved).Round(time.Second), n.meter.fill.hits.Load(), n.meter.fill.bytes.Load(), 100*share)
	return c
}
