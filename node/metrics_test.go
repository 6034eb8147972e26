package node

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/micelio/micelio/gateway"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/ring"
)

var update = flag.Bool("update", false, "write testdata/metrics.golden anew")

// exercised returns all that a node can have to say: of one with a peer on which
// everything was counted once, and what only those with an S3 origin, a CDN or
// trouble have.
func exercised(t *testing.T) prometheus.Gatherer {
	t.Helper()
	n := startCluster(t, 2)[0]
	n.meter.observe(gateway.Observation{Op: "get", Status: http.StatusOK, Tier: object.TierRAM, Duration: time.Millisecond})
	n.meter.router.peerRequest("get", time.Now(), nil)
	n.meter.router.settled.WithLabelValues("put", "ok").Inc()
	n.meter.canary.WithLabelValues("fresh").Inc()
	n.meter.fillEnded(object.TierOrigin, time.Second)
	n.plane.refused.WithLabelValues("cluster").Inc()
	n.plane.epochs.differs("answer")
	if _, err := n.cache.Head(t.Context(), "nothing", object.HeadOptions{}); err == nil {
		t.Fatal("an empty origin has it")
	}
	others := prometheus.NewRegistry()
	others.MustRegister(
		collecting(func(out chan<- prometheus.Metric) { collectS3(origin.S3Stats{}, out) }),
		collecting(func(out chan<- prometheus.Metric) { collectCapabilities(origin.Capabilities{}, out) }),
		collecting(func(out chan<- prometheus.Metric) {
			collectCDN(origin.CDNStats{Misses: map[origin.CDNMiss]int64{origin.CDNAbsent: 1}}, out)
		}),
		&membershipSnapshot{func() []ring.Refusal { return []ring.Refusal{{Reason: "cluster", Count: 1}} }},
	)
	return prometheus.Gatherers{n.meter.registry, others}
}

// collecting is a collector.
type collecting func(out chan<- prometheus.Metric)

func (collecting) Describe(chan<- *prometheus.Desc)       {}
func (c collecting) Collect(out chan<- prometheus.Metric) { c(out) }

// Dashboards and alerts are written against these names, so a change of one is
// a change that somebody must have meant.
func TestMetricsKeepTheirNames(t *testing.T) {
	families, err := exercised(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "micelio_") {
			continue // Go's and the process's own
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		fmt.Fprintf(&got, "%s{%s} %s\n\t%s\n", f.GetName(), strings.Join(labels, ","), strings.ToLower(f.GetType().String()), f.GetHelp())
	}
	golden := filepath.Join("testdata", "metrics.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("-was +is; -update accepts it:\n%s", diff)
	}
}

func TestMetricsFollowTheConventions(t *testing.T) {
	families, err := exercised(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "micelio_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// What another node calls its tiers must not become a label: there is no end to
// names.
func TestATierOfAnotherVersionIsCountedAsOther(t *testing.T) {
	n := openNode(t)
	for _, tier := range []object.Tier{"quantum", "foam", object.TierSSD, ""} {
		n.meter.observe(gateway.Observation{Op: "get", Status: http.StatusOK, Tier: tier})
	}
	metrics := make(chan prometheus.Metric, 10)
	n.meter.requests.Collect(metrics)
	if len(metrics) != 3 {
		t.Errorf("%d series of 3", len(metrics))
	}
}
