package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

// holding is a Store whose reads wait until they are let go.
type holding struct {
	object.Store
	asked atomic.Int32
	let   chan struct{}
}

func (h *holding) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	h.asked.Add(1)
	select {
	case <-h.let:
	case <-ctx.Done():
	}
	return h.Store.Head(ctx, key, opt)
}

func TestRequestsBeyondTheLimitAreRefusedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
		store := &holding{Store: new(objecttest.Memory), let: make(chan struct{})}
		put(t, store, "key", "body")
		c := serve(handlerOf(store))
		c.lanes.most = 4
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, err := c.Head(t.Context(), "key", object.HeadOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		_, err := c.Head(t.Context(), "key", object.HeadOptions{})
		wantBusy(t, "head", err)
		src := &oneShot{size: 4}
		_, err = c.Put(t.Context(), "key", src, object.PutOptions{})
		wantBusy(t, "put", err, ErrNotSent)
		wantBusy(t, "delete", c.Delete(t.Context(), "key", object.DeleteOptions{}), ErrNotSent)
		if n := store.asked.Load(); n != 4 || src.opened {
			t.Errorf("%d requests arrived, source opened: %v", n, src.opened)
		}
		close(store.let)
		all.Wait()
		if _, err := c.Head(t.Context(), "key", object.HeadOptions{}); err != nil {
			t.Errorf("when there is room again: %v", err)
		}
		if load := c.Load(); load != (Load{}) {
			t.Errorf("nothing is under way, and %+v is counted", load)
		}
	})
}

// wantBusy is wantErr for a request that was not sent because there were too
// many: nothing bad about the peer.
func wantBusy(t *testing.T, what string, err error, more ...error) {
	t.Helper()
	wanted := append([]error{ErrBusy, object.ErrUnavailable}, more...)
	for _, w := range wanted {
		if !errors.Is(err, w) {
			t.Errorf("%s: %v, want %v", what, err, w)
		}
	}
	if errors.Is(err, ErrUnreachable) {
		t.Errorf("%s: %v accuses the peer", what, err)
	}
}

// described can be asked what it is, which takes no body.
type described struct{ streaming }

func (d described) Head(_ context.Context, key object.Key, _ object.HeadOptions) (object.Info, error) {
	return object.Info{Key: key, Size: d.size}, nil
}

func TestLargeBodiesLeaveRoomForSmallRequests(t *testing.T) {
	c := clientOf(t, described{streaming{size: 1 << 40, open: func() io.Reader { return pattern{} }}})
	c.lanes.most = 3
	var bodies []*object.Object
	for range 3 {
		obj, err := c.Get(t.Context(), "key", object.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, obj)
	}
	if load := c.Load(); load != (Load{Bulk: 3}) {
		t.Errorf("%+v", load)
	}
	if _, err := c.Head(t.Context(), "key", object.HeadOptions{}); err != nil {
		t.Errorf("a small request beside them: %v", err)
	}
	c.lanes.small.Store(c.lanes.most)
	if err := c.Alive(t.Context()); err != nil {
		t.Errorf("a sign of life, of a peer that has enough to do: %v", err)
	}
	c.lanes.small.Store(0)
	for _, obj := range bodies {
		obj.Body.Close()
	}
	if load := c.Load(); load != (Load{}) {
		t.Errorf("after all: %+v", load)
	}
}

// A connection to a process that is gone is not tried for the next one.
func TestEachStartOfAPeerHasConnectionsOfItsOwn(t *testing.T) {
	var opened, open atomic.Int32
	cfg := testConfig
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			opened.Add(1)
			open.Add(1)
			conn = &countedConn{Conn: conn, open: &open}
		}
		return conn, err
	}
	store := new(objecttest.Memory)
	put(t, store, "key", "body")
	addr, p := serve(t, handlerOf(store)), poolOf(t, cfg)
	for i, boot := range []uint64{1, 1, 2, 2, 1} {
		if _, err := p.Peer(addr, boot).Head(t.Context(), "key", object.HeadOptions{}); err != nil {
			t.Fatal(err)
		}
		if want := []int32{1, 1, 2, 2, 2}[i]; opened.Load() != want {
			t.Errorf("request %d: %d connections were opened, want %d", i, opened.Load(), want)
		}
	}
	gone := p.Peer(addr, 1)
	p.Keep(func(_ string, boot uint64) bool { return boot == 2 })
	if open.Load() != 1 || len(p.clients) != 1 {
		t.Errorf("%d connections are open, %d peers known, want one of each", open.Load(), len(p.clients))
	}
	// Whoever still has the client may use it, and leaves no connection behind.
	if _, err := gone.Head(t.Context(), "key", object.HeadOptions{}); err != nil {
		t.Error(err)
	}
	for open.Load() != 1 {
		runtime.Gosched() // net/http closes them in its own time
	}
}

