package e2e

import (
	"encoding/json"
	"flag"
	"syscall"
	"testing"
	"time"
)

var drillFull = flag.Bool("drill.full", false, "drills as long as their claims say, and held to the ratios that only a quiet machine shows")

// Five processes, each on a host of its own, and workers of a forge who use them
// through a load balancer while operators and accidents do what they do. No byte
// is wrong, whoever asks; what may fail is said by each drill. The ratios of times
// are printed, and judged in the full form only: a machine that does other things
// as well says nothing about them.
func TestAClusterStandsItsDrills(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	if !*drillFull {
		t.Parallel()
	}
	d := startDrills(t)
	for _, drill := range []struct {
		name string
		run  func(*drills, *testing.T)
	}{
		{"a split heals", (*drills).split},
		{"a rolling restart", (*drills).rollingRestart},
		{"a frozen owner", (*drills).frozenOwner},
		{"a slow owner", (*drills).slowOwner},
		{"strangers", (*drills).strangers},
	} {
		t.Run(drill.name, func(t *testing.T) { drill.run(d, t) })
	}
}

// drills are what runs on one fleet.
type drills struct {
	fleet *fleet
	slow  *delay // before the peers' port of the node of that index
}

const (
	drillNodes = 5
	slowNode   = 4
	frozenNode = 2

	// delayedPort is where others reach the peers' port of the slow node.
	delayedPort = 8083
)

// long is how long something lasts, in the full form and in the short one.
func long(full, short time.Duration) time.Duration {
	if *drillFull {
		return full
	}
	return short
}

// everyday is what workers do in the drills that are about nodes.
var everyday = mix{creates: 5, rewrites: 5, rereads: 10}

// drillRate is operations a second: what two cores do beside everything else.
func drillRate() int {
	if *drillFull {
		return 600
	}
	return 300
}

func startDrills(t *testing.T) *drills {
	t.Helper()
	args := append([]string{"--ram-bytes=32MiB", "--ssd-bytes=1GiB", "--canary-interval=500ms"}, secretFlags(drillSecret)...)
	f := prepareFleet(t, drillNodes, false, keep(t), args...)
	d := &drills{fleet: f}
	n := f.nodes[slowNode]
	d.slow = startDelay(t, f.net.listen(slowNode, delayedPort), f.net.addr(slowNode, peerPort))
	n.args = append(n.args, "--peer-advertise="+f.net.addr(slowNode, delayedPort))
	f.startAll(f.nodes)
	return d
}

// traffic returns workers with objects to read.
func (d *drills) traffic(t *testing.T, m mix) *traffic {
	t.Helper()
	d.fleet.t = t // who is told what goes wrong from here on
	tr := newTraffic(t, d.fleet.nodes, drillRate(), m)
	tr.store(400, largestItem)
	return tr
}

// wait lets the traffic go on for a while, and returns the span of it.
func (tr *traffic) wait(d time.Duration) span {
	from := tr.now()
	pause(d)
	return span{from, tr.now()}
}

// split cuts two nodes from three until both sides have given each other up, and
// heals. Writes may fail while the owner is out of reach; nothing is wrong, and
// soon after the heal all have one ring again.
func (d *drills) split(t *testing.T) {
	tr := d.traffic(t, everyday)
	end := tr.start()
	defer end()
	f, these, those := d.fleet, []int{0, 1, 2}, []int{3, 4}
	before := tr.wait(long(20*time.Second, time.Second))
	cut := tr.now()
	f.net.cut(100, these, those)
	pause(long(60*time.Second, 8*time.Second))
	apart := 0
	for _, n := range f.nodes {
		if r, err := n.ring(); err != nil {
			t.Errorf("%s: %v", n.name, err)
		} else if len(r.serving()) < drillNodes {
			apart++
		}
	}
	if *drillFull && apart < drillNodes {
		t.Errorf("only %d nodes have given up the other side", apart)
	}
	f.net.cut(0, these, those)
	during := span{cut, tr.now()}
	healed := time.Now()
	f.awaitAgreement(settleWithin)
	t.Logf("%d of %d had given up the other side; one ring %.1f s after the heal", apart, drillNodes, time.Since(healed).Seconds())
	after := tr.wait(long(10*time.Second, time.Second))
	end()
	for name, s := range map[string]span{"before": before, "during": during, "after": after} {
		t.Logf("%-7s reads  %v", name, tr.of(s, allReads))
		t.Logf("%-7s writes %v", name, tr.of(s, writes))
	}
	tr.report()
	if o := tr.of(during, reads); o.lost > 0 {
		t.Errorf("%d reads of objects that never change had no answer from two nodes", o.lost)
	}
	if o := tr.of(after, anything); o.lost > 0 {
		t.Errorf("%d operations failed twice after the heal", o.lost)
	}
}

// restartFailures is the part of all operations that may fail at their first
// attempt while every node is drained and started, one after the other.
const restartFailures = 0.001

