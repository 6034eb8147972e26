package node

import "github.com/prometheus/client_golang/prometheus"

// ringCheck says whether the ring is the one of the members that this node knows
// of. A node with an older one serves all the same.
func ringCheck(fault error) check {
	if fault == nil {
		return check{name: "ring is current", ok: true, says: true, say: "it is made of all known members"}
	}
	return check{name: "ring is current", says: true, say: "an older one stays in force: " + fault.Error()}
}

// ringFault is the metric of the same.
func ringFault(fault func() error) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "micelio_ring_stale", Help: "1 while the view of the ring is an older one, because that of the known members could not be made.",
	}, func() float64 {
		if fault() != nil {
			return 1
		}
		return 0
	})
}
