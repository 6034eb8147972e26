package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/ring"
)

// A node that goes leaves its hottest objects with those who own them then.
// Nobody has to read them meanwhile.
func TestADrainingNodeHandsItsObjectsOn(t *testing.T) {
	g := &growing{T: t, dir: t.TempDir(), bodies: make(map[object.Key][]byte)}
	g.grow(3)
	g.fill(200)
	g.readAll()
	put(t, g.all[1], "sessions/1/head", []byte("mutable keys are not handed on"))
	before, gets := g.all[0].ring.View(), g.originGets()
	g.drain(1)
	after := g.serving()[0].ring.View()
	for _, key := range g.keys {
		if m, _ := before.Owner(string(key)); m.ID != "node-0" {
			continue
		}
		heir, _ := after.Owner(string(key))
		for _, n := range g.serving() {
			if held := n.cache.Holds(key); n.ID() == heir.ID && len(held) == 0 {
				t.Errorf("%s, of %d bytes, is not with %s", key, len(g.bodies[key]), heir.ID)
			}
		}
	}
	if got := g.originGets() - gets; got != 0 {
		t.Errorf("it has cost %v reads of the origin", got)
	}
	given, taken := g.all[0].meter.fill.handedOver.Load(), g.all[1].meter.fill.takenOver.Load()+g.all[2].meter.fill.takenOver.Load()
	if given == 0 || given != taken {
		t.Errorf("%d objects were handed on, %d taken over", given, taken)
	}
}

// What is told of and is not there any more is left alone soon.
func TestATakerDoesNotFetchAHandoverFromTheOrigin(t *testing.T) {
	n := startNode(t, t.TempDir())
	awaitServing(t, []*running{n}, 1)
	var keys []object.Key
	for i := range 200 {
		key := object.Key(fmt.Sprintf("cache/x/sha256:%d/out", i))
		if _, err := n.authority.Put(t.Context(), key, object.BytesSource([]byte(key)), object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	if n.takeOver(t.Context(), keys) {
		t.Error("more are welcome")
	}
	if got := n.cache.Stats().Fills; got > maxStrays+takers+1 {
		t.Errorf("%d objects were fetched from the origin", got)
	}
	if !n.takeOver(t.Context(), []object.Key{"sessions/1/head"}) || n.meter.fill.takenOver.Load() != 0 {
		t.Error("something was taken over from nobody")
	}
}

// Nobody waits for a hand-over of nothing, or to nobody.
func TestNothingToHandOnTakesNoTime(t *testing.T) {
	alone := startNode(t, t.TempDir(), func(cfg *Config) { cfg.DrainHandover = time.Hour })
	awaitServing(t, []*running{alone}, 1)
	put(t, alone, "cache/x/sha256:1/out", []byte("there is no heir"))
	if err := alone.drained(); err != nil {
		t.Error(err)
	}
	nodes := startCluster(t, 2, func(cfg *Config) { cfg.DrainHandover = time.Hour })
	if err := nodes[1].drained(); err != nil {
		t.Error(err)
	}
}

// An heir that does not answer costs a draining node its time for that, no more.
func TestADeafHeirDoesNotHoldADrainUp(t *testing.T) {
	nodes := startCluster(t, 2, func(cfg *Config) { cfg.DrainHandover = 100 * time.Millisecond })
	key := ownedBy(t, nodes, 1, "cache/x/sha256:%d/out")
	put(t, nodes[1], key, []byte("hot"))
	nodes[0].peers.server.Close()
	if err := nodes[1].ring.SetState(t.Context(), ring.Draining); err != nil {
		t.Fatal(err)
	}
	nodes[1].handOver(t.Context())
	if n := nodes[1].meter.fill.handedOver.Load(); n != 0 {
		t.Errorf("%d objects were handed to a node that is deaf", n)
	}
}
