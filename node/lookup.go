package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/micelio/micelio/console"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

// partial marks a tier that has only parts of an object.
const partial = " in part"

// Where says where a key is. Members are asked at their peer listeners, so that it
// works from any node, and it counts as no use of the key anywhere.
func (s *showcase) Where(ctx context.Context, name string) (console.Where, error) {
	key, err := object.ParseKey(name)
	if err != nil {
		return console.Where{}, err
	}
	route := s.n.whereIs(key)
	return console.Where{
		Key: string(key), Class: route.Class, Staleness: route.Staleness, Epoch: route.Epoch,
		Partition: route.Partition, Owner: route.Owner, Route: route.Asked, Copies: s.n.whoHas(ctx, key),
	}, nil
}

const (
	// checkTime bounds what all members are asked for one answer: those who ask a
	// node, "micelio-node ring" and "where", wait 3 s for it.
	checkTime = 2 * time.Second

	// maxChecks bounds such questions under way at once. The console has a bound of
	// its own for its lookups, as large.
	maxChecks = 8
)

// errDiskSilent says that this node's own tiers did not tell in time.
var errDiskSilent = errors.New("the SSD tier of this node did not answer in time")

// A turnstile bounds how often something is done at once.
type turnstile chan struct{}

// enter reports whether there was room; then leave is to be called.
func (t turnstile) enter() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t turnstile) leave() { <-t }

// checking lets a question to all members pass, within its time, or answers that
// there are enough under way.
func (n *Node) checking(w http.ResponseWriter, r *http.Request, ask func(ctx context.Context)) bool {
	if !n.asking.enter() {
		w.Header().Set("Retry-After", "1")
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"error": fmt.Sprintf("%d checks are under way, which is enough", maxChecks)})
		return false
	}
	defer n.asking.leave()
	ctx, cancel := context.WithTimeout(r.Context(), checkTime)
	defer cancel()
	ask(ctx)
	return true
}

// whoHas asks every member, at its peer listener, what it has of a key, for no longer
// than checkTime. There is a line for each, in the order of their ids.
func (n *Node) whoHas(ctx context.Context, key object.Key) []console.Copy {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	members := n.ring.View().Members()
	lines := make([]console.Copy, len(members))
	var own sync.WaitGroup
	if i := slices.IndexFunc(members, func(m ring.Member) bool { return m.ID == n.id }); i >= 0 {
		own.Go(func() {
			copies, err := n.ownCopies(ctx, key)
			lines[i] = copyOf(n.id, copies, err)
		})
	}
	askOthers(ctx, n.id, members, func(i int, m ring.Member) {
		copies, err := n.askCopies(ctx, m, key)
		lines[i] = copyOf(m.ID, copies, err)
	}, func(i int, m ring.Member) { lines[i] = copyOf(m.ID, nil, errNotAsked) })
	own.Wait()
	slices.SortFunc(lines, func(a, b console.Copy) int { return strings.Compare(a.Node, b.Node) })
	return lines
}

// askCopies asks a member for what it has of a key.
func (n *Node) askCopies(ctx context.Context, m ring.Member, key object.Key) ([]peer.Copy, error) {
	asking, cancel := context.WithTimeout(ctx, acquaintTimeout)
	defer cancel()
	return n.pool.Peer(m.PeerAddr, m.Boot).Copies(asking, key)
}

// ownCopies is copies for those who do not wait longer than ctx. Nothing ends a read
// of a disk that hangs: it goes on, and takes one of the few looks until it ends.
func (n *Node) ownCopies(ctx context.Context, key object.Key) ([]peer.Copy, error) {
	if !n.looking.enter() {
		return nil, errDiskSilent
	}
	found := make(chan []peer.Copy, 1)
	go func() {
		defer n.looking.leave()
		found <- n.copies(key)
	}()
	select {
	case copies := <-found:
		return copies, nil
	case <-ctx.Done():
		return nil, errDiskSilent
	}
}

// copies returns what this node has of a key in its own tiers.
func (n *Node) copies(key object.Key) []peer.Copy {
	if n.cache == nil {
		return nil
	}
	var copies []peer.Copy
	for _, c := range n.cache.Copies(key) {
		copies = append(copies, peer.Copy{Tier: c.Info.Tier, Size: c.Info.Size, ETag: c.Info.ETag, Age: c.Info.Age, Whole: c.Whole})
	}
	return copies
}

// copyOf puts what a member has into one line. Size, ETag and age are those of the
// first copy.
func copyOf(id string, copies []peer.Copy, err error) console.Copy {
	line := console.Copy{Node: id, Tiers: []string{}}
	if err != nil {
		line.Error = err.Error()
	}
	for _, c := range copies {
		tier := string(c.Tier)
		if !c.Whole {
			tier += partial
		}
		line.Tiers = append(line.Tiers, tier)
	}
	if len(copies) > 0 {
		line.Size, line.ETag, line.Age = copies[0].Size, string(copies[0].ETag), copies[0].Age.Seconds()
	}
	return line
}
