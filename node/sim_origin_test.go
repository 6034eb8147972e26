package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/micelio/micelio/internal/mutant"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

// A simOrigin is the authority of a simulation: a register for each key that
// does one thing at a time, behind a network that loses requests and answers.
//
// A write that is lost on its way may arrive long after its sender gave up. It
// is conditional on what there was when it was sent, as origin.S3 makes every
// write of a mutable key, so it lands only if that is still, or again, there.
type simOrigin struct {
	w      *simWorld
	memory objecttest.Memory

	mu   sync.Mutex // guards the following
	down bool
	cut  map[int]bool // nodes that do not reach it
}

func newSimOrigin(w *simWorld) *simOrigin {
	return &simOrigin{w: w, cut: map[int]bool{}}
}

// set changes what can be reached: all, for node < 0.
func (o *simOrigin) set(node int, away bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if node < 0 {
		o.down = away
	} else {
		o.cut[node] = away
	}
}

func (o *simOrigin) away(node int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.down || o.cut[node]
}

// simOriginTimeout is how long a node waits for the authority's answer.
const simOriginTimeout = 1200 * time.Millisecond

// A simFate is what becomes of one request.
type simFate struct {
	name        string
	rng         *rand.Rand
	there, back time.Duration
	refused     bool          // not sent, and the sender knows
	lost        bool          // on its way there, for ever
	late        time.Duration // of a lost one, after which it arrives all the same
	void        bool          // the answer is lost
	settles     bool          // the sender finds out by asking, if it can
	survives    bool          // the request is sent although its node dies
}

// A simUplink is the authority as one start of a node reaches it.
type simUplink struct {
	*simOrigin
	life *simLife
}

var _ object.Store = (*simUplink)(nil)

// fate draws what becomes of a request. Of equal requests at one moment the same
// becomes: which came first is up to the scheduler.
func (u *simUplink) fate(op string, key object.Key, more any) *simFate {
	name := fmt.Sprintf("authority, node %d: %s %s %v", u.life.node.id, op, key, more)
	rng := u.w.rand(fmt.Sprint(name, u.w.elapsed()))
	plan := u.w.plan
	f := &simFate{name: name, rng: rng, there: originLatency(rng), back: originLatency(rng)}
	lot := rng.Float64()
	f.late = time.Duration(rng.Int64N(int64(2500 * time.Millisecond)))
	f.settles, f.survives = rng.IntN(2) == 0, rng.IntN(2) == 0
	for _, way := range []*time.Duration{&f.there, &f.back} {
		if rng.Float64() < plan.slow {
			*way += time.Duration(rng.Int64N(int64(300 * time.Millisecond)))
		}
	}
	switch {
	case lot < plan.lost:
		f.lost, f.late = true, 0
	case lot < plan.lost+plan.late:
		f.lost = true
	case lot < plan.lost+plan.late+plan.void:
		f.void = true
	case lot < plan.lost+plan.late+plan.void+plan.refused:
		f.refused = true
	}
	if u.away(u.life.node.id) {
		f.lost, f.late, f.refused = true, 0, f.settles
	}
	return f
}

func originLatency(rng *rand.Rand) time.Duration {
	return 3*time.Millisecond + time.Duration(rng.Int64N(int64(12*time.Millisecond)))
}

var errSimAway = fmt.Errorf("simulated: no answer: %w", object.ErrUnavailable)

// send waits until a request can leave the node, and reports whether it does.
func (u *simUplink) send(ctx context.Context, f *simFate) error {
	u.life.node.stand(f.rng)
	if err := ctx.Err(); err != nil {
		return err
	}
	if u.life.dead() {
		return errSimAway
	}
	if f.refused {
		if err := sleep(ctx, f.there); err != nil {
			return err
		}
		return errSimAway
	}
	return nil
}

