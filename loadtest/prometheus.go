package loadtest

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A metric is one sample of a text exposition.
type metric struct {
	labels map[string]string
	value  float64
}

// An exposition is what a node's /metrics says, by name.
type exposition map[string][]metric

// Bounds of an exposition: a node's is 100 kB.
const (
	maxExposition = 16 << 20
	maxMetrics    = 200_000
)

// readExposition reads the text format 0.0.4 of Prometheus. Comments, time stamps
// and exemplars are left out.
func readExposition(r io.Reader) (exposition, error) {
	all := exposition{}
	lines := bufio.NewScanner(io.LimitReader(r, maxExposition))
	lines.Buffer(nil, 1<<20)
	for n := 0; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, m, err := parseMetric(line)
		if err != nil {
			return nil, fmt.Errorf("line %d, %.80q: %w", n+1, line, err)
		}
		if n == maxMetrics {
			return nil, fmt.Errorf("more than %d lines", maxMetrics)
		}
		all[name] = append(all[name], m)
	}
	return all, lines.Err()
}

// parseMetric reads NAME{LABEL="VALUE",…} VALUE.
func parseMetric(line string) (string, metric, error) {
	m := metric{}
	end := strings.IndexAny(line, "{ \t")
	if end <= 0 {
		return "", m, fmt.Errorf("no name and value")
	}
	name, rest := line[:end], line[end:]
	if rest[0] == '{' {
		var err error
		if m.labels, rest, err = parseLabels(rest[1:]); err != nil {
			return "", m, err
		}
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return "", m, fmt.Errorf("no value")
	}
	var err error
	m.value, err = strconv.ParseFloat(fields[0], 64)
	return name, m, err
}

// parseLabels reads labels up to the closing brace, and returns what follows.
func parseLabels(s string) (map[string]string, string, error) {
	labels := map[string]string{}
	for {
		s = strings.TrimLeft(s, " \t,")
		if rest, ok := strings.CutPrefix(s, "}"); ok {
			return labels, rest, nil
		}
		name, rest, ok := strings.Cut(s, "=")
		if rest = strings.TrimLeft(rest, " \t"); !ok || !strings.HasPrefix(rest, `"`) {
			return nil, "", fmt.Errorf("a label without a value")
		}
		var value strings.Builder
		i := 1
		for ; i < len(rest) && rest[i] != '"'; i++ {
			c := rest[i]
			if c == '\\' && i+1 < len(rest) {
				if i++; rest[i] == 'n' {
					c = '\n'
				} else {
					c = rest[i] // a quote or a backslash
				}
			}
			value.WriteByte(c)
		}
		if i >= len(rest) {
			return nil, "", fmt.Errorf("a label without an end")
		}
		labels[strings.TrimSpace(name)] = value.String()
		s = rest[i+1:]
	}
}

// sum adds up the samples of a name whose labels are as given.
func (e exposition) sum(name string, labels ...string) float64 {
	sum := 0.0
samples:
	for _, m := range e[name] {
		for i := 0; i+1 < len(labels); i += 2 {
			if m.labels[labels[i]] != labels[i+1] {
				continue samples
			}
		}
		sum += m.value
	}
	return sum
}
