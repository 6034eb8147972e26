package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/pace"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

// A plane is what a node has of its own for talking with its peers, besides
// connections.
type plane struct {
	hedges        *hedges
	epochs        *epochWatch
	acquaintances *acquaintances
	quick         *peer.QuickServer // nil without tiers: there is no memory to answer from

	refused *prometheus.CounterVec
}

func (n *Node) newPlane() *plane {
	return &plane{
		hedges: newHedges(),
		epochs: newEpochWatch(n.ring.Sync),
		acquaintances: &acquaintances{self: n.id, view: n.ring.View, ask: func(ctx context.Context, m ring.Member) (uint64, error) {
			return n.pool.Peer(m.PeerAddr, m.Boot).Epoch(ctx)
		}},
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "micelio_peer_refused_total", Help: "Requests to the peer listener that were not let in, by what was wrong with them.",
		}, []string{"reason"}),
	}
}

// openPeers makes the client side of the peer protocol, and returns the handler
// of the other side, which answers from the node's own stack.
func (n *Node) openPeers() *peer.HandlerConfig {
	n.plane = n.newPlane()
	epoch := func() uint64 { return n.ring.View().Epoch() }
	n.pool = peer.NewPool(peer.Config{
		Node: n.id, Cluster: n.cfg.Cluster, Secrets: n.cfg.ClusterSecrets(), Log: n.log,
		Epoch: epoch, OtherEpoch: func(string, uint64) { n.plane.epochs.differs("answer") },
	})
	n.vitals = &vitals{view: n.ring.View, log: n.log, tend: n.tendConnections,
		sign: func(ctx context.Context, m ring.Member) error { return n.pool.Peer(m.PeerAddr, m.Boot).Alive(ctx) },
	}
	n.meter.registry.MustRegister(n.plane.refused, n.plane.epochs.differing, n.plane.epochs.synced, newPlaneSnapshot(n))
	if n.cache != nil {
		n.plane.quick = peer.NewQuickServer(n.cache)
	}
	return &peer.HandlerConfig{
		Quick: n.plane.quick, Copies: n.copies,
		Node: n.id, Cluster: n.cfg.Cluster, Secrets: n.cfg.ClusterSecrets(), Log: n.log,
		Epoch: epoch, OtherEpoch: func(string, uint64) { n.plane.epochs.differs("request") },
		Observe: n.answeredPeer,
		Refused: func(code string) { n.plane.refused.WithLabelValues(code).Inc() },
	}
}

// close ends what the plane does in the background.
func (p *plane) close() {
	p.hedges.Close()
	if p.quick != nil {
		p.quick.Close()
	}
}

// dialMember returns the Store of a member.
func (n *Node) dialMember(m ring.Member) object.Store { return n.pool.Peer(m.PeerAddr, m.Boot) }

// laneTo returns the client of a member's quick lanes.
func (n *Node) laneTo(m ring.Member) *peer.Client { return n.pool.Peer(m.PeerAddr, m.Boot) }

// tendConnections lets go of the connections to members that are gone.
func (n *Node) tendConnections(view *ring.View) {
	n.pool.Keep(func(addr string, boot uint64) bool {
		return slices.ContainsFunc(view.Members(), func(m ring.Member) bool { return m.PeerAddr == addr && m.Boot == boot })
	})
}

// tendPeers looks after the peers until ctx ends.
func (n *Node) tendPeers(ctx context.Context) error {
	var tasks sync.WaitGroup
	tasks.Go(func() { n.plane.epochs.Run(ctx) })
	tasks.Go(func() { n.plane.acquaintances.Run(ctx) })
	err := n.vitals.Run(ctx)
	tasks.Wait()
	return err
}

const (
	// epochPatience is how long two nodes may have different views before it is
	// more than the news being on their way: views of new members wait for half
	// a second for others to come, and gossip takes a few tenths.
	epochPatience = time.Second

	// syncInterval is the least time between two rounds of asking for news: if
	// one does not help, the nodes disagree for a reason that another does not
	// change soon.
	syncInterval = 5 * time.Second
)

// An epochWatch learns from the requests and answers of peers that they have
// another view of the ring, and asks for the news if it stays so. Whoever is
// behind, this node or the other, both compare their tables.
type epochWatch struct {
	sync      func(ctx context.Context)
	differing *prometheus.CounterVec
	synced    prometheus.Counter
	seen      chan struct{} // holds one token if a difference was seen
}

