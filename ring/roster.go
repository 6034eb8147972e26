package ring

import (
	"slices"
	"sync"
	"time"
)

// A roster is the table of members that gossip events write and views are made
// from. The gossip library's own list is not used: its entries change under the
// reader, and asking for it from an event deadlocks.
//
// The events run under the library's lock. So nothing here blocks, calls the
// library or keeps what it was given.
type roster struct {
	// wake gets a token when a change is pending. It holds one: the reader
	// takes all changes at once.
	wake chan struct{}

	// lost gets a token when a member is gone that did not say so. It holds one.
	lost chan struct{}

	mu       sync.Mutex
	self     Member
	metadata []byte // self, encoded

	// peers are the others that are alive, by gossip name. Two starts of one
	// node can be here for a while: the view decides which counts.
	peers map[string]peer

	// known are the others that were alive, by ID, with where they were last.
	// They are whom to ask when gossip has lost them.
	known map[string]contact

	// seen is true once any other member was there.
	seen bool

	pending change
}

type peer struct {
	Member
	gossip string // host:port
}

type contact struct {
	boot   uint64
	gossip string // host:port
	seen   time.Time
}

// A change is what happened since the last view was made.
type change struct {
	first, last time.Time // of all changes; first is zero if there are none
	urgent      bool
}

// setSelf changes this node's own entry. It is not a pending change: whoever
// calls it makes the view.
func (r *roster) setSelf(m Member) error {
	metadata, err := encodeMetadata(m)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.self, r.metadata = m, metadata
	return nil
}

func (r *roster) selfMember() Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.self
}

// put adds or replaces the member that is called name in the gossip.
func (r *roster) put(name string, p peer, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = true
	if p.Boot >= r.known[p.ID].boot {
		r.known[p.ID] = contact{boot: p.Boot, gossip: p.gossip, seen: now}
	}
	r.note(p.ID, now, func() { r.peers[name] = p })
}

// remove takes the member that is called name in the gossip out. It stays among
// the known unless it was draining: that one left for good.
func (r *roster) remove(name string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.peers[name]
	if !ok {
		return
	}
	if r.known[p.ID].boot == p.Boot {
		if p.State == Draining {
			delete(r.known, p.ID)
		} else {
			r.known[p.ID] = contact{boot: p.Boot, gossip: p.gossip, seen: now}
			select {
			case r.lost <- struct{}{}:
			default:
			}
		}
	}
	r.note(p.ID, now, func() { delete(r.peers, name) })
}

// note makes an edit that concerns the member with this ID and records what it
// means to the next view: a member that comes or begins to serve can wait for
// others that do the same, everything else cannot. The caller holds mu.
func (r *roster) note(id string, now time.Time, edit func()) {
	before, had := r.current(id)
	edit()
	after, has := r.current(id)
	if had == has && before == after {
		return
	}
	joins := has && (!had || (before.State != Serving && after.State == Serving))
	if r.pending.first.IsZero() {
		r.pending.first = now
	}
	r.pending.last = now
	r.pending.urgent = r.pending.urgent || !joins
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// current returns the entry to believe about an ID. The caller holds mu.
func (r *roster) current(id string) (m Member, ok bool) {
	if r.self.ID == id {
		m, ok = r.self, true
	}
	for _, p := range r.peers {
		if p.ID == id && (!ok || compare(p.Member, m) > 0) {
			m, ok = p.Member, true
		}
	}
	return m, ok
}

// due returns how long to wait before the pending changes become a view, given
// how long joins must be quiet and how long they can wait at most. It is false
// if there is nothing to do.
func (r *roster) due(now time.Time, quiet, most time.Duration) (time.Duration, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.pending.first.IsZero():
		return 0, false
	case r.pending.urgent:
		return 0, true
	}
	return max(0, min(r.pending.last.Add(quiet).Sub(now), r.pending.first.Add(most).Sub(now))), true
}

// take returns all entries, this node's included, and forgets what was pending.
func (r *roster) take() []Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = change{}
	members := make([]Member, 0, 1+len(r.peers))
	members = append(members, r.self)
	for _, p := range r.peers {
		members = append(members, p.Member)
	}
	return members
}

// metOther reports whether another member was ever there.
func (r *roster) metOther() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}

// contacts returns the gossip addresses of the living, and of those known
// members that are not alive but were within memory before now, the last lost
// first. Older ones are forgotten.
func (r *roster) contacts(now time.Time, memory time.Duration) (alive, lost []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	living := make(map[string]bool, len(r.peers))
	for _, p := range r.peers {
		living[p.ID] = true
		alive = append(alive, p.gossip)
	}
	var gone []contact
	for id, c := range r.known {
		switch {
		case living[id]:
		case now.Sub(c.seen) > memory:
			delete(r.known, id)
		default:
			gone = append(gone, c)
		}
	}
	slices.SortFunc(gone, func(a, b contact) int { return b.seen.Compare(a.seen) })
	for _, c := range gone {
		lost = append(lost, c.gossip)
	}
	return alive, lost
}
