package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/micelio/micelio/internal/mutant"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

// A script is an authority that does what an interleaving wants: gates hold one
// request each at a point of its way, or decide what becomes of it. Everything
// else is answered at once.
//
// It writes as origin.S3 does: a write of a mutable key without a condition is
// made conditional on what is there when it is sent, is sent again with another
// base after a definite refusal as long as somebody waits for it, and after an
// answer that did not come asks for its own name.
type script struct {
	w       *simWorld
	memory  objecttest.Memory
	mutants mutant.Set
	skew    time.Duration // of the authority's clock

	mu      sync.Mutex // guards the following
	gates   []*simGate
	away    map[int]bool // nodes that do not reach it
	asked   map[int]int  // requests, by node
	applied []string     // writes, in order
	names   int
	late    sync.WaitGroup
}

// A gatePoint is where on the way of a request a gate stands.
type gatePoint int

const (
	before  gatePoint = iota // it has left the node and not arrived
	after                    // it is done, and the answer on its way
	midway                   // half of the body has arrived
	inParts                  // the same, and the rest is asked for by itself, as a part of that version
	void                     // of a write: it is done, and the answer gets lost
	late                     // of a write: its sender gives up, and then it arrives
)

// A simGate holds the next request of its kind until it is opened.
type simGate struct {
	op      string // get, head, put or delete
	node    int    // that sends it, -1: any
	at      gatePoint
	arrived chan struct{} // closed when the request is here
	open    chan struct{}
	once    sync.Once
	landed  chan error // what became of a late write
	by      int        // the node whose request it was
}

func (g *simGate) let() { g.once.Do(func() { close(g.open) }) }

// hold puts up a gate.
func (s *script) hold(op string, node int, at gatePoint) *simGate {
	g := &simGate{op: op, node: node, at: at, arrived: make(chan struct{}), open: make(chan struct{}), landed: make(chan error, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gates = append(s.gates, g)
	return g
}

// pass returns the gate in which a request runs at one of the points, nil if
// there is none.
func (s *script) pass(op string, node int, points ...gatePoint) *simGate {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.gates {
		for _, at := range points {
			if g.op != op || g.at != at || g.node >= 0 && g.node != node {
				continue
			}
			select {
			case <-g.arrived:
			default:
				g.by = node
				close(g.arrived)
				return g
			}
		}
	}
	return nil
}

// letAll opens all gates and waits for what is late.
func (s *script) letAll() {
	s.mu.Lock()
	gates := s.gates
	s.mu.Unlock()
	for _, g := range gates {
		g.let()
	}
	s.late.Wait()
}

// cut lets nodes not reach the authority, or reach it again.
func (s *script) cut(away bool, nodes ...*simNode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range nodes {
		s.away[n.id] = away
	}
}

// times returns how often a write was applied.
func (s *script) times(what string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.applied {
		if a == what {
			n++
		}
	}
	return n
}

// askers returns how many nodes asked anything since the last call.
func (s *script) askers() map[int]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = map[int]int{}
	return asked
}

// A scriptUplink is the authority as one start of a node reaches it.
type scriptUplink struct {
	*script
	life *simLife
}

var _ object.Store = (*scriptUplink)(nil)

// aMoment is how long a request takes to the authority, or its answer back.
const aMoment = 2 * time.Millisecond

// send begins a request.
func (u *scriptUplink) send(ctx context.Context) error {
	id := u.life.node.id
	u.life.node.stand(u.w.rand("scripted"))
	if err := sleep(ctx, aMoment); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked[id]++
	if u.away[id] || u.life.dead() {
		return errSimAway
	}
	return nil
}

// wait waits at a gate, nil for none, as long as somebody waits for the request.
func (u *scriptUplink) wait(ctx context.Context, g *simGate) error {
	if g == nil {
		return nil
	}
	select {
	case <-g.open:
	case <-ctx.Done():
	case <-u.life.ctx.Done():
	}
	u.life.node.stand(u.w.rand("scripted"))
	if u.life.dead() {
		return errSimAway
	}
	return ctx.Err()
}

func (u *scriptUplink) read(ctx context.Context, op string, ask func() error) error {
	if err := u.send(ctx); err != nil {
		if u.mutants.Has(mutant.Negative) && err == errSimAway {
			return object.ErrNotFound
		}
		return err
	}
	if err := u.wait(ctx, u.pass(op, u.life.node.id, before)); err != nil {
		return err
	}
	err := ask()
	if waited := u.wait(ctx, u.pass(op, u.life.node.id, after)); waited != nil {
		return waited
	}
	return errors.Join(err, sleep(ctx, aMoment))
}

func (u *scriptUplink) Get(ctx context.Context, key object.Key, opt object.GetOptions) (obj *object.Object, err error) {
	var nm *object.NotModifiedError
	err = u.read(ctx, "get", func() (err error) {
		obj, err = u.memory.Get(context.Background(), key, opt)
		return err
	})
	switch {
	case errors.As(err, &nm):
		return nil, &object.NotModifiedError{Info: u.skewed(nm.Info)}
	case err != nil:
		return nil, err
	}
	obj.Info = u.skewed(obj.Info)
	if g := u.pass("get", u.life.node.id, midway, inParts); g != nil {
		obj.Body = &gatedBody{ReadCloser: obj.Body, ctx: ctx, uplink: u, gate: g, obj: *obj, left: obj.Length / 2}
	}
	return obj, nil
}

func (u *scriptUplink) skewed(info object.Info) object.Info {
	info.Modified = info.Modified.Add(u.skew)
	return info
}

func (u *scriptUplink) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (info object.Info, err error) {
	err = u.read(ctx, "head", func() (err error) {
		info, err = u.memory.Head(context.Background(), key, opt)
		return err
	})
	return u.skewed(info), err
}

func (u *scriptUplink) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return u.memory.List(ctx, opt)
}

