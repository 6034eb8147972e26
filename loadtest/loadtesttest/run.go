// Package loadtesttest makes results of runs that never were, for the tests of
// what is made of results. The same settings always give the same result.
package loadtesttest

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/micelio/micelio/loadtest"
)

// A Shape says what the made-up servers did. The zero value of a field stands
// for its default.
type Shape struct {
	Seconds int           // 20
	Rate    int           // requests a second; 200
	Slow    float64       // all times are longer by this factor; 1
	CPU     time.Duration // of the servers for a request; 50 µs
	Noise   uint64        // draws other times with the same config
	Start   time.Time     // 2026-03-01 12:00 UTC
}

// stallFrom to stallUntil are the seconds in which the servers answer nothing,
// so that there is something to see.
const (
	stallFrom  = 8
	stallUntil = 10
)

func (s Shape) withDefaults() Shape {
	if s.Seconds == 0 {
		s.Seconds = 20
	}
	if s.Rate == 0 {
		s.Rate = 200
	}
	if s.Slow == 0 {
		s.Slow = 1
	}
	if s.CPU == 0 {
		s.CPU = 50 * time.Microsecond
	}
	if s.Start.IsZero() {
		s.Start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	}
	return s
}

// a kind of answer, and how often and how fast it comes.
type kind struct {
	part, op, cache, err string
	status               int
	share                float64
	median               time.Duration
	bytes                int64
}

var kinds = []kind{
	{"heads", "get", "ram", "", 200, 0.30, 180 * time.Microsecond, 64},
	{"heads", "head", "ram", "", 200, 0.02, 160 * time.Microsecond, 0},
	{"trees", "get", "ssd", "", 200, 0.20, 900 * time.Microsecond, 100_000},
	{"blobs", "get", "ram", "", 200, 0.25, 240 * time.Microsecond, 10_000},
	{"blobs", "get", "peer", "", 200, 0.15, 1500 * time.Microsecond, 10_000},
	{"blobs", "get", "origin", "", 200, 0.05, 22 * time.Millisecond, 10_000},
	{"blobs", "put", "", "", 200, 0.02, 35 * time.Millisecond, 0},
	{"blobs", "get", "", loadtest.ErrorStatus, 503, 0.007, 2 * time.Millisecond, 120},
	{"blobs", "get", "", loadtest.ErrorTimeout, 0, 0.003, 9 * time.Second, 0},
}

// Run makes the result of a run.
func Run(shape Shape) *loadtest.Result {
	shape = shape.withDefaults()
	m := &maker{shape: shape, random: rand.New(rand.NewPCG(42, shape.Noise)), result: &loadtest.Result{
		Version:  loadtest.ResultVersion,
		Config:   config(shape),
		Loop:     loadtest.LoopOpen,
		Build:    loadtest.Build{GoVersion: "go1.26.5", Version: "(devel)", Revision: "0123456789abcdef0123456789abcdef01234567"},
		Host:     loadtest.Host{Name: "bench-1", OS: "linux", Arch: "amd64", CPUs: 2, GOMAXPROCS: 2},
		Start:    shape.Start,
		Took:     time.Duration(shape.Seconds)*time.Second + 12*time.Millisecond,
		Totals:   loadtest.Totals{Errors: map[string]int64{}},
		Response: &loadtest.Histogram{}, Service: &loadtest.Histogram{}, Lateness: &loadtest.Histogram{},
	}}
	for _, k := range kinds {
		m.result.Series = append(m.result.Series, loadtest.Series{
			Part: k.part, Op: k.op, Status: k.status, Cache: k.cache, Error: k.err,
			Response: &loadtest.Histogram{}, Service: &loadtest.Histogram{}, Lateness: &loadtest.Histogram{},
		})
	}
	for second := range shape.Seconds {
		m.second(second)
	}
	m.rest()
	return m.result
}

func config(shape Shape) loadtest.Config {
	cfg := loadtest.DefaultConfig()
	cfg.Name = "sample"
	cfg.Rate = "200"
	cfg.Seed = 7
	cfg.Duration = time.Duration(shape.Seconds) * time.Second
	cfg.Targets = []string{"http://127.0.0.1:8080"}
	cfg.Metrics = []string{"http://127.0.0.1:8082/metrics"}
	cfg.PutSalt = "s"
	return cfg
}

type maker struct {
	shape  Shape
	random *rand.Rand
	result *loadtest.Result
}

