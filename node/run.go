package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/micelio/micelio/ring"
)

const (
	// joinTimeout is how long a starting node looks for the cluster before it
	// serves alone: a cluster whose seeds are all down must come up.
	joinTimeout = 10 * time.Second

	// leaveTimeout bounds the telling of the others that this node goes.
	leaveTimeout = 5 * time.Second

	// headerTimeout cuts clients that send their headers byte by byte.
	headerTimeout = 5 * time.Second

	// idleTimeout is longer than peer clients keep a connection unused, so that
	// they close it first and never write into one that is closing.
	idleTimeout = 2 * time.Minute

	// clientHeaderBytes bounds a client's headers: a key, 2 KiB of metadata and
	// what SDKs add fit three times.
	clientHeaderBytes = 16 << 10
)

func (n *Node) newServer(h http.Handler, headerBytes int) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler: h, Protocols: protocols, MaxHeaderBytes: headerBytes,
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
}

// Run serves until ctx ends, then drains: it stops being ready, leaves the ring
// so that others take over its keys, goes on serving for DrainDelay, finishes
// what is in flight within DrainTimeout and returns nil. A listener that fails
// ends it with an error. Everything it started has ended when it returns, and
// the node cannot run again.
func (n *Node) Run(ctx context.Context) error {
	defer n.release()
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer stop()
	failed := make(chan error, 5) // one a task
	task := func(run func() error) {
		tasks.Go(func() {
			if err := run(); err != nil {
				failed <- err
			}
		})
	}
	if n.cache != nil {
		task(func() error { return n.cache.Run(background) })
	}
	task(func() error { return n.ring.Run(background) })
	for _, l := range []*endpoint{n.data, n.peers, n.admin} {
		n.log.Info("listening", "for", l.name, "addr", l.Addr().String())
		task(func() error { return l.serve() })
		defer l.server.Close()
	}
	n.log.Info("gossiping", "addr", n.ring.Addr(), "cluster", n.cfg.Cluster, "join", n.cfg.Join)
	n.log.Info("keeping data", "origin", n.cfg.LocalPath, "cache", n.cachePath(), "bucket", n.cfg.Bucket, "node", n.id)

	n.join(ctx, background)
	select {
	case <-ctx.Done():
		return n.drain(background)
	case err := <-failed:
		return err
	}
}

func (l *endpoint) serve() error {
	if err := l.server.Serve(l.Listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("%s listener: %w", l.name, err)
	}
	return nil
}

func (n *Node) cachePath() string {
	if n.ssd == nil {
		return "off"
	}
	return n.cfg.CachePath
}

// join waits until the node has seen the cluster it was told to join, or has
// looked long enough, and takes its place in the ring.
func (n *Node) join(ctx, background context.Context) {
	looking, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	for !n.ring.Joined() && looking.Err() == nil {
		changed := n.ring.Changed()
		if n.ring.Joined() {
			break
		}
		select {
		case <-changed:
		case <-looking.Done():
		}
	}
	if ctx.Err() != nil {
		return
	}
	if !n.ring.Joined() {
		n.log.Warn("found none of the nodes to join; serving alone and looking on", "join", n.cfg.Join)
	}
	if err := n.ring.SetState(background, ring.Serving); err != nil {
		n.log.Warn("could not tell the others that this node serves", "err", err)
	}
	n.phase.Store(phaseReady)
	n.log.Info("ready", "node", n.id, "epoch", formatEpoch(n.ring.View().Epoch()), "members", len(n.ring.View().Members()))
}

// drain takes the node out of service without a request noticing.
func (n *Node) drain(background context.Context) error {
	began := time.Now()
	n.phase.Store(phaseDraining)
	n.log.Info("draining", "delay", n.cfg.DrainDelay, "timeout", n.cfg.DrainTimeout)
	leaving, cancel := context.WithTimeout(background, leaveTimeout)
	defer cancel()
	if err := n.ring.SetState(leaving, ring.Draining); err != nil {
		n.log.Warn("could not tell the others that this node drains", "err", err)
	}
	delay := time.NewTimer(n.cfg.DrainDelay)
	defer delay.Stop()
	<-delay.C

	leaving, cancel = context.WithTimeout(background, leaveTimeout)
	defer cancel()
	if err := n.ring.Leave(leaving); err != nil {
		n.log.Warn("left the ring without telling everybody", "err", err)
	}
	finishing, cancel := context.WithTimeout(background, n.cfg.DrainTimeout)
	defer cancel()
	var servers sync.WaitGroup
	for _, l := range []*endpoint{n.data, n.peers} {
		servers.Go(func() {
			if err := l.server.Shutdown(finishing); err != nil {
				n.log.Warn("cut requests that did not finish in time", "listener", l.name)
			}
		})
	}
	servers.Wait()
	n.log.Info("drained", "took", time.Since(began).Round(time.Millisecond))
	return nil
}
