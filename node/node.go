package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/console"
	"github.com/micelio/micelio/gateway"
	"github.com/micelio/micelio/hotset"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
	"github.com/micelio/micelio/tiers"
)

// A Node is one worker of the cluster. Several can run in one process.
type Node struct {
	cfg Config
	id  string
	log *slog.Logger // shows keys as people may see them

	privacy privacy
	access  *accessLog
	slow    *slowest
	level   *slog.LevelVar // of log, nil if it cannot be changed

	authority authority
	s3        *origin.S3  // the authority, if it is a bucket
	cdn       *origin.CDN // nil without one
	classes   *object.Classes
	staleness *object.Staleness
	ssd       *tiers.Log   // nil if the tier is off
	previous  *previous    // fills from previous owners; nil without tiers
	cache     *tiers.Cache // nil without tiers
	stack     object.Store // what this node serves by itself
	router    *router      // nil without tiers
	store     object.Store // what clients see: the whole cluster
	ring      *ring.Ring
	pool      *peer.Pool
	meter     *meter
	plane     *plane
	vitals    *vitals
	canary    *canary // nil if it is off
	showcase  *showcase
	asking    turnstile // questions to all members for people who look
	looking   turnstile // looks at the own tiers for those
	console   *console.Console
	hot       *hotset.Store // nil if it is off

	data, peers, admin *endpoint
	phase              atomic.Int32
	ready              chan struct{}  // closed with phaseReady
	conns              sync.WaitGroup // open connections of all three
}

// An endpoint is an open socket and the server that will use it.
type endpoint struct {
	name string
	net.Listener
	server *http.Server
	front  func(net.Listener) net.Listener // what the server gets instead, nil for the socket itself
}

// The phases of a node's life.
const (
	phaseStarting int32 = iota // listening, looking for the cluster
	phaseReady
	phaseDraining
)

// Open takes everything the node needs: directories, sockets and the gossip
// port. If any of it cannot be had, it gives the rest back and returns one
// error that names all that is wrong.
func Open(cfg Config, log *slog.Logger) (*Node, error) {
	cfg = cfg.Resolved()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, meter: newMeter(), ready: make(chan struct{})}
	n.openLog(log)
	var errs []error
	try := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	var err error
	n.id, err = identity(cfg)
	try(err)
	try(n.openStores())
	n.data, err = listen("client", cfg.Listen)
	try(err)
	n.peers, err = listen("peer", cfg.PeerListen)
	try(err)
	n.admin, err = listen("admin", cfg.AdminListen)
	try(err)
	if n.data != nil && n.peers != nil && n.admin != nil && n.id != "" {
		try(n.openRing())
	}
	if len(errs) > 0 {
		n.release()
		return nil, errors.Join(errs...)
	}
	if err := n.assemble(); err != nil {
		n.release()
		return nil, err
	}
	return n, nil
}

