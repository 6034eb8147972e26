package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/bench/drive"
	"github.com/micelio/micelio/bench/nodes"
	"github.com/micelio/micelio/bench/proc"
)

func TestWhatWrkPrintsIsRead(t *testing.T) {
	const text = `Running 2s test @ http://127.0.0.1:1/x
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.85ms  228.10us  19.66ms   87.44%
    Req/Sec    91.22k     3.28k   94.08k    75.00%
  182456 requests in 2.00s, 771.05MB read
Requests/sec:  91228.10
Transfer/sec:    385.53MB
`
	got, err := parseWrk(text)
	if err != nil || got.Requests != 182456 || got.Took != 2*time.Second || got.Rate() != 91228 {
		t.Errorf("read %+v, %v", got, err)
	}
	for _, bad := range []string{
		"", "unable to connect to 127.0.0.1:1 Connection refused\n", "  0 requests in 2.00s, 0.00B read\n", "  x requests in 2.00s, 1B read\n",
		text + "  Non-2xx or 3xx responses: 3\n", text + "  Socket errors: connect 0, read 5, write 0, timeout 0\n",
	} {
		if got, err := parseWrk(bad); err == nil {
			t.Errorf("%q was taken for %+v", bad, got)
		}
	}
}

func TestZipfDrawsTheFirstMost(t *testing.T) {
	const things, n = 1000, 100_000
	counts := make([]int, things)
	for _, i := range zipf(0.99, things, n) {
		counts[i]++
	}
	sum := 0.0
	for i := range things {
		sum += math.Pow(float64(i+1), -0.99)
	}
	for _, i := range []int{0, 1, 9} {
		want := n * math.Pow(float64(i+1), -0.99) / sum
		if got := float64(counts[i]); math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("thing %d was drawn %.0f times, want some %.0f", i, got, want)
		}
	}
}

func testCorpus(t *testing.T) *corpus {
	t.Helper()
	c, err := writeCorpus(filepath.Join(t.TempDir(), "objects"), 5)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The servers that others are compared with have to answer right, too.
func TestReferenceServersAnswerAllKindsOfRequests(t *testing.T) {
	c := testCorpus(t)
	memory, err := inMemory(c.root)
	if err != nil {
		t.Fatal(err)
	}
	origin, stop, err := serveOrigin(c.root)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	addrs := map[string]string{"origin": origin}
	for name, handler := range map[string]http.Handler{serveNetHTTP: memory, serveGroupcache: grouped(c.root)} {
		server := httptest.NewServer(handler)
		defer server.Close()
		addrs[name] = strings.TrimPrefix(server.URL, "http://")
	}
	for name, addr := range addrs {
		one := &contender{name: name, addr: addr}
		for _, o := range append([]item{c.hot}, c.zipf...) {
			if r, err := one.check(o, ""); err != nil || r.etag != o.etag() {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		}
		for _, kind := range []struct {
			method string
			field  string
			status int
			length int64
		}{
			{"GET", "If-None-Match: " + c.hot.etag(), 304, 0},
			{"GET", "Range: bytes=0-1023", 206, 1024},
			{"HEAD", "Accept: */*", 200, 0},
		} {
			got, err := ask(addr, kind.method, c.hot, kind.field)
			if err != nil || got.status != kind.status || got.length != kind.length {
				t.Errorf("%s: %s, %s: %+v, %v; want %+v", name, kind.method, kind.field, got, err, kind)
			}
		}
		if r, err := one.check(item{digest: strings.Repeat("0", 64), size: 1}, ""); err == nil {
			t.Errorf("%s: an object that is not there: %+v", name, r)
		}
	}
}

func TestWrongBytesAndTiersAreNoticed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Cache", "ram")
		_, _ = w.Write(make([]byte, 100))
	}))
	defer server.Close()
	c := &contender{name: "x", addr: strings.TrimPrefix(server.URL, "http://"), node: &nodes.Node{}}
	zeros := item{digest: hex.EncodeToString(make([]byte, 32)), size: 100}
	if r, err := c.check(zeros, "ram"); err == nil || !strings.Contains(err.Error(), "hash") {
		t.Errorf("%+v, %v", r, err)
	}
	// What 100 zeros hash to.
	zeros.digest = "cd00e292c5970d3c5e2f0ffa5171e555bc46bfc4faddfb4a418b6840b86e79a3"
	if r, err := c.check(zeros, "ram"); err != nil || r.tier != "ram" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestFilesAreSharedOut(t *testing.T) {
	for most, want := range map[uint64][2]int{20_000: {4096, 15_392}, 4096: {1024, 2560}, math.MaxUint64: {4096, 395_392}} {
		conns, files, err := share(most)
		if err != nil || conns != want[0] || files != want[1] {
			t.Errorf("of %d: %d connections, %d files, %v; want %v", most, conns, files, err, want)
		}
	}
	if _, _, err := share(1024); err == nil {
		t.Error("1024 files were enough")
	}
}

