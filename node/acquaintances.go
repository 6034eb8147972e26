package node

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/ring"
)

const (
	// acquaintEvery is how often each member is asked for its epoch while somebody
	// looks at this node, and idleEvery otherwise: it also makes nodes notice that
	// their views differ where no request passes between them.
	acquaintEvery = 2 * time.Second
	idleEvery     = 10 * time.Second

	// watchedFor is how long a look makes the questions more frequent.
	watchedFor = 10 * time.Second

	// acquaintTimeout bounds one question, and acquaintAtOnce how many there are
	// at the same time: silent members must not keep the others from being asked.
	acquaintTimeout = time.Second
	acquaintAtOnce  = 128
)

// errNotAsked is of a member for whose question there was no time left.
var errNotAsked = errors.New("not asked in time, because others did not answer")

// An acquaintance is what a member said when it was asked last.
type acquaintance struct {
	epoch uint64        // of its view, as it said last
	heard time.Time     // when it did; zero: never
	rtt   time.Duration // of the last question that it answered
	err   error         // of the last question, nil if it was answered
}

// acquaintances know which view of the ring each member has. It is for people who
// look: no request depends on it.
type acquaintances struct {
	self string
	view func() *ring.View
	ask  func(ctx context.Context, m ring.Member) (epoch uint64, err error)

	watched atomic.Int64 // when somebody looked last, nanoseconds since 1970

	mu sync.Mutex // guards the following
	of map[memberID]acquaintance
}

// about returns what a member said last. Whoever asks is taken for somebody who
// looks.
func (a *acquaintances) about(m ring.Member) acquaintance {
	a.watched.Store(time.Now().UnixNano())
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.of[memberID{m.ID, m.Boot}]
}

// Run asks until ctx ends.
func (a *acquaintances) Run(ctx context.Context) {
	tick := time.NewTicker(acquaintEvery)
	defer tick.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		if now.Sub(time.Unix(0, a.watched.Load())) < watchedFor || now.Sub(last) >= idleEvery {
			last = now
			a.round(ctx)
		}
	}
}

// round asks all members once, and forgets those that are gone. Those for whom ctx
// leaves no time are noted as not asked.
func (a *acquaintances) round(ctx context.Context) {
	members := a.view().Members()
	here := map[memberID]bool{}
	for _, m := range members {
		here[memberID{m.ID, m.Boot}] = true
	}
	askOthers(ctx, a.self, members, func(_ int, m ring.Member) { a.meet(ctx, m) },
		func(_ int, m ring.Member) { a.note(ctx, m, 0, 0, errNotAsked) })
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.of {
		if !here[id] {
			delete(a.of, id)
		}
	}
}

// askOthers calls ask for each of the members but this node, for acquaintAtOnce of them
// at the same time, and waits for all. late is called for those for whom ctx leaves no
// time. Both are given the place in the list.
func askOthers(ctx context.Context, self string, members []ring.Member, ask, late func(i int, m ring.Member)) {
	var asked sync.WaitGroup
	defer asked.Wait()
	turns := make(chan struct{}, acquaintAtOnce)
	for i, m := range members {
		if m.ID == self {
			continue
		}
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
			late(i, m)
			continue
		}
		asked.Go(func() {
			defer func() { <-turns }()
			ask(i, m)
		})
	}
}

// meet asks one member.
func (a *acquaintances) meet(ctx context.Context, m ring.Member) {
	asking, cancel := context.WithTimeout(ctx, acquaintTimeout)
	defer cancel()
	began := time.Now()
	epoch, err := a.ask(asking, m)
	a.note(ctx, m, epoch, time.Since(began), err)
}

// note keeps what a question found. One that was given up says nothing of the member.
func (a *acquaintances) note(ctx context.Context, m ring.Member, epoch uint64, took time.Duration, err error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of == nil {
		a.of = make(map[memberID]acquaintance)
	}
	id := memberID{m.ID, m.Boot}
	known := a.of[id]
	if known.err = err; err == nil {
		known.epoch, known.heard, known.rtt = epoch, time.Now(), took
	}
	a.of[id] = known
}
