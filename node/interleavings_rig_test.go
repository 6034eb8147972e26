package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/micelio/micelio/history"
	"github.com/micelio/micelio/internal/mutant"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/tiers"
)

// A column is what the table of interleavings says for one kind of key.
type column string

const (
	strict    column = "strict"    // a mutable key: every read asks
	bounded   column = "delta"     // a mutable key with a staleness budget
	immutable column = "immutable" // a key that is written once

	// A cache that never asks again, on a ring that all agree on: not what a
	// node does, but what its fences alone must hold together.
	fenced column = "fenced"
)

// rowDelta is the staleness budget of the bounded column.
const rowDelta = time.Second

// A pair is what the ring looks like to three nodes: whom the entry node takes
// for the owner, and whom the two others do.
type pair struct{ entry, owner, others int }

func (p pair) String() string {
	return fmt.Sprintf("entry %d, owner %d, to others %d", p.entry, p.owner, p.others)
}

// pairs are all there are: all that an entry node may believe, with all that the
// others may. The race detector sees each of the former with one of the latter.
func pairs() (all []pair) {
	for i := range 27 {
		p := pair{i / 9, i / 3 % 3, i % 3}
		if !raceEnabled || p.others == (p.entry+p.owner)%3 {
			all = append(all, p)
		}
	}
	return all
}

// A rowRig is a cluster of three nodes over a scripted authority, for one
// interleaving.
type rowRig struct {
	*script
	pair
	column       column
	key          object.Key
	entry, owner *simNode
	other, third *simNode  // the two that are not the entry
	anotherOwner *simNode  // not the owner, and not the entry if that can be
	size         int       // of bodies
	acked        time.Time // the last write
	running      sync.WaitGroup
	front        func(object.Store) object.Store // what stands before the authority, nil: nothing

	mu     sync.Mutex // guards the following
	faults []string
}

// A rowStop ends a row that cannot go on.
type rowStop struct{}

// A rowRun says what to run a row with.
type rowRun struct {
	row     *interleaving
	play    func(*rowRig)
	column  column
	pair    pair
	mutants mutant.Set
}

// run plays a row and returns what was wrong. It must be called in a bubble.
func (s *simulator) runRow(x rowRun) []string {
	w := &simWorld{
		views: s.views, classes: s.classes, began: time.Now(), recorder: history.NewRecorder(), stats: newRouterStats(),
		tags: map[object.ETag]string{}, plan: simPlan{nodes: 3, ramBytes: 4 << 20, ssd: x.row.ssd, mutants: x.mutants},
	}
	switch x.column {
	case bounded:
		w.plan.staleness = rowDelta
	case fenced:
		w.plan.mutants |= mutant.NoValidate
	}
	w.network, w.origin = newSimNetwork(w), newSimOrigin(w)
	r := &rowRig{
		script: &script{w: w, mutants: x.mutants, away: map[int]bool{}, asked: map[int]int{}},
		pair:   x.pair, column: x.column, size: 4 * simBlock, front: x.row.front,
	}
	w.scripted = func(l *simLife) object.Store {
		store := origin.Guard(&scriptUplink{r.script, l}, w.classes, false)
		if r.front != nil {
			return r.front(store)
		}
		return store
	}
	r.key = r.keyOwnedBy("sessions/%d/head")
	if x.column == immutable {
		r.key = r.keyOwnedBy("cache/x/sha256:%d/out")
	}
	for id := range 3 {
		w.nodes = append(w.nodes, &simNode{w: w, id: id})
	}
	r.entry, r.owner = w.nodes[x.pair.entry], w.nodes[x.pair.owner]
	r.other, r.third = w.nodes[(x.pair.entry+1)%3], w.nodes[(x.pair.entry+2)%3]
	r.anotherOwner = r.other
	if r.other == r.owner {
		r.anotherOwner = r.third
	}
	for _, n := range w.nodes {
		r.believes(n, x.pair.others)
		n.start()
	}
	r.believes(r.entry, x.pair.owner)
	r.play(x.play)
	return r.faults
}

