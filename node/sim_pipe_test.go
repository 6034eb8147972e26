package node

import (
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// A simPipe is one direction of a connection: a queue of pieces on their way and
// a buffer of what has arrived.
type simPipe struct {
	network  *simNetwork
	conn     *simLink
	from, to int

	mu       sync.Mutex // guards the following
	cond     *sync.Cond // something has changed
	way      []simPiece
	last     time.Time // when the last piece is due
	sentAt   time.Time // when it was sent
	sent     int       // bytes on their way and in the buffer
	buf      []byte
	eof      bool  // the writer has finished
	closed   bool  // the reader has
	broken   error // for the reader
	noWrites error // for the writer
	readBy   time.Time
	writeBy  time.Time
}

// A simPiece is what one write sends.
type simPiece struct {
	bytes []byte
	due   time.Time
	fin   bool
}

// simWindow bounds what is written and not read, in bytes, as TCP's buffers do.
const simWindow = 256 << 10

func (n *simNetwork) pipe(c *simLink, from, to int) *simPipe {
	p := &simPipe{network: n, conn: c, from: from, to: to}
	p.cond = sync.NewCond(&p.mu)
	return p
}

// await waits for a change, or a deadline if there is one. The caller holds mu.
func (p *simPipe) await(by time.Time) {
	if !by.IsZero() {
		t := time.AfterFunc(time.Until(by), func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.cond.Broadcast()
		})
		defer t.Stop()
	}
	p.cond.Wait()
}

func passed(by time.Time) bool { return !by.IsZero() && !time.Now().Before(by) }

func (p *simPipe) deadline(which *time.Time, t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*which = t
	p.cond.Broadcast()
}

func (p *simPipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.closed:
			return 0, net.ErrClosed
		case passed(p.readBy):
			return 0, errDeadline
		case p.broken != nil:
			return 0, p.broken
		case len(p.buf) > 0:
			n := copy(b, p.buf)
			p.buf = p.buf[n:]
			p.sent -= n
			p.cond.Broadcast()
			return n, nil
		case p.eof:
			return 0, io.EOF
		}
		p.await(p.readBy)
	}
}

func (p *simPipe) write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	written := 0
	for written < len(b) {
		switch {
		case p.noWrites != nil:
			return written, p.noWrites
		case passed(p.writeBy):
			return written, errDeadline
		}
		room := simWindow - p.sent
		if room <= 0 {
			p.await(p.writeBy)
			continue
		}
		piece := b[written:min(len(b), written+room)]
		written += len(piece)
		p.sendLocked(append([]byte(nil), piece...), false)
	}
	return written, nil
}

// sendLocked puts a piece on its way. What is sent at one moment goes together,
// in however many writes. Now and then the connection breaks in the middle of it.
func (p *simPipe) sendLocked(piece []byte, fin bool) {
	p.sent += len(piece)
	if n := len(p.way); n > 0 && p.sentAt.Equal(time.Now()) {
		last := &p.way[n-1]
		last.bytes, last.fin = append(last.bytes, piece...), last.fin || fin
		return
	}
	p.sentAt = time.Now()
	rng := p.network.w.moment("piece", p.from, p.to, p.sentAt)
	if rng.Float64() < p.network.w.plan.connLoss {
		p.conn.breakSoon()
	}
	due := p.sentAt.Add(simLatency(rng) + p.network.slowness(p.from, p.to))
	if !due.After(p.last) {
		due = p.last.Add(time.Nanosecond)
	}
	p.last = due
	p.way = append(p.way, simPiece{piece, due, fin})
	time.AfterFunc(time.Until(due), p.arrive)
}

// arrive moves what is due into the buffer, unless the way is cut.
func (p *simPipe) arrive() {
	if p.network.stuck(p.from, p.to) {
		return
	}
	p.mu.Lock()
	fin, rejected := false, false
	for len(p.way) > 0 && !p.way[0].due.After(time.Now()) {
		piece := p.way[0]
		p.way = p.way[1:]
		if !p.closed {
			p.buf = append(p.buf, piece.bytes...)
		}
		fin = fin || piece.fin
		rejected = rejected || p.closed && !piece.fin
	}
	p.eof = p.eof || fin
	p.cond.Broadcast()
	p.mu.Unlock()
	if fin { // whoever finished has closed the other direction as well
		p.peer().failWrites(syscall.EPIPE)
	}
	if rejected {
		p.conn.breakSoon()
	}
}

func (p *simPipe) peer() *simPipe {
	if p.conn.pipes[0] == p {
		return p.conn.pipes[1]
	}
	return p.conn.pipes[0]
}

// stir sends what was held once more.
func (p *simPipe) stir() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.way) == 0 || p.network.stuck(p.from, p.to) {
		return
	}
	now := time.Now()
	for i := range p.way {
		piece := &p.way[i]
		if piece.due.After(now) {
			break // its timer is still to come
		}
		piece.due = now.Add(simLatency(p.network.w.moment("held", p.from, p.to, piece.due)))
		if i > 0 && !piece.due.After(p.way[i-1].due) {
			piece.due = p.way[i-1].due.Add(time.Nanosecond)
		}
		time.AfterFunc(time.Until(piece.due), p.arrive)
		if piece.due.After(p.last) {
			p.last = piece.due
		}
	}
}

// close is the reader's.
func (p *simPipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.buf = true, nil
	p.cond.Broadcast()
}

// finish is the writer's.
func (p *simPipe) finish() {
	p.mu.Lock()
	if p.noWrites == nil {
		p.noWrites = net.ErrClosed
		p.sendLocked(nil, true)
	}
	p.cond.Broadcast()
	p.mu.Unlock()
}

// fail breaks the pipe for its reader.
func (p *simPipe) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken == nil {
		p.broken = err
	}
	p.way = nil
	p.cond.Broadcast()
}

// failWrites breaks the pipe for its writer.
func (p *simPipe) failWrites(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.noWrites == nil {
		p.noWrites = err
	}
	p.cond.Broadcast()
}
