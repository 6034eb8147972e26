package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

// hotMemory is a HotReader of objects in memory.
type hotMemory map[object.Key]hotObject

type hotObject struct {
	info  object.Info
	bytes []byte
}

func (h hotMemory) GetHot(key object.Key) (object.Info, []byte, bool) {
	o, ok := h[key]
	return o.info, o.bytes, ok
}

// keep puts an object of so many bytes, which are told from others', there.
func (h hotMemory) keep(key object.Key, size int) {
	b := bytes.Repeat([]byte(key), size/len(key)+1)[:size]
	h[key] = hotObject{object.Info{
		Key: key, Size: int64(size), ETag: "0123456789abcdef0123456789abcdef", Version: "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
		Modified: time.Unix(1700000000, 0).UTC(), Tier: object.TierRAM, Attrs: object.Attrs{ContentType: "application/octet-stream"}, Age: time.Second,
	}, b}
}

// hotFunc is a HotReader that is a function.
type hotFunc func(key object.Key) (object.Info, []byte, bool)

func (f hotFunc) GetHot(key object.Key) (object.Info, []byte, bool) { return f(key) }

// quickHandler returns the handler of a node that has this in memory.
func quickHandler(t testing.TB, hot HotReader, secrets ...[]byte) (http.Handler, *QuickServer) {
	s := NewQuickServer(hot)
	t.Cleanup(s.Close)
	return NewHandler(untouchable{}, HandlerConfig{Node: "owner", Cluster: testConfig.Cluster, Secrets: secrets, Quick: s}), s
}

// quickClient returns a client with an open lane to a node that has this in
// memory.
func quickClient(t testing.TB, hot HotReader, secrets ...[]byte) (*Client, *QuickServer) {
	h, s := quickHandler(t, hot, secrets...)
	c := poolOf(t, secretly(secrets...)).Client(serve(t, h))
	awaitLane(c)
	return c, s
}

// awaitLane has a lane opened.
func awaitLane(c *Client) {
	for c.QuickStats().Lanes == 0 {
		c.quick.pick()
		runtime.Gosched()
	}
}

// bothWays runs a test without and with a secret.
func bothWays(t *testing.T, test func(t *testing.T, secrets ...[]byte)) {
	t.Run("open", func(t *testing.T) { test(t) })
	t.Run("sealed", func(t *testing.T) { test(t, ourSecret) })
}

func TestAQuickReadSaysWhatGetSays(t *testing.T) {
	bothWays(t, func(t *testing.T, secrets ...[]byte) {
		store, hot := new(objecttest.Memory), hotMemory{}
		full := fullInfo()
		for i, size := range []int{0, 1, 4 << 10, QuickLimit} {
			key := object.Key(fmt.Sprintf("%s %d", full.Key, i))
			body := bytes.Repeat([]byte{byte(i)}, size)
			info, err := store.Put(t.Context(), key, object.BytesSource(body), object.PutOptions{Attrs: full.Attrs})
			if err != nil {
				t.Fatal(err)
			}
			info.Tier, info.Age = object.TierRAM, full.Age
			hot[key] = hotObject{info, body}
		}
		said := saying{store, hot}
		s := NewQuickServer(hot)
		t.Cleanup(s.Close)
		c := poolOf(t, secretly(secrets...)).Client(serve(t, NewHandler(said, HandlerConfig{Node: "owner", Cluster: testConfig.Cluster, Secrets: secrets, Quick: s})))
		awaitLane(c)
		var a Answer
		for key := range hot {
			want, err := c.Get(t.Context(), key, object.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(want.Body)
			want.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if !c.Quick(key, &a) {
				t.Fatalf("%q is not read quickly", key)
			}
			if diff := cmp.Diff(want.Info, a.Info); diff != "" || !bytes.Equal(a.Body, body) {
				t.Errorf("%d bytes of %d\n-get +quick\n%s", len(a.Body), len(body), diff)
			}
			a.Release()
		}
	})
}

// saying is a Store that says of objects what a memory says.
type saying struct {
	object.Store
	hot hotMemory
}

func (s saying) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	obj, err := s.Store.Get(ctx, key, opt)
	if err == nil {
		obj.Info = s.hot[key].info
	}
	return obj, err
}

