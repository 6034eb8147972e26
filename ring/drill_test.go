package ring

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	drillSeeds = flag.Int("drills", 0, "how many seeds of each fault the membership is drilled with; 0 for a few")
	drillSeed  = flag.Uint64("seed", 1, "the first of these seeds; one is tried again with -drills 1")
)

// What is promised of the membership, always.
const (
	detectBy = 8 * time.Second  // from the fault until nobody counts on who is gone
	wholeBy  = 20 * time.Second // from the end of the fault until everybody counts on all again
)

// A drill is one fault in a cluster that is whole, and its end.
type drill struct {
	*simulation
	rng *rand.Rand

	// What was measured; below 0 if there was nothing to.
	detected, whole time.Duration

	err error
}

// fail notes what went wrong, once.
func (d *drill) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

// note writes into the log what happens.
func (d *drill) note(format string, args ...any) { d.log.add("*** " + fmt.Sprintf(format, args...)) }

// between returns a duration between two.
func (d *drill) between(from, to time.Duration) time.Duration {
	return from + time.Duration(d.rng.Int64N(int64(to-from)))
}

// pick returns the number of a node.
func (d *drill) pick() int { return d.rng.IntN(len(d.rings)) }

// detect measures how long it takes until ok.
func (d *drill) detect(ok func() bool) {
	took, done := d.within(2*time.Minute, ok)
	d.note("detected after %v", took)
	d.detected = took
	if !done || took > detectBy {
		d.fail("not detected within %v, but after %v (%v)", detectBy, took, done)
	}
}

// heal measures how long it takes until all nodes count on all.
func (d *drill) heal() {
	d.note("the fault is over")
	took, done := d.within(5*time.Minute, func() bool { return d.agree(d.all()...) })
	d.note("whole after %v", took)
	d.whole = took
	if !done || took > wholeBy {
		d.fail("not whole within %v, but after %v (%v)", wholeBy, took, done)
	}
}

// A node crashes, and starts again after a while: at its old address or at
// another one, and perhaps, as the first of a cluster does, without seeds.
func drillCrash(d *drill) {
	gone := d.pick()
	old := d.addr(gone)
	d.note("n%d crashes", gone)
	d.crash(gone)
	if d.rng.IntN(3) > 0 {
		d.detect(func() bool { return d.agree(d.all(gone)...) })
	}
	<-time.After(d.between(0, 40*time.Second)) // the others may not have noticed
	addr := old
	if d.rng.IntN(2) == 0 && gone != 0 { // the seed must be where it is looked for
		addr = "10.0.1.1:7946"
	} else if d.rng.IntN(2) == 0 {
		d.seeds = nil
	}
	if err := d.start(gone, addr); err != nil {
		d.fail("restart: %v", err)
		return
	}
	d.heal()
}

// All nodes but one come back elsewhere, as containers do after their machine
// was lost, and only the name server knows where.
func drillMove(d *drill) {
	stays := d.pick()
	var addrs []string
	for _, i := range d.all(stays) {
		d.crash(i)
	}
	d.rename()
	<-time.After(d.between(0, time.Minute))
	for _, i := range d.all(stays) {
		addr := fmt.Sprintf("10.0.1.%d:7946", i+1)
		if err := d.start(i, addr); err != nil {
			d.fail("restart: %v", err)
			return
		}
		addrs = append(addrs, addr)
		<-time.After(d.between(0, 5*time.Second))
	}
	d.note("all but n%d are elsewhere", stays)
	d.rename(addrs...)
	d.heal()
}

