package peer

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/object"
)

// A quickLane is the client's side of one lane. Callers leave their asks in a
// queue; one goroutine writes what is there, unless a caller is alone, and another
// one reads the answers.
type quickLane struct {
	set  *quickLanes
	conn net.Conn
	node string // the peer's id
	in   *recordReader
	wake chan struct{} // holds one token if the writer has something to do
	done chan struct{} // closed at the end

	pending atomic.Int32 // asks without an answer, also of those who gave up
	heard   atomic.Int64 // the tick of the last word from the peer
	silent  atomic.Bool  // it owes one
	used    atomic.Bool  // since the keeper looked last; idle is how often it was not
	idle    int

	// Of whoever writes, which is one at a time:
	out    recordWriter
	frames []byte // taken from the queue, with
	framed []int  // its cuts
	wrote  time.Time
	sent   uint64 // the epoch that the peer was told
	told   bool

	mu      sync.Mutex // guards the following
	ended   bool
	writing bool   // somebody writes, or was woken to do so, and has not found the queue empty since
	queue   []byte // frames
	cuts    []int  // where in it records begin, besides its begin
	slots   []quickSlot
	free    []uint16
}

// A quickSlot is one ask under way. The upper half of its id counts how often the
// slot was used, so that an answer that nobody expects any more is known as such.
type quickSlot struct {
	id   uint32
	busy bool
	wait *quickWait // nil: the caller gave up
	tick int64      // of the ask
}

func newQuickLane(set *quickLanes, conn net.Conn, node string, ask, have *laneKey) *quickLane {
	l := &quickLane{set: set, conn: conn, node: node, in: newRecordReader(conn, have), wake: make(chan struct{}, 1), done: make(chan struct{})}
	l.out.key = ask
	l.out.reset(nil)
	return l
}

// ask leaves an ask with the writer. It reports false if there is no room.
func (l *quickLane) ask(key object.Key, w *quickWait) bool {
	tick := l.set.tick.Load()
	l.mu.Lock()
	var at uint16
	switch n := len(l.free); {
	case l.ended || n == 0 && len(l.slots) == quickSlots:
		l.mu.Unlock()
		return false
	case n > 0:
		at, l.free = l.free[n-1], l.free[:n-1]
	default:
		at = uint16(len(l.slots))
		l.slots = append(l.slots, quickSlot{id: uint32(at)})
	}
	s := &l.slots[at]
	s.id += 1 << 16
	s.busy, s.wait, s.tick = true, w, tick
	begin := 0
	if n := len(l.cuts); n > 0 {
		begin = l.cuts[n-1]
	}
	if len(l.queue)-begin+askHead+len(key) > recordRoom {
		l.cuts = append(l.cuts, len(l.queue))
	}
	l.queue = appendAsk(l.queue, s.id, key)
	wake := !l.writing
	l.writing = true
	alone := l.pending.Add(1) == 1
	l.mu.Unlock()
	if !l.used.Load() {
		l.used.Store(true)
	}
	l.set.watch()
	switch {
	case wake && alone:
		l.writeAlone()
	case wake:
		l.wake <- struct{}{}
	}
	return true
}

// writeAlone is write for a caller who is the only one: there is nobody to write
// for, and to wake somebody for it would cost more than to do it. It does not
// block, as all that was written before has been answered.
func (l *quickLane) writeAlone() {
	if !l.dequeue() {
		return
	}
	if err := l.send(); err != nil {
		l.end(err)
		return
	}
	l.mu.Lock()
	more := len(l.queue) > 0
	l.writing = more
	l.mu.Unlock()
	if more {
		l.wake <- struct{}{}
	}
}

// write writes what is in the queue, whenever something is, until the lane ends.
func (l *quickLane) write() {
	for {
		select {
		case <-l.wake:
		case <-l.done:
			return
		}
		// Whoever is about to ask as well gets the chance: one write for all of
		// them costs hardly more than one for the first.
		runtime.Gosched()
		for l.dequeue() {
			if err := l.send(); err != nil {
				l.end(err)
				return
			}
		}
	}
}

// dequeue takes what is in the queue for send.
func (l *quickLane) dequeue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.writing = false
		return false
	}
	l.frames, l.queue = l.queue, l.frames[:0]
	l.framed, l.cuts = l.cuts, l.framed[:0]
	return true
}