func TestManyQuickReadsShareALane(t *testing.T) {
	bothWays(t, func(t *testing.T, secrets ...[]byte) {
		hot := hotMemory{}
		var keys []object.Key
		for i := range 100 {
			keys = append(keys, object.Key(fmt.Sprintf("key %d/", i)))
			hot.keep(keys[i], i*i*6)
		}
		c, _ := quickClient(t, hot, secrets...)
		var all sync.WaitGroup
		var missed atomic.Int32
		for reader := range 64 {
			all.Go(func() {
				var a Answer
				for i := range 200 {
					key := keys[(reader*31+i)%len(keys)]
					if !c.Quick(key, &a) {
						missed.Add(1) // the machine has other things to do
						continue
					}
					if !bytes.Equal(a.Body, hot[key].bytes) || a.Info.Key != key || a.Info.Node != "owner" {
						t.Errorf("%q brings %d bytes of %+v", key, len(a.Body), a.Info)
						return
					}
					a.Release()
				}
			})
		}
		all.Wait()
		if n := missed.Load(); n > 64*200/2 {
			t.Errorf("%d of %d reads were not answered", n, 64*200)
		}
		for c.QuickStats().InFlight != 0 {
			runtime.Gosched() // those that were given up are answered too
		}
	})
}

func TestWhatIsNotInMemoryIsAbsent(t *testing.T) {
	hot := hotMemory{}
	hot.keep("small", 10)
	hot.keep("large", QuickLimit+1)
	hot.keep("cut", 10)
	o := hot["cut"]
	o.info.Size = 11
	hot["cut"] = o
	hot.keep("described at length", 10)
	o = hot["described at length"]
	o.info.CacheControl = strings.Repeat("x", quickInfoLimit)
	hot["described at length"] = o
	c, _ := quickClient(t, hot)
	var a Answer
	asked := int64(0)
	for _, key := range []object.Key{"nothing", "large", "cut", "described at length", "no//key", "\xff"} {
		if c.Quick(key, &a) {
			t.Errorf("%q was read: %+v", key, a.Info)
		}
		asked++
	}
	if c.Quick("", &a) || c.Quick(object.Key(strings.Repeat("k", object.MaxKeyLen+1)), &a) {
		t.Error("what is no key was read")
	}
	if !c.Quick("small", &a) {
		t.Error("the lane does not go on")
	}
	a.Release()
	if s := c.QuickStats(); s.Absent != asked || s.Answered != 1 || s.Late != 0 {
		t.Errorf("%+v of %d", s, asked)
	}
}

