package origin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/pace"
)

// A base is the state of an object that a write replaces or removes.
type base struct {
	etag  object.ETag // "" if there is no object
	asked bool        // the bucket said so; otherwise the caller believes it
}

// A footing makes a write conditional whose caller asked for no condition.
//
// A request that got lost may be carried out later, after its caller gave up and
// somebody else wrote: then it would bury that write. So each request names the
// base that it was made for. One that comes late finds another and changes
// nothing, unless the object is back in exactly that state: the same bytes, or
// absent again.
//
// An attempt that was refused for sure may be followed by one for another base.
// One without an answer is the last.
type footing struct {
	s    *S3
	key  object.Key
	off  bool // requests go without a condition
	base base
	is   bool // base is what is believed now

	moves int // how often it was another
}

const (
	// maxMoves bounds how often a write starts again because another one came
	// first. Each time somebody else's has succeeded, so it takes many writers
	// of one key that do not wait for one another to get there.
	maxMoves = 16

	// moveMax bounds the pause before that. It spreads the writers over some
	// round trips to the service.
	moveMax = 250 * time.Millisecond
)

func (s *S3) footing(key object.Key, hint object.ETag, off bool) footing {
	if off {
		hint = ""
	}
	return footing{s: s, key: key, off: off, base: base{etag: hint}, is: hint != ""}
}

// without reports whether the service is known to lack a capability. What was
// not looked for yet is taken to be there: a service that does not know a
// condition ignores or refuses it, and in both cases nothing is worse than
// without.
func (s *S3) without(lacks func(Capabilities) bool) bool {
	caps, known := s.Capabilities()
	return known && lacks(caps)
}

// find returns the base, which it asks the bucket for unless it is known.
func (f *footing) find(ctx context.Context) (base, error) {
	if f.is {
		return f.base, nil
	}
	info, err := f.s.head(ctx, f.key)
	switch {
	case errors.Is(err, object.ErrNotFound):
		f.base = base{asked: true}
	case err != nil:
		return base{}, err
	default:
		f.base = base{etag: info.ETag, asked: true}
	}
	f.is = true
	return f.base, nil
}

// condition returns the condition of the next request that writes.
func (f *footing) condition(ctx context.Context) (condition, error) {
	if f.off {
		return condition{}, nil
	}
	b, err := f.find(ctx)
	switch {
	case err != nil:
		return condition{}, err
	case b.etag == "":
		return condition{ifNoneMatch: aws.String("*")}, nil
	}
	return condition{ifMatch: aws.String(b.etag.Quoted())}, nil
}

// move takes a reply that refuses the base for sure, and reports whether the
// write may be tried with another. Retries are not what that costs: the service
// is well, and has just carried out somebody's write.
func (f *footing) move(ctx context.Context, r reply) bool {
	was := f.base
	switch {
	case f.off:
		return false
	case r.unknownThere():
		// A service that was not probed yet; the probe will say the same.
		_, known := f.s.Capabilities()
		if f.off = !known; f.off {
			f.base = base{}
		}
		return f.off
	case r.isMissing():
		f.base = base{asked: true}
	case r.status == http.StatusPreconditionFailed, r.isConflict():
		f.is = false
	default:
		return false
	}
	if f.moves++; f.moves > maxMoves {
		return false
	}
	// The caller was wrong, or somebody else is writing: wait for him.
	return !was.asked && !r.isConflict() && ctx.Err() == nil ||
		sleep(ctx, pace.FullJitter(f.moves-1, backoffBase, moveMax))
}

// isMissing reports whether the object that a condition names is not there.
func (r reply) isMissing() bool { return r.status == http.StatusNotFound && r.code == "NoSuchKey" }

// isConflict reports whether a conditional write met another one that was not
// decided yet, so that neither its condition nor the opposite could be told.
func (r reply) isConflict() bool {
	return r.status == http.StatusConflict && r.code == "ConditionalRequestConflict"
}

// errMoved ends a write that found another base each time.
var errMoved = fmt.Errorf("%w: other writes of the key came first each time", object.ErrUnavailable)

// after asks what the bucket holds after an attempt without an answer, also
// when the caller has left.
func (s *S3) after(ctx context.Context, key object.Key) (object.Info, error) {
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout/2)
	defer cancel()
	return s.head(asking, key)
}

// unsettled is the error of a write of which nobody knows whether it was, or
// will be, carried out.
func (s *S3) unsettled(ctx context.Context, why error) error {
	s.pace.counts.unknown.Add(1)
	if e := ctx.Err(); e != nil {
		return fmt.Errorf("%w: %w: %w", object.ErrUnknownOutcome, e, why)
	}
	return fmt.Errorf("%w: %w", object.ErrUnknownOutcome, why)
}