// send writes what was taken out of the queue.
func (l *quickLane) send() error {
	l.out.reset(l.out.buf)
	if now := l.set.of.pool.epoch.now(); now != nil && (!l.told || now.epoch != l.sent) {
		l.out.epoch(now.epoch)
		l.sent, l.told = now.epoch, true
	}
	at := 0
	for _, cut := range append(l.framed, len(l.frames)) {
		copy(l.out.frame(cut-at), l.frames[at:cut])
		at = cut
	}
	if now := time.Now(); now.Sub(l.wrote) > quickStuck/2 {
		l.wrote = now
		_ = l.conn.SetWriteDeadline(now.Add(quickStuck)) // what is broken fails at once
	}
	_, err := l.conn.Write(l.out.bytes())
	return err
}

// read hands out answers until the lane ends, and says why it does.
func (l *quickLane) read() error {
	var ready []quickReady
	for {
		if err := l.in.fill(); err != nil {
			return err
		}
		for {
			frames, err := l.in.next()
			if err != nil {
				return err
			}
			if frames == nil {
				break
			}
			ready, err = l.take(frames, ready[:0])
			l.hand(ready)
			if err != nil {
				return err
			}
		}
	}
}

// A quickReady is an answer and who waits for it.
type quickReady struct {
	wait *quickWait
	frame
}

// take takes those whom a record answers out of the table, and appends them to
// ready.
func (l *quickLane) take(frames []byte, ready []quickReady) ([]quickReady, error) {
	l.heard.Store(l.set.tick.Load())
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(frames) > 0 {
		f, rest, err := cutFrame(frames)
		if err != nil {
			return ready, err
		}
		frames = rest
		if f.kind == frameEpoch {
			l.set.hear(f.epoch)
			continue
		}
		at := int(f.id & (1<<16 - 1))
		if f.kind == frameAsk || at >= len(l.slots) || !l.slots[at].busy || l.slots[at].id != f.id {
			return ready, errFrame
		}
		s := &l.slots[at]
		if s.wait != nil {
			ready = append(ready, quickReady{s.wait, f})
		}
		s.busy, s.wait = false, nil
		l.free = append(l.free, uint16(at))
		l.pending.Add(-1)
	}
	l.silent.Store(false) // under mu, so that look does not set it for what is answered
	return ready, nil
}

// hand gives those who wait their answers.
func (l *quickLane) hand(ready []quickReady) {
	hits := int64(0)
	for _, r := range ready {
		if r.kind == frameHave {
			hits++
			r.wait.buf = l.set.of.pool.answers.get(len(r.info) + len(r.body))
			r.wait.split = copy(r.wait.buf.bytes, r.info)
			copy(r.wait.buf.bytes[r.wait.split:], r.body)
		}
		r.wait.done <- struct{}{}
	}
	l.set.count(hits, int64(len(ready))-hits)
}

// look lets callers go on that have waited too long, at a tick, and ends a lane
// that is dead.
func (l *quickLane) look(tick int64) {
	var late []*quickWait
	dead := false
	l.mu.Lock()
	for i := range l.slots {
		s := &l.slots[i]
		if !s.busy {
			continue
		}
		dead = dead || tick-s.tick >= quickDead
		silent := tick-max(s.tick, l.heard.Load()) > quickSilence
		if s.wait == nil || !silent && tick-s.tick < quickPatience {
			continue
		}
		if silent {
			l.silent.Store(true)
		}
		late = append(late, s.wait)
		s.wait = nil
	}
	l.mu.Unlock()
	l.set.giveUp(late)
	if dead {
		l.end(errInactive)
	}
}

// end ends the lane, once, and lets go whoever waits.
func (l *quickLane) end(err error) {
	var late []*quickWait
	l.mu.Lock()
	ended := l.ended
	l.ended = true
	for i := range l.slots {
		if w := l.slots[i].wait; w != nil {
			late = append(late, w)
		}
	}
	l.slots, l.free = nil, nil
	l.pending.Store(0)
	l.mu.Unlock()
	if ended {
		return
	}
	l.conn.Close()
	close(l.done)
	l.set.remove(l)
	l.set.giveUp(late)
	level := slog.LevelDebug
	if errors.Is(err, errFrame) {
		level = slog.LevelWarn
	}
	l.set.of.pool.cfg.Log.Log(context.Background(), level, "quick lane to peer closed", "addr", l.set.of.addr, "err", err)
}
