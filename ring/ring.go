package ring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

var (
	errClosed  = errors.New("the ring is closed")
	errRunning = errors.New("ring: Run was called before")
)

// A Ring is this node's part in the cluster: it shows itself to the others,
// follows them, and publishes views. All methods are safe for concurrent use.
type Ring struct {
	cfg     Config // with defaults
	log     *slog.Logger
	gossip  *memberlist.Memberlist
	roster  *roster
	refused *refusals
	seeds   []string // without this node's own address
	lookup  lookup
	bound   string
	public  string

	view  atomic.Pointer[View]
	place placer                // nil: newView
	fault atomic.Pointer[error] // why the last attempt to make a view failed, nil if it did not

	// build serialises the making of views, so that they are published in the
	// order of what they were made from. No I/O happens under it.
	build   sync.Mutex
	rivalry uint64 // boot of the other process with this node's ID that was logged

	changedMu sync.Mutex
	changed   chan struct{} // closed and renewed at each view

	// announcing is held, as its token, over telling the gossip library of new
	// metadata, which takes until they were sent: two at once could leave the
	// older ones standing. A channel, because it is held over I/O.
	announcing chan struct{}
	background sync.WaitGroup // announcements whose caller did not wait

	started atomic.Bool // Run was called

	stopMu   sync.Mutex
	stopping chan struct{} // closed once Leave or Close began
	stopped  chan struct{} // closed once gossip has ended
	leaveErr error         // of Leave, to be read when stopped
}

// Open binds the gossip sockets and starts to answer on them. The cluster is
// joined by Run. The view is this node alone until then.
//
// The gossip library has goroutines of its own from here on: Leave or Close
// ends them, whether Run was called or not.
func Open(cfg Config) (*Ring, error) {
	cfg.Timing = cfg.Timing.withDefaults()
	cfg.Seeds = slices.Clone(cfg.Seeds)
	cfg.Self.Boot = uint64(time.Now().UnixNano())
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("ring: %w", err)
	}
	keys, err := cfg.placementKeys()
	if err != nil {
		return nil, fmt.Errorf("ring: cluster secret: %w", err)
	}
	cfg.Self.PlacementKey = keys.own()
	r := &Ring{
		cfg: cfg,
		log: cfg.Log,
		roster: &roster{
			wake:  make(chan struct{}, 1),
			lost:  make(chan struct{}, 1),
			peers: make(map[string]peer),
			known: make(map[string]contact),
		},
		lookup:     lookupDNS,
		changed:    make(chan struct{}),
		announcing: make(chan struct{}, 1),
		stopping:   make(chan struct{}),
		stopped:    make(chan struct{}),
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.refused = newRefusals(r.log)
	if err := r.roster.setSelf(cfg.Self); err != nil {
		return nil, fmt.Errorf("ring: %w", err)
	}
	view, err := newView([]Member{cfg.Self}, noView(keys))
	if err != nil {
		return nil, err
	}
	r.view.Store(view)
	if err := r.listen(); err != nil {
		return nil, fmt.Errorf("ring: %w", err)
	}
	r.seeds = slices.DeleteFunc(cfg.Seeds, func(s string) bool { return s == r.public || s == r.bound })
	return r, nil
}

// listen starts the gossip.
func (r *Ring) listen() error {
	cfg, err := r.cfg.gossip(r.log, &delegate{name: r.cfg.Self.gossipName(), roster: r.roster, refused: r.refused, keys: r.View().keys})
	if err != nil {
		return err
	}
	var own *sockets
	if cfg.Transport == nil {
		if own, err = r.bind(cfg); err != nil {
			return fmt.Errorf("gossip on %q: %w", r.cfg.Bind, err)
		}
	}
	if r.gossip, err = memberlist.Create(cfg); err != nil {
		if own != nil {
			err = errors.Join(err, own.Shutdown())
		}
		return fmt.Errorf("gossip on %q: %w", r.cfg.Bind, err)
	}
	// Nobody changes the node's own address after Create, so it is safe to read.
	r.public = r.gossip.LocalNode().Address()
	r.bound = r.public
	if own != nil {
		r.bound = net.JoinHostPort(cfg.BindAddr, strconv.Itoa(cfg.BindPort))
	}
	return nil
}

// bind opens the gossip's sockets and writes their port into its configuration.
func (r *Ring) bind(cfg *memberlist.Config) (*sockets, error) {
	addr, err := netip.ParseAddr(cfg.BindAddr)
	if err != nil {
		return nil, err
	}
	s, err := listenGossip(netip.AddrPortFrom(addr, uint16(cfg.BindPort)), r.cfg.Cluster, r.refused)
	if err != nil {
		return nil, err
	}
	if cfg.BindPort == 0 {
		cfg.BindPort = int(s.addr.Port())
		cfg.AdvertisePort = cfg.BindPort
	}
	cfg.Transport = s
	return s, nil
}

// Addr returns where gossip listens, as host:port with the real port.
func (r *Ring) Addr() string { return r.bound }

// AdvertiseAddr returns where others reach the gossip, as host:port: what to
// give them as a seed. It differs from Addr for a wildcard or behind NAT.
func (r *Ring) AdvertiseAddr() string { return r.public }

