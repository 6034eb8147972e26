package node

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/pace"
	"github.com/micelio/micelio/ring"
)

const (
	// beat is how often members are looked after: a request that met a dead
	// one waits for half of it on average beyond silence.
	beat = 250 * time.Millisecond

	// silence is how long a request may wait for its first byte before the
	// member is asked for a sign of life, and the least time between two such
	// questions. Hits take milliseconds and most misses less than a second.
	silence = time.Second

	// signTimeout is how long a member may take to give one. The answer needs
	// no disk and no origin, so it is late only if the process stands still or
	// the network is gone.
	signTimeout = time.Second
)

// vitals knows which members do not answer. Each has a circuit breaker that the
// requests themselves feed: what could not be reached, and reads that another
// place answered first although it began later, are failures; every answer is a
// success. Three failures in a row open it, and requests go around the member.
// After a second one read finds out.
//
// A slow answer alone accuses nobody: the origin may be slow, and to ask another
// member as well would load it more. A member says that it waits for its origin.
// One that gives no sign for a second, or lets a body stand still, is asked for a
// sign of life, and only if it gives none the reads that wait are cut, to go
// elsewhere.
type vitals struct {
	view func() *ring.View
	sign func(ctx context.Context, m ring.Member) error // asks for a sign of life
	log  *slog.Logger

	// tend, if not nil, is called at each beat: for what else goes by members.
	tend func(*ring.View)

	mu sync.Mutex // guards changes of the following, and what vitals say

	// of is never changed, so that reads look into it without a lock: a change
	// is a new map, and there is one for each start of a member. nil is empty.
	of atomic.Pointer[map[memberID]*vital]
}

// known returns what is known about all members.
func (v *vitals) known() map[memberID]*vital {
	if of := v.of.Load(); of != nil {
		return *of
	}
	return nil
}

// about returns what is known about a member.
func (v *vitals) about(m ring.Member) *vital {
	id := memberID{m.ID, m.Boot}
	if one := v.known()[id]; one != nil {
		return one
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	of := maps.Clone(v.known())
	if of[id] == nil {
		if of == nil {
			of = make(map[memberID]*vital)
		}
		of[id] = newVital(m)
		v.of.Store(&of)
	}
	return of[id]
}

// forget lets go of a member. The caller holds mu.
func (v *vitals) forget(id memberID) {
	of := maps.Clone(v.known())
	delete(of, id)
	v.of.Store(&of)
}

// stateOf returns what requests to a member meet, of one that is known or not.
func (v *vitals) stateOf(m ring.Member) pace.State {
	if one := v.known()[memberID{m.ID, m.Boot}]; one != nil {
		return one.breaker.State()
	}
	return pace.Closed
}

// passable reports whether a request may be sent to a member. While it is not
// known whether it answers again, reads find out.
func (v *vitals) passable(m ring.Member, read bool) bool {
	state := v.about(m).breaker.State()
	return state == pace.Closed || read && state == pace.HalfOpen
}

// attend returns a request to a member that has not begun. It is nil if the
// member is to be gone around.
func (v *vitals) attend(m ring.Member) *wait {
	one := v.about(m)
	probe := one.breaker.State() != pace.Closed
	done, err := one.breaker.Allow()
	if err != nil {
		return nil
	}
	return &wait{vitals: v, of: one, done: done, probe: probe}
}

// enter notes a request that begins.
func (v *vitals) enter(w *wait) {
	v.mu.Lock()
	defer v.mu.Unlock()
	w.of.waiting[w] = struct{}{}
	if w.of.unheard.IsZero() {
		w.of.unheard = w.since
	}
}

// leave ends a request.
func (v *vitals) leave(w *wait) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(w.of.waiting, w)
}

// heard notes a sign of a member.
func (v *vitals) heard(one *vital) {
	v.mu.Lock()
	defer v.mu.Unlock()
	one.unheard = time.Time{}
}

// blame notes that a body of a member broke off.
func (v *vitals) blame(m ring.Member) {
	one := v.about(m)
	one.credit()
	v.fail(one)
}

