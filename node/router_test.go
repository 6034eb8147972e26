package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

// A station is a member's Store that can be made to fail.
type station struct {
	object.Store
	asked atomic.Int32
	fail  func(op string) error                       // nil: answer
	wrap  func(o *object.Object) (body io.ReadCloser) // nil: as it is
}

func (s *station) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	s.asked.Add(1)
	if s.fail != nil {
		return nil, s.fail("get")
	}
	obj, err := s.Store.Get(ctx, key, opt)
	if err == nil && s.wrap != nil {
		obj.Body = s.wrap(obj)
	}
	return obj, err
}

func (s *station) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	s.asked.Add(1)
	if s.fail != nil {
		return object.Info{}, s.fail("put")
	}
	return s.Store.Put(ctx, key, src, opt)
}

// A plan is a router on node "self" among members a, b and c.
type plan struct {
	*router
	view     *ring.View
	stations map[string]*station
	local    *station
	memory   *objecttest.Memory
}

func newPlan(t testing.TB, class object.Class) *plan {
	t.Helper()
	members := []ring.Member{{ID: "self", State: ring.Joining, PeerAddr: "self:1"}}
	p := &plan{stations: map[string]*station{}, memory: &objecttest.Memory{}}
	for _, id := range []string{"a", "b", "c"} {
		members = append(members, ring.Member{ID: id, Boot: 1, State: ring.Serving, PeerAddr: id + ":1"})
		p.stations[id] = &station{Store: p.memory}
	}
	p.local = &station{Store: p.memory}
	view, err := ring.NewView(members)
	if err != nil {
		t.Fatal(err)
	}
	p.view = view
	p.router = &router{
		self: "self", view: func() *ring.View { return p.view }, local: p.local, stats: newRouterStats(),
		dial: func(m ring.Member) object.Store { return p.stations[m.ID] }, hedges: newHedges(),
		class: func(object.Key) object.Class { return class },
		vitals: &vitals{
			view: func() *ring.View { return p.view }, log: slog.New(slog.DiscardHandler),
			sign: func(context.Context, ring.Member) error { return nil },
		},
	}
	return p
}

// order returns the members that are asked for key, in order.
func (p *plan) order(key object.Key) (owner, next *station) {
	c := p.view.Candidates(string(key), 2)
	return p.stations[c[0].ID], p.stations[c[1].ID]
}

func unreachable(string) error {
	return fmt.Errorf("dial: %w: %w: %w", peer.ErrNotSent, peer.ErrUnreachable, object.ErrUnavailable)
}