// board makes up what was measured.
func board() *bench {
	one := func(rate, cpu float64) []sample { return []sample{{rate: rate, cpu: []float64{cpu}, gbPerCPU: rate}} }
	return &bench{
		stage: &stage{missing: []string{"Varnish (not found)"}, objects: &corpus{}, running: []*contender{
			{name: micelioName}, {name: staticName}, {name: proxyName},
		}},
		results: map[string]scores{
			hotWork:   {micelioName: one(90, 9), staticName: one(80, 10), proxyName: one(80, 20)},
			largeWork: {micelioName: {{gbPerCPU: 3, rss: 100}, {gbPerCPU: 3, rss: 150}}, staticName: one(3, 1)},
		},
	}
}

func TestTargetsAreJudgedByBothClocks(t *testing.T) {
	b := board()
	want := map[string]string{
		"4 KiB hot, beside " + staticName:                        "yes",
		"4 KiB hot, beside " + proxyName:                         "in part", // 1.125x in time, 2.2x in processor time
		"4 KiB hot, beside " + varnishName:                       "not measured",
		"4 KiB hot, CPU of a request":                            "yes",
		"64 MiB from the SSD tier, beside " + staticName:         "**no**",
		"RSS after the last 64 MiB run, of that after the first": "**no**",
		"through a node that is not the owner":                   "not measured",
	}
	for _, target := range b.targets() {
		if _, _, met := target.verdict(); want[target.what] != "" && met != want[target.what] {
			t.Errorf("%s: %s, want %s", target.what, met, want[target.what])
		}
		delete(want, target.what)
	}
	if len(want) > 0 {
		t.Errorf("no targets of the names %v", want)
	}
}

func TestTablesHaveARowForEachThatTookPart(t *testing.T) {
	text := board().tables("2s")
	for _, line := range []string{
		"Left out: Varnish (not found).", "| micelio | 90.0 | 9.00 | 1.12x | 1.12x | 1.11x | 2.22x |", "| nginx, static files | 80.0 | 10.0 |",
		"| micelio | 3.00 | 1.00x | - | 0 |", "| 0 | 0.00 | 0.00 |", "| hot |\n|---|\n| 0.0 |",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
	if strings.Contains(text, "NaN") || strings.Contains(text, varnishName+" | 0") {
		t.Errorf("a figure that nobody measured in\n%s", text)
	}
}

// A contender that answers wrongly costs its own row, ours ends the measurement.
func TestWhoFailsIsLeftOut(t *testing.T) {
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("body")) }))
	defer good.Close()
	self, err := proc.Start(proc.Any, os.Environ(), io.Discard, "sleep", "1000")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Stop()
	addr := strings.TrimPrefix(good.URL, "http://")
	procs := []*proc.Process{self}
	one, other := &contender{name: "good", addr: addr, procs: procs}, &contender{name: "bad", addr: addr, procs: procs}
	w := &workload{name: "w", conns: 2, take: 20 * time.Millisecond, shots: func(c *contender, round int) (func() *drive.Shot, error) {
		s := &drive.Shot{Raw: request("GET", "/"), Status: 200, Body: 4}
		if c == other && round == 1 {
			s.Body = 5
		}
		return inTurns([]*drive.Shot{s}), nil
	}}
	b := &bench{stage: &stage{client: proc.Any}, rounds: 2, results: map[string]scores{}}
	if err := b.play(t.Context(), []*contender{other, one}, w); err != nil {
		t.Fatal(err)
	}
	if r := b.results["w"]; len(r["good"]) != 2 || len(r["bad"]) != 0 || len(b.missing) != 1 || !strings.Contains(b.missing[0], "bad, w (") {
		t.Errorf("%d and %d samples; left out: %q", len(r["good"]), len(r["bad"]), b.missing)
	}
	if s := b.results["w"]["good"][0]; s.rate <= 0 || s.p50 <= 0 || s.p99 < s.p50 || s.mbps <= 0 || len(s.cpu) != 1 {
		t.Errorf("a sample is %+v", s)
	}
	other.node = &nodes.Node{}
	if err := b.play(t.Context(), []*contender{other, one}, w); err == nil {
		t.Error("ours may not be left out")
	}
}

