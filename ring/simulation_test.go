package ring

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

// A network joins nodes without sockets, so that a cluster runs in virtual time
// and can be cut. A packet takes a millisecond; one that is cut off is lost, and
// a dial that is takes its timeout.
type network struct {
	mu    sync.Mutex
	nodes map[string]*transport
	sides map[string]int // who hears whom: those on the same side
}

func newNetwork() *network {
	return &network{nodes: map[string]*transport{}, sides: map[string]int{}}
}

// cut puts each of these addresses on the side given; all begin on side 0.
func (n *network) cut(sides map[string]int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sides = sides
}

// between returns the transport at to if from can reach it.
func (n *network) between(from, to string) *transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sides[from] != n.sides[to] {
		return nil
	}
	return n.nodes[to]
}

func (n *network) transport(addr string) *transport {
	t := &transport{
		network: n, addr: netip.MustParseAddrPort(addr),
		packets: make(chan *memberlist.Packet, 1024), streams: make(chan net.Conn, 16),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[addr] = t
	return t
}

type transport struct {
	network *network
	addr    netip.AddrPort
	packets chan *memberlist.Packet
	streams chan net.Conn
}

const latency = time.Millisecond

func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.addr.Addr().AsSlice(), int(t.addr.Port()), nil
}

func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	p := &memberlist.Packet{Buf: append([]byte(nil), b...), From: net.UDPAddrFromAddrPort(t.addr)}
	time.AfterFunc(latency, func() {
		if to := t.network.between(t.addr.String(), addr); to != nil {
			p.Timestamp = time.Now()
			select {
			case to.packets <- p:
			default:
			}
		}
	})
	return time.Now(), nil
}

func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }
func (t *transport) StreamCh() <-chan net.Conn           { return t.streams }

func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to := t.network.between(t.addr.String(), addr)
	if to == nil {
		<-time.After(timeout)
		return nil, errors.New("i/o timeout")
	}
	here, there := net.Pipe()
	select {
	case to.streams <- there:
		return here, nil
	default:
		return nil, errors.New("connection refused")
	}
}

func (t *transport) Shutdown() error {
	t.network.mu.Lock()
	defer t.network.mu.Unlock()
	delete(t.network.nodes, t.addr.String())
	return nil
}

// A simulation is a cluster with the default timings on a network in a bubble.
type simulation struct {
	*network
	t     *testing.T
	rings []*Ring
}

func simAddr(i int) string { return fmt.Sprintf("10.0.0.%d:7946", i+1) }

