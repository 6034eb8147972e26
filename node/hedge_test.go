package node

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/ring"
)

// An uneven member is slow now and then. A deaf one heeds no context: its late
// answers have to be got rid of.
type uneven struct {
	object.Store
	every, n atomic.Int64 // each so manieth request is slow
	slow     time.Duration
	deaf     bool
	open     atomic.Int64 // bodies that were not closed
}

func (u *uneven) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	if every := u.every.Load(); every > 0 && u.n.Add(1)%every == 0 {
		if u.deaf {
			ctx = context.Background()
		}
		if err := sleep(ctx, u.slow); err != nil {
			return nil, err
		}
	}
	obj, err := u.Store.Get(context.Background(), key, opt)
	if err == nil {
		u.open.Add(1)
		obj.Body = &released{obj.Body, func() { u.open.Add(-1) }}
	}
	return obj, err
}

func answersSigns(context.Context, ring.Member) error { return nil }

// unevenly runs test with a plan whose owner of "k" is uneven.
func unevenly(t *testing.T, slow time.Duration, test func(t *testing.T, p *plan, u *uneven)) {
	watched(t, answersSigns, func(t *testing.T, p *plan) {
		owner, _ := p.order("k")
		u := &uneven{Store: p.memory, slow: slow}
		owner.Store = u
		test(t, p, u)
		u.every.Store(0)
		p.hedges.Close()
		synctest.Wait()
		if n := u.open.Load(); n != 0 {
			t.Errorf("%d bodies are open", n)
		}
	})
}

func TestASlowReadIsAnsweredHere(t *testing.T) {
	unevenly(t, 500*time.Millisecond, func(t *testing.T, p *plan, u *uneven) {
		u.every.Store(1)
		for range failuresToOpen {
			began := time.Now()
			p.wantRead(t, "k", []byte("body"))
			if took := time.Since(began); took != coldHedge {
				t.Errorf("took %v, want %v", took, coldHedge)
			}
		}
		wantAsked(t, "this node", p.local, failuresToOpen)
		// That was enough to go around it, and one read in a second finds out.
		var late int
		for range 100 {
			began := time.Now()
			p.wantRead(t, "k", []byte("body"))
			if time.Since(began) > 0 {
				late++
			}
			<-time.After(100 * time.Millisecond)
		}
		if late == 0 || late > 10 {
			t.Errorf("%d of 100 reads in 10 s met the slow member, want one a second", late)
		}
		u.every.Store(0)
		<-time.After(openFor + 2*beat)
		began := time.Now()
		p.wantRead(t, "k", []byte("body"))
		p.local.asked.Store(0)
		p.wantRead(t, "k", []byte("body"))
		if wantAsked(t, "this node", p.local, 0); time.Since(began) > 0 {
			t.Error("a member that is quick again is not used")
		}
	})
}

// A member's own latest times say what is slow for it.
func TestWhatIsSlowDependsOnTheMember(t *testing.T) {
	unevenly(t, 90*time.Millisecond, func(t *testing.T, p *plan, u *uneven) {
		for range 60 {
			p.wantRead(t, "k", []byte("body"))
		}
		owner, _ := p.view.Owner("k")
		about := p.vitals.about(owner)
		if got := about.hedgeAfter(); got != minHedge {
			t.Errorf("a member that answers at once is slow after %v", got)
		}
		u.every.Store(4) // each takes 90 ms: less than when the member was not known
		for range 600 {
			p.wantRead(t, "k", []byte("body"))
		}
		if got := about.hedgeAfter(); got != u.slow {
			t.Errorf("a member that often takes %v is slow after %v", u.slow, got)
		}
	})
}

