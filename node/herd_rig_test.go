package node

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	measures "runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/pace"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

// made fills p with the bytes from offset off on of the content that every
// staged object has. Each word is a mix of its number, by the finalizer of
// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), so that any byte can be
// checked by itself and no two blocks are alike.
func made(p []byte, off int64) {
	var word [8]byte
	for len(p) > 0 {
		z := (uint64(off/8) + 1) * 0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		if off%8 == 0 && len(p) >= 8 {
			binary.LittleEndian.PutUint64(p, z)
			p, off = p[8:], off+8
			continue
		}
		binary.LittleEndian.PutUint64(word[:], z)
		n := copy(p, word[off%8:])
		p, off = p[n:], off+int64(n)
	}
}

// A stage is an origin with one object, which it gives away as a test says. What
// is on no stage is at the node's own origin.
type stage struct {
	key  object.Key
	size int64

	// narrow gives the sockets of the nodes small buffers; see narrowListener.
	narrow bool

	whole, ranged atomic.Int64 // reads of the object so far
	cut           atomic.Int64 // bodies whose reader's context ended while they were held

	mu       sync.Mutex // guards the following
	answers  bool       // reads are answered
	released int64      // bytes of the body that may go out
	changed  chan struct{}
}

// newStage returns a stage that answers nothing yet. A small object has a key of
// the verified class; nobody wants to hash a large one first.
func newStage(size int64) *stage {
	s := &stage{key: "cache/stage/sha256:1/out", size: size, changed: make(chan struct{})}
	if size <= 16<<20 {
		s.key = object.Key(fmt.Sprintf("artifacts/sha256:%x", sha256.Sum256(s.bytes(0, size))))
	}
	return s
}

// bytes returns a part of the content.
func (s *stage) bytes(off, n int64) []byte {
	p := make([]byte, n)
	made(p, off)
	return p
}

// release lets reads be answered, and bytes up to n go out.
func (s *stage) release(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers, s.released = true, n
	close(s.changed)
	s.changed = make(chan struct{})
}

// await waits until reads are answered and a byte may go out, and returns how
// many bytes may.
func (s *stage) await(ctx context.Context, pos int64) (int64, error) {
	for {
		s.mu.Lock()
		answers, released, changed := s.answers, s.released, s.changed
		s.mu.Unlock()
		if answers && released > pos {
			return released, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			s.cut.Add(1)
			return 0, ctx.Err()
		}
	}
}

// A staged is a node's authority with stages before it.
type staged struct {
	authority
	stages []*stage
}

func (s *staged) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	i := slices.IndexFunc(s.stages, func(st *stage) bool { return st.key == key })
	if i < 0 {
		return s.authority.Get(ctx, key, opt)
	}
	st := s.stages[i]
	if opt.Range.IsSet() {
		st.ranged.Add(1)
	} else {
		st.whole.Add(1)
	}
	if _, err := st.await(ctx, -1); err != nil {
		return nil, err
	}
	info := object.Info{Key: key, Size: st.size, ETag: "staged", Version: "1", Tier: object.TierOrigin}
	if err := object.CheckRead(info, opt.IfMatch, opt.IfNoneMatch); err != nil {
		return nil, err
	}
	offset, length, err := opt.Range.Resolve(st.size)
	if err != nil {
		return nil, err
	}
	return &object.Object{Info: info, Offset: offset, Length: length, Body: &stagedBody{st, ctx, offset, offset + length}}, nil
}

type stagedBody struct {
	*stage
	ctx      context.Context
	pos, end int64
}

func (b *stagedBody) Read(p []byte) (int, error) {
	if b.pos == b.end {
		return 0, io.EOF
	}
	released, err := b.await(b.ctx, b.pos)
	if err != nil {
		return 0, err
	}
	p = p[:min(int64(len(p)), b.end-b.pos, released-b.pos)]
	made(p, b.pos)
	b.pos += int64(len(p))
	return len(p), nil
}

func (b *stagedBody) Close() error { return nil }

// A performer is a node on a stage.
type performer struct {
	*running
	inside atomic.Int64 // client requests that have reached it and have not ended
}

// stageNodes runs a cluster of n nodes over some stages. A machine that is busy
// with ten thousand connections is slow, and that is no claim here: peers wait
// for the first byte as long as it takes, and none is taken for dead.
func stageNodes(t *testing.T, n int, stages []*stage, edits ...func(*Config)) []*performer {
	t.Helper()
	dir := t.TempDir()
	var nodes []*performer
	var all []*running
	for i := range n {
		cfg := DefaultConfig()
		cfg.Name, cfg.DataDir, cfg.LocalPath = fmt.Sprint("node-", i), filepath.Join(dir, fmt.Sprint("node", i)), filepath.Join(dir, "origin")
		cfg.Listen, cfg.PeerListen, cfg.AdminListen, cfg.GossipListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		cfg.DrainDelay = 0
		if i > 0 {
			cfg.Join = []string{nodes[0].GossipAddr()}
		}
		for _, edit := range edits {
			edit(&cfg)
		}
		p := openStaged(t, cfg, stages)
		nodes, all = append(nodes, p), append(all, p.running)
	}
	awaitServing(t, all, n)
	return nodes
}

