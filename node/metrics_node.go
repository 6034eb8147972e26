package node

import (
	"cmp"
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// A build is what the program was made of.
type build struct{ version, revision, goVersion string }

// build returns the build of the program that runs the node.
func (n *Node) build() build {
	return build{cmp.Or(n.cfg.Program.Version, "devel"), n.cfg.Program.Revision, runtime.Version()}
}

// The states of a node as its metric has them.
const (
	stateStarting = "starting"
	stateReady    = "ready"
	stateNotReady = "not_ready"
	stateDraining = "draining"
)

// state returns which of its states the node is in, by the checks of this moment: ready
// as /readyz says it.
func (n *Node) state(checks []check) string {
	switch n.phase.Load() {
	case phaseStarting:
		return stateStarting
	case phaseDraining:
		return stateDraining
	}
	if slices.ContainsFunc(checks, check.bars) {
		return stateNotReady
	}
	return stateReady
}

// nodeSnapshot collects what there is to say of the node itself.
type nodeSnapshot struct {
	n *Node
	build
}

// Describe sends no descriptions: the collector is checked when it collects.
func (nodeSnapshot) Describe(chan<- *prometheus.Desc) {}

// Collect sends the figures of this moment.
func (s nodeSnapshot) Collect(out chan<- prometheus.Metric) {
	const g = prometheus.GaugeValue
	state := s.n.state(s.n.checks())
	for _, name := range []string{stateStarting, stateReady, stateNotReady, stateDraining} {
		send(out, g, "micelio_node_state", "1 for the state of the node, 0 for the others. ready is what /readyz says.", oneIf(name == state), "state", name)
	}
	send(out, g, "micelio_build_info", "Always 1; the version of the node, the revision of its source, and the version of Go as labels.", 1,
		"version", s.version, "revision", s.revision, "goversion", s.goVersion)
	send(out, g, "micelio_gossip_health_score", "How late this node is with its gossip: 0 if it is not, more the more it is starved or cut off.", float64(s.n.ring.Health()))
}
