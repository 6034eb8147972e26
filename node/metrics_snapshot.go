package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/ring"
	"github.com/micelio/micelio/tiers"
)

// A gauge describes one figure that is read when it is asked for.
type gauge struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// snapshot collects the figures that packages keep themselves.
type snapshot struct {
	stats func() tiers.Stats // nil without tiers
	view  func() *ring.View
	self  string
	from  []object.Tier // where fills can come from

	entries, bytes, capacity, hits, misses, evictions, damaged, errors gauge // by tier
	declined, reinserted, written, quarantined                         gauge // of the SSD tier
	fills, filled, joined, inflight, waiters                           gauge
	validations, shared, revalidated, unvalidated                      gauge
	badDigests, resumes, members, share, info                          gauge
}

func newSnapshot(self string, stats func() tiers.Stats, view func() *ring.View, from ...object.Tier) *snapshot {
	def := func(kind prometheus.ValueType, name, help string, labels ...string) gauge {
		return gauge{prometheus.NewDesc(name, help, labels, nil), kind}
	}
	const g, c = prometheus.GaugeValue, prometheus.CounterValue
	return &snapshot{
		stats: stats, view: view, self: self, from: from,
		entries:   def(g, "micelio_tier_objects", "Objects held.", "tier"),
		bytes:     def(g, "micelio_tier_bytes", "Bytes held, overhead included.", "tier"),
		capacity:  def(g, "micelio_tier_capacity_bytes", "Most bytes the tier may hold.", "tier"),
		hits:      def(c, "micelio_tier_hits_total", "Look-ups that found the object.", "tier"),
		misses:    def(c, "micelio_tier_misses_total", "Look-ups that did not.", "tier"),
		evictions: def(c, "micelio_tier_evictions_total", "Objects that had to go for others.", "tier"),
		damaged:   def(c, "micelio_tier_damaged_total", "Copies dropped because they failed a check.", "tier"),
		errors:    def(c, "micelio_tier_errors_total", "Failed disk operations; each cost a miss.", "tier"),

		declined:    def(c, "micelio_ssd_declined_total", "Copies there was no room or no write budget for."),
		quarantined: def(c, "micelio_ssd_quarantined_total", "Times that a segment could not be begun and was put aside for a while."),
		reinserted:  def(c, "micelio_ssd_reinserted_total", "Records written again, because they had been read, when their segment went."),
		written:     def(c, "micelio_ssd_written_bytes_total", "Bytes written to the SSD tier."),

		fills:       def(c, "micelio_fills_total", "Fetches into the tiers that ended, by who answered and result. abandoned: nobody was left who wanted it; absent: there is no such object.", "source", "result"),
		filled:      def(c, "micelio_fill_bytes_total", "Bytes that fetches brought, by who answered.", "source"),
		joined:      def(c, "micelio_fill_joined_total", "Reads that followed a fetch already under way."),
		inflight:    def(g, "micelio_fills_in_flight", "Fetches under way that reads can join."),
		waiters:     def(g, "micelio_fill_waiters", "Reads that wait for a fetch, or for a question to the origin, or follow the bytes of one."),
		validations: def(c, "micelio_validations_total", "Questions to the origin what a mutable key is now."),
		shared:      def(c, "micelio_validations_shared_total", "Reads of mutable keys that waited for a question together with another read."),
		revalidated: def(c, "micelio_reads_revalidated_total", "Reads answered with a copy that the origin called current."),
		unvalidated: def(c, "micelio_reads_unvalidated_total", "Reads answered within their staleness budget, without asking the origin."),
		badDigests:  def(c, "micelio_integrity_failures_total", "Objects whose bytes were not what their digest says."),
		resumes:     def(c, "micelio_tier_resumes_total", "Bodies that went on from another place."),

		members: def(g, "micelio_ring_members", "Members known to this node, by state.", "state"),
		share:   def(g, "micelio_ring_share_ratio", "Part of the key space this node owns."),
		info:    def(g, "micelio_ring_info", "Always 1; the epoch of the view as a label.", "epoch"),
	}
}

// Describe sends no descriptions: the collector is checked when it collects.
func (s *snapshot) Describe(chan<- *prometheus.Desc) {}

// Collect sends the figures of this moment.
func (s *snapshot) Collect(out chan<- prometheus.Metric) {
	send := func(g gauge, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(g.desc, g.kind, v, labels...)
	}
	view := s.view()
	states := map[ring.State]int{ring.Joining: 0, ring.Serving: 0, ring.Draining: 0}
	for _, m := range view.Members() {
		states[m.State]++
	}
	for state, n := range states {
		send(s.members, float64(n), state.String())
	}
	send(s.share, view.Share(s.self))
	send(s.info, 1, formatEpoch(view.Epoch()))
	if s.stats == nil {
		return
	}
	st := s.stats()
	for tier, t := range map[object.Tier]tiers.TierStats{object.TierRAM: st.RAM, object.TierSSD: st.SSD} {
		for _, f := range []struct {
			g gauge
			v int64
		}{
			{s.entries, t.Entries}, {s.bytes, t.Bytes}, {s.capacity, t.Capacity}, {s.hits, t.Hits},
			{s.misses, t.Misses}, {s.evictions, t.Evictions}, {s.damaged, t.Damaged}, {s.errors, t.Errors},
		} {
			send(f.g, float64(f.v), string(tier))
		}
	}
	send(s.declined, float64(st.SSD.Declined))
	send(s.reinserted, float64(st.SSD.Reinserted))
	send(s.written, float64(st.SSD.Written))
	send(s.quarantined, float64(st.SSD.Quarantined))
	for _, from := range s.from {
		f := st.Sources[from]
		send(s.fills, float64(f.Done), string(from), "ok")
		send(s.fills, float64(f.Abandoned), string(from), "abandoned")
		send(s.fills, float64(f.Failed), string(from), "failed")
		send(s.filled, float64(f.Bytes), string(from))
	}
	send(s.fills, float64(st.Sources[object.TierOrigin].Absent), string(object.TierOrigin), "absent")
	send(s.joined, float64(st.Joined))
	send(s.inflight, float64(st.InFlight))
	send(s.waiters, float64(st.Waiting))
	send(s.validations, float64(st.Validations))
	send(s.shared, float64(st.SharedValidations))
	send(s.revalidated, float64(st.Revalidated))
	send(s.unvalidated, float64(st.Unvalidated))
	send(s.badDigests, float64(st.BadDigests))
	send(s.resumes, float64(st.Resumes))
}
