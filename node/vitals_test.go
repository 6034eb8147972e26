package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

// A stopped member takes requests and answers none, as a process that got
// SIGSTOP does: its kernel still accepts connections.
type stopped struct {
	object.Store
	asked atomic.Int32
	slow  time.Duration // 0: for ever
}

func (s *stopped) hang(ctx context.Context) error {
	s.asked.Add(1)
	var patience <-chan time.Time
	if s.slow > 0 {
		patience = time.After(s.slow)
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
func watched(t *testing.T, sign func(context.Context, string) error, test func(t *testing.T, p *plan)) {
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

func noSign(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// reachable is how long a read may take when the member it met stands still.
const reachable = silence + 2*beat + signTimeout

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
		if took := time.Since(began); took > reachable {
			t.Errorf("reads took %v", took)
		}
		asked := member.asked.Load()
		began = time.Now()
		p.wantRead(t, "k", []byte("body"))
		if member.asked.Load() != asked || time.Since(began) != 0 {
			t.Errorf("the next read went there too and took %v", time.Since(began))
		}
	})
}

// An owner that waits for a slow origin is waited for: to ask another node as
// well would make the origin slower.
func TestAMemberThatIsOnlySlowIsWaitedFor(t *testing.T) {
	var signs atomic.Int32
	sign := func(context.Context, string) error { signs.Add(1); return nil }
	watched(t, sign, func(t *testing.T, p *plan) {
		p.standStill("k").slow = 8 * time.Second
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
		p.standStill("k").slow = 9 * time.Second
		owner, next := p.order("k")
		if _, err := p.Put(t.Context(), "k", object.BytesSource([]byte("two")), object.PutOptions{}); err != nil {
			t.Errorf("Put: %v", err)
		}
		wantAsked(t, "the owner", owner, 1)
		wantAsked(t, "the successor", next, 0)
		p.wantRead(t, "k", []byte("two")) // it showed that the member stands still
		wantAsked(t, "the owner", owner, 0)
		wantAsked(t, "the successor", next, 1)
	})
}

func TestASuspectIsAskedAgainOnceItGivesASign(t *testing.T) {
	var alive atomic.Bool
	sign := func(context.Context, string) error {
		if alive.Load() {
			return nil
		}
		return errNoSign
	}
	watched(t, sign, func(t *testing.T, p *plan) {
		owner, next := p.order("k")
		owner.fail, next.fail = unreachable, unreachable
		for range 3 {
			p.wantRead(t, "k", []byte("body"))
			<-time.After(time.Minute)
		}
		wantAsked(t, "the owner", owner, 1)
		wantAsked(t, "the successor", next, 1)
		wantAsked(t, "this node", p.local, 3)

		owner.fail, next.fail = nil, nil
		alive.Store(true)
		<-time.After(2 * beat)
		p.wantRead(t, "k", []byte("body"))
		wantAsked(t, "the owner", owner, 1)
		if len(p.vitals.of) != 0 {
			t.Errorf("%d members are remembered for nothing", len(p.vitals.of))
		}
	})
}

func TestAMemberThatStartedAgainIsNoSuspect(t *testing.T) {
	v := vitals{log: slog.New(slog.DiscardHandler)}
	v.accuse(ring.Member{ID: "a", Boot: 1}, "get", peer.ErrUnreachable)
	if !v.suspect(ring.Member{ID: "a", Boot: 1}) || v.suspect(ring.Member{ID: "a", Boot: 2}) {
		t.Error("a suspect is not told by its boot")
	}
}

func TestAMemberThatLeftTheViewIsForgotten(t *testing.T) {
	watched(t, noSign, func(t *testing.T, p *plan) {
		p.vitals.accuse(ring.Member{ID: "gone", Boot: 1}, "get", peer.ErrUnreachable)
		<-time.After(2 * beat)
		synctest.Wait()
		if len(p.vitals.of) != 0 {
			t.Error("remembered")
		}
	})
}

// A write that hangs in a member which gossip has given up troubles nobody else:
// the member is not asked, and not reported, again and again.
func TestNobodyAsksAMemberThatIsGoneForASign(t *testing.T) {
	var signs atomic.Int32
	sign := func(context.Context, string) error { signs.Add(1); return errNoSign }
	watched(t, sign, func(t *testing.T, p *plan) {
		w := p.vitals.attend(t.Context(), ring.Member{ID: "gone", Boot: 1}, false)
		<-time.After(time.Minute)
		if n := signs.Load(); n != 0 {
			t.Errorf("asked %d times", n)
		}
		r := p.vitals.attend(t.Context(), ring.Member{ID: "gone", Boot: 1}, true)
		defer r.end()
		<-r.ctx.Done() // a read is still led elsewhere
		if err := r.answered(nil); !errors.Is(err, errSilent) {
			t.Errorf("cut with %v", err)
		}
		if err := w.answered(nil); err != nil {
			t.Errorf("the write: %v", err)
		}
	})
}

func TestASignOfLifeNeedsTheHandler(t *testing.T) {
	troubled := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the Store's handler was asked") })
	alive := httptest.NewServer(givesSigns(troubled))
	defer alive.Close()
	stranger := httptest.NewServer(http.NotFoundHandler())
	defer stranger.Close()
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel only
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()

	sign := askForSign(nil)
	if err := sign(t.Context(), alive.Listener.Addr().String()); err != nil {
		t.Errorf("a living peer: %v", err)
	}
	if err := sign(t.Context(), stranger.Listener.Addr().String()); !errors.Is(err, errNoSign) {
		t.Errorf("a stranger: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := sign(ctx, deaf.Addr().String()); err == nil {
		t.Error("a process that stands still gave a sign")
	}
}
