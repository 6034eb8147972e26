package tiers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// A crowd is many who use one Cache at once, in phases. Each phase has another
// configuration over what the one before it left on the disk, and in every other
// one the authority and the disk fail and lie. Each answer must be one that the
// key had at some moment between question and answer.
type crowd struct {
	testing.TB
	origin *modelOrigin
	keys   []*modelKey
	dir    string
	disk   oneIn
	rnd    *rand.Rand

	cache *tiers.Cache
	ram   tiers.RAM
	phase phase
	ops   atomic.Int64
	done  map[string]*atomic.Int64
}

// A phase is how a crowd works for a while.
type phase struct {
	workers    int
	ram        int64
	ssd        int64 // 0: none
	fillMemory int64
	whole      bool
	faulty     bool
	flips      bool
}

// phaseOps is how many operations a phase has: many enough to fill the tiers,
// and few enough for many phases.
const phaseOps = 1000

func TestManyUseACacheAtOnceWhateverBreaks(t *testing.T) {
	t.Parallel()
	c := &crowd{
		TB: t, origin: &modelOrigin{keys: map[object.Key]*modelKey{}}, dir: t.TempDir(),
		rnd: rand.New(rand.NewPCG(*modelSeed, 11)), done: map[string]*atomic.Int64{},
	}
	for _, kind := range []string{"read", "broken", "left", "missing", "refused", "unchanged", "unavailable", "cancelled", "put", "put refused", "put failed", "deleted", "described",
		"ram", "ssd", "fill", "origin", "resumed"} {
		c.done[kind] = new(atomic.Int64)
	}
	c.makeKeys()
	capacity := int64(24 * mib)
	for n := 0; c.ops.Load() < int64(*modelOps) && !t.Failed(); n++ {
		if n%8 == 7 { // another size, which begins the disk anew
			capacity = []int64{0, 4 * mib, 8 * mib, 24 * mib}[c.rnd.IntN(4)]
		}
		c.phase = phase{
			workers: []int{1, 3, 8}[c.rnd.IntN(3)], ram: []int64{0, 1, 20_000, 200_000, 4 * mib}[c.rnd.IntN(5)],
			ssd: capacity, fillMemory: []int64{0, 300_000, 4 * mib}[c.rnd.IntN(3)], whole: c.rnd.IntN(3) == 0,
			faulty: n%2 == 1, flips: n%6 == 1,
		}
		c.run(uint64(n))
	}
	for kind, n := range c.done {
		if n.Load() == 0 && *modelOps >= 50_000 { // some are rare
			t.Errorf("nothing was ever %s", kind)
		}
	}
	if t.Failed() || testing.Verbose() {
		t.Logf("seed %d, %d operations, last %+v", *modelSeed, c.ops.Load(), c.phase)
		for kind, n := range c.done {
			t.Log(n.Load(), kind)
		}
	}
}

func (c *crowd) makeKeys() {
	add := func(class object.Class, key object.Key, body []byte) {
		k := &modelKey{key: key, class: class, fixed: body, etag: etagOf(body), states: []modelState{{}}}
		c.origin.keys[key] = k
		c.keys = append(c.keys, k)
	}
	for i, size := range []int{0, 1, 500, 5000, 70_000, 300_000, mib + 100_005, 2*partSize + 300_007} {
		key, body := blob(uint64(2000+i), size)
		add(object.Verified, key, body)
		key, body = derived(uint64(3000+i), size)
		add(object.Immutable, key, body)
	}
	for i := range 8 {
		add(object.Mutable, object.Key(fmt.Sprint("sessions/", i)), nil)
	}
}

