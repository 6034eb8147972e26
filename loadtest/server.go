package loadtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// scrapeTimeout is how long a node may take to say what it counted. A node at
// its limit answers late.
const scrapeTimeout = 5 * time.Second

// A metricsNode is where one node says what it counted.
type metricsNode struct {
	name string // as the Config has it
	url  string
	addr string
}

func resolveMetrics(ctx context.Context, cfg *Config) ([]metricsNode, error) {
	var nodes []metricsNode
	var errs []error
	for _, s := range cfg.Metrics {
		t, u, err := resolve(ctx, s, cfg.AllowRemote)
		if err != nil {
			errs = append(errs, fmt.Errorf("metrics: %w", err))
			continue
		}
		if u.Path == "" || u.Path == "/" {
			u.Path = "/metrics"
		}
		nodes = append(nodes, metricsNode{name: s, url: u.String(), addr: t.addr})
	}
	return nodes, errors.Join(errs...)
}

// scrapeAll asks all nodes at once. Those that do not answer have nil.
func scrapeAll(ctx context.Context, nodes []metricsNode) []exposition {
	all := make([]exposition, len(nodes))
	var asking sync.WaitGroup
	for i, n := range nodes {
		asking.Go(func() { all[i] = n.scrape(ctx) })
	}
	asking.Wait()
	return all
}

// scrape asks one node, over a connection of its own: the node may have gone and
// come again since the last time. It returns nil if that does not work.
func (n metricsNode) scrape(ctx context.Context) exposition {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	transport := &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dialTCP(ctx, n.addr) },
		DisableKeepAlives: true,
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url, nil)
	if err != nil {
		return nil
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil
	}
	all, err := readExposition(response.Body)
	if err != nil {
		return nil
	}
	return all
}

// join says what was counted between two scrapes.
func join(nodes []metricsNode, before, after []exposition) *Server {
	s := &Server{Tiers: map[string]int64{}, OriginRequests: map[string]int64{}}
	for i, n := range nodes {
		if before[i] == nil || after[i] == nil {
			s.Missing = append(s.Missing, n.name)
			continue
		}
		const began = "process_start_time_seconds"
		if before[i].sum(began) != after[i].sum(began) {
			s.Restarted = append(s.Restarted, n.name)
			before[i] = exposition{} // it counts from 0 again
		}
		s.Nodes++
		s.add(delta{before[i], after[i]})
	}
	reads, hits := int64(0), int64(0)
	for tier, n := range s.Tiers {
		reads += n
		if tier == "hot" || tier == "ram" || tier == "ssd" {
			hits += n
		}
	}
	if reads > 0 {
		s.HitRatio = float64(hits) / float64(reads)
	}
	if s.Requests > 0 {
		s.CPUPerRequest = s.CPU / time.Duration(s.Requests)
		s.AllocsPerRequest = float64(s.Allocs) / float64(s.Requests)
		s.BytesPerRequest = float64(s.AllocBytes) / float64(s.Requests)
	}
	return s
}

// perKey fills in what depends on the run.
func (s *Server) perKey(unique int64) {
	s.UniqueKeys = unique
	if unique > 0 {
		s.PerKey = float64(s.OriginGets) / float64(unique)
	}
}

// A delta is what one node counted.
type delta struct{ before, after exposition }

func (d delta) of(name string, labels ...string) float64 {
	return d.after.sum(name, labels...) - d.before.sum(name, labels...)
}

func (d delta) count(name string, labels ...string) int64 {
	return int64(math.Round(d.of(name, labels...)))
}

func (d delta) seconds(name string) time.Duration {
	return time.Duration(d.of(name) * float64(time.Second))
}

// values returns the values that a label has.
func (d delta) values(name, label string) []string {
	seen := map[string]bool{}
	var values []string
	for _, m := range d.after[name] {
		if v := m.labels[label]; !seen[v] {
			seen[v] = true
			values = append(values, v)
		}
	}
	return values
}

// add adds what one node counted. The names are those of node/metrics.go and of
// the collectors for Go and processes of Prometheus' client.
func (s *Server) add(d delta) {
	const requests, origin = "micelio_requests_total", "micelio_origin_requests_total"
	s.CPU += d.seconds("process_cpu_seconds_total")
	s.GCPause += d.seconds("go_gc_duration_seconds_sum")
	s.GCCycles += d.count("go_gc_duration_seconds_count")
	s.Allocs += d.count("go_memstats_mallocs_total")
	s.AllocBytes += d.count("go_memstats_alloc_bytes_total")
	s.Requests += d.count(requests)
	for _, tier := range d.values(requests, "tier") {
		for _, code := range d.values(requests, "code") {
			// Errors and writes come from no tier.
			if n := d.count(requests, "tier", tier, "code", code); tier != "" && n > 0 && strings.HasPrefix(code, "2") {
				s.Tiers[tier] += n
			}
		}
	}
	for _, op := range d.values(origin, "op") {
		if n := d.count(origin, "op", op); n > 0 {
			s.OriginRequests[op] += n
		}
	}
	s.OriginGets += d.count(origin, "op", "get", "result", "ok")
}