// second makes what ended in one second, and everything that sums it up.
func (m *maker) second(n int) {
	stalled := n >= stallFrom && n < stallUntil
	interval := loadtest.Interval{
		Offset: time.Duration(n) * time.Second, Length: time.Second, Asked: float64(m.shape.Rate),
		Totals: loadtest.Totals{Scheduled: int64(m.shape.Rate), Errors: map[string]int64{}},
		Caches: map[string]int64{}, CPU: time.Duration(90+m.random.IntN(20)) * time.Millisecond,
	}
	count := m.shape.Rate
	switch {
	case stalled:
		interval.Unsent = int64(m.shape.Rate / 4)
		count = 0
	case n == stallUntil: // what waited is answered now
		count = m.shape.Rate + (stallUntil-stallFrom)*m.shape.Rate*3/4
	}
	response, service := &loadtest.Histogram{}, &loadtest.Histogram{}
	for i := range count {
		waited := time.Duration(0)
		if n == stallUntil && i >= m.shape.Rate {
			waited = time.Duration(m.random.Int64N(int64((stallUntil - stallFrom) * time.Second)))
		}
		m.request(&interval, response, service, waited)
	}
	interval.P50, interval.P90, interval.P99 = response.Quantile(.5), response.Quantile(.9), response.Quantile(.99)
	interval.P999, interval.Max = response.Quantile(.999), response.Max()
	interval.Response, _ = response.Encode()
	interval.Service, _ = service.Encode()
	m.result.Intervals = append(m.result.Intervals, interval)
	m.result.Totals.Add(&interval.Totals)
}

func (m *maker) request(interval *loadtest.Interval, response, service *loadtest.Histogram, waited time.Duration) {
	draw, which := m.random.Float64(), 0
	for draw > kinds[which].share && which < len(kinds)-1 {
		draw -= kinds[which].share
		which++
	}
	k, s := kinds[which], &m.result.Series[which]
	took := time.Duration(float64(k.median) * m.shape.Slow * math.Exp(0.35*m.random.NormFloat64()))
	late := waited + time.Duration(20_000*m.random.ExpFloat64())
	for h, d := range map[*loadtest.Histogram]time.Duration{
		response: late + took, m.result.Response: late + took, s.Response: late + took,
		service: took, m.result.Service: took, s.Service: took,
		m.result.Lateness: late, s.Lateness: late,
	} {
		h.Record(d)
	}
	s.Count++
	s.BytesIn += k.bytes
	interval.Sent++
	interval.BytesIn += k.bytes
	if k.status != 0 {
		interval.Done++
	}
	if k.op == "put" {
		interval.BytesOut += 10_000
	}
	if k.err != "" {
		interval.Failed++
		interval.Errors[k.err]++
	}
	if k.cache != "" {
		interval.Caches[k.cache]++
	}
}

// rest fills in what the generator and the servers say of themselves.
func (m *maker) rest() {
	r := m.result
	r.Totals.Checked = r.Totals.Sent / 64
	lateness := &loadtest.Histogram{}
	for range r.Totals.Sent {
		lateness.Record(time.Duration(15_000 * m.random.ExpFloat64()))
	}
	r.Self = loadtest.Self{
		Verdict: loadtest.Valid, CPU: time.Duration(m.shape.Seconds) * 100 * time.Millisecond, CPUShare: 0.05,
		CPUPerRequest: time.Duration(int64(m.shape.Seconds) * int64(100*time.Millisecond) / max(1, r.Totals.Sent)),
		Lateness:      lateness, LatenessP99: lateness.Quantile(.99), Waited: 312, GCPause: 400 * time.Microsecond,
	}
	gets := map[string]int64{}
	for _, s := range r.Series {
		if s.Cache != "" {
			gets[s.Cache] += s.Count
		}
	}
	cpu := time.Duration(float64(m.shape.CPU) * (1 + 0.02*m.random.NormFloat64()))
	r.Server = &loadtest.Server{
		Nodes: 3, CPU: cpu * time.Duration(r.Totals.Done), CPUPerRequest: cpu, Requests: r.Totals.Done,
		Tiers: gets, HitRatio: 0.947, OriginRequests: map[string]int64{"get": gets["origin"], "put": 70},
		OriginGets: gets["origin"], UniqueKeys: gets["origin"], PerKey: 1,
		GCPause: 3 * time.Millisecond, GCCycles: 12, Allocs: 21 * r.Totals.Done, AllocBytes: 4200 * r.Totals.Done,
		AllocsPerRequest: 21, BytesPerRequest: 4200,
	}
}
