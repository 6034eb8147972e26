package node

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

// A fillRace is one read at the previous owners and, when they let it wait, at
// the Store behind them as well. Who has the object first wins. Its goroutines
// have ended when the body that it brought is closed, or it brought none.
type fillRace struct {
	p   *previous
	ctx context.Context // the caller's
	key object.Key
	opt object.GetOptions

	asking  atomic.Pointer[ring.Member] // who is being asked
	runners sync.WaitGroup
}

// A runner is one side of a race. Its context ends when it has lost, or with the
// body that it brought.
type runner struct {
	ctx  context.Context
	stop context.CancelCauseFunc
	done chan struct{} // closed when the following are set
	obj  *object.Object
	err  error
}

func (r *fillRace) start(read func(*runner) (*object.Object, error)) *runner {
	it := &runner{done: make(chan struct{})}
	it.ctx, it.stop = context.WithCancelCause(r.ctx)
	r.runners.Go(func() {
		defer close(it.done)
		it.obj, it.err = read(it)
	})
	return it
}

func (it *runner) over() bool {
	select {
	case <-it.done:
		return true
	default:
		return false
	}
}

// lose ends a runner whose object is not wanted.
func (r *fillRace) lose(it *runner) {
	it.stop(nil)
	r.runners.Go(func() {
		<-it.done
		if it.err == nil {
			it.obj.Body.Close()
		}
	})
}

// run returns the object of whoever is first. A previous owner has no error that
// matters.
func (r *fillRace) run(members []ring.Member) (*object.Object, error) {
	peers := r.start(func(it *runner) (*object.Object, error) { return r.askAll(it, members) })
	patience := time.NewTimer(r.p.patience)
	defer patience.Stop()
	select {
	case <-peers.done:
		if peers.err == nil {
			return r.deliver(peers), nil
		}
		peers.stop(nil)
		return r.p.Store.Get(r.ctx, r.key, r.opt)
	case <-patience.C:
	}
	r.p.stats.slow.Add(1)
	behind := r.start(func(it *runner) (*object.Object, error) { return r.p.Store.Get(it.ctx, r.key, r.opt) })
	select {
	case <-peers.done:
		if peers.err != nil {
			<-behind.done
		}
	case <-behind.done:
		if behind.err != nil && !isAnswer(behind.err) {
			<-peers.done // the authority is away, and this is all there is
		}
	}
	if peers.over() && peers.err == nil && (!behind.over() || behind.err != nil) {
		r.lose(behind)
		return r.deliver(peers), nil
	}
	if m := r.asking.Load(); !peers.over() && m != nil && r.ctx.Err() == nil {
		r.p.worth.failed(*m, time.Now())
	}
	r.lose(peers)
	if behind.err != nil {
		behind.stop(nil)
		r.runners.Wait()
		return nil, behind.err
	}
	return r.deliver(behind), nil
}

// deliver returns what a runner has brought.
func (r *fillRace) deliver(it *runner) *object.Object {
	it.obj.Body = &raceBody{ReadCloser: it.obj.Body, race: r, by: it}
	return it.obj
}

type raceBody struct {
	io.ReadCloser
	race *fillRace
	by   *runner
}

// Close ends the race.
func (b *raceBody) Close() error {
	err := b.ReadCloser.Close()
	b.by.stop(nil)
	b.race.runners.Wait()
	return err
}

// askAll asks one member after the other, and whom they name: after several
// changes a node that joined between two of them may know only of an owner who
// never had the object.
func (r *fillRace) askAll(it *runner, members []ring.Member) (obj *object.Object, err error) {
	for i := 0; i < len(members) && i < maxAsked; i++ {
		m := members[i]
		r.asking.Store(&m)
		obj, err = r.p.dial(m).GetCached(it.ctx, r.key, r.opt)
		if err == nil {
			obj, err = r.accept(it, m, obj)
		}
		r.p.settle(it.ctx, m, err)
		if err == nil || it.ctx.Err() != nil {
			break
		}
		if absent := (*peer.NotCachedError)(nil); errors.As(err, &absent) {
			members = r.p.named(members, absent.Previous)
		}
	}
	return obj, err
}

// named adds members that are worth asking to a list that is to be asked.
func (p *previous) named(members []ring.Member, ids []string) []ring.Member {
	view := p.view()
	for _, id := range ids {
		m, ok := view.Member(id)
		if ok && !slices.ContainsFunc(members, func(other ring.Member) bool { return other.ID == id }) {
			p.yields(m, func(m ring.Member) bool { members = append(members, m); return true })
		}
	}
	return members
}
