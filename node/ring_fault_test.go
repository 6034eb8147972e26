package node

import (
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestARingThatCouldNotBeMadeShows(t *testing.T) {
	fault := errors.New("cannot be placed")
	for _, f := range []error{nil, fault} {
		registry := prometheus.NewRegistry()
		registry.MustRegister(ringFault(func() error { return f }))
		families, err := registry.Gather()
		if err != nil || len(families) != 1 {
			t.Fatal(families, err)
		}
		if got := families[0].GetMetric()[0].GetGauge().GetValue(); got == 1 != (f != nil) {
			t.Errorf("fault %v: the metric is %v", f, got)
		}
		c := ringCheck(f)
		if c.ok != (f == nil) || !c.says || f != nil && !containsAll(c.say, "stays in force", f.Error()) {
			t.Errorf("fault %v: the check is %+v", f, c)
		}
	}
}

func containsAll(s string, words ...string) bool {
	for _, w := range words {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}