// play runs the row and ends the cluster.
func (r *rowRig) play(row func(*rowRig)) {
	defer func() {
		r.letAll()
		for _, n := range r.w.nodes {
			n.crash()
		}
		r.running.Wait()
		r.letAll()
		r.w.dying.Wait()
		pass(time.Minute) // for dials that nobody waits for
		if p := recover(); p != nil && p != (rowStop{}) {
			panic(p)
		}
	}()
	row(r)
}

// keyOwnedBy returns a key that is the owner's where all nodes are known.
func (r *rowRig) keyOwnedBy(format string) object.Key {
	for i := 0; ; i++ {
		key := object.Key(fmt.Sprintf(format, i))
		if m, ok := r.w.views[0b111].Owner(string(key)); ok && m.ID == simID(r.pair.owner) {
			return key
		}
	}
}

// believes gives a node the largest view in which the key belongs to owner.
func (r *rowRig) believes(n *simNode, owner int) {
	for _, mask := range []int{0b111, 0b110, 0b101, 0b011, 0b100, 0b010, 0b001} {
		if m, ok := r.w.views[mask].Owner(string(r.key)); ok && m.ID == simID(owner) {
			n.believe(r.w.views[mask])
			return
		}
	}
}

// wrong notes what is wrong with the code.
func (r *rowRig) wrong(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf("at %v: ", r.w.elapsed())+fmt.Sprintf(format, args...))
}

// await waits until a request has run into a gate.
func (r *rowRig) await(g *simGate) {
	if !done(g.arrived, 20*time.Second) {
		r.wrong("no %s came to the authority", g.op)
		panic(rowStop{})
	}
}

func done[T any](c <-chan T, within time.Duration) bool {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
		return false
	}
}

// An asked is an operation of a client: its value is what was read, "ok", or the
// kind of error.
type asked struct {
	what         string
	rig          *rowRig
	leave        context.CancelFunc
	over         chan struct{}
	value        string
	info         object.Info
	err          error
	began, ended time.Time
}