// fail tells the breaker of a failure.
func (v *vitals) fail(one *vital) {
	if done, err := one.breaker.Allow(); err == nil {
		done(pace.Failure)
	}
	v.turn(one)
}

// turn draws the consequences of what the breaker has become: reads that wait
// for a member without a sign of it go elsewhere.
func (v *vitals) turn(one *vital) {
	switch one.turned.Swap(0) {
	case turnedOpen:
		v.log.Warn("peer does not answer, going around it", "peer", one.member.ID, "addr", one.member.PeerAddr)
		v.cut(one, func(w *wait) bool { return !w.heard.Load() })
	case turnedClosed:
		v.log.Info("peer answers again", "peer", one.member.ID, "addr", one.member.PeerAddr)
	}
}

// cut cuts reads of a member.
func (v *vitals) cut(one *vital, which func(*wait) bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for w := range one.waiting {
		if w.cut != nil && which(w) {
			w.cut(errSilent)
		}
	}
}

// Run looks after the members until ctx ends.
func (v *vitals) Run(ctx context.Context) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if v.tend != nil {
			v.tend(v.view())
		}
		var signs sync.WaitGroup
		for _, one := range v.doubtful(time.Now()) {
			signs.Go(func() { v.examine(ctx, one) })
		}
		signs.Wait()
	}
}

// doubtful returns the members to ask: those that keep somebody waiting, and
// those of which it is not known whether they answer again, in case nobody reads
// from them.
func (v *vitals) doubtful(now time.Time) []*vital {
	view := v.view()
	v.mu.Lock()
	defer v.mu.Unlock()
	var doubtful []*vital
	for id, one := range v.known() {
		m, ok := view.Member(id.id)
		gone := !ok || m.Boot != id.boot
		if gone && len(one.waiting) == 0 { // gossip has found out, so nothing new is sent there
			v.forget(id)
			continue
		}
		state := one.breaker.State()
		if state != pace.HalfOpen {
			one.unread = time.Time{}
		} else if one.unread.IsZero() {
			one.unread = now
		}
		late := func(since time.Time) bool { return !since.IsZero() && now.Sub(since) >= silence }
		doubt := !gone && (late(one.unread) || state == pace.Closed && late(one.unheard))
		for w := range one.waiting {
			useful := w.cut != nil || !gone && state == pace.Closed // somebody goes elsewhere because of it
			doubt = doubt || useful && w.stands(now, silence)
		}
		if doubt && now.Sub(one.asked) >= silence {
			one.asked = now
			doubtful = append(doubtful, one)
		}
	}
	return doubtful
}

// examine asks a member for a sign of life and draws the consequences.
func (v *vitals) examine(ctx context.Context, one *vital) {
	if one.breaker.State() == pace.HalfOpen {
		v.probe(ctx, one)
	}
	asking, cancel := context.WithTimeout(ctx, signTimeout)
	defer cancel()
	err := v.sign(asking, one.member)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		v.heard(one)
	default:
		v.log.Debug("peer gives no sign of life", "peer", one.member.ID, "addr", one.member.PeerAddr, "err", err)
		// Answers on lanes that are open do not count against it: new connections
		// are what all that is not quick needs.
		for range failuresToOpen {
			v.fail(one)
		}
		now := time.Now()
		v.cut(one, func(w *wait) bool { return !w.over.Load() || w.stands(now, silence) })
	}
}

// probe is the request that finds out whether a member answers again where no
// read does. It must be as quick as one.
func (v *vitals) probe(ctx context.Context, one *vital) {
	done, err := one.breaker.Allow()
	if err != nil {
		return // a read is about it
	}
	asking, cancel := context.WithTimeout(ctx, one.hedgeAfter())
	defer cancel()
	outcome := pace.OK
	if err := v.sign(asking, one.member); err != nil {
		outcome = pace.Failure
	}
	if ctx.Err() != nil {
		outcome = pace.Ignore
	}
	done(outcome)
	v.turn(one)
}
