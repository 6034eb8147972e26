package peer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

// hotMemory is a AtOnceReader of objects in memory.
type hotMemory map[object.Key]hotObject

type hotObject struct {
	info  object.Info
	bytes []byte
}

func (h hotMemory) GetAtOnce(key object.Key, info *object.Info) ([]byte, bool) {
	o, ok := h[key]
	*info = o.info
	return o.bytes, ok
}

// keep puts an object of so many bytes, which are told from others', there.
func (h hotMemory) keep(key object.Key, size int) {
	b := bytes.Repeat([]byte(key), size/len(key)+1)[:size]
	h[key] = hotObject{object.Info{
		Key: key, Size: int64(size), ETag: "0123456789abcdef0123456789abcdef", Version: "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
		Modified: time.Unix(1700000000, 0).UTC(), Tier: object.TierRAM, Attrs: object.Attrs{ContentType: "application/octet-stream"}, Age: time.Second,
	}, b}
}

// hotFunc is a AtOnceReader that is a function.
type hotFunc func(key object.Key, info *object.Info) ([]byte, bool)

func (f hotFunc) GetAtOnce(key object.Key, info *object.Info) ([]byte, bool) { return f(key, info) }

// quickHandler returns the handler of a node that has this in memory.
func quickHandler(t testing.TB, hot AtOnceReader, secrets ...[]byte) (http.Handler, *QuickServer) {
	s := NewQuickServer(hot)
	t.Cleanup(s.Close)
	return NewHandler(untouchable{}, HandlerConfig{Node: "owner", Cluster: testConfig.Cluster, Secrets: secrets, Quick: s}), s
}

// quickClient returns a client with an open lane to a node that has this in
// memory.
func quickClient(t testing.TB, hot AtOnceReader, secrets ...[]byte) (*Client, *QuickServer) {
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
		for reader := range 64 {
			all.Go(func() {
				var a Answer
				for i := range 200 {
					key := keys[(reader*31+i)%len(keys)]
					for !c.Quick(key, &a) {
						runtime.Gosched() // the machine has other things to do
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
	for range worthTries {
		if !w.ask() {
			t.Error("a peer that has everything again is not asked")
		}
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