// What a node sends is lost, or what is sent to it: it is as good as gone. Or
// only what one node sends to one other: then nobody is.
func drillOneWay(d *drill) {
	two := d.rng.Perm(len(d.rings))
	a, b := two[0], two[1]
	kind := d.rng.IntN(3)
	lose := func(lost bool) {
		for i := range d.rings {
			switch {
			case i == a:
			case kind == 0:
				d.lose(d.addr(a), d.addr(i), lost)
			case kind == 1:
				d.lose(d.addr(i), d.addr(a), lost)
			case i == b:
				d.lose(d.addr(a), d.addr(b), lost)
			}
		}
	}
	d.note("n%d is %s (n%d)", a, []string{"mute", "deaf", "mute to one"}[kind], b)
	lose(true)
	if kind == 2 {
		if !d.holds(d.between(20*time.Second, time.Minute), func() bool { return d.agree(d.all()...) }) {
			d.fail("somebody was taken for gone whom the others reached")
		}
	} else {
		d.detect(func() bool { return d.agree(d.all(a)...) })
		<-time.After(d.between(0, time.Minute))
	}
	lose(false)
	d.heal()
}

// The network of some nodes comes and goes.
func drillFlapping(d *drill) {
	side := d.side()
	d.note("%v flap", side)
	for end := time.Now().Add(d.between(20*time.Second, 90*time.Second)); ; {
		d.split(side)
		<-time.After(d.between(100*time.Millisecond, 12*time.Second))
		d.cut(nil)
		if time.Now().After(end) {
			break
		}
		<-time.After(d.between(100*time.Millisecond, 8*time.Second))
	}
	d.heal()
}

// side draws some nodes, not all.
func (d *drill) side() []int {
	order := d.rng.Perm(len(d.rings))
	return order[:1+d.rng.IntN(len(order)-1)]
}

// twoWaySplits are all ways in which clusters of 3, 4 and 5 nodes fall in two,
// each as the number of nodes and who is on the side without the first.
func twoWaySplits() (splits []split) {
	for n := 3; n <= 5; n++ {
		for mask := 1; mask < 1<<(n-1); mask++ {
			s := split{n: n}
			for i := 1; i < n; i++ {
				if mask>>(i-1)&1 == 1 {
					s.side = append(s.side, i)
				}
			}
			splits = append(splits, s)
		}
	}
	return splits
}

type split struct {
	n    int
	side []int
}

// A cluster falls into two parts, for some seconds or some minutes: after half a
// one the library forgets whom it lost.
func (d *drill) fallApart(side []int) {
	d.note("%v are cut off", side)
	d.split(side)
	d.detect(func() bool { return d.agree(side...) && d.agree(d.all(side...)...) })
	lasts := d.between(0, 90*time.Second)
	if d.rng.IntN(10) == 0 {
		lasts = 5 * time.Minute
	}
	<-time.After(lasts)
	d.cut(nil)
	d.heal()
}

// A node stands still. If it is for long it is as good as gone; a short while
// must not take it out.
func drillPause(d *drill) {
	still := d.pick()
	if lasts := d.between(100*time.Millisecond, 2*time.Second); d.rng.IntN(3) == 0 {
		d.note("n%d stands still for %v", still, lasts)
		d.pause(d.addr(still), lasts)
		if !d.holds(lasts+10*time.Second, func() bool { return d.agree(d.all()...) }) {
			d.fail("a node that stood still for %v was taken for gone", lasts)
		}
		return
	}
	lasts := d.between(10*time.Second, time.Minute)
	d.note("n%d stands still for %v", still, lasts)
	d.pause(d.addr(still), lasts)
	began := time.Now()
	d.detect(func() bool { return d.agree(d.all(still)...) })
	<-time.After(lasts - time.Since(began))
	d.heal()
}

// A part of all packets is lost, up to 15 %. Nobody is gone. (With 24 % somebody
// is, for less than a second, some times an hour.)
func drillLoss(d *drill) {
	d.drop(d.rng.Float64() * 0.15)
	d.note("%.0f %% of all packets are lost", 100*d.loss)
	if !d.holds(d.between(10*time.Second, 30*time.Second), func() bool { return d.agree(d.all()...) }) {
		d.fail("somebody was taken for gone")
	}
	d.drop(0)
	d.heal()
}

