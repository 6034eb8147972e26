package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
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

// vitals knows which members do not answer. A slow answer alone accuses nobody:
// the origin may be slow, and to ask another member as well would load it more.
// So a member that keeps requests waiting is asked for a sign of life, and only
// if it gives none the reads that wait are cut, to go elsewhere, and new
// requests go around it. They do so until it answers such a question again: no
// request is risked to find out.
type vitals struct {
	view func() *ring.View
	sign func(ctx context.Context, addr string) error // asks for a sign of life
	log  *slog.Logger

	mu sync.Mutex // guards the following
	of map[memberID]*vital
}

// A memberID is one start of a member: one that starts again is no suspect.
type memberID struct {
	id   string
	boot uint64
}

type vital struct {
	member  ring.Member
	suspect bool
	asked   time.Time // for the last sign of life
	waiting map[*wait]struct{}
}

// A wait is a request that has no answer yet.
type wait struct {
	vitals *vitals
	id     memberID
	since  time.Time
	ctx    context.Context
	cut    context.CancelCauseFunc // of a read; a write is never cut
}

var errSilent = fmt.Errorf("%w: %w: gives no sign of life", peer.ErrUnreachable, object.ErrUnavailable)

// suspect reports whether requests should go around a member.
func (v *vitals) suspect(m ring.Member) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	one := v.of[memberID{m.ID, m.Boot}]
	return one != nil && one.suspect
}

// accuse makes a member a suspect.
func (v *vitals) accuse(m ring.Member, op string, err error) {
	v.mu.Lock()
	one := v.get(m)
	known := one.suspect
	one.suspect = true
	v.mu.Unlock()
	if !known {
		v.log.Warn("peer does not answer, going around it", "peer", m.ID, "addr", m.PeerAddr, "op", op, "err", err)
	}
}

// get returns what is known about a member. The caller holds mu.
func (v *vitals) get(m ring.Member) *vital {
	id := memberID{m.ID, m.Boot}
	one := v.of[id]
	if one == nil {
		if v.of == nil {
			v.of = make(map[memberID]*vital)
		}
		one = &vital{member: m, waiting: make(map[*wait]struct{})}
		v.of[id] = one
	}
	return one
}

// forget drops what says nothing any more. The caller holds mu.
func (v *vitals) forget(id memberID) {
	if one := v.of[id]; one != nil && !one.suspect && len(one.waiting) == 0 {
		delete(v.of, id)
	}
}

// attend notes a request to a member. The context is the request's; whoever
// makes it calls answered when it has the answer, and end when it is over.
func (v *vitals) attend(ctx context.Context, m ring.Member, read bool) *wait {
	w := &wait{vitals: v, id: memberID{m.ID, m.Boot}, since: time.Now(), ctx: ctx}
	if read {
		w.ctx, w.cut = context.WithCancelCause(ctx)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.get(m).waiting[w] = struct{}{}
	return w
}

// answered ends the wait and returns err, or errSilent if the request was cut.
func (w *wait) answered(err error) error {
	v := w.vitals
	v.mu.Lock()
	defer v.mu.Unlock()
	if one := v.of[w.id]; one != nil {
		delete(one.waiting, w)
		v.forget(w.id)
	}
	if context.Cause(w.ctx) == errSilent {
		return errSilent
	}
	return err
}

// end releases what the request holds.
func (w *wait) end() {
	if w.cut != nil {
		w.cut(nil)
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
		var signs sync.WaitGroup
		for _, m := range v.doubtful(time.Now()) {
			signs.Go(func() { v.examine(ctx, m) })
		}
		signs.Wait()
	}
}

// doubtful returns the members to ask: suspects, and those that keep somebody
// waiting.
func (v *vitals) doubtful(now time.Time) []ring.Member {
	view := v.view()
	v.mu.Lock()
	defer v.mu.Unlock()
	var members []ring.Member
	for id, one := range v.of {
		m, ok := view.Member(id.id)
		gone := !ok || m.Boot != id.boot
		if gone { // gossip has found out, so nothing new is sent there
			one.suspect = false
			v.forget(id)
		}
		doubt := one.suspect
		for w := range one.waiting {
			useful := w.cut != nil || !gone // somebody goes elsewhere because of it
			doubt = doubt || useful && now.Sub(w.since) >= silence
		}
		if doubt && (one.suspect || now.Sub(one.asked) >= silence) {
			one.asked = now
			members = append(members, one.member)
		}
	}
	return members
}

// examine asks a member for a sign of life and draws the consequences.
func (v *vitals) examine(ctx context.Context, m ring.Member) {
	asking, cancel := context.WithTimeout(ctx, signTimeout)
	defer cancel()
	err := v.sign(asking, m.PeerAddr)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		v.accuse(m, "sign of life", err)
	}
	id := memberID{m.ID, m.Boot}
	v.mu.Lock()
	defer v.mu.Unlock()
	one := v.of[id]
	switch {
	case one == nil:
	case err != nil:
		for w := range one.waiting {
			if w.cut != nil {
				w.cut(errSilent)
			}
		}
	default:
		if one.suspect {
			v.log.Info("peer answers again", "peer", m.ID, "addr", m.PeerAddr)
		}
		one.suspect = false
		v.forget(id)
	}
}

// aliveTarget is where a peer listener gives a sign of life. No request between
// Stores has it.
const aliveTarget = "/alive"

// givesSigns answers aliveTarget before h, which it does not trouble.
func givesSigns(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI == aliveTarget {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.ServeHTTP(w, r)
	})
}

var errNoSign = errors.New("not a sign of life")

// askForSign returns a function that asks the peer listener at an address, over
// connections that dial opens, by TCP if it is nil. It keeps no connection: one
// that was good before proves nothing.
func askForSign(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, addr string) error {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		// The transport's dials outlive the requests that they are for: without
		// a limit of their own, a member that is cut off would gather them.
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, signTimeout)
			defer cancel()
			return dial(ctx, network, addr)
		},
	}
	return func(ctx context.Context, addr string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+aliveTarget, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1)) // a sign has no body
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			return fmt.Errorf("%w: status %d", errNoSign, resp.StatusCode)
		}
		return nil
	}
}
