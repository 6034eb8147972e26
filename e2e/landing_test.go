package e2e

import (
	endian "encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var landingDeaths = flag.Int("landing.deaths", 8, "nodes that die while sessions land")

const (
	landers      = 20
	landingNodes = 3
	// leastLandings is what there must be in the end, or the test was none.
	leastLandings = 60
)

// Twenty workers of a forge land sessions in one project through three nodes, each
// of which dies now and then. A worker that is not told whether its landing is in
// finds out. In the end none is lost, none is there twice, no position is missing,
// and everything that was ever pointed to is there with the right bytes.

func TestLandingsOutliveNodesOverS3(t *testing.T) { testLandings(t, true) }

func TestLandingsOutliveNodesOverADirectory(t *testing.T) { testLandings(t, false) }

func testLandings(t *testing.T, overS3 bool) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Parallel()
	f := startFleet(t, landingNodes, overS3, keep(t), "--ram-bytes=16MiB", "--ssd-bytes=1GiB")
	l := &landings{t: t, project: "projects/7f9c", at: map[uint64]landing{}, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: landers}}}
	defer l.client.CloseIdleConnections()
	for _, n := range f.nodes {
		l.urls = append(l.urls, strings.TrimSuffix(n.url("x"), "x"))
	}
	stop := make(chan struct{})
	var working sync.WaitGroup
	for id := range landers {
		working.Go(func() { l.work(id, stop) })
	}
	began := time.Now()
	dying(f, *landingDeaths)
	await(t, "enough landings", func() bool { return l.count() >= leastLandings || t.Failed() })
	close(stop)
	working.Wait()
	t.Logf("%d landings in %v; %d lost to another lander, %d had no answer to their compare-and-swap", l.count(), time.Since(began).Round(time.Second), l.conflicts, l.unsettled)
	if !t.Failed() {
		l.verify()
	}
}

// dying lets one node after the other die, in different ways, and live again.
func dying(f *fleet, deaths int) {
	r := rand.New(rand.NewPCG(uint64(deaths), 0))
	for i := range deaths {
		n := f.nodes[r.IntN(len(f.nodes))]
		switch i % 4 {
		case 0, 2:
			n.kill()
		case 1:
			n.kill()
			n.wipe()
		case 3:
			n.signal(syscall.SIGSTOP)
		}
		pause(time.Duration(500+r.IntN(1500)) * time.Millisecond)
		if i%4 == 3 {
			n.signal(syscall.SIGCONT)
		} else {
			n.start()
			n.awaitReady()
		}
		pause(time.Duration(r.IntN(1000)) * time.Millisecond)
	}
}

// landings is what the landers were told.
type landings struct {
	t       *testing.T
	client  *http.Client
	urls    []string
	project string

	mu                   sync.Mutex // guards the following
	at                   map[uint64]landing
	conflicts, unsettled int
}

type landing struct {
	path    string
	content []byte
}

func (l *landings) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.at)
}

func (l *landings) forge(id int) *forge {
	return &forge{client: l.client, urls: l.urls, at: id % len(l.urls), project: l.project, rand: rand.New(rand.NewPCG(uint64(id), 0))}
}

// work lands one session after the other.
func (l *landings) work(id int, stop chan struct{}) {
	f := l.forge(id)
	for n := 0; !l.t.Failed(); n++ {
		select {
		case <-stop:
			l.mu.Lock()
			defer l.mu.Unlock()
			l.conflicts += f.conflicts
			l.unsettled += f.unsettled
			return
		default:
		}
		one := landing{fmt.Sprintf("lib/%d/%d.ex", id, n), randomBytes(uint64(id*10_000+n), 100+f.rand.IntN(50_000))}
		if f.rand.IntN(20) == 0 {
			one.content = randomBytes(uint64(id*10_000+n), 300_000)
		}
		var stamp [16]byte
		endian.BigEndian.PutUint64(stamp[:], uint64(time.Now().UnixMilli()))
		endian.BigEndian.PutUint64(stamp[8:], uint64(id)<<32|uint64(n))
		position, err := f.land(one.path, one.content, stamp)
		if err != nil {
			l.t.Errorf("lander %d: %v", id, err)
			return
		}
		l.mu.Lock()
		if other, taken := l.at[position]; taken {
			l.t.Errorf("position %d was given to %s and %s", position, other.path, one.path)
		}
		l.at[position] = one
		l.mu.Unlock()
	}
}

// verify reads the whole chain through all nodes.
func (l *landings) verify() {
	last, _, err := l.forge(0).head()
	if err != nil || last.position != uint64(len(l.at)) {
		l.t.Fatalf("the head is at %d after %d landings, %v", last.position, len(l.at), err)
	}
	before := fileTree{}
	for position := uint64(1); position <= last.position; position++ {
		f := l.forge(int(position)) // through another node each time
		b, err := f.read(f.recordKey(position))
		if err != nil {
			l.t.Fatalf("no record of position %d: %v", position, err)
		}
		h, err := parseHead(b)
		if err != nil || h.position != position {
			l.t.Fatalf("the record of %d is %+v, %v", position, h, err)
		}
		if position == last.position && h != last {
			l.t.Errorf("the last record is %+v, the head %+v", h, last)
		}
		now, err := f.tree(h)
		if err != nil {
			l.t.Fatalf("the tree of %d: %v", position, err)
		}
		l.wantAdded(f, position, before, now)
		before = now
	}
}

// wantAdded holds a tree to be the one before it and the landing of its position.
func (l *landings) wantAdded(f *forge, position uint64, before, now fileTree) {
	l.t.Helper()
	want, ok := l.at[position]
	if !ok {
		l.t.Errorf("nobody was given position %d", position)
	}
	if _, there := before[want.path]; there || len(now) != len(before)+1 {
		l.t.Errorf("position %d has %d files after %d, with %s before: %v", position, len(now), len(before), want.path, there)
	}
	for path, sum := range before {
		if now[path] != sum {
			l.t.Errorf("%s of an earlier landing is gone at %d", path, position)
		}
	}
	b, err := f.readNamed("blobs", now[want.path])
	if err != nil || string(b) != string(want.content) {
		l.t.Errorf("%s, landed at %d: %d bytes of %d, %v", want.path, position, len(b), len(want.content), err)
	}
}
