package loadtest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const sampleExposition = `# HELP micelio_requests_total Client requests that ended, by operation, HTTP status and answering tier.
# TYPE micelio_requests_total counter
micelio_requests_total{code="200",op="get",tier="ram"} 5
micelio_requests_total{code="200",op="get",tier="origin"} 2 1700000000000
micelio_requests_total{code="404",op="get",tier=""} 1
odd{a="x\"y\\z\n",b=""} -1.5e+06
bare 3
infinite{le="+Inf"} +Inf

`

func TestAnExpositionIsRead(t *testing.T) {
	got, err := readExposition(strings.NewReader(sampleExposition))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "x\"y\\z\n", "b": ""}
	if d := cmp.Diff(got["odd"][0].labels, want); d != "" || got["odd"][0].value != -1.5e6 {
		t.Error(d, got["odd"])
	}
	for _, c := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{8, "micelio_requests_total", nil}, {7, "micelio_requests_total", []string{"code", "200"}},
		{2, "micelio_requests_total", []string{"code", "200", "tier", "origin"}}, {3, "bare", nil}, {0, "none", nil},
	} {
		if got := got.sum(c.name, c.labels...); got != c.want {
			t.Errorf("%s %v is %g, want %g", c.name, c.labels, got, c.want)
		}
	}
	for _, s := range []string{"a", "a{", `a{b="c} 1`, "a{b=c} 1", "a{} x", " 1"} {
		if got, err := readExposition(strings.NewReader(s)); err == nil {
			t.Errorf("%q is %v", s, got)
		}
	}
}

// Lines without labels, or with one label that has no escapes, are read as an
// expression reads them, which knows nothing of the parser.
func FuzzReadExposition(f *testing.F) {
	f.Add(sampleExposition)
	f.Add("a{b=\"c\"} 1\na 2")
	line := regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([a-zA-Z_]+)="([^"\\{},=\s]*)"\})? ([0-9]{1,15})$`)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := readExposition(strings.NewReader(s))
		if err != nil {
			return
		}
		seen := map[string]int{}
		for text := range strings.SplitSeq(s, "\n") {
			text = strings.TrimSpace(text)
			if text == "" || text[0] == '#' {
				continue
			}
			name := text[:strings.IndexAny(text, "{ \t")]
			i := seen[name]
			seen[name]++
			m := line.FindStringSubmatch(text)
			if m == nil {
				continue
			}
			value, err := strconv.ParseFloat(m[4], 64)
			if err != nil {
				t.Fatal(err)
			}
			if len(got[name]) <= i || got[name][i].value != value || got[name][i].labels[m[2]] != m[3] {
				t.Fatalf("%q is %v", text, got[name])
			}
		}
	})
}

// The names that are asked for are those that a node has: its own are in the
// golden file of its metrics.
func TestTheNamesAreThoseOfANode(t *testing.T) {
	golden, err := os.ReadFile("../node/testdata/metrics.golden")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("server.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`"(micelio_\w+)"`).FindAllStringSubmatch(string(source), -1)
	if len(names) < 2 {
		t.Fatalf("found only %v", names)
	}
	for _, m := range names {
		if !strings.Contains(string(golden), m[1]+"{") {
			t.Errorf("a node has no %s", m[1])
		}
	}
}

// A node that counts what it answers, and says so.
func TestTheServersSideIsJoined(t *testing.T) {
	var requests, gets atomic.Int64
	objects := http.NewServeMux()
	objects.HandleFunc("GET /micelio/", func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1)%10 == 0 {
			gets.Add(1)
		}
		_, _ = io.WriteString(w, ok.body)
	})
	objects.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		n, o := requests.Load(), gets.Load()
		fmt.Fprintf(w, "micelio_requests_total{code=\"200\",op=\"get\",tier=\"ram\"} %d\n", 7000+n-o)
		fmt.Fprintf(w, "micelio_requests_total{code=\"200\",op=\"get\",tier=\"origin\"} %d\n", o)
		fmt.Fprintf(w, "micelio_requests_total{code=\"200\",op=\"put\",tier=\"\"} 5\n")
		fmt.Fprintf(w, "micelio_origin_requests_total{op=\"get\",result=\"ok\"} %d\n", 100+o)
		fmt.Fprintf(w, "micelio_origin_requests_total{op=\"get\",result=\"not_modified\"} %d\n", n)
		fmt.Fprintf(w, "process_cpu_seconds_total %g\nprocess_start_time_seconds 1\n", 5+float64(n)/1000)
		fmt.Fprintf(w, "go_memstats_mallocs_total %d\ngo_gc_duration_seconds{quantile=\"1\"} 9\ngo_gc_duration_seconds_sum %g\n", 10*n, float64(n)/1e6)
	})
	server := httptest.NewServer(objects)
	defer server.Close()
	cfg := bubbleConfig("max", time.Hour, 2)
	cfg.Mix.Parts[0].Access, cfg.Mix.Parts[0].Keys = Access{Kind: AccessScan}, 100
	cfg.Targets, cfg.Requests, cfg.Metrics = []string{server.URL}, 500, []string{server.Listener.Addr().String()}
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := &Server{Nodes: 1, CPU: 500 * time.Millisecond, CPUPerRequest: time.Millisecond, Requests: 500,
		Tiers: map[string]int64{"ram": 450, "origin": 50}, HitRatio: 0.9, OriginRequests: map[string]int64{"get": 550}, OriginGets: 50,
		UniqueKeys: 100, PerKey: 0.5, GCPause: 500 * time.Microsecond, Allocs: 5000, AllocsPerRequest: 10}
	got := *r.Server
	got.CPU, got.CPUPerRequest, got.GCPause = got.CPU.Round(time.Microsecond), got.CPUPerRequest.Round(time.Microsecond), got.GCPause.Round(time.Microsecond)
	if d := cmp.Diff(&got, want); d != "" {
		t.Error(d)
	}
}

func TestNodesThatDoNotSayAreNamed(t *testing.T) {
	nodes := []metricsNode{{name: "gone"}, {name: "restarted"}, {name: "there"}}
	read := func(start, n int) exposition {
		e, err := readExposition(strings.NewReader(fmt.Sprintf("process_start_time_seconds %d\nmicelio_requests_total{code=\"200\",tier=\"ram\"} %d\n", start, n)))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	s := join(nodes, []exposition{read(1, 5), read(1, 50), read(1, 100)}, []exposition{nil, read(2, 3), read(1, 107)})
	if s.Nodes != 2 || fmt.Sprint(s.Missing, s.Restarted) != "[gone] [restarted]" || s.Requests != 10 || s.HitRatio != 1 {
		t.Errorf("%+v, want 10 requests of 2 nodes", s)
	}
}
