package node

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
)

// settleTimeout bounds the question what became of a write whose answer got
// lost. Its client is waiting, and an authority that takes longer has troubles
// of its own.
const settleTimeout = 2 * time.Second

// namedWrite gives a write its own name, if it has none, by which it can be found out
// later whether it took effect.
func namedWrite(opt object.PutOptions) object.PutOptions {
	if opt.Version == "" {
		opt.Version = rand.Text() // 128 random bits
	}
	return opt
}

// answerLost reports whether it is open what became of a write that a member was
// given, because no answer came. What the member itself calls unknown stays so:
// it has asked the authority already, and may know what is not to be seen, such
// as a write that is there and may not survive a loss of power.
func (r *router) answerLost(h hop, err error) bool {
	return h.member != nil && errors.Is(err, object.ErrUnknownOutcome) && !peer.Answered(err)
}

// settlePut asks the authority about a Put of unknown outcome, and returns what
// it wrote if it is there. It need not be there any more to have been applied,
// nor be there yet, so everything else leaves it unknown. A copy in this node's
// tiers that carries the name is as good a proof as the authority's answer.
//
// Of a Delete nothing can be asked. That the object is gone may be somebody
// else's work; then this Delete is still on its way, and removes what is written
// next. (A simulation found it, when an absent object was taken for an answer.)
func (r *router) settlePut(ctx context.Context, key object.Key, opt object.PutOptions, unknown error) (object.Info, error) {
	info, err := r.ask(ctx, key)
	if err == nil && info.Version == opt.Version {
		r.stats.settled.WithLabelValues("put", "applied").Inc()
		return info, nil
	}
	r.stats.settled.WithLabelValues("put", "unknown").Inc()
	return object.Info{}, unknown
}

// ask asks this node's own stack, which for a mutable key asks the authority.
// The question goes on after its client left: he may be a program that waits for
// the answer even though its time is over.
func (r *router) ask(ctx context.Context, key object.Key) (object.Info, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	return r.local.Head(ctx, key, object.HeadOptions{})
}