// read sends a request that changes nothing.
func (u *simUplink) read(ctx context.Context, f *simFate, ask func() error) error {
	if err := u.send(ctx, f); err != nil {
		return err
	}
	defer u.life.node.stand(f.rng)
	if f.lost || f.void {
		if err := sleep(ctx, simOriginTimeout+f.there); err != nil {
			return err
		}
		if u.w.plan.mutants.Has(mutant.Negative) {
			return object.ErrNotFound
		}
		return errSimAway
	}
	if err := sleep(ctx, f.there); err != nil {
		return err
	}
	err := ask()
	u.w.logf("%s: %v", f.name, err)
	if err := sleep(ctx, f.back); err != nil {
		return err
	}
	return err
}

// Get implements object.Store.
func (u *simUplink) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	var obj *object.Object
	f := u.fate("get", key, opt.Range)
	err := u.read(ctx, f, func() (err error) {
		obj, err = u.memory.Get(context.Background(), key, opt)
		return err
	})
	if err != nil {
		return nil, err
	}
	obj.Body = &simBody{ReadCloser: obj.Body, ctx: ctx, uplink: u, rng: f.rng, left: obj.Length}
	return obj, nil
}

// Head implements object.Store.
func (u *simUplink) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (info object.Info, err error) {
	err = u.read(ctx, u.fate("head", key, ""), func() (err error) {
		info, err = u.memory.Head(context.Background(), key, opt)
		return err
	})
	return info, err
}

// List implements object.Store.
func (u *simUplink) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return u.memory.List(ctx, opt)
}

// Put implements object.Store.
func (u *simUplink) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	r, err := object.OpenExact(src)
	if err != nil {
		return object.Info{}, err
	}
	body, err := io.ReadAll(r)
	r.Close()
	if err != nil {
		return object.Info{}, fmt.Errorf("simulated: reading the source: %w", err)
	}
	f := u.fate("put", key, opt.Attrs.ContentType)
	if opt.Version == "" {
		opt.Version = fmt.Sprintf("%016x", f.rng.Uint64())
	}
	return u.write(ctx, f, key, hint(opt.Base, opt.IfMatch, opt.IfNoneMatch), func() (object.Info, error) {
		return u.memory.Put(context.Background(), key, object.BytesSource(body), opt)
	}, func(now object.Info, err error) bool { return err == nil && now.Version == opt.Version })
}

// Delete implements object.Store.
func (u *simUplink) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	_, err := u.write(ctx, u.fate("delete", key, opt.IfMatch), key, hint(opt.Base, opt.IfMatch, object.Match{}), func() (object.Info, error) {
		return object.Info{}, u.memory.Delete(context.Background(), key, opt)
	}, nothingProves)
	return err
}

// nothingProves is for deletes. That the object is gone does not prove that it
// was this one: it may still be on its way, and remove the same bytes when
// somebody writes them again. To call it done would be a lie then.
func nothingProves(object.Info, error) bool { return false }

// simApply does a write at the authority, whenever it arrives there.
type simApply func() (object.Info, error)

// A simAnswer is the authority's answer to a write.
type simAnswer struct {
	info object.Info
	err  error
}

// hint returns what a caller believes to be there, "" if it does not say or has
// a condition of its own. It may be wrong.
func hint(base object.ETag, conditions ...object.Match) object.ETag {
	for _, m := range conditions {
		if m.IsSet() {
			return ""
		}
	}
	return base
}

// write sends a request that changes something: apply does it, at the authority,
// and done says whether what is there afterwards proves that it was. As
// origin.S3 does, it makes the request conditional on what was there when it was
// sent, or on what the caller says was, and sends it again if that has changed and somebody still waits for it.
func (u *simUplink) write(ctx context.Context, f *simFate, key object.Key, base object.ETag, apply simApply, done func(object.Info, error) bool) (object.Info, error) {
	if err := u.send(ctx, f); err != nil {
		return object.Info{}, err
	}
	for tries := 1; ; tries++ {
		if base == "" {
			base = u.state(key)
		}
		answer := u.attempt(ctx, f, key, base, apply, done)
		if errors.Is(answer.err, object.ErrUnknownOutcome) && u.w.plan.mutants.Has(mutant.Retry) && tries < 3 {
			f = &simFate{name: f.name + " again", rng: f.rng, there: f.there, back: f.back, survives: true}
			continue
		}
		if answer.err != errSimMoved {
			return answer.info, answer.err
		}
		base = ""
		u.w.logf("%s: what was there has changed", f.name)
		if ctx.Err() != nil || u.life.dead() {
			return object.Info{}, fmt.Errorf("simulated: not written: %w", object.ErrUnavailable)
		}
	}
}

