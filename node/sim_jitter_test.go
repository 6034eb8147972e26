package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/micelio/micelio/internal/mutant"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
)

// A simJitter lets no two operations of a router begin at one moment at the next
// Store, as when several are sent on because one member has fallen silent: which
// of them came first would be up to the scheduler.
//
// It is also where the mutant is that sends a write on whose outcome is unknown.
type simJitter struct {
	object.Store
	mutants mutant.Set
}

// simJitterKey is the key of an operation's own *simDraws in its context.
type simJitterKey struct{}

// simDraws is a source of randomness for an operation that may be at two places
// at once.
type simDraws struct {
	mu  sync.Mutex // guards the following
	rng *rand.Rand
}

func newSimDraws(from *rand.Rand) *simDraws {
	return &simDraws{rng: rand.New(rand.NewPCG(from.Uint64(), from.Uint64()))}
}

func (d *simDraws) below(n time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Duration(d.rng.Int64N(int64(n)))
}

func (j simJitter) wait(ctx context.Context) {
	if draws, ok := ctx.Value(simJitterKey{}).(*simDraws); ok {
		pass(draws.below(50 * time.Microsecond))
	}
}

func (j simJitter) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	j.wait(ctx)
	return j.Store.Get(ctx, key, opt)
}

func (j simJitter) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	j.wait(ctx)
	return j.Store.Head(ctx, key, opt)
}

func (j simJitter) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	j.wait(ctx)
	info, err := j.Store.Put(ctx, key, src, opt)
	return info, j.resend(err)
}

func (j simJitter) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	j.wait(ctx)
	return j.resend(j.Store.Delete(ctx, key, opt))
}

// resend makes an unknown outcome look as if nothing had been sent.
func (j simJitter) resend(err error) error {
	if j.mutants.Has(mutant.Resend) && errors.Is(err, object.ErrUnknownOutcome) {
		return fmt.Errorf("%w: %w: %v", peer.ErrNotSent, object.ErrUnavailable, err)
	}
	return err
}
