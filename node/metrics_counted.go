package node

import (
	"context"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/micelio/micelio/object"
)

// counted is a Store whose requests are counted and timed.
type counted struct {
	object.Store
	requests *prometheus.CounterVec   // by operation and result
	duration *prometheus.HistogramVec // by operation
}

func (c *counted) count(op string, since time.Time, err error) {
	c.requests.WithLabelValues(op, result(err)).Inc()
	if !since.IsZero() {
		c.duration.WithLabelValues(op).Observe(time.Since(since).Seconds())
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
				c.duration.WithLabelValues("list").Observe(time.Since(began).Seconds())
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
