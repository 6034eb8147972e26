package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/pace"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

// A stopped member takes requests and answers none, as a process that got
// SIGSTOP does: its kernel still accepts connections.
type stopped struct {
	object.Store
	asked atomic.Int32
	slow  time.Duration // 0: for ever
	works bool          // and says that it is at work
}

func (s *stopped) hang(ctx context.Context) error {
	s.asked.Add(1)
	var patience <-chan time.Time
	if s.slow > 0 {
		patience = time.After(s.slow)
	}
	if s.works {
		peer.Working(ctx)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-patience:
		return nil
	case <-time.After(11 * time.Second): // when the peer client gives up by itself
		return unreachable("")
	}
}

func (s *stopped) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	if err := s.hang(ctx); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, key, opt)
}

func (s *stopped) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	if err := s.hang(ctx); err != nil {
		return object.Info{}, err
	}
	return s.Store.Head(ctx, key, opt)
}

func (s *stopped) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	if err := s.hang(ctx); err != nil {
		return object.Info{}, err
	}
	return s.Store.Put(ctx, key, src, opt)
}

// watched runs test on a bubble's clock, with a plan whose members are looked
// after and give signs of life as sign says. It holds "body" under "k".
func watched(t *testing.T, sign func(context.Context, ring.Member) error, test func(t *testing.T, p *plan)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPlan(t, object.Mutable)
		p.put(t, "k", []byte("body"))
		p.vitals.sign = sign
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := p.vitals.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		test(t, p)
		stop()
		running.Wait()
	})
}

// standStill makes the owner of key a stopped member, and returns it.
func (p *plan) standStill(key object.Key) *stopped {
	owner, _ := p.order(key)
	s := &stopped{Store: p.memory}
	owner.Store = s
	return s
}

func noSign(ctx context.Context, _ ring.Member) error {
	<-ctx.Done()
	return ctx.Err()
}

// reachable is how long a read may take when the member it met stands still and
// no budget is left to hedge it.
const reachable = silence + 2*beat + signTimeout

