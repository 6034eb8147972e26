package migrate

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/micelio/micelio/object"
)

// A pair is a key with what the listings of both sides say about it, nil for a
// side that does not have it.
type pair struct {
	key      object.Key
	from, to *object.Info
}

// list yields the objects of a Store in the order of their keys. A listing that
// breaks off goes on behind the last key.
func (r *run) list(ctx context.Context, store object.Store, side string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		after := ""
		for attempt := 0; ; attempt++ {
			var failed error
			for e, err := range store.List(ctx, object.ListOptions{Prefix: r.cfg.Prefix, After: after}) {
				if err == nil && string(e.Key) <= after {
					err = fmt.Errorf("%q comes after %q: the names are not in order", e.Key, after)
				}
				if err != nil {
					failed = err
					break
				}
				after, attempt = string(e.Key), 0
				if !yield(e.Info, nil) {
					return
				}
			}
			if failed == nil {
				return
			}
			if !isPassing(failed) || !r.pause(ctx, attempt, "list the "+side, failed) {
				yield(object.Info{}, fmt.Errorf("list the %s: %w", side, failed))
				return
			}
		}
	}
}

// pairs goes over both sides at once. What is written to the destination
// meanwhile does not turn up: it is written behind the place of the listing.
func (r *run) pairs(ctx context.Context) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		nextFrom, stopFrom := iter.Pull2(r.list(ctx, r.cfg.From, "source"))
		defer stopFrom()
		nextTo, stopTo := iter.Pull2(r.list(ctx, r.cfg.To, "destination"))
		defer stopTo()
		from, err, hasFrom := nextFrom()
		if err != nil {
			yield(pair{}, err)
			return
		}
		to, err, hasTo := nextTo()
		for err == nil && (hasFrom || hasTo) {
			order := cmp.Compare(from.Key, to.Key)
			switch {
			case !hasTo:
				order = -1
			case !hasFrom:
				order = 1
			}
			var p pair
			if order <= 0 {
				info := from
				p.key, p.from = info.Key, &info
			}
			if order >= 0 {
				info := to
				p.key, p.to = info.Key, &info
			}
			if !yield(p, nil) {
				return
			}
			if order <= 0 {
				from, err, hasFrom = nextFrom()
			}
			if order >= 0 && err == nil {
				to, err, hasTo = nextTo()
			}
		}
		if err != nil {
			yield(pair{}, err)
		}
	}
}

// pass has the workers do work with each pair.
func (r *run) pass(ctx context.Context, work func(context.Context, pair)) error {
	jobs := make(chan pair)
	var workers sync.WaitGroup
	for range r.cfg.Parallel {
		workers.Go(func() {
			for p := range jobs {
				work(ctx, p)
			}
		})
	}
	err := r.feed(ctx, jobs)
	close(jobs)
	workers.Wait()
	if err == nil {
		err = ctx.Err() // the last objects may have met it
	}
	return err
}

func (r *run) feed(ctx context.Context, jobs chan<- pair) error {
	for p, err := range r.pairs(ctx) {
		if err != nil {
			return err
		}
		select {
		case jobs <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
