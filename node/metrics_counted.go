package node

import (
	"context"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/micelio/micelio/object"
)

// originStats count what the origin is asked for.
type originStats struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newOriginStats() originStats {
	return originStats{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "micelio_origin_requests_total", Help: "Requests to the origin, by operation and result.",
		}, []string{"op", "result"}),
		duration: newHistogram("micelio_origin_request_duration_seconds",
			"Time from a request to the origin to its answer: of get without the body, of list to the first entry.", shortest, "op"),
	}
}

// counted is a Store whose requests are counted.
type counted struct {
	object.Store
	stats originStats
}

func (c *counted) count(op string, since time.Time, err error) {
	c.stats.requests.WithLabelValues(op, result(err)).Inc()
	if !since.IsZero() {
		c.stats.duration.WithLabelValues(op).Observe(time.Since(since).Seconds())
	}
}

func (c *counted) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	began := time.Now()
	obj, err := c.Store.Get(ctx, key, opt)
	c.count("get", began, err)
	return obj, err
}

func (c *counted) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	began := time.Now()
	info, err := c.Store.Head(ctx, key, opt)
	c.count("head", began, err)
	return info, err
}

func (c *counted) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	began := time.Now()
	info, err := c.Store.Put(ctx, key, src, opt)
	c.count("put", began, err)
	return info, err
}

func (c *counted) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	began := time.Now()
	err := c.Store.Delete(ctx, key, opt)
	c.count("delete", began, err)
	return err
}

func (c *counted) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return func(yield func(object.Entry, error) bool) {
		began := time.Now()
		answered := func() { // whoever reads the entries takes their time
			if !began.IsZero() {
				c.stats.duration.WithLabelValues("list").Observe(time.Since(began).Seconds())
				began = time.Time{}
			}
		}
		var failed error
		defer func() { answered(); c.count("list", time.Time{}, failed) }()
		for e, err := range c.Store.List(ctx, opt) {
			answered()
			failed = err
			if !yield(e, err) {
				return
			}
		}
	}
}
