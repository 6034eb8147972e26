package nodes

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Metrics are the figures of a node that have no labels, by name.
type Metrics map[string]float64

// Metrics reads what the node says of itself.
func (n *Node) Metrics() (Metrics, error) {
	resp, err := http.Get("http://" + n.Admin + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("/metrics: %s", resp.Status)
	}
	return parseMetrics(string(text)), err
}

// parseMetrics reads the text format of Prometheus, as far as it is needed.
func parseMetrics(text string) Metrics {
	m := Metrics{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil && !strings.ContainsAny(name, "#{") {
			m[name] = v
		}
	}
	return m
}
