package node

import (
	"context"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
	"github.com/micelio/micelio/tiers"
)

// A simNode is one machine of a simulation: what outlives the starts of the
// node on it.
type simNode struct {
	w    *simWorld
	id   int
	disk simDisk
	view atomic.Pointer[ring.View] // what it believes of the cluster

	mu    sync.Mutex // guards the following
	life  *simLife   // nil while it is down
	until time.Time  // it stands still before
}

// A simLife is one start of a node: the real stack, from the router down to the
// guard of the authority.
type simLife struct {
	node   *simNode
	ctx    context.Context // ends when it dies
	die    context.CancelFunc
	router *router
	front  object.Store // what clients ask: the router, or what is before it
	uplink object.Store // the authority past the cluster
	server *http.Server
	quick  *peer.QuickServer
	pool   *peer.Pool
	tasks  sync.WaitGroup
}

func (l *simLife) dead() bool { return l.ctx.Err() != nil }

// alive returns the present start, nil if there is none.
func (n *simNode) alive() *simLife {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.life
}

// standing reports whether the node stands still.
func (n *simNode) standing() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Now().Before(n.until)
}

// stand waits until the node does not stand still. Those who waited go on one by
// one.
func (n *simNode) stand(rng *rand.Rand) {
	for {
		n.mu.Lock()
		left := time.Until(n.until)
		n.mu.Unlock()
		if left <= 0 {
			return
		}
		pass(left + time.Duration(rng.Int64N(int64(time.Millisecond))))
	}
}

// believe gives the node another view, which remembers the one it had.
func (n *simNode) believe(v *ring.View) {
	if old := n.view.Load(); old != nil {
		v = v.After(old, time.Now())
	}
	n.view.Store(v)
}

// pause lets the node stand still: nothing leaves it and nothing gets in. Its
// goroutines cannot be stopped, but then nobody can tell.
func (n *simNode) pause(d time.Duration) {
	n.mu.Lock()
	n.until = time.Now().Add(d)
	n.mu.Unlock()
	time.AfterFunc(d, n.w.network.stir)
}

// start begins a life.
func (n *simNode) start() {
	w := n.w
	l := &simLife{node: n}
	l.ctx, l.die = context.WithCancel(context.Background())
	l.uplink = w.upstream(l)
	before := &previous{
		Store: l.uplink, self: simID(n.id), view: n.view.Load, class: w.classes.Of, log: w.slog(n.id), stats: &w.fills, mutants: w.plan.mutants,
		dial:     func(m ring.Member) cachedPeer { return l.pool.Client(m.PeerAddr) },
		suspect:  func(m ring.Member) bool { return !l.router.vitals.passable(m, false) },
		patience: fillPatience, stall: fillStall,
	}
	cfg := tiers.Config{
		Upstream: before, Classes: w.classes, RAM: tiers.NewRAM(w.plan.ramBytes), Log: w.slog(n.id),
		Mutants: w.plan.mutants, Staleness: func(object.Key) time.Duration { return w.plan.staleness },
	}
	if w.plan.ssd {
		cfg.SSD = &simSSD{disk: &n.disk, life: l}
	}
	cache := tiers.New(cfg)
	name := simAddr(n.id).String()
	dial := func(ctx context.Context, _, addr string) (net.Conn, error) {
		if l.dead() {
			return nil, net.ErrClosed
		}
		return w.network.dial(ctx, n.id, addr)
	}
	l.pool = peer.NewPool(peer.Config{
		Node: name, Cluster: "sim", Dial: dial, ConnectTimeout: 300 * time.Millisecond,
		FirstByteTimeout: 4 * time.Second, CommitTimeout: 4 * time.Second, Log: w.slog(n.id),
	})
	sign := func(ctx context.Context, m ring.Member) error { return l.pool.Client(m.PeerAddr).Alive(ctx) }
	v := &vitals{view: n.view.Load, sign: sign, log: w.slog(n.id)}
	l.router = &router{
		self: simID(n.id), view: n.view.Load, local: simJitter{cache, 0}, stats: w.stats, vitals: v, authority: simJitter{l.uplink, 0},
		dial:    func(m ring.Member) object.Store { return simJitter{l.pool.Client(m.PeerAddr), w.plan.mutants} },
		lane:    func(m ring.Member) *peer.Client { return l.pool.Client(m.PeerAddr) },
		hedges:  newHedges(),
		class:   func(key object.Key) object.Class { class, _ := w.classes.Of(key); return class },
		mutants: w.plan.mutants,
	}
	l.front = l.router
	if w.front != nil {
		l.front = w.front(l)
	}
	l.quick = peer.NewQuickServer(cache)
	handler := peer.NewHandler(cache, peer.HandlerConfig{
		Quick: l.quick, Node: name, Cluster: "sim", Cached: cache, Previous: before.ids, Log: w.slog(n.id),
	})
	l.server = &http.Server{
		Handler: handler, MaxHeaderBytes: peer.MaxHeaderBytes, ReadHeaderTimeout: idleTimeout, IdleTimeout: idleTimeout,
		DisableGeneralOptionsHandler: true, ErrorLog: log.New(serverLog{w.slog(n.id)}, "", 0),
		BaseContext: func(net.Listener) context.Context { return l.ctx },
	}
	listener := w.network.listen(n.id)
	l.tasks.Go(func() { _ = cache.Run(l.ctx) })
	l.tasks.Go(func() { _ = v.Run(l.ctx) })
	l.tasks.Go(func() { _ = l.server.Serve(listener) })
	n.mu.Lock()
	n.life = l
	n.mu.Unlock()
}