// runDrill lets one fault happen in a cluster of n in a bubble of its own.
func runDrill(t *testing.T, seed uint64, n int, p *places, fault func(*drill)) *drill {
	d := &drill{rng: rand.New(rand.NewPCG(seed, 2)), detected: -1, whole: -1}
	synctest.Test(t, func(*testing.T) {
		s, err := newSimulation(seed, n, Timing{}, p)
		if err != nil {
			d.err = err
			return
		}
		defer s.end()
		d.simulation = s
		if _, ok := s.within(joinSeen, func() bool { return s.agree(s.all()...) }); !ok {
			d.fail("the cluster did not come together")
		} else {
			<-time.After(d.between(0, 15*time.Second)) // at any moment of all periods
			fault(d)
		}
		if d.err != nil {
			d.err = fmt.Errorf("%w\n%s\n%s", d.err, s.log, s.state())
		}
	})
	return d
}

// worst keeps the largest durations, and of which seeds.
type worst struct {
	mu              sync.Mutex
	n               int
	detected, whole time.Duration
	sumD, sumW      time.Duration
	nD, nW          int
	detectedAt, wAt uint64
}

func (w *worst) add(seed uint64, d *drill) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	if d.detected >= 0 {
		w.nD++
		w.sumD += d.detected
	}
	if d.whole >= 0 {
		w.nW++
		w.sumW += d.whole
	}
	if d.detected > w.detected {
		w.detected, w.detectedAt = d.detected, seed
	}
	if d.whole > w.whole {
		w.whole, w.wAt = d.whole, seed
	}
}

func (w *worst) String() string {
	s := fmt.Sprintf("%d seeds:", w.n)
	if w.nD > 0 {
		s += fmt.Sprintf(" detected after %v on average and %v at worst (seed %d),", (w.sumD / time.Duration(w.nD)).Round(10*time.Millisecond), w.detected.Round(10*time.Millisecond), w.detectedAt)
	}
	if w.nW > 0 {
		s += fmt.Sprintf(" whole after %v on average and %v at worst (seed %d)", (w.sumW / time.Duration(w.nW)).Round(10*time.Millisecond), w.whole.Round(10*time.Millisecond), w.wAt)
	}
	return s
}

// drillAll runs the seeds of one fault on all processors and reports the worst.
func drillAll(t *testing.T, of func(seed uint64) (nodes int, fault func(*drill))) {
	t.Helper()
	seeds := *drillSeeds
	switch {
	case seeds > 0:
	case raceEnabled:
		seeds = 2
	default:
		seeds = 5
	}
	p := newPlaces()
	var next atomic.Int64
	var result worst
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(seeds) {
					return
				}
				seed := *drillSeed + uint64(i)
				nodes, fault := of(seed)
				d := runDrill(t, seed, nodes, p, fault)
				result.add(seed, d)
				if d.err != nil {
					t.Errorf("seed %d: %v\nrun again with: go test ./ring -run '%s$' -drills 1 -seed %d", seed, d.err, t.Name(), seed)
				}
			}
		})
	}
	workers.Wait()
	t.Log(result.String())
}

// drillEach runs the same fault in clusters of 3 to 5 nodes.
func drillEach(t *testing.T, fault func(*drill)) {
	t.Helper()
	drillAll(t, func(seed uint64) (int, func(*drill)) { return 3 + int(seed%3), fault })
}

func TestDrillCrash(t *testing.T)    { drillEach(t, drillCrash) }
func TestDrillMove(t *testing.T)     { drillEach(t, drillMove) }
func TestDrillOneWay(t *testing.T)   { drillEach(t, drillOneWay) }
func TestDrillFlapping(t *testing.T) { drillEach(t, drillFlapping) }
func TestDrillLoss(t *testing.T)     { drillEach(t, drillLoss) }
func TestDrillPause(t *testing.T)    { drillEach(t, drillPause) }

// Each seed is another split, until it is the first one's turn again.
func TestDrillSplit(t *testing.T) {
	splits := twoWaySplits()
	drillAll(t, func(seed uint64) (int, func(*drill)) {
		s := splits[seed%uint64(len(splits))]
		return s.n, func(d *drill) { d.fallApart(s.side) }
	})
}