func (d *drills) rollingRestart(t *testing.T) {
	tr := d.traffic(t, everyday)
	end := tr.start()
	defer end()
	before := tr.wait(long(20*time.Second, time.Second))
	from := tr.now()
	for _, n := range d.fleet.nodes {
		n.drain()
		n.start()
		n.awaitReady()
		d.fleet.awaitAgreement(settleWithin)
		pause(long(5*time.Second, 300*time.Millisecond))
	}
	during := span{from, tr.now()}
	end()
	o, was := tr.of(during, anything), tr.of(before, anything)
	t.Logf("before %v", was)
	t.Logf("during %v; p99 is %.1f times that before", o, o.ratio(was))
	tr.report()
	if o.lost > 0 {
		t.Errorf("%d operations failed, and again through another node", o.lost)
	}
	if allowed := int(restartFailures * float64(o.count)); o.failed > max(allowed, 1) { // of few operations one is more than that
		t.Errorf("%d of %d operations failed at first, at most %d may", o.failed, o.count, allowed)
	}
}

// Groups of keys: those of the owner that something happens to, and of others.
const (
	othersKeys = 1
	victimKeys = 2
)

// owners returns the owner of each object, as one node sees it.
func (tr *traffic) owners(from *hosted) map[string]string {
	tr.t.Helper()
	var keys []string
	for _, it := range tr.items {
		keys = append(keys, it.key)
	}
	found := make([]string, len(keys))
	each(tr.t, keys, 8, func(i int, key string) error {
		body, err := from.ask(escape("/where/"+key), trafficPatience)
		var where struct{ Owner string }
		if err == nil {
			err = json.Unmarshal(body, &where)
		}
		found[i] = where.Owner
		return err
	})
	owners := map[string]string{}
	for i, key := range keys {
		owners[key] = found[i]
	}
	return owners
}

// sort tells the keys of a node from those of others.
func (tr *traffic) sort(victim *hosted) {
	tr.t.Helper()
	groups := map[string]int{}
	own := 0
	for key, owner := range tr.owners(victim) {
		groups[key] = othersKeys
		if owner == victim.name {
			groups[key] = victimKeys
			own++
		}
	}
	if own == 0 || own == len(groups) {
		tr.t.Fatalf("of %d keys %d are those of %s", len(groups), own, victim.name)
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.group = groups
}

// around has all reads go through other nodes than the victim: what is of
// interest is how they get on without it.
func (tr *traffic) around(victim *hosted) {
	for _, n := range tr.nodes {
		n.open = n.hosted != victim
	}
}

// othersSlower is how much slower keys may be whose owners are well.
const othersSlower = 1.2

// compare reports what became of reads before and during something.
func (tr *traffic) compare(before, during span) {
	tr.t.Helper()
	was, others := tr.of(before, ofGroup(othersKeys)), tr.of(during, ofGroup(othersKeys))
	ownBefore, own := tr.of(before, ofGroup(victimKeys)), tr.of(during, ofGroup(victimKeys))
	tr.t.Logf("others' keys before %v", was)
	tr.t.Logf("others' keys during %v; p99 is %.2f times that before", others, others.ratio(was))
	tr.t.Logf("its own keys before %v", ownBefore)
	tr.t.Logf("its own keys during %v", own)
	tr.report()
	if r := others.ratio(was); *drillFull && r > othersSlower {
		tr.t.Errorf("p99 of others' keys is %.2f times that before, at most %.2f is allowed", r, othersSlower)
	}
	for name, o := range map[string]outcomes{"others' keys": others, "its own keys": own} {
		if o.lost > 0 {
			tr.t.Errorf("%d reads of %s failed twice", o.lost, name)
		}
		if o.count == 0 {
			tr.t.Errorf("no reads of %s", name)
		}
	}
}

// illOwner reads through all nodes but one whose keys are a fifth of all, before
// it falls ill and meanwhile, and compares. It returns the span of the illness.
func (d *drills) illOwner(tr *traffic, victim *hosted, falls, recovers func()) span {
	tr.sort(victim)
	tr.around(victim)
	end := tr.start()
	defer end()
	before := tr.wait(long(30*time.Second, 2*time.Second))
	from := tr.now()
	falls()
	pause(long(30*time.Second, 4*time.Second))
	during := span{from, tr.now()}
	recovers()
	end()
	tr.compare(before, during)
	return during
}

// frozenOwner stops a process that owns a fifth of the keys. All of them are
// still answered, and those of others as before.
func (d *drills) frozenOwner(t *testing.T) {
	tr, victim := d.traffic(t, mix{}), d.fleet.nodes[frozenNode]
	during := d.illOwner(tr, victim, func() { victim.signal(syscall.SIGSTOP) }, func() {
		victim.signal(syscall.SIGCONT)
		d.fleet.awaitAgreement(settleWithin)
	})
	first := tr.of(span{during.from, during.from + 3*time.Second}, ofGroup(victimKeys))
	t.Logf("its own keys, the first 3 s %v", first)
}

// slowOwner delays all that an owner answers to other nodes.
func (d *drills) slowOwner(t *testing.T) {
	d.illOwner(d.traffic(t, mix{}), d.fleet.nodes[slowNode],
		func() { d.slow.by.Store(int64(500 * time.Millisecond)) }, func() { d.slow.by.Store(0) })
}