// openStores opens the stack below the network: the authority and the tiers.
func (n *Node) openStores() error {
	var err error
	if n.classes, err = object.NewClasses(n.cfg.VerifiedKeys, n.cfg.ImmutableKeys); err != nil {
		return err
	}
	if n.staleness, err = object.NewStaleness(n.cfg.Staleness); err != nil {
		return err
	}
	var errs []error
	if err := n.openOrigin(); err != nil {
		errs = append(errs, err)
	}
	if n.cfg.Tiered() && n.cfg.SSDBytes > 0 {
		if n.ssd, err = n.openSSD(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (n *Node) openSSD() (*tiers.Log, error) {
	return tiers.OpenLog(n.cfg.CachePath, tiers.LogOptions{
		Capacity: n.cfg.SSDBytes, Preallocate: n.cfg.SSDPreallocate, WriteRate: n.cfg.SSDWriteRate, Log: n.log,
	})
}

func listen(name, addr string) (*endpoint, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s listener: %w", name, err)
	}
	return &endpoint{name: name, Listener: l}, nil
}

func (n *Node) openRing() error {
	self := ring.Member{ID: n.id, State: ring.Joining, Weight: n.cfg.Weight}
	// The first address that says how others reach this machine says it for all
	// listeners that are bound to every address.
	elsewhere := []string{n.cfg.PeerAdvertise, n.cfg.GossipAdvertise, n.cfg.GossipListen}
	for _, a := range []struct {
		to        *string
		l         net.Listener
		advertise string
	}{
		{&self.PeerAddr, n.peers, n.cfg.PeerAdvertise}, {&self.DataAddr, n.data, ""}, {&self.AdminAddr, n.admin, ""},
	} {
		addr, err := advertised(a.l.Addr(), a.advertise, elsewhere...)
		if err != nil {
			return err
		}
		*a.to = addr
	}
	gossip, err := withPort(n.cfg.GossipAdvertise, n.cfg.GossipListen)
	if err != nil {
		return err
	}
	n.ring, err = ring.Open(ring.Config{
		Self: self, Bind: n.cfg.GossipListen, Advertise: gossip,
		Cluster: n.cfg.Cluster, Secret: n.cfg.currentSecret(), AcceptSecrets: n.cfg.acceptSecrets(), Seeds: n.cfg.Join, Log: n.log,
	})
	return err
}

// assemble stacks the Stores and gives each listener its server.
func (n *Node) assemble() error {
	var err error
	if n.stack, err = n.stackOrigin(); err != nil {
		return err
	}
	below := n.stack
	var stats func() tiers.Stats
	if n.cfg.Tiered() {
		n.previous = n.newPrevious(below)
		cfg := tiers.Config{
			Upstream: n.previous, Classes: n.classes, RAM: tiers.NewRAM(n.cfg.RAMBytes), FillMemory: n.cfg.FillMemoryBytes,
			WholeFills: n.cfg.Fill == FillWhole, Staleness: n.staleBudget, Filled: n.meter.fillEnded, Log: n.log,
		}
		if n.ssd != nil {
			cfg.SSD = n.ssd
		}
		n.cache = tiers.New(cfg)
		n.stack, stats = n.cache, n.cache.Stats
	}
	n.meter.registry.MustRegister(newSnapshot(n.id, stats, n.ring.View, n.fillSources()...), &nodeSnapshot{n, n.build()}, &originSnapshot{s3: n.s3, cdn: n.cdn},
		&membershipSnapshot{n.ring.Refusals}, ringFault(n.ring.Fault))
	answering := n.openPeers()
	n.store = n.stack
	if n.cfg.Tiered() { // without tiers no node is better than another
		n.router = &router{
			self: n.id, view: n.ring.View, local: n.stack, stats: n.meter.router, vitals: n.vitals, authority: below,
			dial: n.dialMember, lane: n.laneTo, hedges: n.plane.hedges,
			class: func(key object.Key) object.Class { class, _ := n.classes.Of(key); return class },
		}
		n.store = n.router
	}
	n.copyHotKeys()
	if n.cfg.Tiered() && n.cfg.CanaryInterval > 0 {
		n.canary = n.newCanary()
	}
	n.data.server = n.newServer(n.dismissing(gateway.New(gateway.Config{
		Store: private{n.store}, Bucket: n.cfg.Bucket, Region: n.cfg.S3.Region, Node: n.id, MaxObject: n.cfg.MaxObjectBytes,
		Loop: n.cfg.loop(), Log: n.log, Observe: n.answered,
	})), clientHeaderBytes)
	n.quicken()
	answering.Cached, answering.Previous, answering.Handover = n.cached(), n.previous.ids, n.takeOver
	n.peers.server = n.newServer(n.dismissing(peer.NewHandler(n.stack, *answering)), peer.MaxHeaderBytes)
	// A client may open a connection and use it first when it has been idle for
	// a while: the limit of an idle one holds for a new one too.
	n.peers.server.ReadHeaderTimeout = idleTimeout
	n.showcase = n.newShowcase()
	n.asking, n.looking = make(turnstile, maxChecks), make(turnstile, 2*maxChecks) // the console's, too
	n.console = console.New(n.showcase, console.Options{Hosts: n.cfg.AdminHosts, HostsHint: "give it that name with --admin-hosts", Log: n.log})
	n.admin.server = n.newServer(n.adminHandler(), clientHeaderBytes)
	return nil
}

// staleBudget returns how stale a read of a key may be: not at all, if the key is
// there to find out whether reads are.
func (n *Node) staleBudget(key object.Key) time.Duration {
	if object.IsInternal(key) {
		return 0
	}
	return n.staleness.Of(key)
}

// ID returns the node's id in the ring.
func (n *Node) ID() string { return n.id }

// Ready returns a channel that is closed once the node has taken its place in
// the ring. It stays open if Run ends before.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Addr returns the address clients connect to, with the real port.
func (n *Node) Addr() string { return n.data.Addr().String() }

// AdminAddr returns the address of the admin listener, with the real port.
func (n *Node) AdminAddr() string { return n.admin.Addr().String() }

// GossipAddr returns the address other nodes join, with the real port.
func (n *Node) GossipAddr() string { return n.ring.Addr() }

// Store returns the cluster as this node's clients see it.
func (n *Node) Store() object.Store { return n.store }

// release gives back what Open took. Errors no longer matter to anybody.
func (n *Node) release() {
	for _, l := range []*endpoint{n.data, n.peers, n.admin} {
		if l != nil {
			l.Close()
		}
	}
	if n.ring != nil {
		n.ring.Close()
	}
	if n.pool != nil {
		n.plane.close()
		n.pool.Close()
	}
	if n.ssd != nil {
		n.ssd.Close()
	}
	if n.cdn != nil {
		n.cdn.Close()
	}
	if n.authority != nil {
		n.authority.Close()
	}
}