type countedConn struct {
	net.Conn
	open *atomic.Int32
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

func TestAPeerThatWaitsForItsOriginSaysSo(t *testing.T) {
	for name, secrets := range map[string][][]byte{"without secret": nil, "with secret": {ourSecret}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
				store := &holding{Store: new(objecttest.Memory), let: make(chan struct{})}
				put(t, store, "key", "body")
				c := serve(newStrict(store, secrets...))
				c.pool.keys = newKeys(secrets, testConfig.Cluster)
				began := time.Now()
				var said atomic.Int64
				ctx := OnWorking(t.Context(), func() { said.Store(int64(time.Since(began))) })
				time.AfterFunc(time.Second, func() { close(store.let) })
				if _, err := c.Head(ctx, "key", object.HeadOptions{}); err != nil {
					t.Error(err)
				}
				if said := time.Duration(said.Swap(0)); said < workingAfter || said > 2*workingAfter {
					t.Errorf("said so after %v, want %v", said, workingAfter)
				}
				if _, err := c.Head(ctx, "key", object.HeadOptions{}); err != nil || said.Load() != 0 {
					t.Errorf("said so for an answer at once: %v, %v", said.Load(), err)
				}
			})
		})
	}
}

func TestAStrangersSignIsNoSign(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusProcessing)
		w.WriteHeader(http.StatusOK)
	})
	c := poolOf(t, secretly(ourSecret)).Client(serve(t, h))
	ctx := OnWorking(t.Context(), func() { t.Error("believed") })
	_, err := c.Head(ctx, "key", object.HeadOptions{})
	wantErr(t, "head", err, object.ErrUnavailable)
}

func TestBothSidesLearnThatTheirViewsDiffer(t *testing.T) {
	var mine, theirs atomic.Uint64
	heard := make(chan [2]uint64, 10)
	cfg := testConfig
	cfg.Epoch = mine.Load
	cfg.OtherEpoch = func(addr string, epoch uint64) { heard <- [2]uint64{'c', epoch} }
	store := new(objecttest.Memory)
	put(t, store, "key", "body")
	addr := serve(t, NewHandler(store, HandlerConfig{
		Cluster: cfg.Cluster, Epoch: theirs.Load,
		OtherEpoch: func(node string, epoch uint64) {
			if node != cfg.Node {
				t.Errorf("told of node %q", node)
			}
			heard <- [2]uint64{'s', epoch}
		},
	}))
	c := poolOf(t, cfg).Client(addr)
	ask := func() {
		t.Helper()
		if _, err := c.Head(t.Context(), "key", object.HeadOptions{}); err != nil {
			t.Error(err) // it is answered all the same
		}
		_, err := c.Head(t.Context(), "missing", object.HeadOptions{})
		wantErr(t, "head", err, object.ErrNotFound)
	}
	mine.Store(0xfedcba9876543210)
	theirs.Store(0xfedcba9876543210)
	ask()
	if len(heard) != 0 {
		t.Errorf("told %x of one view", <-heard)
	}
	theirs.Store(7)
	ask()
	for _, want := range [][2]uint64{{'s', 0xfedcba9876543210}, {'c', 7}, {'s', 0xfedcba9876543210}, {'c', 7}} {
		if got := <-heard; got != want {
			t.Errorf("told %x, want %x", got, want)
		}
	}
}

func TestASignOfLifeNeedsTheHandlerAndNoStore(t *testing.T) {
	if err := poolOf(t, testConfig).Client(serve(t, handlerOf(untouchable{}))).Alive(t.Context()); err != nil {
		t.Errorf("a living peer: %v", err)
	}
	if err := poolOf(t, testConfig).Client(serve(t, http.NotFoundHandler())).Alive(t.Context()); !errors.Is(err, errStranger) {
		t.Errorf("a stranger: %v", err)
	}
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel only
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := poolOf(t, testConfig).Client(deaf.Addr().String()).Alive(ctx); err == nil {
		t.Error("a process that stands still gave a sign")
	}
}