func TestNoMoreReadsAreHedgedThanTheBudgetAllows(t *testing.T) {
	unevenly(t, time.Second/2, func(t *testing.T, p *plan, u *uneven) {
		u.every.Store(4)
		const reads = 1000
		for range reads {
			p.wantRead(t, "k", []byte("body"))
		}
		s := p.hedges.stats()
		if most := int64(reads*hedgeRatio) + 10; s.Sent > most || s.Sent < most/2 {
			t.Errorf("%d of %d reads were hedged, want at most %d and not far less", s.Sent, reads, most)
		}
		if asked := int64(p.local.asked.Load()); asked != s.Sent {
			t.Errorf("this node was asked %d times, for %d hedges", asked, s.Sent)
		}
	})
}

func TestALateAnswerIsClosed(t *testing.T) {
	unevenly(t, time.Second/2, func(t *testing.T, p *plan, u *uneven) {
		u.deaf = true
		u.every.Store(2)
		for range 8 {
			p.wantRead(t, "k", []byte("body"))
		}
		if s := p.hedges.stats(); s.Won == 0 {
			t.Error("none was late")
		}
	})
}

func TestAWriteIsNeverHedged(t *testing.T) {
	watched(t, answersSigns, func(t *testing.T, p *plan) {
		p.standStill("k").slow = 900 * time.Millisecond
		if _, err := p.Put(t.Context(), "k", object.BytesSource([]byte("two")), object.PutOptions{}); err != nil {
			t.Error(err)
		}
		if err := p.Delete(t.Context(), "k", object.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		wantAsked(t, "this node", p.local, 0)
		if s := p.hedges.stats(); s.Sent != 0 {
			t.Errorf("%d hedges", s.Sent)
		}
	})
}

// A hedge that finds nothing better than an error does not hide the answer that
// is on its way.
func TestAFailedHedgeIsNoAnswer(t *testing.T) {
	unevenly(t, 300*time.Millisecond, func(t *testing.T, p *plan, u *uneven) {
		u.every.Store(1)
		p.local.fail = func(string) error { return object.ErrUnavailable }
		p.wantRead(t, "k", []byte("body"))
		wantAsked(t, "this node", p.local, 1)
	})
}

// A body that stands still goes on elsewhere once its node gives no sign of life.
func TestABodyThatStandsStillGoesOnElsewhere(t *testing.T) {
	watched(t, noSign, func(t *testing.T, p *plan) {
		p.put(t, "k", make([]byte, 1000))
		owner, next := p.order("k")
		owner.Store = &still{p.memory}
		began := time.Now()
		p.wantRead(t, "k", make([]byte, 1000))
		if took := time.Since(began); took < silence || took > reachable {
			t.Errorf("took %v", took)
		}
		wantAsked(t, "the successor", next, 1)
	})
}

// still is a member whose bodies stand still after half of their bytes.
type still struct{ object.Store }

func (s *still) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	obj, err := s.Store.Get(ctx, key, opt)
	if err == nil {
		obj.Body = io.NopCloser(io.MultiReader(io.LimitReader(obj.Body, obj.Length/2), hangingBody{ctx}))
	}
	return obj, err
}

type hangingBody struct{ ctx context.Context }

func (b hangingBody) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func TestNewsAreAskedForIfViewsStayDifferent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var synced atomic.Int32
		e := newEpochWatch(func(context.Context) { synced.Add(1) })
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); e.Run(ctx) }()
		differ := func(d time.Duration) int32 {
			for end := time.Now().Add(d); time.Now().Before(end); {
				e.differs("answer")
				<-time.After(10 * time.Millisecond)
			}
			<-time.After(time.Minute)
			return synced.Swap(0)
		}
		if n := differ(500 * time.Millisecond); n != 0 {
			t.Errorf("views that soon agreed were synced %d times", n)
		}
		if n := differ(2 * time.Second); n != 1 {
			t.Errorf("views that differed for 2 s were synced %d times, want 1", n)
		}
		if n := differ(time.Minute); n < 8 || n > 12 {
			t.Errorf("views that differ for ever were synced %d times in a minute", n)
		}
		stop()
		<-done
	})
}
