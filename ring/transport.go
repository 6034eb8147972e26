package ring

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// maxStreams bounds the connections that others have to the gossip port at
	// once, and maxStreamsFrom those from one address, so that one stranger
	// cannot take them all. A member needs one for some milliseconds every few
	// seconds, and nobody keeps one for longer than two Timing.StreamTimeout.
	maxStreams     = 64
	maxStreamsFrom = 24

	// maxStreamBytes bounds what is read from one. It holds the table of 1000
	// members; the library alone reads 20 MiB before it asks for a key.
	maxStreamBytes = 512 << 10

	// socketBuffer is what the kernel is asked to keep of packets, in bytes.
	socketBuffer = 2 << 20
)

const streamTooLong = "too many bytes of gossip on one connection"

var errStreamTooLong = errors.New(streamTooLong)

// A sockets is the gossip's transport over TCP and UDP. Unlike the library's own
// it bounds what strangers can take: connections, bytes, and memory for each
// packet.
type sockets struct {
	tcp     *net.TCPListener
	udp     *net.UDPConn
	addr    netip.AddrPort // bound
	label   []byte         // how each packet of this cluster begins, empty for no label
	refused *refusals

	packets chan *memberlist.Packet
	streams chan net.Conn
	tasks   sync.WaitGroup
	closed  chan struct{}
	once    sync.Once

	mu   sync.Mutex // guards the following
	from map[netip.Addr]int
	open int
}

var _ memberlist.NodeAwareTransport = (*sockets)(nil)

// listenGossip binds a TCP and a UDP socket of the same port and begins to read.
func listenGossip(bind netip.AddrPort, cluster string, refused *refusals) (*sockets, error) {
	label, err := memberlist.AddLabelHeaderToPacket(nil, cluster)
	if err != nil {
		return nil, err
	}
	s := &sockets{
		label: label, refused: refused,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn),
		closed: make(chan struct{}), from: make(map[netip.Addr]int),
	}
	// A port that is free for TCP may be taken for UDP: with port 0 another one
	// is tried.
	for attempt := 1; ; attempt++ {
		err := s.bind(bind)
		if err == nil {
			break
		}
		if bind.Port() != 0 || attempt == 10 || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, err
		}
	}
	// The kernel may give less, which costs packets in a flood and nothing else.
	_ = s.udp.SetReadBuffer(socketBuffer)
	s.tasks.Go(s.readPackets)
	s.tasks.Go(s.acceptStreams)
	return s, nil
}

func (s *sockets) bind(at netip.AddrPort) error {
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	bound := tcp.Addr().(*net.TCPAddr).AddrPort()
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.Addr(), bound.Port())))
	if err != nil {
		return errors.Join(err, tcp.Close())
	}
	s.tcp, s.udp, s.addr = tcp, udp, unmapped(bound)
	return nil
}

// unmapped returns an IPv4 address as such, as which a socket for both kinds
// does not give it.
func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// readPackets hands packets on that may be of this cluster. Junk costs no memory.
func (s *sockets) readPackets() {
	buf := make([]byte, 1<<16) // larger than any packet
	for {
		n, sender, err := s.udp.ReadFromUDPAddrPort(buf)
		now, from := time.Now(), unmapped(sender)
		switch {
		case s.isClosed():
			return
		case err != nil:
			s.pause(time.Millisecond) // it is about one packet, or it does not end
			continue
		case n <= len(s.label) || string(buf[:len(s.label)]) != string(s.label):
			s.refused.note(refusedName, from, "a packet that does not begin with the cluster's name")
			continue
		}
		p := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: net.UDPAddrFromAddrPort(from), Timestamp: now}
		select {
		case s.packets <- p:
		case <-s.closed:
			return
		}
	}
}

func (s *sockets) acceptStreams() {
	wait := time.Millisecond
	for {
		conn, err := s.tcp.AcceptTCP()
		switch {
		case s.isClosed():
			if err == nil {
				conn.Close()
			}
			return
		case err != nil: // perhaps no file descriptors are left
			s.pause(wait)
			wait = min(2*wait, time.Second)
			continue
		}
		wait = time.Millisecond
		source := unmapped(conn.RemoteAddr().(*net.TCPAddr).AddrPort())
		if !s.admit(source.Addr()) {
			conn.Close()
			s.refused.note(refusedLimit, source, "too many connections to the gossip port at once")
			continue
		}
		in := &stream{Conn: conn, left: maxStreamBytes, release: sync.OnceFunc(func() { s.dismiss(source.Addr()) })}
		select {
		case s.streams <- in:
		case <-s.closed:
			in.Close()
			return
		}
	}
}

// admit takes a place for a connection from this address, if there is one.
func (s *sockets) admit(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= maxStreams || s.from[from] >= maxStreamsFrom {
		return false
	}
	s.open++
	s.from[from]++
	return true
}

func (s *sockets) dismiss(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if s.from[from]--; s.from[from] == 0 {
		delete(s.from, from)
	}
}

// A stream is a connection of which not too much is read.
type stream struct {
	net.Conn
	left    int
	release func()
}

func (c *stream) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, errStreamTooLong
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

func (c *stream) Close() error {
	c.release()
	return c.Conn.Close()
}

func (s *sockets) PacketCh() <-chan *memberlist.Packet { return s.packets }
func (s *sockets) StreamCh() <-chan net.Conn           { return s.streams }

// FinalAdvertiseAddr returns what is configured, else what is bound.
func (s *sockets) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	if ip == "" {
		return s.addr.Addr().AsSlice(), int(s.addr.Port()), nil
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, 0, fmt.Errorf("advertised address: %w", err)
	}
	return addr.Unmap().AsSlice(), port, nil
}

func (s *sockets) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = s.udp.WriteToUDPAddrPort(b, unmapped(to))
	return time.Now(), err
}

func (s *sockets) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	return s.WriteTo(b, to.Addr)
}

func (s *sockets) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", addr, timeout)
	if err != nil {
		return nil, err
	}
	return &stream{Conn: conn, left: maxStreamBytes, release: func() {}}, nil
}

func (s *sockets) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return s.DialTimeout(to.Addr, timeout)
}

// Shutdown closes the sockets and returns when nothing is read from them any
// more. It can be called again.
func (s *sockets) Shutdown() error {
	var err error
	s.once.Do(func() {
		close(s.closed)
		err = errors.Join(s.tcp.Close(), s.udp.Close())
	})
	s.tasks.Wait()
	return err
}

func (s *sockets) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// pause waits for d, or until the sockets are closed.
func (s *sockets) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.closed:
	}
}
