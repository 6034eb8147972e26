package node

import (
	"context"
	"errors"
	"hash/maphash"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/internal/mutant"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

// A cachedPeer is another node, as far as it has objects at hand.
type cachedPeer interface {
	GetCached(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error)
	HeadCached(ctx context.Context, key object.Key) (object.Info, error)
}

// previous is a Store that reads keys whose bytes never change at the nodes that
// owned them before, before it asks the Store behind it: step 6a of a read. Such
// a node answers from its tiers or not at all, so nothing is asked twice of an
// origin, and no node waits for another that waits for it.
//
// A previous owner is a hint like the ring that names it. Its "no" is not heard,
// it has a moment to begin its answer, after which the Store behind is asked as
// well and the first answer counts, and a body that breaks off or stands still
// goes on behind at the same byte of the same version. Bytes of a verified key,
// and of others whose digest the node itself names, are proven.
//
// Mutable keys are read behind. To have their bytes from another node the origin
// would have to be asked first what is current, which is as dear as the bytes of
// all but the largest of them.
type previous struct {
	object.Store // behind: the CDN or the origin

	self    string
	view    func() *ring.View
	dial    func(ring.Member) cachedPeer
	suspect func(ring.Member) bool // members that do not answer at the moment
	class   func(object.Key) (object.Class, object.Digest)
	log     *slog.Logger
	stats   *fillStats
	mutants mutant.Set // for tests

	started  time.Time     // when this node was
	patience time.Duration // before the Store behind is asked as well
	stall    time.Duration // most that a body may stand still

	worth    worth
	distrust distrust
	holding  atomic.Int64 // see maxHolding
}

const (
	// fillPatience is how long a node has to begin its answer, and for all of an
	// object that is proven before its first byte is handed out. It is many times
	// what that takes, and a small part of what a fill takes without it.
	fillPatience = 100 * time.Millisecond

	// fillStall is how long the body of a previous owner may bring nothing.
	fillStall = 2 * time.Second

	// youth is how long after its start a node may have come into the ring lately:
	// as long as the ring remembers.
	youth = time.Hour

	// newcomers is how many members may come into the ring at once without a key's
	// owner before being missed by those who know no ring without themselves.
	newcomers = 3

	// wholeProof is the size up to which an object is proven before its first
	// byte is handed out, so that wrong bytes cost time only.
	wholeProof = 1 << 20

	// maxHolding bounds the bytes of all objects that are held so, which are in no
	// other budget: what comes beyond is proven at its end.
	maxHolding = 8 << 20

	// maxAsked bounds how many members are asked for one fill: those of which
	// this node knows and those that they name.
	maxAsked = 6
)

var errStall = errors.New("the previous owner has fallen silent")

// ask yields the members to ask for key: its owner, if this node was asked
// although it believes that another owns the key, so that whoever asked knows a
// newer view; then those that may have owned it before. Members that are not worth
// it are left out.
func (p *previous) ask(key object.Key) iter.Seq[ring.Member] {
	return func(yield func(ring.Member) bool) {
		view := p.view()
		owner, ok := view.Owner(string(key))
		if ok && !p.yields(owner, yield) {
			return
		}
		for _, m := range p.before(view, key) {
			if !p.yields(m, yield) {
				return
			}
		}
	}
}

// before returns the members that may have owned key before its owner of now, as far
// as this node knows. One that has been started lately and saw no ring without itself,
// because it came into it together with others, knows of none. To it those come into
// question who would own the key without the owner, one after the other: some may be as
// new, but who owned the key before is among the first of them.
func (p *previous) before(view *ring.View, key object.Key) []ring.Member {
	known := view.Previous(string(key))
	if time.Since(p.started) > youth || view.RemembersWithout(p.self) {
		return known
	}
	for i, m := range view.Candidates(string(key), 1+newcomers) {
		if i > 0 && m.ID != p.self && !slices.ContainsFunc(known, func(k ring.Member) bool { return k.ID == m.ID }) {
			known = append(known, m)
		}
	}
	return known
}

// yields yields a member that is worth asking, and reports whether to go on.
func (p *previous) yields(m ring.Member, yield func(ring.Member) bool) bool {
	switch {
	case m.ID == p.self || m.PeerAddr == "":
		return true
	case p.suspect(m) || !p.worth.asking(m, time.Now()):
		p.stats.skipped.Add(1)
		return true
	}
	return yield(m)
}

// ids names the owners of key before the present one, for nodes that have joined
// since and know nothing of them.
func (p *previous) ids(key object.Key) []string {
	if p == nil {
		return nil
	}
	var ids []string
	for _, m := range p.before(p.view(), key) {
		if m.ID != p.self {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// concerns reports whether previous owners may be asked for key.
func (p *previous) concerns(key object.Key) bool {
	class, _ := p.class(key)
	return (class != object.Mutable || p.mutants.Has(mutant.Peek)) && !p.distrust.holds(key, time.Now())
}

// Get implements object.Store.
func (p *previous) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	if opt.IfNoneMatch.IsSet() && !p.mutants.Has(mutant.Peek) || !p.concerns(key) {
		return p.Store.Get(ctx, key, opt)
	}
	members := slices.Collect(p.ask(key))
	if len(members) == 0 {
		return p.Store.Get(ctx, key, opt)
	}
	r := &fillRace{p: p, ctx: ctx, key: key, opt: opt}
	return r.run(members)
}

// Head implements object.Store. It is asked in turn, because a description is
// there at once or not at all.
func (p *previous) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	if opt.IfMatch.IsSet() || opt.IfNoneMatch.IsSet() || !p.concerns(key) {
		return p.Store.Head(ctx, key, opt)
	}
	asking, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	for m := range p.ask(key) {
		info, err := p.dial(m).HeadCached(asking, key)
		p.settle(ctx, m, err)
		if err == nil {
			info.Tier = object.TierPeer
			return info, nil
		}
		if asking.Err() != nil {
			break
		}
	}
	return p.Store.Head(ctx, key, opt)
}

// Delete implements object.Store. What has been deleted through this node is not
// to come back from a copy that another one still has.
func (p *previous) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	if class, _ := p.class(key); class != object.Mutable {
		p.distrust.add(key, time.Now())
	}
	return p.Store.Delete(ctx, key, opt)
}

// settle notes how a question went. One that its asker gave up says nothing.
func (p *previous) settle(ctx context.Context, m ring.Member, err error) {
	now := time.Now()
	switch {
	case err == nil:
		p.worth.note(m, true, now)
		p.stats.hits.Add(1)
	case errors.Is(err, peer.ErrNotCached):
		p.worth.note(m, false, now)
		p.stats.absent.Add(1)
	case ctx.Err() != nil:
	default:
		p.worth.failed(m, now)
		p.stats.failed.Add(1)
		p.log.DebugContext(ctx, "a previous owner did not answer", "peer", m.ID, "addr", m.PeerAddr, "err", err)
	}
}

// A distrust remembers keys that other nodes are not asked for: those that were
// deleted here, and those of which somebody had wrong bytes. Keys are known by a
// hash; two of one hash cost a read of the Store behind.
type distrust struct {
	mu         sync.Mutex // guards the following
	seed       maphash.Seed
	young, old map[uint64]time.Time // until when; the old ones all came before the young
}

const (
	// distrustFor outlasts whatever made a copy wrong and stay there unnoticed,
	// and the deletions of a garbage collection.
	distrustFor = 10 * time.Minute

	// maxDistrusted is how many of the latest keys are remembered at least, in 12
	// MiB at most. A deletion that is forgotten early can be undone by the copy
	// of a node that owned the key before, which nobody has told of it.
	maxDistrusted = 1 << 17
)

func (d *distrust) holds(key object.Key, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.young) == 0 {
		return false
	}
	h := maphash.String(d.seed, string(key))
	return now.Before(d.young[h]) || now.Before(d.old[h])
}

func (d *distrust) add(key object.Key, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.young == nil:
		d.seed, d.young = maphash.MakeSeed(), make(map[uint64]time.Time)
	case len(d.young) >= maxDistrusted:
		d.young, d.old = make(map[uint64]time.Time), d.young
	}
	d.young[maphash.String(d.seed, string(key))] = now.Add(distrustFor)
}
