package peer

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/micelio/micelio/object"
)

// Every request has a connection to itself, so none waits for another's body.
// What is bounded is how many there are: a peer that takes requests and gives no
// answers would otherwise gather connections until there is no memory or no file
// descriptor left. Large bodies are counted apart, so that they leave room for
// small requests however long they take.
type lanes struct {
	most        int64 // of each kind
	small, bulk atomic.Int64
}

// bulkSize is the size of a body, in bytes, from which on it is a large one.
const bulkSize = 1 << 20

// ErrBusy says that as many requests are under way to the peer as may be. It
// says nothing bad about the peer. An error that matches it matches
// object.ErrUnavailable too, and nothing was sent.
var ErrBusy = errors.New("too many requests under way to the peer")

// enter counts a request in. It reports nil if there is no room.
func (l *lanes) enter(bulk bool) *atomic.Int64 {
	if bulk {
		if take(&l.bulk, l.most) {
			return &l.bulk
		}
		return nil
	}
	if take(&l.small, l.most) {
		return &l.small
	}
	return nil
}

func take(lane *atomic.Int64, most int64) bool {
	if lane.Add(1) <= most {
		return true
	}
	lane.Add(-1)
	return false
}

// enter takes the call's place among those under way to the peer, until its end.
func (l *call) enter(bulk bool) error {
	lane := l.lanes.enter(bulk)
	if lane == nil {
		return fmt.Errorf("%w: %d", ErrBusy, l.lanes.most)
	}
	l.lane.Store(lane)
	return nil
}

// widen moves a call whose answer is a large body to the lane of those. If there
// is no room it keeps its place: the body is on its way.
func (l *call) widen(length int64) {
	if length >= bulkSize && take(&l.lanes.bulk, l.lanes.most) {
		l.leave()
		l.lane.Store(&l.lanes.bulk)
	}
}

// leave gives the place back, once.
func (l *call) leave() {
	if lane := l.lane.Swap(nil); lane != nil {
		lane.Add(-1)
	}
}

// A Load is how many requests are under way to one peer.
type Load struct{ Small, Bulk int64 }

// Load returns how many requests of this node are under way to the peer.
func (c *Client) Load() Load { return Load{Small: c.lanes.small.Load(), Bulk: c.lanes.bulk.Load()} }

// busy is the error of a request that was not sent because there are too many.
func (l *call) busy(err error) error {
	return fmt.Errorf("%s: %w: %w", l.what(), object.ErrUnavailable, err)
}