// Self returns this node as the others know it.
func (r *Ring) Self() Member { return r.roster.selfMember() }

// View returns the current view. It is never nil: a node alone sees itself.
func (r *Ring) View() *View { return r.view.Load() }

// Changed returns a channel that is closed when the next view is published.
// Take it before View to miss none.
func (r *Ring) Changed() <-chan struct{} {
	r.changedMu.Lock()
	defer r.changedMu.Unlock()
	return r.changed
}

// Joined reports whether this node found its cluster: it has no seeds besides
// itself, or it has seen another member. It does not become false again.
func (r *Ring) Joined() bool { return len(r.seeds) == 0 || r.roster.metOther() }

// SetState changes this node's state. Its own view follows before SetState
// returns; then it waits until the news were sent to enough members to reach
// all, or nobody else is there. If ctx ends or Timing.Announce passes before,
// the error matches the context's, or context.DeadlineExceeded; the sending
// goes on all the same.
func (r *Ring) SetState(ctx context.Context, s State) error {
	if err := r.changeSelf(s); err != nil {
		return fmt.Errorf("ring: set state: %w", err)
	}
	sent := make(chan error, 1)
	if err := r.announce(r.patience(ctx), sent); err != nil {
		return fmt.Errorf("ring: set state: %w", err)
	}
	select {
	case err := <-sent:
		if err != nil {
			return fmt.Errorf("ring: announce state %s: %w", s, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ring: announce state %s: %w", s, ctx.Err())
	}
}

// announce tells the gossip library of new metadata, in the background because
// that takes no context, and sends how it went.
func (r *Ring) announce(patience time.Duration, sent chan<- error) error {
	r.stopMu.Lock() // so that nobody waits for the background before it begins
	defer r.stopMu.Unlock()
	if r.isStopping() {
		return errClosed
	}
	r.background.Go(func() {
		r.announcing <- struct{}{}
		defer func() { <-r.announcing }()
		switch {
		case r.isStopping():
			sent <- errClosed
		case r.gossip.UpdateNode(patience) != nil: // it fails in no other way
			sent <- context.DeadlineExceeded
		default:
			sent <- nil
		}
	})
	return nil
}

// changeSelf sets the state in this node's own entry and view.
func (r *Ring) changeSelf(s State) error {
	if r.isStopping() {
		return errClosed
	}
	if !s.valid() {
		return fmt.Errorf("unknown member state %d", s)
	}
	r.build.Lock()
	defer r.build.Unlock()
	// The placement without the change is to be remembered, also if the members
	// who own keys in it have only just been met.
	if err := r.rebuild(); err != nil {
		r.log.Error("the view of the ring stays as it was", "error", err)
	}
	self := r.roster.selfMember()
	self.State = s
	if err := r.roster.setSelf(self); err != nil {
		return err
	}
	return r.rebuild()
}

// patience is how long the gossip library may take to send something: it knows
// no contexts. It is never 0, which the library takes for unlimited.
func (r *Ring) patience(ctx context.Context) time.Duration {
	wait := r.cfg.Timing.Announce
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline))
	}
	return max(wait, time.Nanosecond)
}

// Leave tells the others that this node goes, and ends the gossip. They take it
// out of their views at once; its own still counts it in. An error means that it
// is not certain that they heard, and then they will take it for crashed. If
// ctx ends before, the leave goes on for at most Timing.Announce, and Close
// waits for it. After Close it is an error.
func (r *Ring) Leave(ctx context.Context) error {
	if r.stop() {
		go func() {
			defer close(r.stopped)
			if r.gossip.Leave(r.patience(ctx)) != nil { // it fails in no other way
				r.leaveErr = context.DeadlineExceeded
			}
			r.shutdown()
		}()
	}
	select {
	case <-r.stopped:
	case <-ctx.Done():
		return fmt.Errorf("ring: leave: %w", ctx.Err())
	}
	if r.leaveErr != nil {
		return fmt.Errorf("ring: leave: %w", r.leaveErr)
	}
	return nil
}

// Close ends the gossip without a word: to the others this node has crashed.
// After Leave it only waits for its end. It can be called again.
func (r *Ring) Close() error {
	if r.stop() {
		r.leaveErr = errClosed
		r.shutdown()
		close(r.stopped)
	}
	<-r.stopped
	return nil
}

// stop marks the ring as stopping and reports whether the caller is the first
// and has to do it.
func (r *Ring) stop() bool {
	r.stopMu.Lock()
	defer r.stopMu.Unlock()
	if r.isStopping() {
		return false
	}
	close(r.stopping)
	return true
}

func (r *Ring) isStopping() bool {
	select {
	case <-r.stopping:
		return true
	default:
		return false
	}
}

// shutdown ends the gossip and what is in the background.
func (r *Ring) shutdown() {
	// It only ever fails for the transport's sake, and then the rest of the
	// gossip has ended all the same.
	if err := r.gossip.Shutdown(); err != nil {
		r.log.Warn("gossip did not end cleanly", "error", err)
	}
	r.background.Wait()
}
