package node

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/micelio/micelio/ring"
)

// refusalMemory is for how long a refusal explains why a node is alone: it asks
// again several times in that while.
const refusalMemory = time.Minute

// membershipCheck says whether the node has found its cluster. A node that is
// alone serves all the same: the origin is the authority, not the ring.
func (n *Node) membershipCheck() check {
	c := check{name: "cluster", ok: true, says: true, say: fmt.Sprintf("%q, gossip is encrypted", n.cfg.Cluster)}
	if len(n.cfg.ClusterSecrets()) == 0 {
		c.say = fmt.Sprintf("%q, gossip is open to whoever reaches %s", n.cfg.Cluster, n.ring.Addr())
	}
	if len(n.cfg.Join) == 0 || len(n.ring.View().Members()) > 1 {
		return c
	}
	c.ok = false
	by := n.ring.RefusedBy()
	if by.Count > 0 && time.Since(by.Last) < refusalMemory {
		c.say = fmt.Sprintf("alone, refused by %s (%s): %s", by.From, by.Reason, by.Remedy)
	} else {
		c.say = fmt.Sprintf("alone, no other node answers at %v", n.cfg.Join)
	}
	return c
}

// membershipSnapshot collects who was refused in the gossip.
type membershipSnapshot struct{ refusals func() []ring.Refusal }

// Describe sends no descriptions: the collector is checked when it collects.
func (s *membershipSnapshot) Describe(chan<- *prometheus.Desc) {}

// Collect sends the figures of this moment.
func (s *membershipSnapshot) Collect(out chan<- prometheus.Metric) {
	for _, r := range s.refusals() {
		send(out, prometheus.CounterValue, "micelio_ring_refused_total",
			"Packets, connections and nodes that were not let into the cluster, or would not let this node in, by reason.",
			float64(r.Count), "reason", r.Reason)
	}
}
