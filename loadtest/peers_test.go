package loadtest

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// lawful serves answers that take as long as a law says: so long that what a busy
// machine adds does not matter.
func lawful(t *testing.T, law func(n int64) time.Duration) (url string) {
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(law(n.Add(1))): // the law, no wait for anything
		case <-r.Context().Done():
		}
		w.Header().Set("X-Cache", ok.cache)
		_, _ = io.WriteString(w, ok.body)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// stepped lets four of five requests take 20 ms, three of twenty 60 and one 150.
func stepped(n int64) time.Duration {
	switch i := n % 20; {
	case i == 0:
		return 150 * time.Millisecond
	case i <= 3:
		return 60 * time.Millisecond
	}
	return 20 * time.Millisecond
}

// lawfulQuantiles lie well within the steps of the law.
var lawfulQuantiles = map[string]float64{"50": 0.5, "90": 0.9, "99": 0.99}

// wantAgreement compares quantiles, in ms by their name in per cent, with those of
// another program that asked the same server in the same way.
func wantAgreement(t *testing.T, other string, theirs map[string]float64, r *Result, names ...string) {
	t.Helper()
	for _, name := range names {
		ours := float64(r.Response.Quantile(lawfulQuantiles[name])) / 1e6
		if math.Abs(ours-theirs[name]) > 0.1*theirs[name]+3 {
			t.Errorf("p%s is %.1f ms, %s says %.1f", name, ours, other, theirs[name])
		}
	}
}

// runLawful puts a load on a lawful server.
func runLawful(t *testing.T, url, rate string, connections int) *Result {
	t.Helper()
	cfg := bubbleConfig(rate, 3*time.Second, connections)
	cfg.Targets = []string{strings.TrimPrefix(url, "http://")}
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	checkResult(t, r)
	return r
}

// tool returns a program that tests need, or skips the test.
func tool(t *testing.T, name, from string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("MICELIO_TEST_TOOLS") == "required" {
			t.Fatalf("%s is not there: %s", name, from)
		}
		t.Skipf("%s is not there: %s", name, from)
	}
	return path
}

// In a closed loop, and where all answers take the same, wrk is right at the median: it
// adds what it takes for omitted to those that take longer than the mean.
func TestAClosedLoopSeesWhatWrkSees(t *testing.T) {
	wrk := tool(t, "wrk", "scripts/install-test-tools.sh installs it")
	url := lawful(t, func(int64) time.Duration { return 40 * time.Millisecond })
	out, err := exec.Command(wrk, "-t1", "-c16", "-d3s", "--latency", url).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	theirs := make(map[string]float64)
	for _, m := range regexp.MustCompile(`(?m)^ +(\d+)% +([\d.]+)(us|ms|s)$`).FindAllStringSubmatch(string(out), -1) {
		var v float64
		if _, err := fmt.Sscan(m[2], &v); err != nil {
			t.Fatal(err)
		}
		theirs[m[1]] = v * map[string]float64{"us": 1e-3, "ms": 1, "s": 1e3}[m[3]]
	}
	r := runLawful(t, url, "max", 16)
	wantAgreement(t, "wrk", theirs, r, "50")
	m := regexp.MustCompile(`(\d+) requests in`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("wrk said %s", out)
	}
	if theirs, err := strconv.ParseFloat(string(m[1]), 64); err != nil || math.Abs(float64(r.Totals.Done)-theirs) > 0.2*theirs {
		t.Errorf("%d requests, wrk made %v, %v", r.Totals.Done, theirs, err)
	}
}

// In an open loop with workers to spare, and quantiles that its digest knows well,
// vegeta is right.
func TestAnOpenLoopSeesWhatVegetaSees(t *testing.T) {
	vegeta := tool(t, filepath.Join("..", "bin", "tools", "vegeta"), "scripts/build-test-servers.sh builds it")
	url := lawful(t, stepped)
	attack := exec.Command(vegeta, "attack", "-rate=200", "-duration=3s")
	attack.Stdin = strings.NewReader("GET " + url + "\n")
	results, err := attack.Output()
	if err != nil {
		t.Fatal(err)
	}
	report := exec.Command(vegeta, "report", "-type=json")
	report.Stdin = strings.NewReader(string(results))
	out, err := report.Output()
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Requests  int64
		Latencies map[string]float64 // in ns: 50th, 90th, …
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatal(err)
	}
	theirs := make(map[string]float64)
	for name := range lawfulQuantiles {
		theirs[name] = said.Latencies[name+"th"] / 1e6
	}
	r := runLawful(t, url, "200", 64)
	wantAgreement(t, "vegeta", theirs, r, "50", "90", "99")
	if r.Totals.Done != said.Requests {
		t.Errorf("%d requests, vegeta made %d", r.Totals.Done, said.Requests)
	}
}
