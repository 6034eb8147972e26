package node

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/micelio/micelio/gateway"
	"github.com/micelio/micelio/object"
)

// A meter is the node's own registry: nothing is shared between two nodes of
// one process. No label ever holds a key.
type meter struct {
	registry *prometheus.Registry
	clients  *prometheus.Registry // of requests, duration, in and out alone
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	bounds   []float64          // of duration, in seconds
	in, out  prometheus.Counter // bytes of bodies
	broken   prometheus.Counter
	origin   *prometheus.CounterVec
	originIn *prometheus.HistogramVec // how long those take
	router   *routerStats
	filled   *prometheus.HistogramVec
	fill     fillStats
	canary   *prometheus.CounterVec
	stale    prometheus.Counter
}

const (
	shortest = 50e-6 // seconds: a hit in memory is below 100 us; the last bound is 6.6 s
	longest  = 1e-3  // seconds, for what takes long: the last bound is 131 s
)

// bounds returns the upper bounds of a histogram's classic buckets, in seconds.
func bounds(first float64) []float64 { return prometheus.ExponentialBuckets(first, 2, 18) }

// newHistogram returns a histogram of seconds in both forms: with classic buckets,
// which double from first on and are enough for alerts and old servers, and with
// native ones for servers that ask for them. Those are a tenth apart, and the
// coarser the more of them there are, so that one series never takes more than
// some KiB; it begins anew after an hour at the earliest.
func newHistogram(name, help string, first float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: bounds(first),
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
	}, labels)
}

func newMeter() *meter {
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "micelio_client_bytes_total", Help: "Bytes of bodies exchanged with clients.",
	}, []string{"direction"})
	m := &meter{
		registry: prometheus.NewRegistry(), clients: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "micelio_requests_total", Help: "Client requests that ended, by operation, HTTP status and answering tier.",
		}, []string{"op", "code", "tier"}),
		duration: newHistogram("micelio_request_duration_seconds",
			"Time from a client request's headers to the end of its answer, by operation, answering tier and lane: fast for what was at hand in memory, full for all else.",
			shortest, "op", "tier", "lane"),
		bounds: bounds(shortest),
		broken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "micelio_answers_broken_total", Help: "Answers to clients that began well and were cut before their end, so that nobody takes them for whole.",
		}),
		in: bytes.WithLabelValues("in"), out: bytes.WithLabelValues("out"),
		origin: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "micelio_origin_requests_total", Help: "Requests to the origin, by operation and result.",
		}, []string{"op", "result"}),
		originIn: newHistogram("micelio_origin_request_duration_seconds",
			"Time from a request to the origin to its answer: of get without the body, of list to the first entry.", shortest, "op"),
		router: newRouterStats(),
		filled: newHistogram("micelio_fill_duration_seconds",
			"Time from the question to the last byte of fetches that brought all they were to bring, by who answered.", longest, "source"),
		canary: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "micelio_canary_rounds_total", Help: "Writes of the node's own object that were read back through another node, by result.",
		}, []string{"result"}),
		stale: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "micelio_stale_reads_total", Help: "Reads through another node that did not see an acknowledged write. Must stay 0.",
		}),
	}
	m.clients.MustRegister(m.requests, m.duration, bytes, m.broken)
	m.registry.MustRegister(m.requests, m.duration, bytes, m.broken, m.origin, m.originIn, m.filled, m.canary, m.stale,
		m.router.peers, m.router.duration, m.router.resumed, m.router.settled,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewBuildInfoCollector())
	m.registry.MustRegister(m.fill.collectors()...)
	return m
}

// The lanes of requests. A copy in memory of a mutable key is good only after the
// origin was asked, and the fast lane answers no such keys: what it takes is what
// memory takes, whatever the origin does.
const (
	fastLane = "fast"
	fullLane = "full"
)

// observe counts a finished client request.
func (m *meter) observe(o gateway.Observation) {
	m.requests.WithLabelValues(o.Op, strconv.Itoa(o.Status), tierLabel(o.Tier)).Inc()
	m.duration.WithLabelValues(o.Op, tierLabel(o.Tier), fullLane).Observe(o.Duration.Seconds())
	m.in.Add(float64(o.BytesIn))
	m.out.Add(float64(o.BytesOut))
	if o.Aborted && o.Status < http.StatusInternalServerError {
		m.broken.Inc()
	}
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
	peers    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	resumed  prometheus.Counter
	settled  *prometheus.CounterVec
}

func newRouterStats() *routerStats {
	return &routerStats{
		peers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "micelio_peer_requests_total", Help: "Requests sent to other nodes, by operation and result.",
		}, []string{"op", "result"}),
		duration: newHistogram("micelio_peer_request_duration_seconds",
			"Time from a request to another node to its answer, without the answer's body. What quick lanes answer is left out.", shortest, "op"),
		resumed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "micelio_peer_resumed_bodies_total", Help: "Bodies that went on from another node after theirs broke off.",
		}),
		settled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "micelio_peer_settled_writes_total", Help: "Writes to other nodes whose answer got lost, by operation and what asking the origin found.",
		}, []string{"op", "result"}),
	}
}

// peerRequest counts a request that was sent at since and has been answered.
func (s *routerStats) peerRequest(op string, since time.Time, err error) {
	s.peers.WithLabelValues(op, result(err)).Inc()
	s.duration.WithLabelValues(op).Observe(time.Since(since).Seconds())
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
