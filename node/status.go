package node

import (
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"

	"github.com/micelio/micelio/console"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// What the console shows at most.
const (
	shownFills = 50
	shownHot   = 20
)

// A showcase is a node as the console sees it.
type showcase struct {
	n       *Node
	started time.Time
	process prometheus.Collector // what the system knows of the process
}

var _ console.Source = (*showcase)(nil)

func (n *Node) newShowcase() *showcase {
	return &showcase{n: n, started: time.Now(), process: collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})}
}

// Status returns how the node is at this moment. What has been counted is now's.
func (s *showcase) Status(now console.Counters) console.Status {
	n := s.n
	st := console.Status{
		At: time.Now(), Checks: []console.Check{}, Answers: []console.Answer{}, Fills: []console.Fill{}, Hot: s.hot(),
		Ring: s.ring(), Tiers: s.tiers(), Upstreams: s.upstreams(), Slow: n.slow.list(time.Now()), Settings: n.cfg.Program.Settings,
	}
	checks := n.checks()
	for _, c := range checks {
		st.Checks = append(st.Checks, console.Check{Name: c.name, OK: c.ok, Says: c.says, Text: c.say})
	}
	st.Node = s.node()
	st.Node.State = strings.ReplaceAll(n.state(checks), "_", " ") // as people write it
	st.Node.CPUSeconds = now.CPU
	for _, a := range now.Answers {
		st.Answers = append(st.Answers, console.Answer{From: a.From, Count: a.Count})
	}
	if n.cache == nil {
		return st
	}
	flights, all := n.cache.Flights(shownFills)
	st.FillCount = all
	for _, f := range flights {
		st.Fills = append(st.Fills, console.Fill{
			Key: n.shown(f.Key), From: string(f.From), Bytes: f.Bytes, Size: f.Size, Readers: f.Readers, Age: f.Age.Seconds(),
		})
	}
	return st
}

// node describes the process.
func (s *showcase) node() console.Node {
	n := s.n
	node := console.Node{
		ID: n.id, Cluster: n.cfg.Cluster, Version: n.cfg.Program.Version, Revision: n.cfg.Program.Revision, Go: runtime.Version(),
		Bucket: n.cfg.Bucket, Started: s.started,
		Data: n.Addr(), Peer: n.peers.Addr().String(), Admin: n.AdminAddr(), Gossip: n.GossipAddr(),
		Goroutines: runtime.NumGoroutine(),
	}
	eachSeries(s.process, func(name string, m *dto.Metric) {
		switch name {
		case "process_resident_memory_bytes":
			node.Memory = int64(m.GetGauge().GetValue())
		case "process_open_fds":
			node.OpenFiles = int(m.GetGauge().GetValue())
		}
	})
	return node
}

// ring describes the members. A member whose epoch is not known yet is not
// counted as one that agrees.
func (s *showcase) ring() console.Ring {
	n, view, now := s.n, s.n.ring.View(), time.Now()
	r := console.Ring{Epoch: formatEpoch(view.Epoch()), Agreed: true, Members: []console.Member{}}
	for _, m := range view.Members() {
		shown := console.Member{
			ID: m.ID, State: m.State.String(), Self: m.ID == n.id, Weight: max(m.Weight, 1), Share: view.Share(m.ID),
			Data: m.DataAddr, Peer: m.PeerAddr, Admin: m.AdminAddr,
		}
		if shown.Self {
			shown.Epoch = r.Epoch
		} else {
			known := n.plane.acquaintances.about(m)
			if !known.heard.IsZero() {
				shown.Epoch, shown.Heard, shown.RTT = formatEpoch(known.epoch), now.Sub(known.heard).Seconds(), known.rtt.Seconds()
			}
			if known.err != nil {
				shown.Error = known.err.Error()
			}
			shown.Breaker = n.vitals.stateOf(m).String()
			r.Agreed = r.Agreed && shown.Epoch == r.Epoch && shown.Error == ""
		}
		r.Members = append(r.Members, shown)
	}
	return r
}

