package main

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/micelio/micelio/bench/drive"
	"github.com/micelio/micelio/bench/measure"
	"github.com/micelio/micelio/bench/nodes"
	"github.com/micelio/micelio/bench/report"
)

const (
	// steadyConns ask at once, each steadyRenew times before it is a new one.
	steadyConns = 32
	steadyRenew = 1000
	// steadySamples is how often a node is looked at.
	steadySamples = 30
	// steadyRAM is less than the objects take, so that they come and go, and
	// steadySSD is written over again and again.
	steadyRAM = 64_000_000
	steadySSD = 1 << 30
	// sessions are the objects that change.
	sessions     = 200
	sessionBytes = 4 << 10
	// pieceBytes is read at once of the large object.
	pieceBytes = 1 << 20
)

// mixed says what the mix is made of, for who reads the table.
const mixed = "75 % reads of 1 to 4 KiB by zipf, 15 % HEAD, 304 and 206, 2 % reads of 1 MiB of 64 MiB, 5 % reads and 3 % writes of objects that change"

// A mix makes up a load of all kinds of requests.
type mix struct {
	random *rand.Rand
	large  item
	zipf   func() *drive.Shot
	small  func() *drive.Shot // without a body, or with a part of one
}

// newMix makes a mix, for a node at which the hot object has this ETag.
func newMix(c *corpus, etag string) *mix {
	path := c.hot.path()
	return &mix{
		random: rand.New(rand.NewPCG(5, 6)), large: c.large,
		zipf: drawn(gets(c.zipf), c.draws, 0),
		small: inTurns([]*drive.Shot{
			{Raw: request("HEAD", path), Status: 200},
			{Raw: request("GET", path, "If-None-Match: "+etag), Status: 304},
			{Raw: request("GET", path, fmt.Sprintf("Range: bytes=0-%d", rangeBytes-1)), Status: 206, Body: rangeBytes},
		}),
	}
}

// session is the path of an object that changes.
func session(i int) string { return fmt.Sprint(prefix, "sessions/", i, "/state") }

// put writes new bytes to a session.
func (m *mix) put(i int) *drive.Shot {
	raw := request("PUT", session(i), fmt.Sprint("Content-Length: ", sessionBytes))
	for range sessionBytes {
		raw = append(raw, byte(m.random.Uint32()))
	}
	return &drive.Shot{Raw: raw, Status: 200}
}

// next is what is asked for next.
func (m *mix) next() *drive.Shot {
	switch part := m.random.IntN(100); {
	case part < 75:
		return m.zipf()
	case part < 90:
		return m.small()
	case part < 92:
		first := m.random.Int64N(m.large.size/pieceBytes) * pieceBytes
		return &drive.Shot{
			Raw:    request("GET", m.large.path(), fmt.Sprintf("Range: bytes=%d-%d", first, first+pieceBytes-1)),
			Status: 206, Body: pieceBytes,
		}
	case part < 97:
		return &drive.Shot{Raw: request("GET", session(m.random.IntN(sessions))), Status: 200, Body: sessionBytes}
	default:
		return m.put(m.random.IntN(sessions))
	}
}

// A look is what a node is seen to use at one time.
type look struct {
	at          time.Duration
	rate        float64 // requests a second since the look before
	p50, p99    float64 // of these, in µs
	rss, heap   float64 // bytes
	goroutines  float64
	descriptors float64
}

