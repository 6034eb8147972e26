package ring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A simulation is a cluster on a network in a bubble.
type simulation struct {
	*network
	timing Timing
	places *places
	log    *simLog

	rings []*Ring // by number; nil for one that is down
	stops []context.CancelFunc
	tasks sync.WaitGroup
	seeds []string

	names struct { // the name server
		mu    sync.Mutex
		addrs []netip.Addr // of simName; none: it does not answer
	}
}

// simName is the host name of the seeds.
const simName = "seeds.sim"

// rename lets simName stand for the hosts of other addresses.
func (s *simulation) rename(addrs ...string) {
	s.names.mu.Lock()
	defer s.names.mu.Unlock()
	s.names.addrs = nil
	for _, a := range addrs {
		s.names.addrs = append(s.names.addrs, netip.MustParseAddrPort(a).Addr())
	}
}

func (s *simulation) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	s.names.mu.Lock()
	defer s.names.mu.Unlock()
	if host != simName || s.names.addrs == nil {
		return nil, errors.New("no such host")
	}
	return s.names.addrs, nil
}

func simAddr(i int) string { return fmt.Sprintf("10.0.0.%d:7946", i+1) }

// newSimulation starts n nodes, the first of which is the others' seed. The
// caller runs it in a bubble and ends it.
func newSimulation(seed uint64, n int, timing Timing, p *places) (*simulation, error) {
	s := &simulation{
		network: newNetwork(seed), timing: timing, places: p, log: &simLog{began: time.Now()},
		rings: make([]*Ring, n), stops: make([]context.CancelFunc, n), seeds: []string{simName + ":7946"},
	}
	s.rename(simAddr(0))
	for i := range n {
		if err := s.start(i, simAddr(i)); err != nil {
			s.end()
			return nil, err
		}
	}
	return s, nil
}

// start starts a node at an address.
func (s *simulation) start(i int, addr string) error {
	r, err := Open(Config{
		Self:      Member{ID: fmt.Sprintf("n%d", i), State: Serving, PeerAddr: addr},
		Cluster:   "sim",
		Secret:    []byte("a secret of the simulation"),
		Seeds:     s.seeds,
		Timing:    s.timing,
		Transport: s.transport(addr),
		Log:       slog.New(s.log.of(i)),
	})
	if err != nil {
		return err
	}
	r.place, r.lookup = s.places.newView, s.resolve
	ctx, stop := context.WithCancel(context.Background())
	s.rings[i], s.stops[i] = r, stop
	s.tasks.Go(func() { _ = r.Run(ctx) }) // it fails only when it is called twice
	return nil
}

// crash ends a node without a word.
func (s *simulation) crash(i int) {
	s.log.add(fmt.Sprintf("n%d crashes", i))
	s.stops[i]()
	_ = s.rings[i].Close() // it always returns nil
	s.rings[i] = nil
}

func (s *simulation) end() {
	for i, r := range s.rings {
		if r != nil {
			s.crash(i)
		}
	}
	s.tasks.Wait()
	<-time.After(time.Minute) // for the gossip library's last probes to end
}

// addr returns where a node is reached.
func (s *simulation) addr(i int) string { return s.rings[i].AdvertiseAddr() }

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

// all returns the numbers of all nodes, without some.
func (s *simulation) all(without ...int) []int {
	var nodes []int
	for i := range s.rings {
		out := false
		for _, w := range without {
			out = out || w == i
		}
		if !out {
			nodes = append(nodes, i)
		}
	}
	return nodes
}

// simStep is how often a simulation is looked at.
const simStep = 25 * time.Millisecond

// within lets time pass until ok and returns how long it took; false after
// limit.
func (s *simulation) within(limit time.Duration, ok func() bool) (time.Duration, bool) {
	for began := time.Now(); ; <-time.After(simStep) {
		took := time.Since(began)
		if ok() {
			return took, true
		}
		if took > limit {
			return took, false
		}
	}
}

// holds lets time pass while ok, and reports whether it always was.
func (s *simulation) holds(d time.Duration, ok func() bool) bool {
	for began := time.Now(); time.Since(began) < d; <-time.After(simStep) {
		if !ok() {
			return false
		}
	}
	return true
}

// state says what each node sees, for people.
func (s *simulation) state() string {
	var b strings.Builder
	for i, r := range s.rings {
		fmt.Fprintf(&b, "n%d sees", i)
		if r == nil {
			b.WriteString(" nothing: it is down")
		} else {
			for _, m := range r.View().Members() {
				fmt.Fprintf(&b, " %s(%s)", m.ID, m.State)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// A simLog keeps what the nodes of one simulation say, to be told of when it
// failed.
type simLog struct {
	began time.Time
	mu    sync.Mutex
	lines []string
}

func (l *simLog) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf("%10.3fs %s", time.Since(l.began).Seconds(), line))
}

func (l *simLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

func (l *simLog) of(node int) slog.Handler { return &simHandler{l, node} }

type simHandler struct {
	log  *simLog
	node int
}

func (h *simHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}
func (h *simHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *simHandler) WithGroup(string) slog.Handler      { return h }
func (h *simHandler) Handle(_ context.Context, r slog.Record) error {
	line := fmt.Sprintf("n%d: %s", h.node, r.Message)
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	h.log.add(line)
	return nil
}

// places keep the tables of all sets of owners that simulations come across:
// they take milliseconds each to make, and there are few.
type places struct {
	mu sync.Mutex
	of map[string]*View
}

func newPlaces() *places { return &places{of: map[string]*View{}} }

// newView is the function of this name with a memory.
func (p *places) newView(members []Member, before *View) (*View, error) {
	var owners []string
	for _, m := range unique(members) {
		if m.State == Serving {
			owners = append(owners, m.ID)
		}
	}
	key := strings.Join(owners, " ")
	p.mu.Lock()
	known := p.of[key]
	p.mu.Unlock()
	v, err := newView(members, cmp.Or(known, before)) // which takes over the table of known
	if err == nil && known == nil {
		p.mu.Lock()
		p.of[key] = v
		p.mu.Unlock()
	}
	return v, err
}

// simulate runs f in a bubble with a cluster of n nodes.
func simulate(t *testing.T, n int, timing Timing, f func(s *simulation)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := newSimulation(1, n, timing, newPlaces())
		if err != nil {
			t.Fatal(err)
		}
		defer s.end()
		f(s)
		if t.Failed() {
			t.Logf("%s%s", s.log, s.state())
		}
	})
}