// errSimMoved is the answer to a request whose base is not there any more.
var errSimMoved = errors.New("simulated: not what it was")

func (u *simUplink) attempt(ctx context.Context, f *simFate, key object.Key, base object.ETag, apply simApply, done func(object.Info, error) bool) simAnswer {
	answers := make(chan simAnswer, 1)
	time.AfterFunc(f.there, func() { u.arrive(f, key, base, apply, answers) })
	timeout := time.NewTimer(simOriginTimeout + f.there)
	defer timeout.Stop()
	defer u.life.node.stand(f.rng)
	select {
	case answer := <-answers:
		return answer
	case <-ctx.Done():
		return simAnswer{err: fmt.Errorf("simulated: %w: %w", object.ErrUnknownOutcome, ctx.Err())}
	case <-timeout.C:
	}
	u.life.node.stand(f.rng)
	if f.settles && !u.life.dead() && !u.away(u.life.node.id) {
		if err := sleep(ctx, f.back); err == nil {
			info, err := u.memory.Head(context.Background(), key, object.HeadOptions{})
			if done(info, err) {
				return simAnswer{info: info}
			}
		}
	}
	return simAnswer{err: fmt.Errorf("simulated: %w: no answer", object.ErrUnknownOutcome)}
}

// arrive is where a write reaches the authority, or does not yet.
func (u *simUplink) arrive(f *simFate, key object.Key, base object.ETag, apply simApply, answers chan<- simAnswer) {
	conditional := func() simAnswer {
		if u.state(key) != base && !u.w.plan.mutants.Has(mutant.Retry) {
			return simAnswer{err: errSimMoved}
		}
		info, err := apply()
		return simAnswer{info, err}
	}
	switch {
	case u.life.dead() && !f.survives, f.lost && f.late == 0:
		u.w.logf("%s: lost", f.name)
		return
	case f.lost:
		u.w.logf("%s: to come %v after it was given up", f.name, f.late)
		time.AfterFunc(simOriginTimeout+f.late, func() { u.w.logf("%s: lands late: %v", f.name, conditional().err) })
		return
	}
	answer := conditional()
	u.w.logf("%s: %v, answer lost: %v", f.name, answer.err, f.void)
	if !f.void {
		time.AfterFunc(f.back, func() { answers <- answer })
	}
}

// state returns what a write can be conditional on: the ETag, "" for absence.
func (u *simUplink) state(key object.Key) object.ETag {
	info, err := u.memory.Head(context.Background(), key, object.HeadOptions{})
	if err != nil {
		return ""
	}
	return info.ETag
}

// A simBody is a body on its way from the authority: slowly, and not always
// whole.
type simBody struct {
	io.ReadCloser
	ctx    context.Context
	uplink *simUplink
	rng    *rand.Rand
	left   int64
}

// simStep is how much of a body comes at once.
const simStep = 64 << 10

func (b *simBody) Read(p []byte) (int, error) {
	if b.left > 0 {
		if b.rng.Float64() < b.uplink.w.plan.cutBody {
			return 0, fmt.Errorf("simulated: the body broke: %w", object.ErrUnavailable)
		}
		if b.left > simStep || b.rng.IntN(8) == 0 {
			if err := sleep(b.ctx, simLatency(b.rng)); err != nil {
				return 0, err
			}
			b.uplink.life.node.stand(b.rng)
		}
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), simStep)])
	b.left -= int64(n)
	return n, err
}
