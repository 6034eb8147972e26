package ring

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Run joins the cluster and keeps the view current until ctx ends; then it
// returns nil, after all of its goroutines have ended, which an attempt to
// reach another member can delay by Timing.StreamTimeout. The node stays in the
// cluster: Leave or Close ends that. Run can be called once.
func (r *Ring) Run(ctx context.Context) error {
	if !r.started.CompareAndSwap(false, true) {
		return errRunning
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { r.follow(ctx) })
	tasks.Go(func() { r.rejoin(ctx) })
	tasks.Wait()
	return nil
}

// follow makes views of the roster's changes.
func (r *Ring) follow(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.roster.wake:
		case <-timer.C:
		}
		wait, pending := r.roster.due(time.Now(), r.cfg.Timing.JoinQuiet, r.cfg.Timing.JoinWait)
		switch {
		case !pending && r.Fault() == nil:
		case pending && wait > 0:
			timer.Reset(wait)
		default:
			r.build.Lock()
			err := r.rebuild()
			r.build.Unlock()
			if err != nil {
				r.log.Error("the view of the ring stays as it was", "error", err)
				timer.Reset(rebuildRetry)
			}
		}
	}
}

// rebuildRetry is when a view that could not be made is tried again, should
// nothing else happen before.
const rebuildRetry = 10 * time.Second

// Fault returns why the current view is an older one than the members that this
// node knows of should have, nil if it is not.
func (r *Ring) Fault() error {
	if err := r.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// rebuild publishes the view of the roster, unless that is the current one. If
// it cannot be made the current one stays. The caller holds build.
func (r *Ring) rebuild() error {
	old := r.view.Load()
	place := newView
	if r.place != nil {
		place = r.place
	}
	view, err := place(r.roster.take(), old)
	if err != nil {
		r.fault.Store(&err)
		return err
	}
	r.fault.Store(nil)
	if slices.Equal(view.members, old.members) {
		return nil
	}
	view = view.After(old, time.Now())
	r.view.Store(view)
	r.log.Info("ring changed", "epoch", fmt.Sprintf("%016x", view.Epoch()),
		"members", len(view.members), "serving", len(view.owners))
	r.checkRival(view)

	r.changedMu.Lock()
	defer r.changedMu.Unlock()
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

// checkRival warns, once for each, of another process that calls itself as this
// node does and was started later: the others now send it this node's requests.
func (r *Ring) checkRival(view *View) {
	self := r.roster.selfMember()
	if m, ok := view.Member(self.ID); ok && m.Boot != self.Boot && m.Boot != r.rivalry {
		r.rivalry = m.Boot
		r.log.Error("another node has this node's id and takes its place in the ring",
			"id", self.ID, "peer_addr", m.PeerAddr)
	}
}