// The mix is what its description says.
func TestTheMixIsAsDescribed(t *testing.T) {
	c := &corpus{hot: item{"a", hotBytes}, large: item{"b", largeBytes}, zipf: []item{{"c", 1}}, draws: []uint32{0}}
	m := newMix(c, `"e"`)
	counts := map[string]int{}
	const n = 20_000
	for range n {
		s := m.next()
		method, rest, _ := strings.Cut(string(s.Raw), " ")
		switch {
		case strings.HasPrefix(rest, c.large.path()):
			counts["large"]++
		case strings.HasPrefix(rest, c.hot.path()):
			counts["small"]++
		case strings.HasPrefix(rest, prefix+"sessions"):
			counts[method]++
		default:
			counts["zipf"]++
		}
	}
	for kind, want := range map[string]float64{"zipf": 75, "small": 15, "large": 2, "GET": 5, "PUT": 3} {
		if got := float64(counts[kind]) / n * 100; math.Abs(got-want) > 1 {
			t.Errorf("%.1f %% are %s, want %.0f", got, kind, want)
		}
	}
}

func TestGrowthIsOfTheEndBesideTheTimeWhenAllIsFull(t *testing.T) {
	var looks []look
	for i := range 30 {
		looks = append(looks, look{rss: float64(min(i, 10)), at: time.Duration(i) * time.Second})
	}
	if got := growth(looks, func(l look) float64 { return l.rss }); got != 10/8.5 {
		t.Errorf("it grew by %v", got)
	}
	if rows := strings.Count(steadyTable(time.Minute, looks), "\n| "); rows != 1+11 {
		t.Errorf("%d rows", rows)
	}
}

func TestHalfOpenConnectionsAreWatchedUntilTheyEnd(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 10 {
			conn, err := listener.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			got := make([]byte, len(halfRequest))
			if n, err := conn.Read(got); err != nil || string(got[:n]) != halfRequest {
				t.Errorf("%q came, %v", got[:n], err)
			}
			if i%2 == 0 {
				fmt.Fprint(conn, "HTTP/1.1 408 Request Timeout\r\n\r\n")
			}
			conn.Close()
		}
		listener.Close()
	}()
	h := open(t.Context(), listener.Addr().String(), 10)
	<-done
	if len(h.cut) != 10 || h.answered != 5 || h.kept != 0 || h.refused != 0 {
		t.Errorf("%+v", h)
	}
	if h := open(t.Context(), listener.Addr().String(), 3); h.refused != 3 {
		t.Errorf("nobody listens: %+v", h)
	}
	if text := fate([]trial{{half: h}}); !strings.Contains(text, "5 of 10 were told why") {
		t.Error(text)
	}
}

// A program that does not listen has said why.
func TestAContenderThatEndsIsAnError(t *testing.T) {
	s := &stage{server: proc.Any}
	addr, err := free()
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.run(context.Background(), addr, clean(), "sh", "-c", "echo no such setting >&2; exit 1")
	if err == nil || !strings.Contains(err.Error(), "no such setting") {
		t.Errorf("%v", err)
	}
}

func TestShotsComeInTurnsAndAsDrawn(t *testing.T) {
	shots := []*drive.Shot{{Status: 0}, {Status: 1}, {Status: 2}}
	var got []int
	turns, draws := inTurns(shots), drawn(shots, []uint32{2, 0}, 7)
	for range 4 {
		got = append(got, turns().Status, draws().Status)
	}
	if want := "[0 2 1 0 2 2 0 0]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %v", got, want)
	}
}
