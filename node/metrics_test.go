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
)

var update = flag.Bool("update", false, "write testdata/metrics.golden anew")

// exercised is a node on which everything was counted once.
func exercised(t *testing.T) opened {
	t.Helper()
	n := openNode(t)
	n.meter.observe(gateway.Observation{Op: "get", Status: http.StatusOK, Tier: object.TierRAM, Duration: time.Millisecond})
	n.meter.router.peerRequest("get", nil)
	if _, err := n.cache.Head(t.Context(), "nothing", object.HeadOptions{}); err == nil {
		t.Fatal("an empty origin has it")
	}
	return n
}

// Dashboards and alerts are written against these names, so a change of one is
// a change that somebody must have meant.
func TestMetricsKeepTheirNames(t *testing.T) {
	families, err := exercised(t).meter.registry.Gather()
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
	families, err := exercised(t).meter.registry.Gather()
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

// A counter that goes back looks like a restart, and its rate jumps.
func TestADerivedCounterNeverGoesBack(t *testing.T) {
	var h highWater
	for i, step := range []struct{ in, out int64 }{{-1, 0}, {3, 3}, {2, 3}, {4, 4}} {
		if got := h.raise(step.in); got != step.out {
			t.Errorf("step %d: %d, want %d", i, got, step.out)
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
