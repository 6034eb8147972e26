package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/micelio/micelio/object"
)

// An AtOnceReader is what quick reads are answered from: what a node has in memory
// of objects whose bytes never change.
type AtOnceReader interface {
	// GetAtOnce returns all bytes of an object, which nobody changes any more, and
	// sets info, which is zero, to what describes it, if that is in memory at this
	// moment. It asks nobody, does not wait and keeps nothing of the key, which need
	// not be a valid one.
	GetAtOnce(key object.Key, info *object.Info) ([]byte, bool)
}

const (
	// quickBatch is how many bytes of answers are gathered for one write; while
	// they go out nothing more is read, so this is what a client that does not
	// take its answers costs.
	quickBatch = 256 << 10

	// quickIdle is how long a lane may be unused before the server ends it. The
	// client does so after IdleTimeout.
	quickIdle = 2 * IdleTimeout

	// quickStuck is how long a client may leave an answer untaken. It reads
	// whatever its own readers do, so it is late only if it stands still.
	quickStuck = 10 * time.Second

	// quickMost bounds the lanes of one server: each has some 128 KiB.
	quickMost = 1024
)

// A QuickServer answers the quick reads of a node's peers, on connections that a
// handler gave it. It is safe for concurrent use. Whoever makes one closes it
// after the server that the handler belongs to.
type QuickServer struct {
	memory AtOnceReader

	draining atomic.Bool
	all      sync.WaitGroup
	buffers  sync.Pool // of *[]byte, for answers

	mu     sync.Mutex // guards the following
	closed bool
	conns  map[net.Conn]struct{}
}

// NewQuickServer returns a QuickServer without connections.
func NewQuickServer(memory AtOnceReader) *QuickServer {
	s := &QuickServer{memory: memory, conns: make(map[net.Conn]struct{})}
	s.buffers.New = func() any { return new([]byte) }
	return s
}

// Shutdown ends all lanes without losing an answer to what has been read, lets no
// others begin, and waits for their end, or cuts them when ctx ends. Clients read
// in the ordinary way then.
func (s *QuickServer) Shutdown(ctx context.Context) {
	s.mu.Lock()
	s.draining.Store(true)
	for conn := range s.conns {
		_ = conn.SetReadDeadline(time.Unix(1, 0)) // what is broken ends anyway
	}
	s.mu.Unlock()
	defer context.AfterFunc(ctx, s.cut)()
	s.all.Wait()
}

// Close cuts all lanes and waits for their end.
func (s *QuickServer) Close() {
	s.draining.Store(true)
	s.cut()
	s.all.Wait()
}

// cut closes all connections.
func (s *QuickServer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.conns {
		conn.Close()
	}
}

// enter takes a connection over, until leave. It reports false if no lane may
// begin.
func (s *QuickServer) enter(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.draining.Load() || len(s.conns) >= quickMost {
		return false
	}
	s.conns[conn] = struct{}{}
	s.all.Add(1)
	return true
}

func (s *QuickServer) leave(conn net.Conn) {
	conn.Close()
	s.mu.Lock()
	delete(s.conns, conn)
	s.mu.Unlock()
	s.all.Done()
}

var errNoQuick = errors.New("no quick lanes at present")

// quick makes a lane of the connection, after an answer in HTTP.
func (x *exchange) quick() {
	s := x.cfg.Quick
	if x.r.Method != http.MethodGet || x.r.Header.Get("Upgrade") != quickProtocol {
		x.refuse(badRequest, fmt.Errorf("%s is for the protocol %s", quickTarget, quickProtocol))
		return
	}
	theirs, err := laneNonceOf(x.r.Header)
	if err != nil {
		x.refuse(badRequest, err)
		return
	}
	if s == nil || s.draining.Load() {
		x.refuse(outcomeOf(object.ErrUnavailable), errNoQuick)
		return
	}
	lane := &quickServing{QuickServer: s, x: x, log: x.cfg.Log}
	mine, ask, have := newLaneNonce(), (*laneKey)(nil), (*laneKey)(nil)
	if x.proven != nil {
		ask, err = x.proven.key.laneKey(theirs, mine, toServer)
		if err == nil {
			have, err = x.proven.key.laneKey(theirs, mine, toClient)
		}
		if err != nil {
			x.refuse(internal, err)
			return
		}
	}
	header := x.w.Header()
	header[headerQuick] = []string{mine.String()}
	header[headerFrom] = []string{string(appendEscaped(nil, x.cfg.Node))}
	header["Connection"], header["Upgrade"] = []string{"Upgrade"}, []string{quickProtocol}
	delete(header, "Content-Type")
	x.prove(http.StatusSwitchingProtocols)
	conn, rw, err := x.conn.Hijack()
	if err != nil {
		x.refuse(internal, err)
		return
	}
	if rw.Reader.Buffered() > 0 || !s.enter(conn) { // nobody may speak before the answer
		conn.Close()
		return
	}
	defer s.leave(conn)
	lane.conn, lane.in, lane.out.key = conn, newRecordReader(conn, ask), have
	_ = conn.SetDeadline(time.Now().Add(quickStuck)) // in the place of net/http's
	answer := http.Response{StatusCode: http.StatusSwitchingProtocols, ProtoMajor: 1, ProtoMinor: 1, Header: header}
	if answer.Write(conn) == nil {
		lane.serve()
	}
}