func (u *scriptUplink) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (info object.Info, err error) {
	r, err := object.OpenExact(src)
	if err != nil {
		return object.Info{}, err
	}
	body, err := io.ReadAll(r)
	r.Close()
	if err != nil {
		return object.Info{}, fmt.Errorf("scripted: reading the source: %w", err)
	}
	if opt.Version == "" {
		u.mu.Lock()
		u.names++
		opt.Version = fmt.Sprint("write ", u.names)
		u.mu.Unlock()
	}
	sent := scriptWrite{op: "put", what: "put " + tagOf(body), key: key, base: opt.Base, conditional: opt.IfMatch.IsSet() || opt.IfNoneMatch.IsSet()}
	err = u.write(ctx, sent, func(base object.ETag, known bool) (err error) {
		o := opt
		if known && base == "" {
			o.IfNoneMatch = object.MatchAny()
		} else if known {
			o.IfMatch = object.MatchETag(base)
		}
		info, err = u.memory.Put(context.Background(), key, object.BytesSource(body), o)
		return err
	}, func(now object.Info, err error) bool {
		info = now
		return err == nil && now.Version == opt.Version
	})
	if err != nil {
		return object.Info{}, err
	}
	return u.skewed(info), nil
}

func (u *scriptUplink) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	sent := scriptWrite{op: "delete", what: "delete", key: key, base: opt.Base, conditional: opt.IfMatch.IsSet()}
	return u.write(ctx, sent, func(base object.ETag, known bool) error {
		o := opt
		if known && base == "" {
			return nil
		} else if known {
			o.IfMatch = object.MatchETag(base)
		}
		return u.memory.Delete(context.Background(), key, o)
	}, nothingProves)
}

// A scriptWrite is a write on its way to the authority.
type scriptWrite struct {
	op, what    string
	key         object.Key
	base        object.ETag // what the caller believes to be there, if it says so
	conditional bool        // by the caller's own condition
}