// run is one phase: a cache is opened, used by many, and closed.
func (c *crowd) run(n uint64) {
	origin := c.origin
	origin.faults.Store(0)
	c.disk.Store(0)
	ssd := tiers.SSD(tiers.Off{})
	if c.phase.ssd > 0 {
		ssd = openModelLog(c.TB, c.dir, c.phase.ssd, &c.disk)
	}
	c.ram = tiers.NewRAM(c.phase.ram)
	classes, err := object.NewClasses(object.DefaultVerified, object.DefaultImmutable)
	if err != nil {
		c.Fatal(err)
	}
	c.cache = tiers.New(tiers.Config{
		Upstream: origin, Classes: classes, RAM: c.ram, SSD: ssd,
		FillMemory: c.phase.fillMemory, WholeFills: c.phase.whole,
	})
	origin.slow.Store(10)
	origin.flips.Store(c.phase.flips)
	if c.phase.faulty {
		origin.faults.Store(10)
		c.disk.Store(60)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running, workers sync.WaitGroup
	running.Go(func() { c.cache.Run(ctx) })
	until := c.ops.Load() + phaseOps
	for worker := range c.phase.workers {
		workers.Go(func() {
			w := &member{crowd: c, rnd: rand.New(rand.NewPCG(*modelSeed, n<<8|uint64(worker)))}
			for c.ops.Add(1) < until && !c.Failed() {
				w.step()
			}
			w.end()
		})
	}
	workers.Wait()
	cancel()
	running.Wait()
	if !c.cache.MemoryFree() || c.cache.WriteRecords() != 0 {
		c.Errorf("memory is free: %t, keys being written: %d", c.cache.MemoryFree(), c.cache.WriteRecords())
	}
	s := c.cache.Stats()
	c.done["resumed"].Add(s.Resumes)
	if s.InFlight != 0 || s.SSD.Bytes > s.SSD.Capacity {
		c.Errorf("at the end: %+v", s)
	}
	if err := ssd.Close(); err != nil && !c.phase.faulty {
		c.Error(err)
	}
	for _, k := range c.keys {
		k.settled(c.phase.ssd > 0)
	}
}

// A member is one of a crowd.
type member struct {
	*crowd
	rnd     *rand.Rand
	buf     [200_000]byte
	held    []*crowdReading // of slow readers
	cancels sync.WaitGroup
}

func (w *member) count(kind string) { w.done[kind].Add(1) }

func (w *member) step() {
	k := w.keys[w.rnd.IntN(len(w.keys))]
	for w.rnd.IntN(1+len(k.fixed)/100_000) > 0 { // large ones are slow, and seldom
		k = w.keys[w.rnd.IntN(len(w.keys))]
	}
	switch n := w.rnd.IntN(100); {
	case n < 15:
		w.put(k)
	case n < 19:
		w.remove(k)
	case n < 24:
		w.head(k)
	case n < 26:
		w.squeeze()
	case n < 27:
		w.cache.Holds(k.key)
	case n < 32 && len(w.held) > 0:
		w.readOn(w.rnd.IntN(len(w.held)))
	default:
		w.get(k)
	}
}

// context returns one that may end at any moment.
func (w *member) context() (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancel(w.Context())
	if w.rnd.IntN(12) > 0 {
		return ctx, cancel
	}
	wait := w.rnd.IntN(40)
	w.cancels.Go(func() {
		for i := 0; i < wait && ctx.Err() == nil; i++ {
			runtime.Gosched()
		}
		cancel()
	})
	return ctx, cancel
}

// squeeze takes memory from the RAM tier for a moment.
func (w *member) squeeze() {
	n := w.rnd.Int64N(w.phase.ram + 1)
	w.ram.Reserve(n)
	if s := w.ram.Stats(); s.Bytes > s.Capacity {
		w.Errorf("memory: %+v", s)
	}
	w.ram.Reserve(-n)
}

func (w *member) anyRange(k *modelKey) object.Range {
	size := int64(10_000)
	if k.fixed != nil {
		size = int64(len(k.fixed))
	}
	at, n := w.rnd.Int64N(size+1), 1+w.rnd.Int64N(size/2+1)
	switch w.rnd.IntN(10) {
	case 0:
		return object.Suffix(n)
	case 1:
		return object.From(at)
	case 2, 3, 4, 5:
		return object.Bytes(at, n)
	}
	return object.Range{}
}

// anyMatch returns a condition on a version that the key has, or has not.
func (w *member) anyMatch(k *modelKey, of int) object.Match {
	switch w.rnd.IntN(of) {
	case 0:
		return object.MatchAny()
	case 1, 2, 3:
		if s := k.last(); s.there {
			return object.MatchETag(s.etag)
		}
	case 4:
		return object.MatchETag("another")
	}
	return object.Match{}
}

func (w *member) get(k *modelKey) {
	opt := object.GetOptions{Range: w.anyRange(k), IfNoneMatch: w.anyMatch(k, 30), IfMatch: w.anyMatch(k, 30)}
	ctx, end := w.context()
	dead, from := k.deadSince(), w.origin.clock.Add(1)
	obj, err := w.cache.Get(ctx, k.key, opt)
	states := k.during(from, w.origin.clock.Add(1))
	if err != nil {
		w.checkRefusal(ctx, k, opt, states, err)
		end()
		return
	}
	r := &crowdReading{Object: obj, ctx: ctx, end: end, key: k, from: from, sound: true, leave: -1}
	defer w.hold(r)
	want, ok := w.versionOf(k, obj.Info, states)
	if !ok || (dead != 0 && k.deadSince() == dead) {
		w.Errorf("%s from %s: version %q was not there between %d and now: %v, dead since %d", k.key, obj.Tier, obj.Version, from, states, dead)
		return
	}
	if err := object.CheckRead(obj.Info, opt.IfMatch, opt.IfNoneMatch); err != nil {
		w.Errorf("%s: version %q against %v, %v: %v", k.key, obj.Version, opt.IfMatch, opt.IfNoneMatch, err)
	}
	lie := obj.Size != int64(len(want)) // then a body that reaches so far must not end cleanly
	offset, length, err := opt.Range.Resolve(obj.Size)
	if err != nil || obj.Offset != offset || obj.Length != length || lie && !w.phase.faulty {
		w.Errorf("%s %v: %d bytes from %d of %d, %v", k.key, opt.Range, obj.Length, obj.Offset, obj.Size, err)
		return
	}
	if lie = offset+length > int64(len(want)); lie {
		want = append(bytes.Clone(want), make([]byte, obj.Size-int64(len(want)))...)
	}
	r.want, r.lie = want[offset:offset+length], lie
	if w.rnd.IntN(10) == 0 {
		r.leave = w.rnd.IntN(len(r.want) + 1)
	}
	r.open = true
}

// versionOf returns the bytes of the version that an answer describes.
func (w *member) versionOf(k *modelKey, info object.Info, states []modelState) ([]byte, bool) {
	if k.class != object.Mutable {
		return k.fixed, true
	}
	for _, s := range states {
		if s.there && s.version == info.Version {
			return s.body, s.etag == info.ETag
		}
	}
	return nil, false
}

// checkRefusal holds an error against what the key was meanwhile.
func (w *member) checkRefusal(ctx context.Context, k *modelKey, opt object.GetOptions, states []modelState, err error) {
	may := func(kind string, allows func(modelState) bool) {
		w.count(kind)
		if k.class != object.Mutable { // its copy may outlive it
			if allows(modelState{there: true, etag: k.etag, body: k.fixed}) {
				return
			}
		}
		for _, s := range states {
			if allows(s) {
				return
			}
		}
		w.Errorf("%s, %+v: %v, but it was %v", k.key, opt, err, states)
	}
	switch {
	case errors.Is(err, object.ErrNotFound):
		may("missing", func(s modelState) bool { return !s.there })
	case errors.Is(err, object.ErrNotModified):
		may("unchanged", func(s modelState) bool { return s.there && opt.IfNoneMatch.Weak(s.etag) })
	case errors.Is(err, object.ErrPrecondition):
		may("refused", func(s modelState) bool { return s.there && opt.IfMatch.IsSet() && !opt.IfMatch.Strong(s.etag) })
	case errors.Is(err, object.ErrRange):
		may("refused", func(s modelState) bool {
			_, _, err := opt.Range.Resolve(int64(len(s.body)))
			return s.there && err != nil
		})
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		w.count("cancelled")
	case !w.phase.faulty:
		w.Errorf("%s, %+v: %v, and nothing is broken", k.key, opt, err)
	default:
		w.count("unavailable")
	}
}