func TestAPeerWithoutLanesIsReadInTheOrdinaryWay(t *testing.T) {
	synctestQuick(t, nil, func(t *testing.T, c *Client, _ *gate) {
		var a Answer
		for range 10 {
			if c.Quick("key", &a) {
				t.Error("read")
			}
			pass(quickPause)
		}
		if err := c.Alive(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A gate lets bytes through, or holds them as TCP does when a process stands
// still.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil: it is open
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}

func (g *gate) pass() {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

// A gatedHot is a memory behind a gate.
type gatedHot struct {
	HotReader
	*gate
	asked atomic.Int32
}

func (g *gatedHot) GetHot(key object.Key) (object.Info, []byte, bool) {
	g.asked.Add(1)
	g.pass()
	return g.HotReader.GetHot(key)
}

// synctestQuick runs a test in a bubble, with a peer that answers only while its
// gate is open. hot nil is one without lanes.
func synctestQuick(t *testing.T, hot HotReader, test func(t *testing.T, c *Client, g *gate)) {
	inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
		g := &gate{}
		h := handlerOf(untouchable{})
		if hot != nil {
			h, _ = quickHandler(t, &gatedHot{HotReader: hot, gate: g})
		}
		c := serve(h)
		defer c.pool.Close()
		if hot != nil {
			var a Answer
			if c.Quick("key", &a) {
				t.Error("the first read waited for a connection")
			}
			synctest.Wait()
		}
		test(t, c, g)
	})
}

func oneKey() hotMemory {
	hot := hotMemory{}
	hot.keep("key", 100)
	return hot
}

func TestAFrozenPeerCostsItsReadersAMomentOnce(t *testing.T) {
	synctestQuick(t, oneKey(), func(t *testing.T, c *Client, g *gate) {
		var a Answer
		if !c.Quick("key", &a) {
			t.Fatal("it is not read at first")
		}
		a.Release()
		g.close()
		began := time.Now()
		if c.Quick("key", &a) {
			t.Error("a frozen peer answered")
		}
		if took := time.Since(began); took > (quickSilence+1)*quickTick {
			t.Errorf("the first read waited for %v", took)
		}
		began = time.Now()
		for range 100 {
			if c.Quick("key", &a) {
				t.Error("a frozen peer answered")
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("further reads waited for %v", took)
		}
		pass(time.Second)
		g.open()
		synctest.Wait()
		if !c.Quick("key", &a) {
			t.Error("when it is well again it is not read")
		}
		a.Release()
		if s := c.QuickStats(); s.Late != 1 || s.InFlight != 0 || s.Lanes != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestALaneWithoutAWordIsGivenUp(t *testing.T) {
	synctestQuick(t, oneKey(), func(t *testing.T, c *Client, g *gate) {
		g.close()
		defer g.open()
		var a Answer
		c.Quick("key", &a)
		pass(quickDead*quickTick - time.Second)
		if n := c.QuickStats().Lanes; n != 1 {
			t.Errorf("%d lanes too early", n)
		}
		pass(2 * time.Second)
		if n := c.QuickStats().Lanes; n != 0 {
			t.Errorf("%d lanes in the end", n)
		}
	})
}

func TestAPeerThatIsAtWorkIsWaitedForALittleLonger(t *testing.T) {
	for name, c := range map[string]struct {
		said func(tick int64) bool
		want int64
	}{
		"silent":  {func(int64) bool { return false }, quickSilence + 1},
		"busy":    {func(tick int64) bool { return true }, quickPatience},
		"falters": {func(tick int64) bool { return tick < 10 }, 9 + quickSilence + 1},
	} {
		a, b := net.Pipe()
		l := newQuickLane(poolOf(t, testConfig).Client("owner:1").quick, a, "owner", nil, nil)
		w := &quickWait{done: make(chan struct{}, 1)}
		if !l.ask("key", w) {
			t.Fatal("no room")
		}
		tick := int64(0)
		for len(w.done) == 0 {
			tick++
			if c.said(tick) {
				l.heard.Store(tick)
			}
			l.look(tick)
		}
		if tick != c.want || l.silent.Load() != (name != "busy") {
			t.Errorf("%s: given up after %d ticks, want %d; silent: %v", name, tick, c.want, l.silent.Load())
		}
		a.Close()
		b.Close()
	}
}

func TestALaneThatNobodyUsesIsClosed(t *testing.T) {
	synctestQuick(t, oneKey(), func(t *testing.T, c *Client, _ *gate) {
		var a Answer
		for range 5 {
			pass(IdleTimeout / 2)
			if !c.Quick("key", &a) {
				t.Fatal("a lane that is used was closed")
			}
			a.Release()
		}
		pass(2 * IdleTimeout)
		if n := c.QuickStats().Lanes; n != 0 {
			t.Errorf("%d lanes", n)
		}
		if c.Quick("key", &a) {
			t.Error("read without a lane")
		}
		synctest.Wait()
		if !c.Quick("key", &a) {
			t.Error("no lane is opened again")
		}
		a.Release()
	})
}

func TestADrainingPeerAnswersWhatItHasRead(t *testing.T) {
	g := &gate{}
	hot := &gatedHot{HotReader: oneKey(), gate: g}
	c, s := quickClient(t, hot)
	g.close()
	answered := make(chan bool)
	go func() {
		var a Answer
		defer a.Release()
		answered <- c.Quick("key", &a)
	}()
	for hot.asked.Load() == 0 {
		runtime.Gosched()
	}
	s.Drain()
	g.open()
	if !<-answered {
		t.Log("the machine was too busy for the answer to be waited for")
	}
	for c.QuickStats().Lanes != 0 {
		runtime.Gosched()
	}
	c.quick.opening.Store(false)
	if err := c.quick.open(); !errors.Is(err, object.ErrUnavailable) || !Answered(err) {
		t.Errorf("a lane to a peer that goes: %v", err)
	}
}

func TestEachStartOfAPeerHasLanesOfItsOwn(t *testing.T) {
	h, _ := quickHandler(t, oneKey())
	p, addr := poolOf(t, testConfig), serve(t, h)
	first, second := p.Peer(addr, 1), p.Peer(addr, 2)
	awaitLane(first)
	if n := second.QuickStats().Lanes; n != 0 {
		t.Errorf("another start has %d lanes", n)
	}
	awaitLane(second)
	p.Keep(func(_ string, boot uint64) bool { return boot == 2 })
	if n := first.QuickStats().Lanes; n != 0 || !first.Gone() || second.Gone() {
		t.Errorf("%d lanes to the one that is gone", n)
	}
	var a Answer
	if first.Quick("key", &a) {
		t.Error("it is read quickly")
	}
	if !second.Quick("key", &a) {
		t.Error("the other is not")
	}
	a.Release()
}

func TestBothSidesOfALaneLearnThatTheirViewsDiffer(t *testing.T) {
	heard := make(chan [2]uint64, 100)
	var mine, theirs atomic.Uint64
	cfg := testConfig
	cfg.Epoch, cfg.OtherEpoch = mine.Load, func(_ string, epoch uint64) { heard <- [2]uint64{'c', epoch} }
	s := NewQuickServer(oneKey())
	t.Cleanup(s.Close)
	c := poolOf(t, cfg).Client(serve(t, NewHandler(untouchable{}, HandlerConfig{
		Cluster: cfg.Cluster, Epoch: theirs.Load, Quick: s,
		OtherEpoch: func(node string, epoch uint64) { heard <- [2]uint64{'s', epoch} },
	})))
	awaitLane(c)
	var a Answer
	for _, step := range [][2]uint64{{0, 0}, {7, 7}, {8, 9}, {10, 10}} {
		mine.Store(step[0])
		theirs.Store(step[1])
		for len(heard) > 0 {
			<-heard
		}
		for !c.Quick("key", &a) {
			runtime.Gosched()
		}
		a.Release()
		if step[0] == step[1] {
			continue // what is heard now may be of the moment before
		}
		want := map[[2]uint64]bool{{'c', step[1]}: true, {'s', step[0]}: true}
		for len(want) > 0 {
			delete(want, <-heard)
		}
	}
}

func TestOfAPeerThatHasLittleMostReadsAreNotAsked(t *testing.T) {
	var w quickWorth
	w.count(0, worthLeast-1)
	if !w.ask() {
		t.Error("given up before anything is known")
	}
	w.count(0, 1)
	asked := 0
	for range 10 * worthTries {
		if w.ask() {
			asked++
		}
	}
	if asked != 10 {
		t.Errorf("%d of %d were asked", asked, 10*worthTries)
	}
	for range worthWindow {
		w.count(1, 0)
	}
	if !w.ask() || !w.ask() {
		t.Error("a peer that has everything again is not asked")
	}
}

func TestAQuickReadAllocatesADescription(t *testing.T) {
	if raceEnabled {
		t.Skip("pools lose things on purpose with the race detector")
	}
	c, _ := quickClient(t, oneKey())
	var a Answer
	n := testing.AllocsPerRun(1000, func() {
		c.Quick("key", &a)
		a.Release()
	})
	if n > 2 { // and a buffer, when a collection has emptied the pools
		t.Errorf("%v allocations a read, on both sides", n)
	}
}

// A slow client is not read on: what it costs is bounded.
func TestAClientThatTakesNoAnswersIsNotReadOn(t *testing.T) {
	hot := hotMemory{}
	hot.keep("key", QuickLimit)
	var asked atomic.Int64
	h, s := quickHandler(t, hotFunc(func(key object.Key) (object.Info, []byte, bool) {
		asked.Add(1)
		return hot.GetHot(key)
	}))
	conn := rawLane(t, serve(t, h))
	record := recordWriter{open: -1}
	for id := range 100_000 { // 6 GB of answers
		ask := appendAsk(nil, uint32(id), "key")
		copy(record.frame(len(ask)), ask)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, err := conn.Write(record.bytes())
	if n := asked.Load(); n > 2000 {
		t.Errorf("%d asks were answered to nobody", n)
	}
	conn.Close()
	s.Close() // and it ends
	_ = err   // all of it may fit what the system buffers
}

// rawLane opens a lane by hand.
func rawLane(t *testing.T, addr string) net.Conn {
	t.Helper()
	c := poolOf(t, testConfig).Client(addr)
	l, err := c.openQuick(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.conn.Close() })
	return l.conn
}
