package peer

import (
	"sync"
	"time"

	"github.com/micelio/micelio/object"
)

// A quick lane is a connection for reads of small objects that the peer has in
// memory and whose bytes never change. HTTP costs such a read forty microseconds
// of CPU on both sides together and a connection of its own; a lane carries many
// reads at once, in few and large reads and writes, for a fraction of that.
// What it cannot answer at once it answers with "absent", and the caller asks
// in the ordinary way, where there are hedges, breakers, misses and errors. So a
// lane need not be reliable, only quick, and never a reason to wait.
//
// It begins as a request to the peer's handler, let in and proven as any other,
// and becomes a lane with its answer:
//
//	GET /quick HTTP/1.1             HTTP/1.1 101 Switching Protocols
//	Connection: Upgrade             Connection: Upgrade
//	Upgrade: micelio-quick/1        Upgrade: micelio-quick/1
//	Micelio-Quick: <32 hex digits>  Micelio-Quick: <32 hex digits>
//	                                Micelio-From: <the node that answers>
//
// From there on it speaks in records (quickwire.go), which are sealed if the
// cluster has a secret (quickseal.go): here the bytes of objects are proven, and
// hidden, too.
const quickProtocol = "micelio-quick/1"

// An Answer is an object that was read quickly. It may be used again after
// Release. It belongs to one goroutine.
type Answer struct {
	Info object.Info // Node is that of the peer
	Body []byte      // all bytes of the object, as long as they are Held; they are not to be changed
	Held *Held       // nil: there is no answer
}

// Release gives the bytes back. It may be called more than once, and without a
// read before.
func (a *Answer) Release() {
	if a.Held != nil {
		a.Held.Release()
	}
	*a = Answer{}
}

// Held is the memory of an Answer, for whoever keeps the bytes and not the Answer.
type Held struct {
	bytes []byte // description and bytes of an object
	home  *sync.Pool
}

// Release gives the memory back. It is called once, and not besides
// Answer.Release.
func (h *Held) Release() { h.home.Put(h) }

// Quick reads a whole object if the peer has it in memory, its bytes never change
// and it is small. Otherwise, or if that cannot be known within some 20 ms, it
// reports false, which says nothing about the object: the caller reads it with
// Get. If it reports true, into holds the object until its Release. The key has to
// be good until it returns, and no longer.
//
// The first calls report false and open a connection meanwhile. Of a peer that
// has little of what it is asked for, most calls report false without asking.
func (c *Client) Quick(key object.Key, into *Answer) bool {
	q := c.quick
	lane := q.pick()
	if lane == nil || len(key) == 0 || len(key) > object.MaxKeyLen || !q.worth.ask() {
		return false
	}
	w := q.waiters.Get().(*quickWait)
	if !lane.ask(key, w) {
		q.waiters.Put(w)
		return false
	}
	<-w.done
	buf, split := w.buf, w.split
	w.buf = nil
	q.waiters.Put(w)
	if buf == nil {
		return false
	}
	// All of an Info shares the memory of one string, so that this is all that a
	// quick read allocates.
	text := string(buf.bytes[:split]) + string(key)
	into.Info = object.Info{}
	if err := decodeQuickInfo(text[:split], &into.Info); err != nil {
		buf.Release()
		lane.end(err)
		return false
	}
	into.Body, into.Held = buf.bytes[split:], buf
	into.Info.Key, into.Info.Size, into.Info.Node = object.Key(text[split:]), int64(len(into.Body)), lane.node
	q.answered.Add(1)
	return true
}

// QuickStats are figures of the quick lanes to a peer.
type QuickStats struct {
	Lanes    int64 // open now
	InFlight int64 // reads under way, also those whose caller has gone on
	Answered int64 // reads that brought an object
	Absent   int64 // reads of what the peer has not in memory
	Late     int64 // reads that were given up, because no answer came in time or the lane broke
}

// QuickStats returns the figures of this moment.
func (c *Client) QuickStats() QuickStats {
	q := c.quick
	s := QuickStats{Answered: q.answered.Load(), Absent: q.absent.Load(), Late: q.late.Load()}
	for _, lane := range *q.lanes.Load() {
		s.Lanes++
		s.InFlight += int64(lane.pending.Load())
	}
	return s
}

// QuickAnswered is how many quick reads brought an object so far.
func (c *Client) QuickAnswered() int64 { return c.quick.answered.Load() }

// Gone reports whether the Pool has forgotten the peer: whoever asks it for it
// again gets another Client.
func (c *Client) Gone() bool { return c.gone.Load() }

// A quickWait is a caller who waits for an answer. Only one who takes it out of
// its lane's table may touch it, and then sends on done.
type quickWait struct {
	done  chan struct{} // of one slot, so that nobody waits who sends
	buf   *Held         // nil: no answer
	split int           // where its description ends and the bytes begin
}

// quickSizes are the sizes of buffers, in bytes: that of objects that fit pages,
// with a description, and what is above.
var quickSizes = [...]int{1 << 10, 4<<10 + 512, 16<<10 + 512, quickInfoLimit + QuickLimit}

// quickBuffers are buffers that can be used again, by size.
type quickBuffers [len(quickSizes)]sync.Pool

// get returns a buffer of n bytes.
func (b *quickBuffers) get(n int) *Held {
	for i, size := range quickSizes {
		if n > size {
			continue
		}
		buf, ok := b[i].Get().(*Held)
		if !ok {
			buf = &Held{bytes: make([]byte, size), home: &b[i]}
		}
		buf.bytes = buf.bytes[:n]
		return buf
	}
	return nil // no frame is so long
}

const (
	// quickTick is how often lanes with reads under way are looked at. Time is
	// counted in ticks: to read a clock for each read would cost, and while the
	// whole process stands still nobody is late.
	quickTick = 5 * time.Millisecond

	// quickSilence is after how many ticks without a word from the peer a read is
	// given up. Until it says something, further reads do not use the lane.
	quickSilence = 4

	// quickPatience is after how many it is given up although the peer is at work
	// on others, in the order of their coming. Who gives up asks in a way that
	// loads a busy peer several times as much, so this is when reads are hedged
	// at the latest.
	quickPatience = 50

	// quickDead is after how many a lane is closed on which a read is unanswered.
	quickDead = 2000

	// quickCrowd is how many reads are under way on a lane before another one is
	// used: the more there are the fewer reads and writes it takes.
	quickCrowd = 128

	// quickSlots is the most that are under way on one lane.
	quickSlots = 1024

	// quickLaneLimit bounds the lanes to one peer, however many cores there are.
	quickLaneLimit = 4

	// quickPause is the time between two attempts to open a lane, and
	// quickRefused that after the peer answered that there are none: it is of
	// another version, or goes.
	quickPause   = time.Second
	quickRefused = 30 * time.Second
)