// A few are hedged, and that is enough to leave the member: the others need not
// wait for a budget.
func TestReadsLeaveAMemberThatStandsStill(t *testing.T) {
	watched(t, noSign, func(t *testing.T, p *plan) {
		member := p.standStill("k")
		began := time.Now()
		var readers sync.WaitGroup
		for range 50 {
			readers.Go(func() { p.wantRead(t, "k", []byte("body")) })
			readers.Go(func() {
				if _, err := p.Head(t.Context(), "k", object.HeadOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
		readers.Wait()
		if took := time.Since(began); took != coldHedge {
			t.Errorf("reads took %v, want %v", took, coldHedge)
		}
		asked := member.asked.Load()
		began = time.Now()
		p.wantRead(t, "k", []byte("body"))
		if member.asked.Load() != asked || time.Since(began) != 0 {
			t.Errorf("the next read went there too and took %v", time.Since(began))
		}
	})
}

// Whatever the budget, nobody waits for longer than it takes to find out.
func TestReadsThatAreNotHedgedAreCut(t *testing.T) {
	watched(t, noSign, func(t *testing.T, p *plan) {
		p.standStill("k")
		p.hedges.reads = pace.NewHedger(pace.NewBudget(0, 0.5), nil)
		began := time.Now()
		p.wantRead(t, "k", []byte("body"))
		if took := time.Since(began); took < silence || took > reachable {
			t.Errorf("took %v", took)
		}
		began = time.Now()
		p.wantRead(t, "k", []byte("body"))
		if took := time.Since(began); took != 0 {
			t.Errorf("the next read took %v", took)
		}
	})
}

// An owner that waits for a slow origin is waited for: to ask another node as
// well would make the origin slower.
func TestAMemberThatIsOnlySlowIsWaitedFor(t *testing.T) {
	var signs atomic.Int32
	sign := func(context.Context, ring.Member) error { signs.Add(1); return nil }
	watched(t, sign, func(t *testing.T, p *plan) {
		s := p.standStill("k")
		s.slow, s.works = 8*time.Second, true
		owner, next := p.order("k")
		p.wantRead(t, "k", []byte("body"))
		wantAsked(t, "the owner", owner, 1)
		wantAsked(t, "the successor", next, 0)
		wantAsked(t, "this node", p.local, 0)
		if n := signs.Load(); n == 0 || n > 8 {
			t.Errorf("asked %d times for a sign of life in 8 s", n)
		}
	})
}

func TestAWriteIsNeverCut(t *testing.T) {
	watched(t, noSign, func(t *testing.T, p *plan) {
		member := p.standStill("k")
		member.slow = 9 * time.Second
		_, next := p.order("k")
		var writing sync.WaitGroup
		writing.Go(func() {
			if _, err := p.Put(t.Context(), "k", object.BytesSource([]byte("two")), object.PutOptions{}); err != nil {
				t.Errorf("Put: %v", err)
			}
		})
		<-time.After(reachable)
		wantAsked(t, "the successor", next, 0)
		wantAsked(t, "this node", p.local, 0)
		// It showed that the member stands still.
		began, asked := time.Now(), member.asked.Load()
		p.wantRead(t, "k", []byte("body"))
		if time.Since(began) != 0 || member.asked.Load() != asked {
			t.Errorf("a read went there too and took %v", time.Since(began))
		}
		writing.Wait()
		p.wantRead(t, "k", []byte("two"))
	})
}

func TestAMemberIsLeftAfterThreeFailuresAndUsedAgain(t *testing.T) {
	var alive atomic.Bool
	sign := func(context.Context, ring.Member) error {
		if alive.Load() {
			return nil
		}
		return peer.ErrUnreachable
	}
	watched(t, sign, func(t *testing.T, p *plan) {
		owner, next := p.order("k")
		owner.fail, next.fail = unreachable, unreachable
		for range 10 {
			p.wantRead(t, "k", []byte("body"))
		}
		wantAsked(t, "the owner", owner, failuresToOpen)
		wantAsked(t, "the successor", next, failuresToOpen)
		wantAsked(t, "this node", p.local, 10)
		for range 60 { // a minute of it
			<-time.After(openFor)
			p.wantRead(t, "k", []byte("body"))
		}
		if n := owner.asked.Swap(0); n > 60 {
			t.Errorf("the owner was asked %d times in a minute", n)
		}

		owner.fail, next.fail = nil, nil
		alive.Store(true)
		<-time.After(openFor + 2*beat)
		p.wantRead(t, "k", []byte("body"))
		wantAsked(t, "the owner", owner, 1)
		if _, err := p.Put(t.Context(), "k", object.BytesSource([]byte("two")), object.PutOptions{}); err != nil {
			t.Error(err)
		}
		wantAsked(t, "the owner, for a write", owner, 1)
	})
}

// A write never finds out: one that hangs keeps its client waiting.
func TestAWriteGoesAroundAMemberThatMayBeGone(t *testing.T) {
	watched(t, noSign, func(t *testing.T, p *plan) {
		owner, next := p.order("k")
		owner.fail = unreachable
		for range failuresToOpen {
			p.wantRead(t, "k", []byte("body"))
		}
		owner.fail = nil
		owner.asked.Store(0)
		next.asked.Store(0)
		<-time.After(openFor)
		if _, err := p.Put(t.Context(), "k", object.BytesSource([]byte("two")), object.PutOptions{}); err != nil {
			t.Error(err)
		}
		wantAsked(t, "the owner", owner, 0)
		wantAsked(t, "the successor", next, 1)
	})
}

func TestAMemberThatStartedAgainIsNoSuspect(t *testing.T) {
	v := vitals{log: slog.New(slog.DiscardHandler)}
	for range failuresToOpen {
		v.blame(ring.Member{ID: "a", Boot: 1})
	}
	if v.passable(ring.Member{ID: "a", Boot: 1}, true) || !v.passable(ring.Member{ID: "a", Boot: 2}, true) {
		t.Error("a suspect is not told by its boot")
	}
}

func TestAMemberThatLeftTheViewIsForgotten(t *testing.T) {
	watched(t, noSign, func(t *testing.T, p *plan) {
		p.vitals.blame(ring.Member{ID: "gone", Boot: 1})
		<-time.After(2 * beat)
		synctest.Wait()
		if len(p.vitals.known()) != 0 {
			t.Error("remembered")
		}
	})
}

// A write that hangs in a member which gossip has given up troubles nobody else:
// the member is not asked, and not reported, again and again.
func TestNobodyAsksAMemberThatIsGoneForASign(t *testing.T) {
	var signs atomic.Int32
	sign := func(context.Context, ring.Member) error { signs.Add(1); return peer.ErrUnreachable }
	watched(t, sign, func(t *testing.T, p *plan) {
		w := p.vitals.attend(ring.Member{ID: "gone", Boot: 1})
		w.begin(t.Context(), false)
		defer w.end()
		<-time.After(time.Minute)
		if n := signs.Load(); n != 0 {
			t.Errorf("asked %d times", n)
		}
		r := p.vitals.attend(ring.Member{ID: "gone", Boot: 1})
		r.begin(t.Context(), true)
		defer r.end()
		<-r.ctx.Done() // a read is still led elsewhere
		if err := r.settle(nil, false); !errors.Is(err, errSilent) {
			t.Errorf("cut with %v", err)
		}
		if err := w.settle(nil, false); err != nil {
			t.Errorf("the write: %v", err)
		}
	})
}
