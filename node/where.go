package node

import "github.com/micelio/micelio/object"

// places returns the ids of the nodes that would be asked for key now, in
// order. A member that does not answer at present is not among them; this node
// itself, whose stack ends at the authority, is the last.
func (r *router) places(key object.Key) (ids []string) {
	for h := range r.route(key, true) {
		if h.member == nil {
			ids = append(ids, r.self)
		} else {
			ids = append(ids, h.member.ID)
		}
	}
	return ids
}

// route says where a key goes from here: its partition in the ring, and the
// nodes that would be asked for it now.
func (n *Node) route(key object.Key) (partition *int, asked []string) {
	r := n.router
	if r == nil { // without tiers no node is asked before another
		return nil, []string{n.id}
	}
	p := r.view().Partition(string(key))
	return &p, r.places(key)
}