// tiers describes the tiers that are on, the fastest first. Copies of other nodes'
// keys are looked for in passing, and count no misses.
func (s *showcase) tiers() []console.Tier {
	shown := []console.Tier{}
	if s.n.hot != nil {
		st := s.n.hot.Stats()
		shown = append(shown, console.Tier{
			Name: string(object.TierHot), Objects: int64(st.Copies), Bytes: st.Bytes, Capacity: st.Capacity, Hits: st.Hits,
		})
	}
	if s.n.cache == nil {
		return shown
	}
	st := s.n.cache.Stats()
	for _, t := range []struct {
		name object.Tier
		tiers.TierStats
	}{{object.TierRAM, st.RAM}, {object.TierSSD, st.SSD}} {
		if t.Capacity > 0 {
			shown = append(shown, console.Tier{
				Name: string(t.name), Objects: t.Entries, Bytes: t.Bytes, Capacity: t.Capacity, Hits: t.Hits,
				Misses: t.Misses, Evictions: t.Evictions, Damaged: t.Damaged, Errors: t.Errors,
			})
		}
	}
	return shown
}

// hot describes the keys that are read most.
func (s *showcase) hot() []console.HotKey {
	shown := []console.HotKey{}
	keys, _ := s.n.hottest(shownHot)
	for _, k := range keys {
		shown = append(shown, console.HotKey{Key: string(k.Key), Class: k.Class, Owner: k.Owner, Rate: k.Rate, Copy: k.Copy})
	}
	return shown
}

// upstreams describes the origin, and the CDN if there is one.
func (s *showcase) upstreams() []console.Upstream {
	n := s.n
	origin := console.Upstream{Name: "origin", Place: n.originPlace(), Counts: map[string]int64{}}
	eachSeries(n.meter.origin, func(_ string, m *dto.Metric) {
		origin.Counts[labelOf(m.GetLabel(), "result")] += int64(m.GetCounter().GetValue())
	})
	if n.s3 != nil {
		st := n.s3.Stats()
		origin.Breaker, origin.InFlight = st.Breaker.String(), st.InFlight
		origin.Note = n.originCheck().say
	}
	shown := []console.Upstream{origin}
	if n.cdn == nil {
		return shown
	}
	st := n.cdn.Stats()
	cdn := console.Upstream{
		Name: "cdn", Place: n.cfg.CDN.BaseURL, Breaker: st.Breaker.String(), InFlight: st.InFlight, Counts: map[string]int64{"hit": st.Hits},
	}
	for reason, count := range st.Misses {
		if count > 0 {
			cdn.Counts[string(reason)] = count
		}
	}
	if st.AllBypassed {
		cdn.Note = "no key is read through it, because it was wrong often"
	}
	return append(shown, cdn)
}

// Counters returns what has been counted since the node started. A tier that counts
// no misses is left out: it has no hit ratio.
func (s *showcase) Counters() console.Counters {
	n := s.n
	clients := n.meter.clientSeries()
	c := console.Counters{At: time.Now(), Answers: n.meter.answerCounts(clients), CPU: cpuSeconds()}
	c.Requests, c.Failed, c.BytesIn, c.BytesOut = totals(clients)
	for _, t := range s.tiers() {
		if t.Name != string(object.TierHot) {
			c.Tiers = append(c.Tiers, console.TierCount{Name: t.Name, Hits: t.Hits, Misses: t.Misses, Evictions: t.Evictions})
		}
	}
	eachSeries(n.meter.origin, func(_ string, m *dto.Metric) { c.Origin += int64(m.GetCounter().GetValue()) })
	return c
}

// cpuSeconds returns the time that all threads of the process took. One system call
// tells it; Prometheus' collector reads a line for each open descriptor besides.
func cpuSeconds() float64 {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		return 0 // never: it fails for arguments alone
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano()).Seconds()
}

// eachSeries calls f with each series of a collector.
func eachSeries(c prometheus.Collector, f func(name string, m *dto.Metric)) {
	alone := prometheus.NewRegistry()
	alone.MustRegister(c)
	families, err := alone.Gather()
	if err != nil {
		return // a collector of ours has no reason to fail; there are no figures then
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			f(family.GetName(), m)
		}
	}
}
