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
)

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
	AtOnceReader
	*gate
	asked atomic.Int32
}

func (g *gatedHot) GetAtOnce(key object.Key, info *object.Info) ([]byte, bool) {
	g.asked.Add(1)
	g.pass()
	return g.AtOnceReader.GetAtOnce(key, info)
}

// synctestQuick runs a test in a bubble, with a peer that answers only while its
// gate is open. hot nil is one without lanes.
func synctestQuick(t *testing.T, hot AtOnceReader, test func(t *testing.T, c *Client, g *gate)) {
	inBubble(t, func(t *testing.T, serve func(http.Handler) *Client) {
		g := &gate{}
		h := handlerOf(untouchable{})
		if hot != nil {
			h, _ = quickHandler(t, &gatedHot{AtOnceReader: hot, gate: g})
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
		go func() { _, _ = io.Copy(io.Discard, b) }()
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
	hot := &gatedHot{AtOnceReader: oneKey(), gate: g}
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
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Shutdown(context.Background())
	}()
	for !s.draining.Load() {
		runtime.Gosched()
	}
	g.open()
	if !<-answered {
		t.Log("the machine was too busy for the answer to be waited for")
	}
	<-ended
	for c.QuickStats().Lanes != 0 {
		runtime.Gosched()
	}
	c.quick.opening.Store(false)
	if err := c.quick.open(); !errors.Is(err, object.ErrUnavailable) || !Answered(err) {
		t.Errorf("a lane to a peer that goes: %v", err)
	}
}

// A slow client is not read on: what it costs is bounded.
func TestAClientThatTakesNoAnswersIsNotReadOn(t *testing.T) {
	hot := hotMemory{}
	hot.keep("key", QuickLimit)
	var asked atomic.Int64
	h, s := quickHandler(t, hotFunc(func(key object.Key, info *object.Info) ([]byte, bool) {
		asked.Add(1)
		return hot.GetAtOnce(key, info)
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
