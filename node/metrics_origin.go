package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/pace"
)

// originSnapshot collects the figures that an S3 origin and a CDN keep
// themselves. Either may be nil.
type originSnapshot struct {
	s3  *origin.S3
	cdn *origin.CDN
}

// Describe sends no descriptions: the collector is checked when it collects.
func (s *originSnapshot) Describe(chan<- *prometheus.Desc) {}

// Collect sends the figures of this moment.
func (s *originSnapshot) Collect(out chan<- prometheus.Metric) {
	if s.s3 != nil {
		collectS3(s.s3.Stats(), out)
		if caps, known := s.s3.Capabilities(); known {
			collectCapabilities(caps, out)
		}
	}
	if s.cdn != nil {
		collectCDN(s.cdn.Stats(), out)
	}
}

// send sends one figure, with label pairs of names and values.
func send(out chan<- prometheus.Metric, kind prometheus.ValueType, name, help string, v float64, labels ...string) {
	var names, values []string
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, v, values...)
}

func collectS3(st origin.S3Stats, out chan<- prometheus.Metric) {
	const g, c = prometheus.GaugeValue, prometheus.CounterValue
	const s = "micelio_origin_s3_"
	send(out, c, s+"demand_total", "Requests to S3 that callers wanted, before retries and hedges.", float64(st.Demand))
	send(out, c, s+"attempts_total", "Requests sent to S3.", float64(st.Attempts))
	const retries = "Further attempts after a failure, and those that the budget refused."
	send(out, c, s+"retries_total", retries, float64(st.Retries), "result", "sent")
	send(out, c, s+"retries_total", retries, float64(st.RetriesRefused), "result", "refused")
	const hedges = "Second requests beside slow ones, and those of them that answered first."
	send(out, c, s+"hedges_total", hedges, float64(st.Hedges), "result", "sent")
	send(out, c, s+"hedges_total", hedges, float64(st.HedgesWon), "result", "won")
	send(out, g, s+"concurrency_limit", "Requests to S3 that may be under way at once, as learned.", float64(st.Limit))
	send(out, g, s+"in_flight", "Requests to S3 under way.", float64(st.InFlight))
	send(out, g, s+"waiting", "Requests that wait for their turn.", float64(st.Waiting))
	const shed = "Requests that were refused here, without asking S3."
	send(out, c, s+"shed_total", shed, float64(st.Shed), "by", "limiter")
	send(out, c, s+"shed_total", shed, float64(st.BreakerRefused), "by", "breaker")
	collectBreaker("micelio_origin_s3", st.Breaker, out)
	send(out, c, s+"resumed_bodies_total", "Bodies that went on after they broke off.", float64(st.Resumed))
	const settled = "Writes without a clear answer, by what asking found."
	send(out, c, s+"settled_writes_total", settled, float64(st.Settled-st.Unknown), "result", "known")
	send(out, c, s+"settled_writes_total", settled, float64(st.Unknown), "result", "unknown")
}

func collectCapabilities(caps origin.Capabilities, out chan<- prometheus.Metric) {
	const g = prometheus.GaugeValue
	for name, has := range map[string]bool{
		"conditional_create": caps.ConditionalCreate, "conditional_replace": caps.ConditionalReplace,
		"conditional_delete": caps.ConditionalDelete, "conditional_batch": caps.ConditionalBatch, "read_after_write": caps.ReadAfterWrite,
	} {
		send(out, g, "micelio_origin_s3_capability", "1 if the service was found to have it, else 0.", oneIf(has), "name", name)
	}
	send(out, g, "micelio_origin_weak", "1 if the origin does not keep conditional writes apart, so that mutable keys are not safe there, else 0.", oneIf(!caps.Strong()))
}

// collectBreaker sends the state of a circuit breaker as one series a state.
func collectBreaker(prefix string, state pace.State, out chan<- prometheus.Metric) {
	for _, s := range []pace.State{pace.Closed, pace.HalfOpen, pace.Open} {
		send(out, prometheus.GaugeValue, prefix+"_breaker_state", "1 for the state of the circuit breaker, 0 for the others.",
			oneIf(s == state), "state", s.String())
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func collectCDN(st origin.CDNStats, out chan<- prometheus.Metric) {
	const g, c = prometheus.GaugeValue, prometheus.CounterValue
	send(out, c, "micelio_cdn_hits_total", "Objects that the CDN answered.", float64(st.Hits))
	for reason, n := range st.Misses {
		send(out, c, "micelio_cdn_misses_total", "Objects of the CDN's classes that the origin answered, by why the CDN did not.",
			float64(n), "reason", string(reason))
	}
	send(out, c, "micelio_cdn_resumed_bodies_total", "Bodies of the CDN that broke off and went on from the origin.", float64(st.Resumed))
	send(out, c, "micelio_cdn_integrity_failures_total", "Objects whose bytes from the CDN failed their proof.", float64(st.Bad))
	send(out, g, "micelio_cdn_in_flight", "Reads under way at the CDN.", float64(st.InFlight))
	send(out, g, "micelio_cdn_bypassed_keys", "Keys that are not read through the CDN because it was wrong.", float64(st.Bypassed))
	send(out, g, "micelio_cdn_bypassed", "1 while no key is read through the CDN because it was wrong often.", oneIf(st.AllBypassed))
	collectBreaker("micelio_cdn", st.Breaker, out)
}
