package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/ring"
)

// A canary watches, in production and for ever, what the tests prove: that a
// write which was acknowledged is seen by every later read through any node. It
// writes an object of its own through the cluster and reads it through another
// node, past the ring, as a client of that node would. Facebook's Polaris found
// in this way what no test had (Meta, "Cache made consistent", 2022).
type canary struct {
	key   object.Key
	every time.Duration
	store object.Store // the cluster
	view  func() *ring.View
	dial  func(ring.Member) object.Store
	self  string
	log   *slog.Logger

	boot   string // of this process: what an earlier one wrote is older than anything
	wrote  uint64 // number of the last write
	acked  uint64 // number of the last write that was acknowledged, 0 if none was
	rounds atomic.Int64
	stale  atomic.Int64

	results *prometheus.CounterVec
	stales  prometheus.Counter
}

// canaryTimeout bounds a round: what takes longer is no answer, and tells
// nothing about what is stale.
const canaryTimeout = 10 * time.Second

func (n *Node) newCanary() *canary {
	return &canary{
		key: object.Key(object.CanaryPrefix + n.id), every: n.cfg.CanaryInterval, store: n.store, view: n.ring.View,
		dial: n.dialMember, self: n.id, log: n.log,
		boot: strconv.FormatUint(rand.Uint64(), 36), results: n.meter.canary, stales: n.meter.stale,
	}
}

// Run makes a round every so often until ctx ends. A node that is alone has
// nobody to disagree with.
func (c *canary) Run(ctx context.Context) error {
	for {
		// Nodes that started together do not go on together.
		if pause(ctx, c.every*3/4+rand.N(c.every/2+1)); ctx.Err() != nil {
			return nil
		}
		if others := c.others(); len(others) > 0 {
			c.round(ctx, others[rand.IntN(len(others))])
		}
	}
}

// others returns the members that can be asked.
func (c *canary) others() []ring.Member {
	var others []ring.Member
	for _, m := range c.view().Members() {
		if m.ID != c.self && m.State == ring.Serving {
			others = append(others, m)
		}
	}
	return others
}

// round writes and reads once. Only an answer can be stale: what fails or times
// out is counted as that.
func (c *canary) round(ctx context.Context, through ring.Member) {
	ctx, cancel := context.WithTimeout(ctx, canaryTimeout)
	defer cancel()
	c.wrote++
	value := c.boot + " " + strconv.FormatUint(c.wrote, 10)
	_, err := c.store.Put(ctx, c.key, object.BytesSource([]byte(value)), object.PutOptions{})
	if err == nil {
		c.acked = c.wrote
	}
	result := "failed"
	if c.acked > 0 {
		var got string
		if got, err = c.read(ctx, through); err == nil {
			result = c.judge(through, got)
		}
	}
	c.rounds.Add(1)
	c.results.WithLabelValues(result).Inc()
	if err != nil {
		c.log.Debug("canary", "through", through.ID, "err", err)
	}
}

// read returns what another node has, "" if it says that there is nothing.
func (c *canary) read(ctx context.Context, through ring.Member) (string, error) {
	obj, err := c.dial(through).Get(ctx, c.key, object.GetOptions{})
	if errors.Is(err, object.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer obj.Body.Close()
	b, err := io.ReadAll(io.LimitReader(obj.Body, 256))
	return string(b), err
}

// judge compares what was read with what was acknowledged before.
func (c *canary) judge(through ring.Member, got string) string {
	boot, number, _ := strings.Cut(got, " ")
	n, err := strconv.ParseUint(number, 10, 64)
	if err == nil && boot == c.boot && n >= c.acked && n <= c.wrote {
		return "fresh"
	}
	c.stale.Add(1)
	c.stales.Inc()
	c.log.Error("a read did not see an acknowledged write: please report this", "key", c.key, "through", through.ID,
		"acknowledged", fmt.Sprint(c.boot, " ", c.acked), "read", got)
	return "stale"
}

// check is the canary's line on /readyz?verbose.
func (c *canary) check() check {
	stale := c.stale.Load()
	return check{name: "canary", ok: stale == 0, says: true, say: fmt.Sprintf("%d rounds, %d stale reads", c.rounds.Load(), stale)}
}

// A private Store is what clients see of the cluster: everything but the keys
// that are the cluster's own. Origins leave those out of listings.
type private struct{ object.Store }

func refuseInternal(key object.Key) error {
	if object.IsInternal(key) {
		return fmt.Errorf("%w: names under %q belong to the cluster itself", object.ErrInvalidKey, object.InternalPrefix)
	}
	return nil
}

func (p private) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	if err := refuseInternal(key); err != nil {
		return nil, err
	}
	return p.Store.Get(ctx, key, opt)
}

func (p private) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	if err := refuseInternal(key); err != nil {
		return object.Info{}, err
	}
	return p.Store.Head(ctx, key, opt)
}

func (p private) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	if err := refuseInternal(key); err != nil {
		return object.Info{}, err
	}
	return p.Store.Put(ctx, key, src, opt)
}

func (p private) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	if err := refuseInternal(key); err != nil {
		return err
	}
	return p.Store.Delete(ctx, key, opt)
}
