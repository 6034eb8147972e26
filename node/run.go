package node

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
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

// newServer returns the server of one listener. What it keeps open is counted
// in n.conns.
func (n *Node) newServer(h http.Handler, headerBytes int) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler: h, Protocols: protocols, MaxHeaderBytes: headerBytes,
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(serverLog{n.log}, "", 0),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				n.conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				n.conns.Done()
			}
		},
	}
}

// A serverLog gives what net/http's servers log a level, for they know none:
// a panic is a fault of ours, a refused accept means no file descriptors are
// left, and the rest is what strangers and leaving clients do.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Write(line []byte) (int, error) {
	message, level := strings.TrimSpace(string(line)), slog.LevelDebug
	switch {
	case strings.HasPrefix(message, "http: panic serving"):
		level = slog.LevelError
	case strings.HasPrefix(message, "http: Accept error"), strings.HasPrefix(message, "http: superfluous"):
		level = slog.LevelWarn
	}
	l.log.Log(context.Background(), level, message)
	return len(line), nil
}

// dismissing asks clients of a draining node to close their connection after
// each answer: they come back through their load balancer, to a node that
// stays, and none is left to write into a connection that is being closed.
func (n *Node) dismissing(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.phase.Load() == phaseDraining {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// Run serves until ctx ends, then drains: it stops being ready, leaves the ring
// so that others take over its keys, goes on serving for DrainDelay, finishes
// what is in flight within DrainTimeout and returns nil. A listener that fails
// ends it with an error. Everything it started has ended when it returns, and
// the node cannot run again.
func (n *Node) Run(ctx context.Context) error {
	defer n.release()
	defer n.conns.Wait() // for requests that were cut; no new ones come once the tasks have ended
	if err := n.checkOrigin(ctx); err != nil {
		return err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer stop()
	failed := make(chan error, 10) // one a task
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
	if n.hot != nil {
		task(func() error { return n.hot.Run(background) })
	}
	task(func() error { return n.tendPeers(background) })
	task(func() error { n.console.Run(background); return nil })
	if n.canary != nil {
		task(func() error { return n.canary.Run(background) })
	}
	task(func() error { return n.ring.Run(background) })
	if n.s3 != nil {
		task(func() error { return n.s3.Run(background) })
	}
	for _, l := range []*endpoint{n.data, n.peers, n.admin} {
		n.log.Info("listening", "for", l.name, "addr", l.Addr().String())
		l.server.BaseContext = func(net.Listener) context.Context { return background }
		task(func() error { return l.serve() })
		defer l.server.Close()
	}
	n.log.Info("gossiping", "addr", n.ring.Addr(), "cluster", n.cfg.Cluster, "encrypted", n.cfg.ClusterSecret != "", "join", n.cfg.Join)
	n.log.Info("keeping data", "origin", n.originPlace(), "cache", n.cachePath(), "bucket", n.cfg.Bucket, "node", n.id)

	err := n.join(ctx, background, failed)
	if err == nil {
		select {
		case <-ctx.Done():
			return n.drain(background, failed)
		case err = <-failed:
		}
	}
	n.leave(background) // or the others would take it for alive until gossip finds out
	return err
}

func (l *endpoint) serve() error {
	in := l.Listener
	if l.front != nil {
		in = l.front(in)
	}
	if err := l.server.Serve(in); !errors.Is(err, http.ErrServerClosed) {
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
// looked long enough, and takes its place in the ring. The error is that of a
// task that failed meanwhile.
func (n *Node) join(ctx, background context.Context, failed <-chan error) error {
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
		case err := <-failed:
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	if !n.ring.Joined() {
		n.log.Warn("found none of the nodes to join; serving alone and looking on", "join", n.cfg.Join)
	}
	if err := n.ring.SetState(background, ring.Serving); err != nil {
		n.log.Warn("could not tell the others that this node serves", "err", err)
	}
	n.phase.Store(phaseReady)
	close(n.ready)
	n.log.Info("ready", "node", n.id, "epoch", formatEpoch(n.ring.View().Epoch()), "members", len(n.ring.View().Members()))
	return nil
}

// drain takes the node out of service without a request noticing. The error is
// that of a task that failed meanwhile.
func (n *Node) drain(background context.Context, failed <-chan error) (err error) {
	began := time.Now()
	wait := n.cfg.DrainDelay
	if n.phase.Swap(phaseDraining) == phaseStarting {
		wait = 0 // nobody was told to come here
	}
	n.log.Info("draining", "delay", wait, "timeout", n.cfg.DrainTimeout)
	delay := time.NewTimer(wait) // runs while the others are told
	defer delay.Stop()
	leaving, cancel := context.WithTimeout(background, leaveTimeout)
	defer cancel()
	if err := n.ring.SetState(leaving, ring.Draining); err != nil {
		n.log.Warn("could not tell the others that this node drains", "err", err)
	}
	n.handOver(background)
	select {
	case <-delay.C:
	case err = <-failed:
	}

	finishing, cancel := context.WithTimeout(background, n.cfg.DrainTimeout)
	defer cancel()
	var last sync.WaitGroup
	last.Go(func() { n.leave(background) })
	for _, l := range []*endpoint{n.data, n.peers} {
		last.Go(func() {
			if err := l.server.Shutdown(finishing); err != nil {
				n.log.Warn("cut requests that did not finish in time", "listener", l.name)
			}
		})
	}
	if n.plane.quick != nil {
		last.Go(func() { n.plane.quick.Shutdown(finishing) })
	}
	last.Wait()
	n.log.Info("drained", "took", time.Since(began).Round(time.Millisecond))
	return err
}

// leave tells the others that this node goes.
func (n *Node) leave(background context.Context) {
	leaving, cancel := context.WithTimeout(background, leaveTimeout)
	defer cancel()
	if err := n.ring.Leave(leaving); err != nil {
		n.log.Warn("left the ring without telling everybody", "err", err)
	}
}
