package peer

import (
	"context"
	"errors"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// quickLanes are the lanes to one start of a peer. There are none until somebody
// asks. Whatever looks after them ends with close.
type quickLanes struct {
	of      *Client
	most    int // lanes
	waiters sync.Pool
	worth   quickWorth

	lanes   atomic.Pointer[[]*quickLane] // never nil; the slice is never changed
	opening atomic.Bool                  // somebody opens one, or waits until it is time to try again
	tick    atomic.Int64
	watched atomic.Bool // the keeper counts ticks
	call    chan struct{}

	answered, absent, late atomic.Int64

	other  atomic.Uint64 // the epoch that the peer told last
	spoken atomic.Bool   // it told one

	ctx    context.Context // ends with close
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu     sync.Mutex // guards the following, and changes of lanes
	closed bool
	kept   bool // the keeper runs
}

func newQuickLanes(c *Client) *quickLanes {
	q := &quickLanes{of: c, most: min(runtime.GOMAXPROCS(0), quickLaneLimit), call: make(chan struct{}, 1)}
	q.waiters.New = func() any { return &quickWait{done: make(chan struct{}, 1)} }
	q.lanes.Store(&[]*quickLane{})
	q.ctx, q.cancel = context.WithCancel(context.Background())
	return q
}

// pick returns the lane for the next ask, the first that is not crowded: few
// lanes with much on them need the fewest reads and writes. It is nil if there is
// none, or none that is heard of; then one is opened, if that is due.
func (q *quickLanes) pick() *quickLane {
	lanes := *q.lanes.Load()
	var best *quickLane
	least := int32(quickSlots)
	for _, l := range lanes {
		if l.silent.Load() {
			continue
		}
		n := l.pending.Load()
		if n < quickCrowd {
			return l
		}
		if n < least {
			best, least = l, n
		}
	}
	if len(lanes) == 0 || best != nil && len(lanes) < q.most {
		q.wish()
	}
	return best
}

// wish has a lane opened, unless somebody is about it. It does not block.
func (q *quickLanes) wish() {
	if q.opening.Load() || !q.opening.CompareAndSwap(false, true) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return // and it stays so
	}
	q.all.Go(func() {
		defer q.opening.Store(false)
		wait := quickPause
		if err := q.open(); err != nil {
			q.of.pool.cfg.Log.Debug("no quick lane to peer", "addr", q.of.addr, "err", err)
			if Answered(err) {
				wait = quickRefused
			}
		}
		pause(q.ctx, wait)
	})
}

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// open opens a lane and sets it going.
func (q *quickLanes) open() error {
	l, err := q.of.openQuick(q.ctx)
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		l.conn.Close()
		return context.Canceled
	}
	lanes := append(slices.Clone(*q.lanes.Load()), l)
	q.lanes.Store(&lanes)
	q.all.Go(l.write)
	q.all.Go(func() { l.end(l.read()) })
	if !q.kept {
		q.kept = true
		q.all.Go(q.keep)
	}
	return nil
}

// remove forgets a lane that has ended.
func (q *quickLanes) remove(l *quickLane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lanes := slices.DeleteFunc(slices.Clone(*q.lanes.Load()), func(other *quickLane) bool { return other == l })
	q.lanes.Store(&lanes)
}

// close ends all lanes, for good, and waits for what looks after them.
func (q *quickLanes) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.cancel()
	for _, l := range *q.lanes.Load() {
		l.end(net.ErrClosed)
	}
	q.all.Wait()
}

// watch wakes the keeper, if it sleeps.
func (q *quickLanes) watch() {
	if !q.watched.Load() && q.watched.CompareAndSwap(false, true) {
		q.call <- struct{}{} // which has room: the last token was taken before watched became false
	}
}

// keep looks after the lanes: while reads are under way at every tick, otherwise
// only for those that nobody uses.
func (q *quickLanes) keep() {
	tick := time.NewTicker(quickTick)
	tick.Stop()
	idle := time.NewTicker(IdleTimeout / 3)
	defer tick.Stop()
	defer idle.Stop()
	for {
		select {
		case <-q.call:
			tick.Reset(quickTick)
		case <-tick.C:
			now := q.tick.Add(1)
			for _, l := range *q.lanes.Load() {
				l.look(now)
			}
			if q.underWay() {
				continue
			}
			tick.Stop()
			q.watched.Store(false)
			if q.underWay() && q.watched.CompareAndSwap(false, true) { // it began in between
				tick.Reset(quickTick)
			}
		case <-idle.C:
			for _, l := range *q.lanes.Load() {
				if l.idle++; l.used.Swap(false) {
					l.idle = 0
				} else if l.idle >= 3 && l.pending.Load() == 0 {
					l.end(errIdle)
				}
			}
		case <-q.ctx.Done():
			return
		}
	}
}

var errIdle = errors.New("nobody uses it")

// underWay reports whether an answer is due on any lane.
func (q *quickLanes) underWay() bool {
	return slices.ContainsFunc(*q.lanes.Load(), func(l *quickLane) bool { return l.pending.Load() > 0 })
}

// giveUp lets callers go on without an answer.
func (q *quickLanes) giveUp(late []*quickWait) {
	q.late.Add(int64(len(late)))
	q.worth.count(0, int64(len(late))) // a peer that is always late is not worth its while either
	for _, w := range late {
		w.done <- struct{}{}
	}
}

// count counts answers.
func (q *quickLanes) count(have, absent int64) {
	if absent > 0 {
		q.absent.Add(absent)
	}
	q.worth.count(have, absent)
	if now := q.of.pool.epoch.now(); now != nil && q.spoken.Load() && q.of.pool.cfg.OtherEpoch != nil {
		if other := q.other.Load(); other != now.epoch {
			q.of.pool.cfg.OtherEpoch(q.of.addr, other)
		}
	}
}

// hear notes the peer's epoch.
func (q *quickLanes) hear(epoch uint64) {
	q.other.Store(epoch)
	q.spoken.Store(true)
}

// A quickWorth knows whether asking pays. An ask costs a ninth or so of the read
// that an answer saves.
type quickWorth struct {
	asked, found atomic.Int64 // of late; about right if several count at once
	poor         atomic.Bool
	turn         atomic.Uint32
}

const (
	worthWindow = 512 // asks, after which all count half
	worthLeast  = 64  // fewer say nothing
	worthShare  = 8   // one in so many must find something
	worthTries  = 16  // otherwise one in so many is asked all the same
)

// ask reports whether to ask.
func (w *quickWorth) ask() bool { return !w.poor.Load() || w.turn.Add(1)%worthTries == 0 }

func (w *quickWorth) count(have, absent int64) {
	found, asked := w.found.Add(have), w.asked.Add(have+absent)
	if asked >= worthWindow {
		w.found.Store(found / 2)
		w.asked.Store(asked / 2)
	}
	if poor := asked >= worthLeast && found*worthShare < asked; poor != w.poor.Load() {
		w.poor.Store(poor)
	}
}