// simulate runs f in a bubble with a cluster of n nodes, the first of which is
// the others' seed.
func simulate(t *testing.T, n int, timing Timing, f func(s *simulation)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &simulation{network: newNetwork(), t: t}
		ctx, cancel := context.WithCancel(context.Background())
		var tasks sync.WaitGroup
		defer func() {
			cancel()
			tasks.Wait()
			for _, r := range s.rings {
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			<-time.After(time.Minute) // for the gossip library's last probes to end
		}()
		for i := range n {
			r, err := Open(Config{
				Self:      Member{ID: fmt.Sprintf("n%d", i), State: Serving, PeerAddr: simAddr(i)},
				Cluster:   "sim",
				Seeds:     []string{simAddr(0)},
				Timing:    timing,
				Transport: s.transport(simAddr(i)),
			})
			if err != nil {
				t.Fatal(err)
			}
			s.rings = append(s.rings, r)
			tasks.Go(func() {
				if err := r.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		f(s)
	})
}

// agree reports whether these nodes see each other and nobody else.
func (s *simulation) agree(nodes ...int) bool {
	for _, i := range nodes {
		v := s.rings[i].View()
		if len(v.Members()) != len(nodes) || v.Epoch() != s.rings[nodes[0]].View().Epoch() {
			return false
		}
		for _, j := range nodes {
			if m, _ := v.Member(s.rings[j].Self().ID); m != s.rings[j].Self() {
				return false
			}
		}
	}
	return true
}

// within lets time pass until ok and returns how long it took; it fails after
// limit.
func (s *simulation) within(limit time.Duration, what string, ok func() bool) time.Duration {
	s.t.Helper()
	const step = 50 * time.Millisecond
	for began := time.Now(); ; <-time.After(step) {
		took := time.Since(began)
		if ok() {
			return took
		}
		if took > limit {
			for _, r := range s.rings {
				s.t.Logf("%s sees %+v", r.Self().ID, r.View().Members())
			}
			s.t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// Far above what they take. A join that gossip failed to bring to someone waits
// for the next comparison of tables.
const (
	joinSeen  = 40 * time.Second
	crashSeen = 15 * time.Second
	splitSeen = time.Minute
	splitMend = 20 * time.Second
)

func TestACrashIsSeenWithTheDefaultTimings(t *testing.T) {
	simulate(t, 3, Timing{}, func(s *simulation) {
		s.within(joinSeen, "join", func() bool { return s.agree(0, 1, 2) })
		if err := s.rings[0].Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("seen after %v", s.within(crashSeen, "crash", func() bool { return s.agree(1, 2) }))
	})
}

// Long enough that everyone has forgotten the other side.
const splitLasts = 5 * time.Minute

func TestASplitHeals(t *testing.T) {
	for name, sides := range map[string][2][]int{
		"the seed alone":    {{0}, {1, 2, 3}},
		"the seed in a few": {{0, 1}, {2, 3}},
		"one other alone":   {{0, 1, 2}, {3}},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, 4, Timing{}, func(s *simulation) {
				s.within(joinSeen, "join", func() bool { return s.agree(0, 1, 2, 3) })
				s.split(sides)
				<-time.After(splitLasts)
				s.cut(nil)
				took := s.within(splitMend, "healing", func() bool { return s.agree(0, 1, 2, 3) })
				t.Logf("healed after %v", took)
			})
		})
	}
}

// This is what the rejoin loop is there for.
func TestASplitStaysWithoutTheRejoinLoop(t *testing.T) {
	never := Timing{RejoinInterval: 1000 * time.Hour}
	simulate(t, 4, never, func(s *simulation) {
		s.within(joinSeen, "join", func() bool { return s.agree(0, 1, 2, 3) })
		sides := [2][]int{{0, 1}, {2, 3}}
		s.split(sides)
		<-time.After(splitLasts)
		s.cut(nil)
		<-time.After(splitLasts)
		if !s.agree(sides[0]...) || !s.agree(sides[1]...) {
			t.Error("gossip healed the split by itself: the loop may not be needed any more")
		}
	})
}

// split cuts the network in two and waits until each side sees only itself.
func (s *simulation) split(sides [2][]int) {
	s.t.Helper()
	where := map[string]int{}
	for _, i := range sides[1] {
		where[simAddr(i)] = 1
	}
	s.cut(where)
	s.within(splitSeen, "split", func() bool { return s.agree(sides[0]...) && s.agree(sides[1]...) })
}

func TestNodesThatStartTogetherMakeFewViews(t *testing.T) {
	const n = 8
	simulate(t, n, Timing{}, func(s *simulation) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var counter sync.WaitGroup
		views := 0
		counter.Go(func() {
			for {
				changed := s.rings[0].Changed()
				select {
				case <-changed:
					views++
				case <-ctx.Done():
					return
				}
			}
		})
		s.within(joinSeen, "join", func() bool { return s.agree(0, 1, 2, 3, 4, 5, 6, 7) })
		cancel()
		counter.Wait()
		if views > 2 {
			t.Errorf("%d views for %d nodes", views, n)
		}
	})
}

// The announcement cannot leave while nobody can be reached, and is not lost.
func TestSetStateReturnsWithItsContext(t *testing.T) {
	simulate(t, 3, Timing{GossipInterval: time.Hour, ProbeInterval: time.Hour, PushPullInterval: time.Minute},
		func(s *simulation) {
			s.within(2*time.Minute, "join", func() bool { return s.agree(0, 1, 2) })
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			began := time.Now()
			if err := s.rings[1].SetState(ctx, Draining); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("set state: %v", err)
			}
			if took := time.Since(began); took != time.Second {
				t.Errorf("took %v", took)
			}
			if s.rings[1].View().Share("n1") != 0 {
				t.Error("the own view did not follow")
			}
			s.within(10*time.Minute, "the state", func() bool { return s.rings[0].View().Share("n1") == 0 })
		})
}
