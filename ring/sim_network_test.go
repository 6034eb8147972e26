package ring

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// A network joins nodes without sockets, so that a cluster runs in virtual time
// and can be hurt. What is sent takes its time; what a cut way swallows is lost,
// a dial over it takes its timeout, and what a paused node sends or is sent is
// held until it goes on.
type network struct {
	mu     sync.Mutex // guards the following
	rng    *rand.Rand
	nodes  map[string]*transport
	lost   map[[2]string]bool   // from, to
	paused map[string]time.Time // until when
	loss   float64              // part of all packets that is lost besides
}

func newNetwork(seed uint64) *network {
	return &network{
		rng: rand.New(rand.NewPCG(seed, 1)), nodes: map[string]*transport{},
		lost: map[[2]string]bool{}, paused: map[string]time.Time{},
	}
}

// lose lets everything that is sent from one address to another be lost, or not
// any more.
func (n *network) lose(from, to string, lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost[[2]string{from, to}] = lost
}

// cut lets each node reach those on its side only; side 0 if none is given.
func (n *network) cut(sides map[string]int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.lost)
	for a := range n.nodes {
		for b := range n.nodes {
			n.lost[[2]string{a, b}] = sides[a] != sides[b]
		}
	}
}

// pause lets a node stand still. Its goroutines cannot be stopped, but nobody
// hears of them.
func (n *network) pause(addr string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused[addr] = time.Now().Add(d)
}

// drop lets a part of all packets be lost. What a connection carries is only
// delayed by that, as by its packets that are sent again.
func (n *network) drop(part float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = part
}

// unlucky draws whether a packet is lost.
func (n *network) unlucky() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rng.Float64() < n.loss
}

// latency is how long something is on its way.
func (n *network) latency() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := 200*time.Microsecond + time.Duration(n.rng.Int64N(int64(3*time.Millisecond)))
	if n.rng.IntN(50) == 0 {
		d += time.Duration(n.rng.Int64N(int64(50 * time.Millisecond)))
	}
	return d
}

// carriage is how long something is on its way that is sent again, after 200 ms,
// as often as it is lost.
func (n *network) carriage() time.Duration {
	d := n.latency()
	for d < time.Second && n.unlucky() {
		d += 200 * time.Millisecond
	}
	return d
}

// held is for how long neither of two nodes may be heard of.
func (n *network) held(from, to string) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(0, time.Until(n.paused[from]), time.Until(n.paused[to]))
}

// swallowed reports whether what is sent is lost.
func (n *network) swallowed(from, to string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost[[2]string{from, to}]
}

func (n *network) at(addr string) *transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nodes[addr]
}

func (n *network) transport(addr string) *transport {
	t := &transport{
		network: n, addr: addr, packets: make(chan *memberlist.Packet, 4096), streams: make(chan net.Conn, 64),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[addr] = t
	return t
}

// A transport is a node's place in the network.
type transport struct {
	network *network
	addr    string
	packets chan *memberlist.Packet
	streams chan net.Conn
}

func (t *transport) address() netip.AddrPort { return netip.MustParseAddrPort(t.addr) }

func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.address().Addr().AsSlice(), int(t.address().Port()), nil
}

func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	if t.network.unlucky() {
		return time.Now(), nil
	}
	p := &memberlist.Packet{Buf: append([]byte(nil), b...), From: net.UDPAddrFromAddrPort(t.address())}
	time.AfterFunc(t.network.latency(), func() { t.deliver(p, addr) })
	return time.Now(), nil
}

func (t *transport) deliver(p *memberlist.Packet, addr string) {
	if held := t.network.held(t.addr, addr); held > 0 {
		time.AfterFunc(held+t.network.latency(), func() { t.deliver(p, addr) })
		return
	}
	to := t.network.at(addr)
	if to == nil || t.network.swallowed(t.addr, addr) {
		return
	}
	p.Timestamp = time.Now()
	select {
	case to.packets <- p:
	default:
	}
}

func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }
func (t *transport) StreamCh() <-chan net.Conn           { return t.streams }

// DialTimeout connects to nobody through a machine that is gone: its timeout
// passes.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to := t.network.at(addr)
	if to == nil || t.network.swallowed(t.addr, addr) || t.network.swallowed(addr, t.addr) {
		<-time.After(timeout)
		return nil, errors.New("i/o timeout")
	}
	<-time.After(t.network.carriage() + t.network.carriage())
	there, back := newSimPipe(t.network, t.addr, addr), newSimPipe(t.network, addr, t.addr)
	if !to.accept(&simConn{in: there, out: back}) {
		there.close()
		back.close()
		return nil, errors.New("connection refused")
	}
	return &simConn{in: back, out: there}, nil
}

// accept puts a connection into the queue of those to be accepted, if the node
// is there and has room.
func (t *transport) accept(conn net.Conn) bool {
	t.network.mu.Lock()
	defer t.network.mu.Unlock()
	if t.network.nodes[t.addr] != t {
		return false
	}
	select {
	case t.streams <- conn:
		return true
	default:
		return false
	}
}

// Shutdown takes the node off the network and closes what nobody accepted.
func (t *transport) Shutdown() error {
	t.network.mu.Lock()
	defer t.network.mu.Unlock()
	if t.network.nodes[t.addr] == t {
		delete(t.network.nodes, t.addr)
	}
	for {
		select {
		case conn := <-t.streams:
			conn.Close()
		default:
			return nil
		}
	}
}
