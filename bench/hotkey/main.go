// Command hotkey measures what one hot key costs a cluster: read from its owner
// alone, through all nodes, and through all nodes with copies. Each node is a
// process of its own on one processor.
//
// All nodes and the clients share the processors of this machine, so that the
// requests a second say nothing about a cluster. What does is the processor time
// that each node uses for a request: with processors of its own for each node, a
// cluster answers as many requests as its busiest node has time for. And with a
// quota of processor time for each node, small enough that all fit, the requests a
// second are those of a cluster of slow machines.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/micelio/micelio/bench/measure"
	"github.com/micelio/micelio/bench/nodes"
	"github.com/micelio/micelio/bench/report"
)

type options struct {
	binary string
	docs   string
	nodes  int
	size   int64
	n      int64 // requests of a run
	rounds int
	conns  int
	quota  float64
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "", "micelio-node; default: built from the module above the working directory")
	flag.StringVar(&o.docs, "docs", "", "file to write the tables into; default: print them")
	flag.IntVar(&o.nodes, "nodes", 5, "nodes of a cluster")
	flag.Int64Var(&o.size, "size", 4096, "bytes of the object")
	flag.Int64Var(&o.n, "n", 40_000, "requests of a run")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds, in which the cases take turns")
	flag.IntVar(&o.conns, "conns", 32, "connections to each node that is read from")
	flag.Float64Var(&o.quota, "quota", 0.1, "processors of each node in the runs with a quota; 0 for no such runs")
	flag.Parse()
	if err := run(o); err != nil {
		log.Fatal(err)
	}
}

func run(o options) error {
	dir, err := os.MkdirTemp("", "hotkey-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.binary == "" {
		if o.binary, err = nodes.Build(dir); err != nil {
			return err
		}
	}
	var cases []*contest
	for _, copies := range []bool{false, true} {
		c, err := startCluster(o.binary, filepath.Join(dir, fmt.Sprint("copies-", copies)), o.nodes, o.size, copies)
		if err != nil {
			return err
		}
		defer c.stop()
		if !copies {
			cases = append(cases, &contest{name: "owner alone", cluster: c, addrs: []string{c.owner.Client}})
			cases = append(cases, &contest{name: fmt.Sprintf("through all %d, no copies", o.nodes), cluster: c, addrs: c.clients()})
		} else {
			other := c.members[0]
			if other == c.owner {
				other = c.members[1]
			}
			cases = append(cases, &contest{name: fmt.Sprintf("through all %d, copies", o.nodes), cluster: c, addrs: c.clients()})
			cases = append(cases, &contest{name: "one other node alone, copies", cluster: c, addrs: []string{other.Client}})
		}
	}
	text, err := costs(o, cases)
	if err != nil {
		return err
	}
	if o.quota > 0 {
		slow, err := quotas(o, cases)
		if err != nil {
			return err
		}
		text += slow
	}
	return report.Publish(o.docs, "hot key", text)
}

// A contest is one way to read the key.
type contest struct {
	name    string
	cluster *cluster
	addrs   []string
	samples []sample
}

// A sample is one run.
type sample struct {
	owner   float64 // processor time of the owner for a request of the cluster, in µs
	busiest float64 // of the busiest other node
	total   float64 // of all nodes
	hot     float64 // part of the requests that copies answered
	rate    float64 // requests a second of time that passed
}

// capacity returns how many requests a second the cluster answers if each node has
// one processor of its own.
func (s sample) capacity() float64 { return 1e6 / max(s.owner, s.busiest) }

// measure reads the key n times.
func (c *contest) measure(n int64, conns int) error {
	before, err := c.cluster.used()
	if err != nil {
		return err
	}
	start := time.Now()
	got := load(c.addrs, c.cluster.path, n/int64(len(c.addrs)), conns)
	took := time.Since(start)
	after, err := c.cluster.used()
	if err != nil {
		return err
	}
	if got.failed > 0 || got.requests == 0 {
		return fmt.Errorf("%s: %d requests failed: %w", c.name, got.failed, cmp.Or(got.first, errors.New("none was sent")))
	}
	s := sample{hot: float64(got.tiers["hot"]) / float64(got.requests), rate: float64(got.requests) / took.Seconds()}
	for i, m := range c.cluster.members {
		us := float64((after[i] - before[i]).Microseconds()) / float64(got.requests)
		s.total += us
		if m == c.cluster.owner {
			s.owner = us
		} else {
			s.busiest = max(s.busiest, us)
		}
	}
	c.samples = append(c.samples, s)
	return nil
}

// used returns the processor time of each member.
func (c *cluster) used() (all []time.Duration, err error) {
	for _, m := range c.members {
		d, err := m.cpu()
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

func (c *contest) median(figure func(sample) float64) float64 {
	return measure.Median(c.samples, figure)
}

// rounds runs the cases in turns. The first round is to warm up, and for the
// sketches to see the key.
func rounds(o options, cases []*contest, n int64) error {
	for _, c := range cases {
		if err := c.measure(n/4, o.conns); err != nil {
			return err
		}
		c.samples = nil
	}
	for range o.rounds {
		for _, c := range cases {
			if err := c.measure(n, o.conns); err != nil {
				return err
			}
		}
	}
	return nil
}

// costs measures what a request costs each node.
func costs(o options, cases []*contest) (string, error) {
	if err := rounds(o, cases, o.n); err != nil {
		return "", err
	}
	table := report.Table{
		Title: fmt.Sprintf("An object of %d bytes, %d nodes, %d connections to each that is read from; medians of %d rounds of %d requests. "+
			"Times are processor time for each request that the cluster answers.", o.size, o.nodes, o.conns, o.rounds, o.n),
		Columns: []string{"read", "owner, µs", "busiest other node, µs", "all nodes, µs", "answered by copies, %",
			"requests/s if each node had a processor", "of the owner alone"},
	}
	alone := cases[0].median(sample.capacity)
	for _, c := range cases {
		capacity := c.median(sample.capacity)
		table.Add(c.name,
			report.Number(c.median(func(s sample) float64 { return s.owner })),
			report.Number(c.median(func(s sample) float64 { return s.busiest })),
			report.Number(c.median(func(s sample) float64 { return s.total })),
			report.Number(100*c.median(func(s sample) float64 { return s.hot })),
			report.Number(capacity), report.Number(capacity/alone)+"x")
	}
	return table.String(), nil
}

// quotas measures requests a second with a quota of processor time for each node.
func quotas(o options, cases []*contest) (string, error) {
	for _, c := range cases {
		for _, m := range c.cluster.members {
			if m.quota != nil {
				continue // two cases share a cluster
			}
			q, err := limit(m.Process.PID(), fmt.Sprintf("hotkey-%d", m.Process.PID()), o.quota)
			if err != nil {
				return fmt.Sprintf("\nNo run with quotas: %v.\n\n", err), nil
			}
			m.quota = q
		}
		c.samples = nil
	}
	if err := rounds(o, cases, o.n/5); err != nil {
		return "", err
	}
	table := report.Table{
		Title: fmt.Sprintf("The same with %.0f %% of a processor for each node, so that all of them and the clients fit: "+
			"%d requests a run, in time that passed.", 100*o.quota, o.n/5),
		Columns: []string{"read", "requests/s", "of the owner alone"},
	}
	alone := cases[0].median(func(s sample) float64 { return s.rate })
	for _, c := range cases {
		rate := c.median(func(s sample) float64 { return s.rate })
		table.Add(c.name, report.Number(rate), report.Number(rate/alone)+"x")
	}
	return table.String(), nil
}
