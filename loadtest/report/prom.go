package report

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/figure"
)

// Metrics writes the run as a file of OpenMetrics 1.0, to be kept beside the
// metrics of the servers or backfilled (promtool tsdb create-blocks-from
// openmetrics). Every sample has the time of the end of the run. The histograms
// have the buckets of the hist report.
func Metrics(w io.Writer, r *loadtest.Result) error {
	m := &openMetrics{run: title(r), at: r.Start.Add(r.Took)}
	m.family("micelio_load_valid", "gauge", "", "1 if the generator kept up with what was asked of it, 0 if the run says nothing about the servers.")
	m.sample("micelio_load_valid", boolean(r.Self.Verdict == loadtest.Valid))
	m.family("micelio_load_requests", "counter", "", "Requests by what became of them: scheduled = sent + unsent, failed are of those sent.")
	for _, c := range []struct {
		outcome string
		n       int64
	}{{"scheduled", r.Totals.Scheduled}, {"sent", r.Totals.Sent}, {"unsent", r.Totals.Unsent}, {"done", r.Totals.Done}, {"failed", r.Totals.Failed}} {
		m.sample("micelio_load_requests_total", float64(c.n), "outcome", c.outcome)
	}
	m.family("micelio_load_errors", "counter", "", "Failed requests by the kind of the error.")
	for _, kind := range slices.Sorted(maps.Keys(r.Totals.Errors)) {
		m.sample("micelio_load_errors_total", float64(r.Totals.Errors[kind]), "kind", kind)
	}
	m.family("micelio_load_bytes", "counter", "bytes", "Bytes of bodies.")
	m.sample("micelio_load_bytes_total", float64(r.Totals.BytesIn), "direction", "in")
	m.sample("micelio_load_bytes_total", float64(r.Totals.BytesOut), "direction", "out")
	m.family("micelio_load_rate", "gauge", "", "Requests a second that fell due, and whole answers a second.")
	m.sample("micelio_load_rate", figure.Asked(r), "kind", "asked")
	m.sample("micelio_load_rate", figure.Done(r), "kind", "done")

	m.family("micelio_load_response_seconds", "histogram", "seconds", "Time from when a request was due to the end of its answer.")
	for i := range r.Series {
		s := &r.Series[i]
		m.histogram("micelio_load_response_seconds", s.Response, "part", s.Part, "op", s.Op, "status", status(s), "tier", printable(s.Cache))
	}
	m.family("micelio_load_service_seconds", "histogram", "seconds", "Time from when a request was sent to the end of its answer.")
	m.histogram("micelio_load_service_seconds", r.Service)
	m.family("micelio_load_lateness_seconds", "histogram", "seconds", "Time by which requests were sent late; cause is the generator's own part.")
	m.histogram("micelio_load_lateness_seconds", r.Lateness, "cause", "all")
	m.histogram("micelio_load_lateness_seconds", r.Self.Lateness, "cause", "generator")

	m.family("micelio_load_cpu_seconds", "counter", "seconds", "CPU time.")
	m.sample("micelio_load_cpu_seconds_total", r.Self.CPU.Seconds(), "of", "generator")
	if s := r.Server; s != nil && s.Nodes > 0 {
		m.sample("micelio_load_cpu_seconds_total", s.CPU.Seconds(), "of", "servers")
		m.family("micelio_load_server_cpu_per_request_seconds", "gauge", "seconds", "CPU time of the servers for each request that they counted.")
		m.sample("micelio_load_server_cpu_per_request_seconds", s.CPUPerRequest.Seconds())
		m.family("micelio_load_hit_ratio", "gauge", "ratio", "Share of the reads that the servers answered from tiers of their own: hot, ram, ssd.")
		m.sample("micelio_load_hit_ratio", s.HitRatio)
		m.family("micelio_load_origin_gets_per_key", "gauge", "", "Objects from the origin for each different key that was read.")
		m.sample("micelio_load_origin_gets_per_key", s.PerKey)
	}
	m.out.WriteString("# EOF\n")
	_, err := w.Write(m.out.Bytes())
	return err
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// openMetrics writes the exposition format.
type openMetrics struct {
	out bytes.Buffer
	run string
	at  time.Time
}

// family begins a metric family. OpenMetrics wants the unit as the end of its
// name.
func (m *openMetrics) family(name, kind, unit, help string) {
	fmt.Fprintf(&m.out, "# TYPE %s %s\n", name, kind)
	if unit != "" {
		fmt.Fprintf(&m.out, "# UNIT %s %s\n", name, unit)
	}
	fmt.Fprintf(&m.out, "# HELP %s %s\n", name, help)
}

// sample writes one value; labels are names and values in turn.
func (m *openMetrics) sample(name string, v float64, labels ...string) {
	m.out.WriteString(name + `{run="` + escapeLabel(m.run) + `"`)
	for i := 0; i < len(labels); i += 2 {
		m.out.WriteString("," + labels[i] + `="` + escapeLabel(labels[i+1]) + `"`)
	}
	fmt.Fprintf(&m.out, "} %s %d.%03d\n", strconv.FormatFloat(v, 'g', -1, 64), m.at.Unix(), m.at.Nanosecond()/1e6)
}

func (m *openMetrics) histogram(name string, h *loadtest.Histogram, labels ...string) {
	total := int64(0)
	for i, n := range between(h, usualBuckets) {
		total += n
		bound := "+Inf"
		if i+1 < len(usualBuckets) {
			bound = strconv.FormatFloat(usualBuckets[i+1].Seconds(), 'f', -1, 64)
			if !strings.Contains(bound, ".") {
				bound += ".0" // as OpenMetrics writes whole numbers
			}
		}
		m.sample(name+"_bucket", float64(total), append(slices.Clone(labels), "le", bound)...)
	}
	m.sample(name+"_count", float64(total), labels...)
	m.sample(name+"_sum", h.Mean().Seconds()*float64(total), labels...)
}

func escapeLabel(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(text, "�"))
}
