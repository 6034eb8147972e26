package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/ring"
)

// An aviary is a canary, the cluster it writes to, and the one other node.
type aviary struct {
	*canary
	cluster, other objecttest.Memory
	write          func(info object.Info, err error) error // what becomes of an answer to a write
	read           func() error                            // instead of the other node, nil if it answers
	log            bytes.Buffer
}

func newAviary(t *testing.T) *aviary {
	view, err := ring.NewView([]ring.Member{
		{ID: "self", State: ring.Serving, PeerAddr: "self"}, {ID: "other", State: ring.Serving, PeerAddr: "other"},
		{ID: "new", State: ring.Joining, PeerAddr: "new"},
	})
	if err != nil {
		t.Fatal(err)
	}
	a := &aviary{write: func(_ object.Info, err error) error { return err }, read: func() error { return nil }}
	n := &Node{id: "self", meter: newMeter(), log: slog.New(slog.NewTextHandler(&a.log, nil))}
	n.cfg.CanaryInterval = 10 * time.Second
	a.canary = n.newCanary()
	a.store = aviaryCluster{&a.cluster, a}
	a.view = func() *ring.View { return view }
	a.dial = func(m ring.Member) object.Store {
		if m.PeerAddr != "other" {
			t.Errorf("%q was asked", m.PeerAddr)
		}
		return aviaryOther{&a.other, a}
	}
	return a
}

type aviaryCluster struct {
	object.Store
	a *aviary
}

// Put writes to the cluster, and so to what the other node sees.
func (c aviaryCluster) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	info, err := c.Store.Put(ctx, key, src, opt)
	err = c.a.write(info, err)
	return info, err
}

type aviaryOther struct {
	object.Store
	a *aviary
}

func (o aviaryOther) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	if err := o.a.read(); err != nil {
		return nil, err
	}
	return o.Store.Get(ctx, key, opt)
}

// copyOver shows the other node what the cluster has.
func (a *aviary) copyOver() error {
	obj, err := a.cluster.Get(context.Background(), a.key, object.GetOptions{})
	if err != nil {
		return err
	}
	b, err := io.ReadAll(obj.Body)
	if err != nil {
		return err
	}
	_, err = a.other.Put(context.Background(), a.key, object.BytesSource(b), object.PutOptions{})
	return err
}

// play makes a round and returns how many were stale so far.
func (a *aviary) play(t *testing.T) int64 {
	a.round(t.Context(), a.others()[0])
	return a.stale.Load()
}

func TestTheCanarySeesStaleReadsAndNothingElse(t *testing.T) {
	t.Parallel()
	a := newAviary(t)
	sync := func(_ object.Info, err error) error { return errors.Join(err, a.copyOver()) }

	a.write = func(object.Info, error) error { return object.ErrUnavailable }
	if a.play(t) != 0 {
		t.Error("what was never acknowledged is not missed")
	}
	a.write = sync
	for range 3 {
		if a.play(t) != 0 {
			t.Fatalf("a fresh read is called stale: %s", &a.log)
		}
	}
	a.read = func() error { return object.ErrUnavailable }
	if a.play(t) != 0 {
		t.Error("a node that does not answer is called stale")
	}
	a.read = func() error { return nil }
	a.write = func(_ object.Info, err error) error {
		return errors.Join(err, a.copyOver(), object.ErrUnknownOutcome)
	}
	if a.play(t) != 0 {
		t.Error("a write of unknown outcome that is seen is called stale")
	}
	a.write = func(object.Info, error) error { return object.ErrUnknownOutcome }
	if a.play(t) != 0 {
		t.Error("a write of unknown outcome that is not seen is called stale")
	}

	a.write = func(_ object.Info, err error) error { return err } // and the other node does not see it
	if a.play(t) != 1 {
		t.Error("an old read is not called stale")
	}
	if err := a.other.Delete(t.Context(), a.key, object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if a.play(t) != 2 {
		t.Error("an acknowledged object that is not found is not called stale")
	}
	for _, foreign := range []string{"", "junk", "another-boot 900", a.boot + " 999"} {
		if _, err := a.other.Put(t.Context(), a.key, object.BytesSource([]byte(foreign)), object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if before := a.stale.Load(); a.play(t) != before+1 {
			t.Errorf("%q is not called stale", foreign)
		}
	}
	if got := a.log.String(); strings.Count(got, "acknowledged write") != 6 || !strings.Contains(got, "through=other") {
		t.Errorf("the log says\n%s", got)
	}
}

// A node makes a round every ten seconds or so, and none while it is alone.
func TestTheCanaryKeepsItsInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAviary(t)
		var alone atomic.Bool
		view := a.view()
		a.view = func() *ring.View {
			if alone.Load() {
				return view.Without("other")
			}
			return view
		}
		a.write = func(_ object.Info, err error) error { return errors.Join(err, a.copyOver()) }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		<-time.After(10 * time.Minute)
		if n := a.rounds.Load(); n < 50 || n > 75 {
			t.Errorf("%d rounds in ten minutes", n)
		}
		alone.Store(true)
		before := a.rounds.Load()
		<-time.After(10 * time.Minute)
		if n := a.rounds.Load(); n > before {
			t.Errorf("%d rounds alone", n-before)
		}
		cancel()
		if err := <-done; err != nil || a.stale.Load() != 0 {
			t.Errorf("%v, %d stale", err, a.stale.Load())
		}
	})
}

// Real nodes watch each other over a real origin, and their clients do not see
// how.
func TestNodesWatchEachOtherUnseen(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3, func(cfg *Config) { cfg.CanaryInterval = 20 * time.Millisecond })
	client := newClient(t)
	for _, n := range nodes {
		for n.canary.rounds.Load() < 20 {
			select {
			case <-n.done:
				t.Fatalf("%s ended: %v", n.ID(), n.err)
			case <-time.After(10 * time.Millisecond):
			}
		}
		if stale := n.canary.stale.Load(); stale != 0 {
			t.Errorf("%s saw %d stale reads", n.ID(), stale)
		}
		if c := n.canary.check(); !c.ok || !c.says {
			t.Errorf("%+v", c)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodHead} {
		resp, _, err := dialect(t.Context(), client, nodes[0], method, object.CanaryPrefix+nodes[1].ID(), strings.NewReader("x"))
		if err != nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s of a canary: %d, %v; want 400", method, status(resp), err)
		}
	}
	for _, opt := range []object.ListOptions{{}, {Delimiter: "/"}, {Prefix: object.CanaryPrefix}, {Prefix: ".mic"}} {
		for e, err := range nodes[0].Store().List(t.Context(), opt) {
			t.Errorf("%+v lists %q, %v", opt, e.Name(), err)
		}
	}
}
