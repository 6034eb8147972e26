package node

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/micelio/micelio/object"
)

// fillStats count what becomes of fills that previous owners are asked for.
type fillStats struct {
	hits, absent, failed, slow, wrong, skipped atomic.Int64 // questions
	bytes, resumed                             atomic.Int64
	handedOver, takenOver                      atomic.Int64 // objects
}

// fillSources returns who can answer a fill: other nodes, the CDN if there is one,
// and the origin.
func (n *Node) fillSources() []object.Tier {
	from := []object.Tier{object.TierPeer, object.TierOrigin}
	if n.cdn != nil {
		from = append(from, object.TierCDN)
	}
	return from
}

// fillEnded notes how long a fill took that is whole.
func (m *meter) fillEnded(from object.Tier, took time.Duration) {
	m.filled.WithLabelValues(string(from)).Observe(took.Seconds())
}

// collectors returns what is to be registered.
func (s *fillStats) collectors() []prometheus.Collector {
	counter := func(n *atomic.Int64, name, help string, labels prometheus.Labels) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(n.Load()) })
	}
	all := []prometheus.Collector{
		counter(&s.bytes, "micelio_peer_fill_bytes_total", "Bytes that fills brought from nodes that owned the key before.", nil),
		counter(&s.resumed, "micelio_peer_fill_resumed_total", "Bodies of such nodes that broke off and went on from the CDN or the origin.", nil),
	}
	const questions = "Questions to nodes that owned a key before, by result. slow: the CDN or the origin was asked as well; skipped: not asked, because it does not pay at the moment."
	for result, n := range map[string]*atomic.Int64{
		"hit": &s.hits, "absent": &s.absent, "failed": &s.failed, "slow": &s.slow, "wrong": &s.wrong, "skipped": &s.skipped,
	} {
		all = append(all, counter(n, "micelio_peer_fill_requests_total", questions, prometheus.Labels{"result": result}))
	}
	const objects = "Hot objects that other nodes were told of when this one went, or that were fetched from one that went."
	for direction, n := range map[string]*atomic.Int64{"given": &s.handedOver, "taken": &s.takenOver} {
		all = append(all, counter(n, "micelio_handover_objects_total", objects, prometheus.Labels{"direction": direction}))
	}
	return all
}
