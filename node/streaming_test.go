package node

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/micelio/micelio/object"
)

// ways are how two readers can come to one object: each through the owner or
// through one of the other nodes.
var ways = map[string]func(owner *performer, others []*performer) [2]*performer{
	"the owner":               func(o *performer, _ []*performer) [2]*performer { return [2]*performer{o, o} },
	"another":                 func(_ *performer, n []*performer) [2]*performer { return [2]*performer{n[0], n[0]} },
	"two others":              func(_ *performer, n []*performer) [2]*performer { return [2]*performer{n[0], n[1]} },
	"another, then the owner": func(o *performer, n []*performer) [2]*performer { return [2]*performer{n[0], o} },
	"the owner, then another": func(o *performer, n []*performer) [2]*performer { return [2]*performer{o, n[0]} },
}

// A dripping is an object of a size that two readers come to in one of the ways.
type dripping struct {
	*stage
	name    string
	through func(owner *performer, others []*performer) [2]*performer
	cluster []*performer
}

// drippings runs a cluster with an object of each size for each of the ways.
func drippings(t *testing.T) (all []dripping) {
	t.Helper()
	var stages []*stage
	for _, size := range []int64{100_000, 5 << 20} { // one that is kept in memory while it arrives, one that is not
		for name, through := range ways {
			st := newStage(size)
			st.key = object.Key(fmt.Sprintf("cache/stage/sha256:%d/out", len(stages)))
			stages = append(stages, st)
			all = append(all, dripping{stage: st, name: name, through: through})
		}
	}
	cluster := stageNodes(t, 3, stages)
	for i := range all {
		all[i].cluster = cluster
	}
	return all
}

// Each byte is with both readers before the origin gives the next piece, also
// with the one who came in the middle, and through nodes that are not the owner.
// The pieces are smaller and larger than every buffer on the way.
func TestEveryByteReachesEveryReaderAsSoonAsItIsThere(t *testing.T) {
	for _, d := range drippings(t) {
		t.Run(fmt.Sprintf("%d bytes through %s", d.size, d.name), func(t *testing.T) {
			d.run(t, []int64{1, 100, 4095, 1, 5000, 70_000, 10, 300_000, 1, 2_000_000, 3000})
		})
	}
}

// run lets the object go out of the origin in pieces, each when both readers have
// all of the ones before but the last bytes, lag. The second comes in the middle.
func (d dripping) run(t *testing.T, pieces []int64) {
	t.Helper()
	defer d.release(d.size)
	owner, others := roles(d.cluster, d.stage)
	through := d.through(owner, others)
	readers := []*lean{open(t, d.stage, through[0], 0, 0)}
	eventually(func() bool { return d.whole.Load() == 1 })
	sent := int64(0)
	for i, piece := range append(pieces, d.size) {
		if i == len(pieces)/2 {
			readers = append(readers, open(t, d.stage, through[1], 0, 0))
		}
		sent = min(sent+piece, d.size)
		d.release(sent)
		for r, c := range readers {
			if err := c.read(sent); err != nil {
				t.Fatalf("reader %d does not get piece %d, which ends at byte %d: %v", r, i, sent, err)
			}
		}
	}
	if whole, ranged := d.whole.Load(), d.ranged.Load(); whole != 1 || ranged != 0 {
		t.Errorf("%d reads of the origin, %d of parts; want 1 and none", whole, ranged)
	}
}

// open asks a node for a part of the staged object, 0 and 0 for all of it.
func open(t *testing.T, st *stage, n *performer, from, to int64) *lean {
	t.Helper()
	c, err := st.ask(n, from, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// read is upTo, after the header if that was not read yet.
func (c *lean) read(to int64) error {
	if c.status == 0 {
		if err := c.begin(); err != nil {
			return err
		}
	}
	return c.upTo(to, nil)
}

// A pacer tells slow readers how far the fastest has come.
type pacer struct {
	mu   sync.Mutex // guards the following
	cond *sync.Cond
	pos  int64
}

func newPacer() *pacer {
	p := &pacer{}
	p.cond = sync.NewCond(&p.mu)
	return p
}

func (p *pacer) reach(pos int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pos = max(p.pos, pos)
	p.cond.Broadcast()
}

func (p *pacer) await(pos int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.pos < pos {
		p.cond.Wait()
	}
}

// fillSlack is how much the heap may grow while a large object goes through a
// cluster to 64 readers, in bytes: each takes some 0.4 MiB at a node and as much
// again where another node owns the object, three nodes keep 4 MiB of chunks
// each and a fill a window of 1 MiB; and as much again is garbage.
const fillSlack = 128 << 20

// A GiB goes to 64 readers, of whom some take all of it and some a part, some as
// fast as they can and some slowly. The heap stays flat, and the origin is asked
// once besides parts that lie far ahead of what has arrived.
func TestALargeObjectStreamsToReadersOfAllSpeeds(t *testing.T) {
	size := int64(1 << 30)
	if raceEnabled || testing.Short() {
		size = 256 << 20
	}
	const readers, wholes, slow, step = 64, 4, 4, 1 << 20
	st := newStage(size)
	nodes := stageNodes(t, 3, []*stage{st}, func(c *Config) { c.SSDBytes = 4 << 30 })
	owner, _ := roles(nodes, st)
	lead := open(t, st, owner, 0, 0)
	arrived(nodes, st, 1)
	runtime.GC()
	before := heap()
	st.release(size)
	if err := lead.read(1); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	ahead := newPacer()
	pick := rand.New(rand.NewPCG(1, 3))
	for i := range readers - 1 {
		from, to := int64(0), int64(0)
		if i >= wholes-1 {
			from = pick.Int64N(size - step)
			to = from + 1 + pick.Int64N(min(size-from, size/16))
		}
		c := open(t, st, nodes[i%3], from, to)
		all.Go(func() {
			if err := c.read(from); err != nil {
				t.Errorf("reader %d: %v", i, err)
				return
			}
			begin := c.pos
			for c.pos < c.end {
				if i%slow == 0 { // at a quarter of the lead's pace, then at its own
					ahead.await(min(size, (c.pos-begin)*4))
				}
				if err := c.read(c.pos + step); err != nil {
					t.Errorf("reader %d of %d to %d: %v", i, from, to, err)
					return
				}
			}
		})
	}
	peak := int64(0)
	for lead.pos < size {
		if err := lead.read(lead.pos + step); err != nil {
			t.Error(err)
			break
		}
		ahead.reach(lead.pos)
		peak = max(peak, heap())
	}
	ahead.reach(size)
	all.Wait()
	peak = max(peak, heap())
	t.Logf("the heap grew by %d MiB; %d reads of all, %d of parts", (peak-before)>>20, st.whole.Load(), st.ranged.Load())
	if peak-before > fillSlack {
		t.Errorf("the heap grew by %d bytes, want at most %d", peak-before, int64(fillSlack))
	}
	// A slow reader that falls behind what the disk could take, as it does where
	// the machine is busy, has the rest in a part of its own.
	if whole, ranged, most := st.whole.Load(), st.ranged.Load(), int64(readers-wholes+readers/slow); whole != 1 || ranged > most {
		t.Errorf("%d reads of all of the object and %d of parts, want 1 and at most %d", whole, ranged, most)
	}
}