// write sends a write until it is answered, or not, and then settles it: apply
// does it on a base, and done says whether what is there afterwards proves that
// it was done.
func (u *scriptUplink) write(ctx context.Context, sent scriptWrite, apply func(base object.ETag, known bool) error, done func(object.Info, error) bool) error {
	retry := u.mutants.Has(mutant.Retry)
	for tries := 1; ; tries++ {
		if err := u.send(ctx); err != nil {
			return err
		}
		base := sent.base
		if base == "" || tries > 1 {
			base = u.state(sent.key)
		}
		err := u.attempt(ctx, sent.op, sent.what, func() error { return apply(base, !sent.conditional && !retry) })
		refused := errors.Is(err, object.ErrPrecondition) || errors.Is(err, object.ErrNotFound)
		switch {
		case refused && !sent.conditional:
			if ctx.Err() != nil || u.life.dead() {
				return errSimAway
			}
		case retry && tries < 3 && errors.Is(err, object.ErrUnknownOutcome) && u.w.class(sent.key) == object.Mutable:
		case errors.Is(err, object.ErrUnknownOutcome) && ctx.Err() == nil && u.send(ctx) == nil:
			if done(u.memory.Head(context.Background(), sent.key, object.HeadOptions{})) {
				return nil
			}
			return err
		default:
			return err
		}
	}
}

// state returns what a write can be conditional on: the ETag, "" for absence.
func (u *scriptUplink) state(key object.Key) object.ETag {
	info, err := u.memory.Head(context.Background(), key, object.HeadOptions{})
	if err != nil {
		return ""
	}
	return info.ETag
}

// attempt sends a write once.
func (u *scriptUplink) attempt(ctx context.Context, op, what string, apply func() error) error {
	node := u.life.node.id
	unknown := fmt.Errorf("scripted: %w: no answer", object.ErrUnknownOutcome)
	do := func() error {
		err := apply()
		if err == nil {
			u.mu.Lock()
			u.applied = append(u.applied, what)
			u.mu.Unlock()
		}
		return err
	}
	if g := u.pass(op, node, late); g != nil {
		u.late.Go(func() { <-g.open; g.landed <- do() })
		return errors.Join(unknown, sleep(ctx, simOriginTimeout))
	}
	if g := u.pass(op, node, void); g != nil {
		g.landed <- do()
		err := sleep(ctx, simOriginTimeout)
		return errors.Join(unknown, err)
	}
	if u.wait(ctx, u.pass(op, node, before)) != nil {
		return unknown // and lost with the node, or the connection
	}
	err := do()
	if u.wait(ctx, u.pass(op, node, after)) != nil || sleep(ctx, aMoment) != nil {
		return unknown
	}
	return err
}

// A gatedBody waits at a gate when half of it has been read.
type gatedBody struct {
	io.ReadCloser
	ctx    context.Context
	uplink *scriptUplink
	gate   *simGate
	obj    object.Object
	left   int64 // before the gate
}

func (b *gatedBody) Read(p []byte) (int, error) {
	if b.gate == nil {
		return b.ReadCloser.Read(p)
	}
	if b.left > 0 {
		n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
		b.left -= int64(n)
		return n, err
	}
	if err := b.uplink.wait(b.ctx, b.gate); err != nil {
		return 0, err
	}
	if half := b.obj.Length / 2; b.gate.at == inParts {
		rest, err := b.uplink.memory.Get(b.ctx, b.obj.Key, object.GetOptions{
			Range: object.Bytes(b.obj.Offset+half, b.obj.Length-half), IfMatch: object.MatchETag(b.obj.ETag),
		})
		if err != nil {
			return 0, fmt.Errorf("scripted: %w: it has been replaced: %v", object.ErrUnavailable, err)
		}
		b.ReadCloser = rest.Body
	}
	b.gate = nil
	return b.ReadCloser.Read(p)
}
