package loadtest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// prepareAttempts is how often an object is put until it is given up: a node that
// has more to do than it can refuses some for a moment.
const prepareAttempts = 3

// Prepare stores every object that the reads of cfg ask for, over as many
// connections as the run has and as fast as the servers take them. It returns
// what it measured as if it were a run of one put for each key with a closed
// loop. An object that is stored already is stored again, which changes nothing.
//
// What fails is tried again when all others are done, twice. It returns an error
// if not all are stored then, or if ctx ends before, and the Result as far as
// there is one.
func Prepare(ctx context.Context, cfg Config) (*Result, error) {
	return prepare(ctx, cfg, dialTCP)
}

func prepare(ctx context.Context, cfg Config, dial func(context.Context, string) (net.Conn, error)) (*Result, error) {
	cfg.Rate, cfg.Spin, cfg.Requests = Max{}.String(), false, 0
	cfg.Duration = maxDuration
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("loadtest: %w", err)
	}
	p := newPlan(&cfg)
	var left []request
	total := uint64(0)
	for _, part := range p.parts {
		total += uint64(part.Keys)
	}
	draw := func(i uint64, _ time.Duration) request { return p.objectNumber(i) }
	var first *Result
	for attempt := 0; ; attempt++ {
		e := newEngine(ctx, cfg, Max{}, p)
		e.draw, e.limit = draw, total
		var mu sync.Mutex
		var failed []request
		e.onSample = func(q *request, a *answer) {
			if a.kind != noError {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, *q)
			}
		}
		result, err := e.run(ctx, dial)
		if err != nil {
			return first, err
		}
		if first == nil {
			first = result
		}
		if ctx.Err() != nil {
			return first, fmt.Errorf("loadtest: not all objects are stored: %w", context.Cause(ctx))
		}
		if len(failed) == 0 {
			return first, nil
		}
		if attempt+1 == prepareAttempts {
			return first, fmt.Errorf("loadtest: %d of %d objects could not be stored: %v", len(failed), total, result.Examples)
		}
		left, total = failed, uint64(len(failed))
		draw = func(i uint64, _ time.Duration) request { return left[i] }
	}
}

// objectNumber returns the put of object number i, counted through all parts.
func (p *plan) objectNumber(i uint64) request {
	for n, part := range p.parts {
		if i < uint64(part.Keys) {
			return p.object(n, int64(i))
		}
		i -= uint64(part.Keys)
	}
	return p.object(0, 0) // not reached: the engine stops before
}