func openStaged(t *testing.T, cfg Config, stages []*stage) *performer {
	t.Helper()
	n, err := Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	n.authority = &staged{n.authority, stages}
	n.meter = newMeter()
	if err := n.assemble(); err != nil { // again, over the stage
		n.release()
		t.Fatal(err)
	}
	n.pool = peer.NewPool(peer.Config{Node: n.id, Cluster: n.cfg.Cluster, ConnectTimeout: time.Hour, FirstByteTimeout: time.Hour})
	if stages[0].narrow {
		n.data.Listener, n.peers.Listener = narrowListener{n.data.Listener}, narrowListener{n.peers.Listener}
	}
	n.plane.hedges.reads = pace.NewHedger(pace.NewBudget(0, 0.5), nil) // a burst below one: none
	n.vitals.sign = func(context.Context, ring.Member) error { return nil }
	p := &performer{running: &running{Node: n, done: make(chan struct{})}}
	serve := n.data.server.Handler
	n.data.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.inside.Add(1)
		defer p.inside.Add(-1)
		serve.ServeHTTP(w, r)
	})
	var ctx context.Context
	ctx, p.stop = context.WithCancel(context.Background())
	go func() {
		defer close(p.done)
		p.err = n.Run(ctx)
	}()
	t.Cleanup(func() {
		if err := p.drained(); err != nil {
			t.Errorf("%s: Run: %v", n.ID(), err)
		}
	})
	return p
}

// roles returns the owner of the staged object and the other nodes.
func roles(nodes []*performer, st *stage) (owner *performer, others []*performer) {
	id, _ := nodes[0].ring.View().Owner(string(st.key))
	for _, n := range nodes {
		if n.ID() == id.ID {
			owner = n
		} else {
			others = append(others, n)
		}
	}
	return owner, others
}

// arrived waits until the cluster has so many client requests under way, all of
// which but one, which it began for, have joined a fill at the owner.
func arrived(nodes []*performer, st *stage, n int64) {
	owner, _ := roles(nodes, st)
	eventually(func() bool {
		return inside(nodes) == n && owner.cache.Stats().Joined == n-1
	})
}

func inside(nodes []*performer) (n int64) {
	for _, p := range nodes {
		n += p.inside.Load()
	}
	return n
}

// eventually waits for a state that is sure to come.
func eventually(reached func() bool) {
	for !reached() {
		runtime.Gosched()
	}
}

// A lean client is one HTTP connection with one request, for tests that need
// thousands: it costs a socket and half a KiB of memory, and no goroutine.
type lean struct {
	net.Conn
	in     *bufio.Reader
	status int
	pos    int64 // in the object, of the next byte
	end    int64
}

// patience ends a read of a client that will never succeed. It is no claim: it
// turns a test that would hang into one that fails.
const patience = 2 * time.Minute

// narrow gives a client's socket a small receive buffer.
func narrow(_, _ string, c syscall.RawConn) error {
	var err error
	return errors.Join(c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, socketBuffer)
	}), err)
}

// A narrowListener gives the sockets that it accepts a small send buffer. With
// those of its clients it keeps the kernel from taking in whole bodies, so that
// it is the server who must hold what a slow client does not take.
type narrowListener struct{ net.Listener }

func (l narrowListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		err = conn.(*net.TCPConn).SetWriteBuffer(socketBuffer)
	}
	return conn, err
}

// socketBuffer is a small one, in bytes.
const socketBuffer = 16 << 10

// ask connects to a node and asks for the bytes of the staged object from
// offset from up to to; 0 for all.
func (s *stage) ask(n *performer, from, to int64, control func(string, string, syscall.RawConn) error) (*lean, error) {
	conn, err := (&net.Dialer{Control: control}).Dial("tcp", n.Addr())
	if err != nil {
		return nil, err
	}
	var rng string
	if to > 0 {
		rng = fmt.Sprintf("Range: bytes=%d-%d\r\n", from, to-1)
	}
	_, err = fmt.Fprintf(conn, "GET /micelio/%s HTTP/1.1\r\nHost: %s\r\n%s\r\n", s.key, n.Addr(), rng)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &lean{Conn: conn, in: bufio.NewReaderSize(conn, 512), pos: from}, nil
}

// begin reads the header of the answer.
func (c *lean) begin() error {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		name, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
		switch {
		case len(name) == 0:
			if c.status != http.StatusOK && c.status != http.StatusPartialContent {
				return fmt.Errorf("status %d", c.status)
			}
			return nil
		case c.status == 0:
			if c.status, err = strconv.Atoi(strings.Fields(string(name))[1]); err != nil {
				return err
			}
		case bytes.EqualFold(name, []byte("Content-Length")):
			length, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			if err != nil {
				return err
			}
			c.end = c.pos + length
		}
	}
}

// upTo reads and checks the body up to an offset of the object. content is the
// beginning of the object, as far as that is known.
func (c *lean) upTo(to int64, content []byte) error {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	var buf, want [8 << 10]byte
	for to = min(to, c.end); c.pos < to; {
		n, err := c.in.Read(buf[:min(int64(len(buf)), to-c.pos)])
		right := want[:n]
		if end := c.pos + int64(n); end <= int64(len(content)) {
			right = content[c.pos:end]
		} else {
			made(right, c.pos)
		}
		if !bytes.Equal(buf[:n], right) {
			return fmt.Errorf("other bytes around %d", c.pos)
		}
		if c.pos += int64(n); err != nil && c.pos < to {
			return fmt.Errorf("at byte %d of %d: %w", c.pos, c.end, err)
		}
	}
	return nil
}

// heap returns the bytes of memory that the process uses for objects and
// stacks at this moment, with what has not been collected yet.
func heap() int64 {
	samples := []measures.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	measures.Read(samples)
	return int64(samples[0].Value.Uint64() + samples[1].Value.Uint64())
}

// widen gives a narrow client its full speed.
func widen(c *lean) error { return c.Conn.(*net.TCPConn).SetReadBuffer(256 << 10) }
