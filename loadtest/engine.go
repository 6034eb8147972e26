package loadtest

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	intervalLength = time.Second

	// settleTime is how long after the end of a second it is added up: samples that
	// were ended in it are then noted, unless their worker was held up.
	settleTime = 50 * time.Millisecond

	// spinTime is how long before a request is due the spinning begins: more than an
	// alarm is late, 99 times in a hundred.
	spinTime = 300 * time.Microsecond

	// lastWait is how long what is under way may go on when a run is stopped.
	lastWait = 2 * time.Second
)

// An engine does one run.
//
// Requests are numbered. A worker takes the next number, draws the request, waits
// until it is due, sends it, and reads the answer. The latency counts from when
// the request was due, so a server that stands still cannot hide the requests
// that it kept from being sent: they are late, and say so (Gil Tene calls the
// opposite coordinated omission). There are as many workers as connections, and
// never more, so that a slow server is not given more work for being slow.
type engine struct {
	cfg      Config
	pacer    Pacer
	closed   bool // the loop is
	exact    bool // wait by the clock of the system
	plan     *plan
	draw     func(i uint64, elapsed time.Duration) request
	limit    uint64 // of numbers, 0 is none
	onSample func(q *request, a *answer)

	senders  []sender
	recorder *recorder

	hard  context.Context // ends what is under way
	abort context.CancelFunc

	start  time.Time
	next   atomic.Uint64
	dueEnd atomic.Int64 // nothing falls due from here on, a time.Duration
	drop   atomic.Bool  // what is due and not sent is given up

	stopped chan struct{} // closed when ctx has ended and both are set

	// cpu is what the process had used when an interval was closed last. It belongs to
	// whoever closes them: collect, and then finish.
	cpu time.Duration

	// spinning is held by who waits in a loop: one core is enough.
	spinning sync.Mutex
}

func newEngine(ctx context.Context, cfg Config, pacer Pacer, p *plan) *engine {
	e := &engine{cfg: cfg, pacer: pacer, plan: p, recorder: newRecorder(cfg.Mix, intervalLength), stopped: make(chan struct{})}
	_, e.closed = pacer.(Max)
	e.recorder.ownless = e.closed
	e.hard, e.abort = context.WithCancel(context.WithoutCancel(ctx))
	return e
}

func (e *engine) elapsed() time.Duration { return time.Since(e.start) }

// load sends everything, and returns when it began and how long it took.
func (e *engine) load(ctx context.Context) (start time.Time, took time.Duration) {
	tapes := make([]*tape, len(e.senders))
	for i := range tapes {
		tapes[i] = e.recorder.newTape()
	}
	e.dueEnd.Store(int64(e.cfg.Duration))
	e.start = time.Now()
	last := time.AfterFunc(e.cfg.Duration+e.cfg.Grace, e.giveUp)
	defer last.Stop()
	unwatch := context.AfterFunc(ctx, e.stop)
	var workers sync.WaitGroup
	for i, s := range e.senders {
		workers.Go(func() { e.work(ctx, s, tapes[i]) })
	}
	done := make(chan struct{})
	var collecting sync.WaitGroup
	e.cpuSince()
	collecting.Go(func() { e.collect(tapes, done) })
	workers.Wait()
	took = e.elapsed()
	close(done)
	collecting.Wait()
	if !unwatch() {
		<-e.stopped
	}
	e.finish(tapes, took)
	return e.start, took
}

// giveUp ends everything that is under way.
func (e *engine) giveUp() {
	e.drop.Store(true)
	e.abort()
}

// stop ends the run now. Answers that are on their way have a moment left.
func (e *engine) stop() {
	e.dueEnd.Store(min(e.dueEnd.Load(), int64(e.elapsed())))
	e.drop.Store(true)
	close(e.stopped)
	time.AfterFunc(min(lastWait, e.cfg.Grace), e.abort)
}