// steady watches a node under a mixed load.
func (s *stage) steady(ctx context.Context, d time.Duration) (string, error) {
	n, err := nodes.Start("steady", nodes.Options{
		Binary: s.binary, Core: s.server, Dir: filepath.Join(s.dir, "steady"), Origin: s.objects.root,
		Args: []string{"--ram-bytes", fmt.Sprint(steadyRAM), "--ssd-bytes", fmt.Sprint(steadySSD)},
	})
	if err != nil {
		return "", err
	}
	defer n.Stop()
	r, err := ask(n.Client, "GET", s.objects.hot)
	if err != nil {
		return "", err
	}
	m := newMix(s.objects, r.etag)
	i := -1
	_, err = drive.Load{Addr: n.Client, Conns: 4, For: time.Hour, Most: sessions, Core: s.client, Next: func() *drive.Shot {
		i++
		return m.put(i)
	}}.Run(ctx)
	if err != nil {
		return "", err
	}
	looks, err := s.watch(ctx, n, d, m.next)
	if err != nil {
		return "", err
	}
	return steadyTable(d, looks), nil
}

// watch asks a node for so long and looks at it meanwhile.
func (s *stage) watch(ctx context.Context, n *nodes.Node, d time.Duration, next func() *drive.Shot) ([]look, error) {
	window := max(d/steadySamples, time.Second)
	windows := make(chan []time.Duration, steadySamples)
	var looks []look
	var failed error
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		start, last := time.Now(), time.Duration(0)
		for latencies := range windows {
			l, err := lookAt(n)
			if err != nil {
				failed = err
				continue
			}
			l.at = time.Since(start)
			l.rate = float64(len(latencies)) / (l.at - last).Seconds()
			last = l.at
			l.p50, l.p99 = us(drive.Quantile(latencies, 0.5)), us(drive.Quantile(latencies, 0.99))
			looks = append(looks, l)
			log.Printf("%v: %.0f requests/s, %.1f MB, %.0f goroutines", l.at.Round(time.Second), l.rate, l.rss/1e6, l.goroutines)
		}
	}()
	_, err := drive.Load{
		Addr: n.Client, Conns: steadyConns, For: d, Renew: steadyRenew, Core: s.client, Buffer: 256 << 10, Next: next,
		Window: window, Watch: func(latencies []time.Duration) { windows <- latencies },
	}.Run(ctx)
	close(windows)
	<-watched
	if err == nil {
		err = failed
	}
	return looks, err
}

func lookAt(n *nodes.Node) (look, error) {
	m, err := n.Metrics()
	return look{
		rss: m["process_resident_memory_bytes"], heap: m["go_memstats_heap_inuse_bytes"],
		goroutines: m["go_goroutines"], descriptors: m["process_open_fds"],
	}, err
}

// steadyTable writes ten of the looks, and how the last fifth of all compares to
// the second, when caches are full.
func steadyTable(d time.Duration, looks []look) string {
	t := report.Table{
		Title: fmt.Sprintf("One node for %v under a mixed load over %d connections, each replaced after %d requests: %s. "+
			"RAM tier of %d MB, SSD tier of 1 GiB.", d, steadyConns, steadyRenew, mixed, steadyRAM/1_000_000),
		Columns: []string{"after", "requests/s", "p50 µs", "p99 µs", "RSS, MB", "heap in use, MB", "goroutines", "open files"},
	}
	const rows = 10
	for i, l := range looks {
		if i*rows/len(looks) == (i+1)*rows/len(looks) && i != 0 {
			continue
		}
		t.Add(l.at.Round(time.Second).String(), report.Number(l.rate), report.Number(l.p50), report.Number(l.p99),
			report.Number(l.rss/1e6), report.Number(l.heap/1e6), report.Number(l.goroutines), report.Number(l.descriptors))
	}
	rss, goroutines := growth(looks, func(l look) float64 { return l.rss }), growth(looks, func(l look) float64 { return l.goroutines })
	return t.String() + fmt.Sprintf("Medians of the last fifth of that time, of those of the second: RSS %s, goroutines %s.\n\n", ratio(rss), ratio(goroutines))
}

// growth compares the last fifth of the looks with the second.
func growth(looks []look, figure func(look) float64) float64 {
	n := len(looks)
	return measure.Median(looks[n-n/5:], figure) / measure.Median(looks[n/5:2*n/5], figure)
}