// ask lets a client ask a node.
func (r *rowRig) ask(n *simNode, what string, do func(context.Context, object.Store) (string, object.Info, error)) *asked {
	a := &asked{what: what + " through " + simID(n.id), rig: r, over: make(chan struct{}), began: time.Now(), leave: func() {}}
	l := n.alive()
	if l == nil {
		a.value, a.ended = "died", a.began
		close(a.over)
		return a
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.leave = cancel
	stop := context.AfterFunc(l.ctx, cancel)
	r.running.Go(func() {
		defer close(a.over)
		defer stop()
		rng := r.w.rand("client")
		n.stand(rng)
		a.value, a.info, a.err = do(ctx, l.router)
		n.stand(rng)
		if a.err != nil {
			a.value = kindOf(a.err)
		}
		if l.dead() {
			a.value = "died"
		} else if ctx.Err() != nil {
			a.value = "left"
		}
		a.ended = time.Now()
	})
	return a
}

// wait returns the operation when it is over.
func (a *asked) wait() *asked {
	if !done(a.over, time.Minute) {
		a.rig.wrong("%s is not answered", a.what)
		panic(rowStop{})
	}
	return a
}

func kindOf(err error) string {
	for _, kind := range []struct {
		err  error
		name string
	}{
		{object.ErrUnknownOutcome, "unknown"}, {object.ErrNotFound, "absent"}, {object.ErrPrecondition, "refused"}, {object.ErrConflict, "conflict"},
		{object.ErrDigest, "wrong digest"}, {errBrokenBody, "broken"}, {object.ErrUnavailable, "unavailable"},
	} {
		if errors.Is(err, kind.err) {
			return kind.name
		}
	}
	return "error: " + err.Error()
}

var errBrokenBody = errors.New("the body broke")

// reading begins a read of the whole object.
func (r *rowRig) reading(n *simNode) *asked { return r.readingPart(n, object.GetOptions{}) }

func (r *rowRig) readingPart(n *simNode, opt object.GetOptions) *asked {
	return r.ask(n, "a read", func(ctx context.Context, s object.Store) (string, object.Info, error) {
		obj, err := s.Get(ctx, r.key, opt)
		if err != nil {
			return "", object.Info{}, err
		}
		defer obj.Body.Close()
		body, err := io.ReadAll(obj.Body)
		if err != nil {
			return "", obj.Info, fmt.Errorf("%w: %w", errBrokenBody, err)
		}
		return valueOf(body, obj), obj.Info, nil
	})
}

func (r *rowRig) read(n *simNode) *asked { return r.reading(n).wait() }

// heading is reading without the bytes, of which it says nothing.
func (r *rowRig) head(n *simNode) *asked {
	return r.ask(n, "a head", func(ctx context.Context, s object.Store) (string, object.Info, error) {
		info, err := s.Head(ctx, r.key, object.HeadOptions{})
		return info.ContentType, info, err
	}).wait()
}

// valueOf names what was read: whose bytes, and as what if that was said.
func valueOf(body []byte, obj *object.Object) string {
	tag := tagOf(body)
	if whole := simContent(tag, int(obj.Size)); int64(len(body)) != obj.Length || string(body) != whole[obj.Offset:obj.Offset+obj.Length] {
		return fmt.Sprintf("torn: %d of %d bytes that begin with %s and end with %s", len(body), obj.Size, tag, tagOf(body[max(0, len(body)-simBlock):]))
	}
	if obj.ContentType != "" {
		return tag + " as " + obj.ContentType
	}
	return tag
}

func tagOf(body []byte) string { return strings.TrimSpace(string(body[:min(len(body), simBlock)])) }

// writing begins a write.
func (r *rowRig) writing(n *simNode, tag string, opt object.PutOptions) *asked {
	return r.writingFrom(n, object.BytesSource([]byte(simContent(tag, r.size))), opt)
}

func (r *rowRig) writingFrom(n *simNode, src object.Source, opt object.PutOptions) *asked {
	return r.ask(n, "a put", func(ctx context.Context, s object.Store) (string, object.Info, error) {
		info, err := s.Put(ctx, r.key, src, opt)
		return "ok", info, err
	})
}

// write writes, and is acknowledged.
func (r *rowRig) write(n *simNode, tag string) *asked {
	a := r.writing(n, tag, object.PutOptions{}).wait()
	r.want(a, now("ok"))
	r.acked = a.ended
	return a
}

// writeAt writes through a node that takes itself for the owner for as long.
func (r *rowRig) writeAt(n *simNode, tag string) *asked {
	view := n.view.Load()
	r.believes(n, n.id)
	defer n.view.Store(view)
	return r.write(n, tag)
}

// removing begins a delete.
func (r *rowRig) removing(n *simNode) *asked {
	return r.ask(n, "a delete", func(ctx context.Context, s object.Store) (string, object.Info, error) {
		return "ok", object.Info{}, s.Delete(ctx, r.key, object.DeleteOptions{})
	})
}

// remove deletes, and is acknowledged.
func (r *rowRig) remove(n *simNode) {
	a := r.removing(n).wait()
	r.want(a, now("ok"))
	r.acked = a.ended
}

// removeAt deletes through a node that takes itself for the owner for as long.
func (r *rowRig) removeAt(n *simNode) {
	view := n.view.Load()
	r.believes(n, n.id)
	defer n.view.Store(view)
	r.remove(n)
}

// cache is what a node has in its tiers.
func (r *rowRig) cache(n *simNode) *tiers.Cache {
	return n.alive().router.local.(simJitter).Store.(*tiers.Cache)
}