// upstream returns the authority as one start of a node reaches it.
func (w *simWorld) upstream(l *simLife) object.Store {
	if w.scripted != nil {
		return w.scripted(l)
	}
	return origin.Guard(&simUplink{w.origin, l}, w.classes, false)
}

// crash ends the node's life, if it has one: what it was doing is cut off, its
// memory is gone, and its connections break.
func (n *simNode) crash() {
	n.mu.Lock()
	l := n.life
	n.life = nil
	n.mu.Unlock()
	if l == nil {
		return
	}
	l.die()
	n.w.network.breakAll(n.id)
	_ = l.server.Close()
	l.quick.Close()
	l.pool.Close()
	n.w.dying.Go(func() {
		l.tasks.Wait()
		l.router.hedges.Close()
		n.w.hedged.Add(l.router.hedges.stats().Sent)
		l.pool.Close()
	})
}

// simID is a node's id in the ring.
func simID(id int) string { return "node-" + string(rune('0'+id)) }

// simViews are the views of every set of nodes, by the bits of a mask. All
// simulations use the same.
type simViews []*ring.View

// simNodes is the most nodes that a simulation has.
const simNodes = 5

// makeSimViews makes the views: one of all nodes, and the others of that, which
// takes a hundredth of the time.
func makeSimViews() (simViews, error) {
	var members []ring.Member
	for id := range simNodes {
		members = append(members, ring.Member{ID: simID(id), Boot: 1, State: ring.Serving, PeerAddr: simAddr(id).String()})
	}
	all, err := ring.NewView(members)
	if err != nil {
		return nil, err
	}
	views := make(simViews, 1<<simNodes)
	for mask := range views {
		views[mask] = all
		for id := range simNodes {
			if mask&(1<<id) == 0 {
				views[mask] = views[mask].Without(simID(id))
			}
		}
	}
	return views, nil
}

// A simLog makes a node's log part of the events of a simulation.
type simLog struct {
	slog.Handler
	w  *simWorld
	id int
}

func (l *simLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *simLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *simLog) WithGroup(string) slog.Handler            { return l }
func (l *simLog) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	l.w.logf("node %d: %s", l.id, text)
	return nil
}