// A quickServing is the server's side of one lane. All is done by one goroutine:
// it reads what has come, answers it, and writes the answers together.
type quickServing struct {
	*QuickServer
	x    *exchange
	log  *slog.Logger
	conn net.Conn
	in   *recordReader
	out  recordWriter

	found object.Info // room for what is found, which the interface would have allocated, with
	info  []byte      // its description

	moved, wrote time.Time // when the deadlines for reading and writing were set

	sent  uint64 // the epoch that the client was told
	told  bool
	other uint64 // the client's
	knows bool   // it has said it
}

func (q *quickServing) serve() {
	from := q.x.r.Header.Get(headerFrom)
	for {
		err := q.answerAll()
		if errors.Is(err, errFrame) {
			q.x.refused.refused(q.conn.RemoteAddr().String(), badRequest, fmt.Errorf("quick lane of node %.64q: %w", from, err))
			if q.x.cfg.Refused != nil {
				q.x.cfg.Refused(badRequest.code)
			}
			return
		}
		if err != nil {
			q.log.Debug("quick lane broke", "from", from, "err", err)
			return
		}
		q.notice(from)
		q.extend()
		if err := q.in.fill(); err != nil {
			if q.draining.Load() {
				q.linger()
			}
			return
		}
	}
}

// answerAll answers what has arrived whole, and sends the answers.
func (q *quickServing) answerAll() error {
	buf := q.buffers.Get().(*[]byte)
	defer q.buffers.Put(buf)
	q.out.reset(*buf)
	defer func() { *buf = q.out.buf }() // it may have grown
	for {
		frames, err := q.in.next()
		if err != nil {
			return err
		}
		if frames == nil {
			return q.flush()
		}
		for len(frames) > 0 {
			var f frame
			if f, frames, err = cutFrame(frames); err != nil {
				return err
			}
			switch f.kind {
			case frameAsk:
				q.answer(f)
			case frameEpoch:
				q.other, q.knows = f.epoch, true
			default:
				return errFrame
			}
			if len(q.out.buf) >= quickBatch {
				if err := q.flush(); err != nil {
					return err
				}
			}
		}
	}
}

// answer answers one ask.
func (q *quickServing) answer(f frame) {
	// The record is not written to before GetAtOnce returns, which is how long the
	// key has to be good.
	key := object.Key(unsafe.String(unsafe.SliceData(f.key), len(f.key)))
	q.found = object.Info{}
	body, ok := q.memory.GetAtOnce(key, &q.found)
	if ok && len(body) <= QuickLimit && int64(len(body)) == q.found.Size {
		if q.info, ok = appendQuickInfo(q.info[:0], &q.found); ok {
			q.out.have(f.id, q.info, body)
			return
		}
	}
	q.out.absent(f.id)
}

// flush writes the answers there are.
func (q *quickServing) flush() error {
	if len(q.out.buf) == 0 {
		return nil
	}
	if now := q.x.handler.epoch.now(); now != nil && (!q.told || now.epoch != q.sent) {
		q.out.epoch(now.epoch)
		q.sent, q.told = now.epoch, true
	}
	// To set a deadline for each batch would cost more than much else of it.
	if now := time.Now(); now.Sub(q.wrote) > quickStuck/2 {
		q.wrote = now
		_ = q.conn.SetWriteDeadline(now.Add(quickStuck))
	}
	_, err := q.conn.Write(q.out.bytes())
	q.out.reset(q.out.buf)
	return err
}

// notice tells of a client that has another view, at each read of it.
func (q *quickServing) notice(from string) {
	if q.knows && q.x.cfg.OtherEpoch != nil {
		if now := q.x.handler.epoch.now(); now != nil && now.epoch != q.other {
			q.x.cfg.OtherEpoch(from, q.other)
		}
	}
}

// extend moves the limit of being idle on, at times.
func (q *quickServing) extend() {
	now := time.Now()
	if now.Sub(q.moved) < quickIdle-IdleTimeout {
		return
	}
	q.moved = now
	_ = q.conn.SetReadDeadline(now.Add(2*quickIdle - IdleTimeout))
	if q.draining.Load() { // Shutdown may have been before
		_ = q.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// linger ends a lane that has been answered: to close it on unread bytes would
// reset it, and the reset overtakes the answers.
func (q *quickServing) linger() {
	half, ok := q.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = q.conn.SetReadDeadline(time.Now().Add(lingerTimeout))
	for {
		q.in.r, q.in.w = 0, 0
		if q.in.fill() != nil {
			return
		}
	}
}