func (p *plan) put(t testing.TB, key object.Key, body []byte) {
	t.Helper()
	if _, err := p.memory.Put(t.Context(), key, object.BytesSource(body), object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (p *plan) wantRead(t *testing.T, key object.Key, body []byte) {
	t.Helper()
	obj, err := p.Get(t.Context(), key, object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Body.Close()
	if got, err := io.ReadAll(obj.Body); err != nil || !bytes.Equal(got, body) {
		t.Fatalf("read %d bytes, %v; want %d", len(got), err, len(body))
	}
}

func wantAsked(t *testing.T, who string, s *station, want int) {
	t.Helper()
	if got := s.asked.Swap(0); got != int32(want) {
		t.Errorf("%s was asked %d times, want %d", who, got, want)
	}
}

func TestAReadGoesToTheOwnerOnly(t *testing.T) {
	p := newPlan(t, object.Mutable)
	p.put(t, "k", []byte("body"))
	owner, next := p.order("k")
	p.wantRead(t, "k", []byte("body"))
	wantAsked(t, "the owner", owner, 1)
	wantAsked(t, "the successor", next, 0)
	wantAsked(t, "this node", p.local, 0)
}

// Placing members takes milliseconds, and hundreds of kilobytes. A read that
// finds its owner dead must not wait for that.
func TestAFailoverPlacesNobody(t *testing.T) {
	p := newPlan(t, object.Mutable)
	hops := 0
	perRoute := testing.AllocsPerRun(100, func() {
		for range p.route("k", true) {
			hops++
		}
	})
	if hops != 3*101 || perRoute > 6 {
		t.Errorf("%d hops in 101 routes, %v allocations for each, want 303 and a few", hops, perRoute)
	}
}

func TestAnAnswerIsNotAskedForTwice(t *testing.T) {
	for _, sentinel := range []error{object.ErrNotFound, object.ErrPrecondition, object.ErrRange, object.ErrConflict} {
		p := newPlan(t, object.Mutable)
		owner, next := p.order("k")
		owner.fail = func(string) error { return sentinel }
		if _, err := p.Get(t.Context(), "k", object.GetOptions{}); !errors.Is(err, sentinel) {
			t.Errorf("%v, want %v", err, sentinel)
		}
		wantAsked(t, "the successor", next, 0)
		wantAsked(t, "this node", p.local, 0)
	}
}

func TestAnOwnerWithoutItsOriginIsNoSuspect(t *testing.T) {
	p := newPlan(t, object.Mutable)
	p.put(t, "k", []byte("body"))
	owner, _ := p.order("k")
	owner.fail = func(string) error { return object.ErrUnavailable }
	for range 2 {
		p.wantRead(t, "k", []byte("body"))
	}
	wantAsked(t, "the owner", owner, 2)
}

func TestAWriteIsSentElsewhereOnlyIfItCannotHaveBeenApplied(t *testing.T) {
	for name, c := range map[string]struct {
		fail  func(string) error
		moves bool
	}{
		"not sent":        {unreachable, true},
		"unknown outcome": {func(string) error { return object.ErrUnknownOutcome }, false},
		"broken body":     {func(string) error { return object.ErrUnavailable }, false},
		"refused":         {func(string) error { return object.ErrPrecondition }, false},
	} {
		p := newPlan(t, object.Mutable)
		owner, next := p.order("k")
		owner.fail = c.fail
		_, err := p.Put(t.Context(), "k", object.ReaderSource(bytes.NewReader([]byte("x")), 1), object.PutOptions{})
		if c.moves != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
		wanted := 0
		if c.moves {
			wanted = 1
		}
		wantAsked(t, name+": the successor", next, wanted)
	}
}

// breaking is a body that breaks after so many bytes.
func breaking(n int64) func(*object.Object) io.ReadCloser {
	return func(o *object.Object) io.ReadCloser {
		return io.NopCloser(io.MultiReader(io.LimitReader(o.Body, n), failing{}))
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, unreachable("") }

func TestABodyGoesOnElsewhereWhenItsNodeDies(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 50_000)
	for _, at := range []int64{0, 1, 123_456, int64(len(body)) - 1} {
		p := newPlan(t, object.Immutable)
		p.put(t, "k", body)
		owner, next := p.order("k")
		owner.wrap = breaking(at)
		p.wantRead(t, "k", body)
		wantAsked(t, "the successor", next, 1)
	}
}

func TestABodyNeverGoesOnAsAnotherVersion(t *testing.T) {
	p := newPlan(t, object.Mutable)
	p.put(t, "k", bytes.Repeat([]byte("a"), 1000))
	owner, _ := p.order("k")
	owner.wrap = func(o *object.Object) io.ReadCloser {
		p.put(t, "k", bytes.Repeat([]byte("b"), 1000))
		return breaking(500)(o)
	}
	obj, err := p.Get(t.Context(), "k", object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(obj.Body); err == nil {
		t.Errorf("a clean end after %d bytes", len(got))
	}
}

func TestABrokenVerifiedBodyIsNotPiecedTogether(t *testing.T) {
	p := newPlan(t, object.Verified)
	p.put(t, "k", make([]byte, 1000))
	owner, next := p.order("k")
	owner.wrap = breaking(500)
	obj, err := p.Get(t.Context(), "k", object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(obj.Body); err == nil {
		t.Error("a clean end")
	}
	wantAsked(t, "the successor", next, 0)
}
