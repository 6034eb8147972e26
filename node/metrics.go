package node

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/micelio/micelio/gateway"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/ring"
	"github.com/micelio/micelio/tiers"
)

// A meter is the node's own registry: nothing is shared between two nodes of
// one process. No label ever holds a key.
type meter struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	in, out  prometheus.Counter // bytes of bodies
	origin   *prometheus.CounterVec
	router   *routerStats
	fill     fillStats
	canary   *prometheus.CounterVec
	stale    prometheus.Counter
}

// requestBuckets cover a hit in memory (under 100 us) to a cold large object.
var requestBuckets = prometheus.ExponentialBuckets(50e-6, 2, 18)

func newMeter() *meter {
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "micelio_client_bytes_total", Help: "Bytes of bodies exchanged with clients.",
	}, []string{"direction"})
	m := &meter{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "micelio_requests_total", Help: "Client requests that ended, by operation, HTTP status and answering tier.",
		}, []string{"op", "code", "tier"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "micelio_request_duration_seconds", Help: "Time from a client request's headers to the end of its answer.",
			Buckets: requestBuckets, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160,
		}, []string{"op"}),
		in: bytes.WithLabelValues("in"), out: bytes.WithLabelValues("out"),
		origin: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "micelio_origin_requests_total", Help: "Requests to the origin, by operation and result.",
		}, []string{"op", "result"}),
		router: newRouterStats(),
		canary: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "micelio_canary_rounds_total", Help: "Writes of the node's own object that were read back through another node, by result.",
		}, []string{"result"}),
		stale: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "micelio_stale_reads_total", Help: "Reads through another node that did not see an acknowledged write. Must stay 0.",
		}),
	}
	m.registry.MustRegister(m.requests, m.duration, bytes, m.origin, m.canary, m.stale,
		m.router.peers, m.router.resumed, m.router.settled,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewBuildInfoCollector())
	m.registry.MustRegister(m.fill.collectors()...)
	return m
}

// observe counts a finished client request.
func (m *meter) observe(o gateway.Observation) {
	m.requests.WithLabelValues(o.Op, strconv.Itoa(o.Status), tierLabel(o.Tier)).Inc()
	m.duration.WithLabelValues(o.Op).Observe(o.Duration.Seconds())
	m.in.Add(float64(o.BytesIn))
	m.out.Add(float64(o.BytesOut))
}

// tierLabel returns the name of a tier, "other" for one that only another
// node's version knows: labels are a closed list.
func tierLabel(t object.Tier) string {
	switch t {
	case "", object.TierRAM, object.TierSSD, object.TierFill, object.TierPeer, object.TierCDN, object.TierOrigin, object.TierHot:
		return string(t)
	}
	return "other"
}

type routerStats struct {
	peers   *prometheus.CounterVec
	resumed prometheus.Counter
	settled *prometheus.CounterVec
}

func newRouterStats() *routerStats {
	return &routerStats{
		peers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "micelio_peer_requests_total", Help: "Requests sent to other nodes, by operation and result.",
		}, []string{"op", "result"}),
		resumed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "micelio_peer_resumed_bodies_total", Help: "Bodies that went on from another node after theirs broke off.",
		}),
		settled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "micelio_peer_settled_writes_total", Help: "Writes to other nodes whose answer got lost, by operation and what asking the origin found.",
		}, []string{"op", "result"}),
	}
}

func (s *routerStats) peerRequest(op string, err error) {
	s.peers.WithLabelValues(op, result(err)).Inc()
}

// result is how a request went, in a closed list of words.
func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, object.ErrNotModified):
		return "not_modified"
	case errors.Is(err, object.ErrNotFound):
		return "not_found"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "cancelled"
	case isAnswer(err):
		return "refused"
	}
	return "error"
}

// counted is a Store whose requests are counted.
type counted struct {
	object.Store
	requests *prometheus.CounterVec
}

func (c *counted) count(op string, err error) { c.requests.WithLabelValues(op, result(err)).Inc() }

func (c *counted) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	obj, err := c.Store.Get(ctx, key, opt)
	c.count("get", err)
	return obj, err
}

func (c *counted) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	info, err := c.Store.Head(ctx, key, opt)
	c.count("head", err)
	return info, err
}

func (c *counted) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	info, err := c.Store.Put(ctx, key, src, opt)
	c.count("put", err)
	return info, err
}

func (c *counted) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	err := c.Store.Delete(ctx, key, opt)
	c.count("delete", err)
	return err
}

func (c *counted) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return func(yield func(object.Entry, error) bool) {
		var failed error
		defer func() { c.count("list", failed) }()
		for e, err := range c.Store.List(ctx, opt) {
			failed = err
			if !yield(e, err) {
				return
			}
		}
	}
}

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

	// failed is the most fills that were seen to have failed. It is worked out
	// of two counters that are read one after the other, and must not go back.
	failed highWater

	entries, bytes, capacity, hits, misses, evictions, damaged, errors gauge // by tier
	declined, reinserted, written, quarantined                         gauge // of the SSD tier
	fills, filled, joined, inflight                                    gauge
	validations, shared, revalidated, unvalidated                      gauge
	badDigests, resumes, members, share, info                          gauge
}

func newSnapshot(self string, stats func() tiers.Stats, view func() *ring.View) *snapshot {
	def := func(kind prometheus.ValueType, name, help string, labels ...string) gauge {
		return gauge{prometheus.NewDesc(name, help, labels, nil), kind}
	}
	const g, c = prometheus.GaugeValue, prometheus.CounterValue
	return &snapshot{
		stats: stats, view: view, self: self,
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

		fills:       def(c, "micelio_fills_total", "Fetches from upstream that ended, by result.", "result"),
		filled:      def(c, "micelio_fill_bytes_total", "Bytes that fetches brought."),
		joined:      def(c, "micelio_fill_joined_total", "Reads that followed a fetch already under way."),
		inflight:    def(g, "micelio_fills_in_flight", "Fetches under way that reads can join."),
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

// A highWater is the largest of the values it was given, at least 0.
type highWater struct{ most atomic.Int64 }

func (h *highWater) raise(v int64) int64 {
	for {
		most := h.most.Load()
		if v <= most {
			return most
		}
		if h.most.CompareAndSwap(most, v) {
			return v
		}
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
	send(s.fills, float64(st.Fills), "ok")
	send(s.fills, float64(st.AbandonedFills), "abandoned")
	send(s.fills, float64(s.failed.raise(st.FailedFills-st.AbandonedFills)), "failed")
	send(s.filled, float64(st.FilledBytes))
	send(s.joined, float64(st.Joined))
	send(s.inflight, float64(st.InFlight))
	send(s.validations, float64(st.Validations))
	send(s.shared, float64(st.SharedValidations))
	send(s.revalidated, float64(st.Revalidated))
	send(s.unvalidated, float64(st.Unvalidated))
	send(s.badDigests, float64(st.BadDigests))
	send(s.resumes, float64(st.Resumes))
}
