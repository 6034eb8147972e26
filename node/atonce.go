package node

import (
	"net"
	"net/http"

	"github.com/micelio/micelio/fastlane"
	"github.com/micelio/micelio/gateway"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
)

// quicken lets connections of the data listener answer plain reads of what is in
// memory past net/http and the dialect's handler. Without tiers nothing is.
func (n *Node) quicken() {
	if n.cache == nil || !n.cfg.FastLane {
		return
	}
	cfg := fastlane.Config{
		Bucket: n.cfg.Bucket, Node: n.id, Lookup: n.lookUp, Observe: n.answeredAtOnce(), Detail: n.access.clients.take,
		IdleTimeout: idleTimeout, HeaderTimeout: headerTimeout, StallTimeout: gateway.StallTimeout,
	}
	n.data.front = func(l net.Listener) net.Listener {
		lane := fastlane.NewListener(l, cfg)
		n.data.server.RegisterOnShutdown(lane.CloseIdle)
		return lane
	}
	count := n.data.server.ConnState
	n.data.server.ConnState = func(c net.Conn, state http.ConnState) {
		count(c, state)
		fastlane.ConnState(c, state)
	}
}

// lookUp finds what clients' Store answers a read with, if that is at hand: in a
// copy of a hot key, or in the RAM tier of the key's owner, this node or one that can
// be read quickly. It counts as that Store does. A node that drains says so in each
// answer, which is the handler's.
func (n *Node) lookUp(key object.Key, a *fastlane.Answer) bool {
	if n.phase.Load() == phaseDraining || object.IsInternal(key) {
		return false
	}
	if n.hot != nil {
		if info, bytes, ok := n.hot.GetAtOnce(key); ok {
			a.Info, a.Bytes = info, bytes
			return true
		}
	}
	var quick peer.Answer
	switch n.router.quickFirst(key, &quick) {
	case quickElsewhere, quickAbsent:
		return false
	case quickAnswered:
		a.Info, a.Bytes, a.Held = quick.Info, quick.Body, quick.Held
	case quickLocal:
		var ok bool
		if a.Bytes, ok = n.cache.GetAtOnce(key, &a.Info); !ok {
			return false
		}
	}
	if n.hot != nil {
		n.hot.Saw(&a.Info)
	}
	return true
}
