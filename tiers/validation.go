package tiers

import (
	"context"
	"time"

	"github.com/micelio/micelio/internal/mutant"
	"github.com/micelio/micelio/object"
)

// A validation asks the upstream what a mutable key is now, on behalf of all
// readers who arrived before it was sent, and of nobody else: a reader who came
// later may know of a write that the answer does not. Each key has at most one
// under way and one that waits for its answer, so that a hot key costs one
// question in each round trip, however many read it.
//
// It is a flight with a condition: if the copy in the tiers is not current, the
// answer brings what is.
type validation struct {
	flight *flight

	// Guarded by Cache.mu until it is sent: whoever joins adds to it.
	copied object.ETag // what all clients so far have themselves, "" if they differ or have nothing
	blind  bool        // to be answered with the bytes, whatever the tiers have

	// Set by prepare, in the flight's goroutine, if have is not set before.
	have  holding     // the copy asked about; one on the disk is not kept open
	info  object.Info // of it
	held  bool        // there is one
	sent  time.Time   // before it was sent
	token uint64      // of freshness, from before it was sent

	stale bool // not modified, but another write's: set before the flight is ready
}

// questions are the validations of one key.
type questions struct {
	asked *validation // under way
	next  *validation // to be sent when asked is answered, nil if nobody waits
}

// ask returns a validation that is sent after this call, and announces a reader
// to its flight. If it is sent at once, it asks about what the reader has found
// in RAM.
func (c *Cache) ask(ctx context.Context, key object.Key, have holding, opt object.GetOptions, blind bool) (v *validation, joined bool) {
	var deserted *flight
	c.mu.Lock()
	q := c.questions[key]
	switch {
	case q == nil:
		v = c.newValidation(ctx, key, opt, blind)
		v.have = have
		c.questions[key] = &questions{asked: v}
		c.mu.Unlock()
		c.start(v.flight)
		return v, false
	case c.mutants.Has(mutant.Join) && q.asked.flight.enter():
		v, joined = q.asked, true
	case q.next != nil && q.next.flight.enter():
		v, joined = q.next, true
		v.blind = v.blind || blind
		if v.copied != clientsCopy(opt) {
			v.copied = ""
		}
	default:
		if q.next != nil {
			deserted = q.next.flight
		}
		v = c.newValidation(ctx, key, opt, blind)
		q.next = v
	}
	c.mu.Unlock()
	if deserted != nil {
		deserted.refuse()
	}
	return v, joined
}

func (c *Cache) newValidation(ctx context.Context, key object.Key, opt object.GetOptions, blind bool) *validation {
	v := &validation{flight: c.newFlight(ctx, key, object.GetOptions{}), copied: clientsCopy(opt), blind: blind}
	v.flight.asks = v
	v.flight.enter()
	return v
}

// clientsCopy returns the version that a client has and would like to hear is
// current, "" if it has none or wants something else.
func clientsCopy(opt object.GetOptions) object.ETag {
	if e, ok := opt.IfNoneMatch.ETag(); ok && !opt.IfMatch.IsSet() {
		return e
	}
	return ""
}

// prepare decides what to ask, as late as possible. It may read from the disk.
func (v *validation) prepare() {
	f := v.flight
	c := f.cache
	c.stats.Validations.Add(1)
	v.token = c.fresh.now(f.key)
	if !v.blind && !v.have.some() {
		// Those who ask have looked into RAM. The look at the disk is for all of them, and
		// counts as a use of what is there, whether it turns out to be current or not.
		if v.have = c.seeEntry(f.key); !v.have.some() {
			v.have = c.findStored(f.key, false)
		}
		if !v.have.some() {
			v.have = c.findArriving(f.key)
		}
	}
	if v.held = v.have.some(); v.held {
		v.info = v.have.info()
		if v.have.stored != nil { // every reader opens it for itself
			v.have.close()
			v.have = holding{}
		}
		f.opt.IfNoneMatch = object.MatchETag(v.info.ETag)
	} else if v.copied != "" && !v.blind {
		f.opt.IfNoneMatch = object.MatchETag(v.copied)
	}
	v.sent = time.Now()
}

// unchanged takes the answer that what was asked about is still there. Freshness
// is both, bytes and write: the same bytes may have been written again with
// other attributes. Such a copy is dropped, and has to be fetched again.
func (v *validation) unchanged(current object.Info) {
	f := v.flight
	c := f.cache
	switch {
	case !v.held: // the client has it, the tiers do not
	case v.info.ETag == current.ETag && (v.info.Version == current.Version || c.mutants.Has(mutant.ETagOnly)):
		c.learn(v, current)
	default:
		v.stale = true
		c.drop(f.key)
	}
}

// changed takes the answer that what was asked about is not current any more. It
// is given up at once: it may be a flight whose memory the new one waits for.
func (v *validation) changed() {
	v.have.close()
	v.have = holding{}
}

// learn notes that the upstream has called a version current.
func (c *Cache) learn(v *validation, info object.Info) {
	if v != nil && c.staleness(v.flight.key) > 0 {
		c.fresh.learn(v.flight.key, v.token, sight(info, v.sent))
	}
}

// answered sends the validation that waits for this answer.
func (c *Cache) answered(v *validation) {
	c.mu.Lock()
	q := c.questions[v.flight.key]
	if q == nil || q.asked != v {
		c.mu.Unlock()
		return
	}
	next := q.next
	q.asked, q.next = next, nil
	if next == nil {
		delete(c.questions, v.flight.key)
	}
	c.mu.Unlock()
	if next != nil {
		c.start(next.flight)
	}
}