func newEpochWatch(sync func(context.Context)) *epochWatch {
	return &epochWatch{
		sync: sync, seen: make(chan struct{}, 1),
		differing: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "micelio_peer_epoch_mismatch_total", Help: "Requests from peers, and answers of peers, that had another view of the ring.",
		}, []string{"from"}),
		synced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "micelio_peer_epoch_syncs_total", Help: "Times that the ring was asked to look for news because peers had another view.",
		}),
	}
}

// differs notes a difference. It does not block.
func (e *epochWatch) differs(from string) {
	e.differing.WithLabelValues(from).Inc()
	select {
	case e.seen <- struct{}{}:
	default:
	}
}

// Run asks for news, when it is time, until ctx ends.
func (e *epochWatch) Run(ctx context.Context) {
	for {
		if !e.await(ctx) {
			return
		}
		pause(ctx, epochPatience)
		select {
		case <-e.seen: // from before the pause was over, most likely
		default:
		}
		again, cancel := context.WithTimeout(ctx, epochPatience)
		still := e.await(again)
		cancel()
		if still && ctx.Err() == nil {
			e.synced.Inc()
			e.sync(ctx)
			pause(ctx, syncInterval)
		}
	}
}

func (e *epochWatch) await(ctx context.Context) bool {
	select {
	case <-e.seen:
		return true
	case <-ctx.Done():
		return false
	}
}

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// A planeSnapshot collects the figures of the peers.
type planeSnapshot struct {
	n                              *Node
	breaker, opened, inUse, hedged gauge
	quick                          gauge
}

func newPlaneSnapshot(n *Node) *planeSnapshot {
	def := func(kind prometheus.ValueType, name, help string, labels ...string) gauge {
		return gauge{prometheus.NewDesc(name, help, labels, nil), kind}
	}
	const g, c = prometheus.GaugeValue, prometheus.CounterValue
	return &planeSnapshot{
		n: n,
		breaker: def(g, "micelio_peer_breaker_state",
			"1 for what requests to a peer meet, 0 for the others. closed: all are sent; half-open: one finds out; open: they go around it.", "peer", "state"),
		opened: def(c, "micelio_peer_breaker_opened_total", "Times that requests began to go around this start of a peer.", "peer"),
		inUse:  def(g, "micelio_peer_requests_in_flight", "Requests to a peer that are under way: with small bodies, with large ones (bulk), and on quick lanes.", "peer", "kind"),
		hedged: def(c, "micelio_peer_hedged_reads_total",
			"Reads of slow peers that this node's own stack was asked for too, by who answered first.", "first"),
		quick: def(c, "micelio_peer_quick_reads_total",
			"Reads that a peer was asked for on a quick lane, by result: have, absent (not in its memory), late (given up). All but have went on to an ordinary request.", "peer", "result"),
	}
}

// Describe sends no descriptions: the collector is checked when it collects.
func (s *planeSnapshot) Describe(chan<- *prometheus.Desc) {}

// Collect sends the figures of this moment.
func (s *planeSnapshot) Collect(out chan<- prometheus.Metric) {
	send := func(g gauge, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(g.desc, g.kind, v, labels...)
	}
	for _, m := range s.n.ring.View().Members() {
		if m.ID == s.n.id || m.State == ring.Joining {
			continue
		}
		st := s.n.vitals.about(m).breaker.Stats()
		for _, state := range []pace.State{pace.Closed, pace.HalfOpen, pace.Open} {
			send(s.breaker, oneIf(state == st.State), m.ID, state.String())
		}
		send(s.opened, float64(st.Opened), m.ID)
		c := s.n.pool.Peer(m.PeerAddr, m.Boot)
		load, quick := c.Load(), c.QuickStats()
		send(s.quick, float64(quick.Answered), m.ID, "have")
		send(s.quick, float64(quick.Absent), m.ID, "absent")
		send(s.quick, float64(quick.Late), m.ID, "late")
		send(s.inUse, float64(quick.InFlight), m.ID, "quick")
		send(s.inUse, float64(load.Small), m.ID, "small")
		send(s.inUse, float64(load.Bulk), m.ID, "bulk")
	}
	h := s.n.plane.hedges.stats()
	send(s.hedged, float64(h.Won), "own")
	send(s.hedged, float64(h.Sent-h.Won), "peer")
}