// work is one worker, until nothing falls due any more.
func (e *engine) work(ctx context.Context, s sender, tape *tape) {
	alarm := e.newAlarm(ctx)
	defer alarm.close()
	var q request // out here, because it escapes into the sender
	for {
		i := e.next.Add(1) - 1
		if e.limit > 0 && i >= e.limit {
			return
		}
		free := e.elapsed()
		due := free
		if !e.closed {
			var stop bool
			if due, stop = e.pacer.Pace(0, i); stop {
				return
			}
		}
		if due >= e.end() {
			return
		}
		q = e.draw(i, due)
		if due > free {
			e.wait(ctx, alarm, due)
		}
		sent := e.elapsed()
		if e.drop.Load() || sent-due > e.cfg.Timeout {
			if due < e.end() {
				tape.addUnsent(due)
			}
			continue
		}
		if q.op == OpGet || q.op == OpRange {
			e.plan.parts[q.part].asked.add(q.key)
		}
		a := s.send(&q)
		end := e.elapsed()
		if e.closed {
			due, free = sent, sent
		}
		if e.onSample != nil {
			e.onSample(&q, &a)
		}
		tape.add(sample{
			due: due, sent: sent, end: end, own: sent - max(due, free), waited: due < free,
			seriesKey: seriesKey{q.part, q.op, a.kind, a.status, a.cache},
			in:        a.in, out: a.out, checked: a.checked, damaged: a.damaged, redialed: a.redialed, err: a.err,
		})
	}
}

// end is from when on nothing falls due.
func (e *engine) end() time.Duration { return time.Duration(e.dueEnd.Load()) }

// newAlarm is how a worker waits: as exactly as it can.
func (e *engine) newAlarm(ctx context.Context) alarm {
	if e.exact {
		if a := newFileAlarm(ctx); a != nil {
			return a
		}
	}
	return newTimerAlarm()
}

// wait returns when a request is due, or the run is stopped.
func (e *engine) wait(ctx context.Context, a alarm, due time.Duration) {
	until := due
	if e.cfg.Spin {
		until -= spinTime
	}
	if left := until - e.elapsed(); left > 0 && !a.wait(ctx, left) {
		<-e.stopped
		return
	}
	if !e.cfg.Spin {
		return
	}
	e.spinning.Lock()
	defer e.spinning.Unlock()
	for e.elapsed() < due && !e.drop.Load() {
		runtime.Gosched() // others may have answers to read
	}
}

// collect adds up each second when it has ended, until done is closed.
func (e *engine) collect(tapes []*tape, done <-chan struct{}) {
	for i := 0; ; i++ {
		timer := time.NewTimer(time.Duration(i+1)*intervalLength + settleTime - e.elapsed())
		select {
		case <-done:
			timer.Stop()
			return
		case <-timer.C:
		}
		for _, t := range tapes {
			t.collect()
		}
		e.report(e.recorder.closeInterval(i, intervalLength, e.asked(i, intervalLength), e.cpuSince()))
	}
}

// cpuSince is the CPU time since it was asked for last.
func (e *engine) cpuSince() time.Duration {
	now := cpuTime()
	since := now - e.cpu
	e.cpu = now
	return since
}

// asked is the rate that was aimed at in the middle of interval i.
func (e *engine) asked(i int, length time.Duration) float64 {
	middle := time.Duration(i)*intervalLength + length/2
	if middle >= e.end() {
		return 0
	}
	return e.pacer.Rate(middle)
}

// finish closes the intervals that are left.
func (e *engine) finish(tapes []*tape, took time.Duration) {
	for _, t := range tapes {
		t.collect()
	}
	first, last := e.recorder.left(took)
	for i := first; i <= last; i++ {
		length := min(intervalLength, max(took-time.Duration(i)*intervalLength, 0))
		e.report(e.recorder.closeInterval(i, length, e.asked(i, length), e.cpuSince()))
	}
	if e.cfg.Status != nil {
		clearStatus(e.cfg.Status)
	}
}

// report tells of an interval that has ended.
func (e *engine) report(at Interval) {
	if e.cfg.Status != nil {
		writeStatus(e.cfg.Status, &e.cfg, &at)
	}
	if e.cfg.OnInterval != nil {
		e.cfg.OnInterval(at)
	}
}
