package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/micelio/micelio/internal/sdnotify"
	"github.com/micelio/micelio/node"
)

// How a watchdog is fed: looksPerLimit times within its limit, and a look may take
// half of it. So there is time for another one that succeeds after one that failed or
// came to nothing: an answer that is lost is not yet a node that hangs. What is told
// besides takes at most the time between two looks.
const looksPerLimit = 6

// statusInterval is how often a service manager without a watchdog hears how the
// node is: for people who look, who do so seldom.
const statusInterval = 10 * time.Second

// supervise runs a node until ctx ends and it has drained, and tells the service
// manager about it meanwhile, if there is one. bucket is the name of the node's.
func supervise(ctx context.Context, n *node.Node, bucket string, manager *sdnotify.Notifier, logger *slog.Logger) error {
	if manager == nil {
		return n.Run(ctx)
	}
	running, ended := context.WithCancel(context.WithoutCancel(ctx))
	var telling sync.WaitGroup
	v := &visitor{node: n, bucket: bucket}
	h := &herald{ready: n.Ready(), answers: v.answers, status: v.status, manager: manager, log: logger}
	telling.Go(func() { h.run(running, ctx.Done()) })
	err := n.Run(ctx)
	ended()
	telling.Wait()
	return err
}

// A herald tells a service manager how a node is.
type herald struct {
	ready   <-chan struct{}                 // closed when the node serves
	answers func(ctx context.Context) error // nil if the node does
	status  func(ctx context.Context) string
	manager *sdnotify.Notifier
	log     *slog.Logger
}

// run tells until ctx ends; stopping is closed when the node begins to drain.
func (h *herald) run(ctx context.Context, stopping <-chan struct{}) {
	h.tell(sdnotify.Status("looking for the cluster"))
	every, within, watched := statusInterval, statusInterval, false
	if limit := h.manager.Watchdog(); limit > 0 {
		every, within, watched = limit/looksPerLimit, limit/2, true
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	ready, draining := h.ready, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ready:
			ready = nil
			if !draining {
				h.tell(sdnotify.Ready)
				h.describe(ctx, every)
			}
		case <-stopping:
			stopping, draining = nil, true
			h.tell(sdnotify.Stopping, sdnotify.Status("draining"))
		case <-tick.C:
			switch {
			case draining && watched:
				h.tell(sdnotify.Alive) // it stops answering one by one now, and has its own bounds
			case draining, ready != nil:
			default:
				h.look(ctx, every, within, watched)
			}
		}
	}
}

// look asks the node whether it answers and tells of it. A node that does not is
// not alive, and the manager ends it when that lasts. The answer may take within,
// the words that are told after it every.
func (h *herald) look(ctx context.Context, every, within time.Duration, watched bool) {
	asking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := h.answers(asking)
	switch {
	case ctx.Err() != nil: // it has ended meanwhile
		return
	case err != nil:
		h.log.Error("the node does not answer itself", "err", err)
		h.tell(sdnotify.Status("does not answer itself: " + err.Error()))
		return
	case watched:
		h.tell(sdnotify.Alive) // before all else, which may take its time
	}
	h.describe(ctx, every)
}

// describe tells in words how the node is, which may take within to find out.
func (h *herald) describe(ctx context.Context, within time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	h.tell(sdnotify.Status(h.status(ctx)))
}

// tell sends lines. That the manager does not take them is no reason to stop.
func (h *herald) tell(lines ...string) {
	if err := h.manager.Send(lines...); err != nil {
		h.log.Warn("could not tell the service manager", "err", err)
	}
}

// A visitor looks at a node from outside, as others do. One at a time.
type visitor struct {
	node   *node.Node
	bucket string
	rounds int // looks so far
}

// answers asks what only a node answers of which nothing hangs: the client
// listener takes a connection and its handler answers, whatever that is, to the
// question whether there is its bucket, and the view of the ring and the tiers can be
// looked at, with their locks. The key is another one each time, so that every shard
// has its turn. The origin is not asked: a node without it is alive, and to end it
// would not bring the origin back.
func (v *visitor) answers(ctx context.Context) error {
	v.rounds++
	client, err := dialable(v.node.Addr())
	if err != nil {
		return err
	}
	admin, err := dialable(v.node.AdminAddr())
	if err != nil {
		return err
	}
	if _, err := headRequest(ctx, "http://"+client+"/"+v.bucket); err != nil {
		return fmt.Errorf("client listener: %w", err)
	}
	where := "http://" + admin + wherePath + "watchdog/" + strconv.Itoa(v.rounds)
	if status, err := headRequest(ctx, where); err != nil {
		return fmt.Errorf("admin listener: %w", err)
	} else if status != http.StatusOK {
		return fmt.Errorf("%s answers %d", where, status)
	}
	return nil
}

// headRequest returns the status of the answer to a HEAD request.
func headRequest(ctx context.Context, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return 0, err
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res.StatusCode, err
}

// status says in words how the node is.
func (v *visitor) status(ctx context.Context) string {
	admin, err := dialable(v.node.AdminAddr())
	if err != nil {
		return err.Error()
	}
	verdict, err := newQuestioner().health(ctx, "http://"+admin+"/readyz?verbose")
	if err != nil {
		verdict = err.Error()
	}
	var seen ringAnswer
	if err := newQuestioner().ask(ctx, admin, ringPath, "", &seen); err != nil {
		return verdict
	}
	return fmt.Sprintf("%s; %d of %d members serve, epoch %s; clients at %s", verdict, len(seen.serving()), len(seen.Members), seen.Epoch, v.node.Addr())
}
