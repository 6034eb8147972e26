package node

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/console"
	"github.com/micelio/micelio/gateway"
	"github.com/micelio/micelio/object"
)

// scrape returns what a node says to a scraper that accepts this.
func scrape(t *testing.T, n *running, accept string) (contentType string, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.AdminAddr()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	return resp.Header.Get("Content-Type"), body
}

// busy is a node that has answered reads and writes over HTTP.
func busy(t *testing.T) *running {
	t.Helper()
	n := startNode(t, t.TempDir())
	awaitServing(t, []*running{n}, 1)
	put(t, n, "sessions/one", []byte("some bytes"))
	for range 3 {
		resp, err := http.Get("http://" + n.Addr() + "/micelio/sessions/one")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	return n
}

// Old servers, and all that is written against le, need classic buckets; new ones
// ask for protobuf, and get native ones too.
func TestHistogramsHaveClassicAndNativeBuckets(t *testing.T) {
	n := busy(t)
	_, text := scrape(t, n, "")
	for _, want := range []string{
		`micelio_request_duration_seconds_bucket{lane="full",op="get",tier="ram",le="5e-05"}`, `micelio_request_duration_seconds_bucket{lane="full",op="get",tier="ram",le="0.0128"}`,
		`micelio_request_duration_seconds_bucket{lane="full",op="get",tier="ram",le="+Inf"}`, `micelio_origin_request_duration_seconds_bucket{op="get",le="0.0128"}`,
	} {
		if !strings.Contains(string(text), want+" ") {
			t.Errorf("the text form has no %s", want)
		}
	}
	kind, body := scrape(t, n, "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	if !strings.HasPrefix(kind, "application/vnd.google.protobuf") {
		t.Fatalf("a scraper that accepts protobuf got %s", kind)
	}
	for _, name := range []string{"micelio_request_duration_seconds", "micelio_origin_request_duration_seconds"} {
		classic, native := buckets(t, body, name)
		if classic == 0 || native == 0 {
			t.Errorf("%s: %d classic and %d spans of native buckets in the protobuf form", name, classic, native)
		}
	}
}

// buckets counts the classic buckets and the spans of native ones of a histogram
// in the delimited protobuf form. Its field numbers are those of
// io.prometheus.client: MetricFamily has name 1 and metric 4, Metric has histogram
// 7, and Histogram has bucket 3 and positive_span 12.
func buckets(t *testing.T, body []byte, name string) (classic, native int) {
	t.Helper()
	for len(body) > 0 {
		size, n := binary.Uvarint(body)
		if n <= 0 || uint64(len(body)-n) < size {
			t.Fatal("the protobuf form is cut")
		}
		family := body[n : n+int(size)]
		body = body[n+int(size):]
		if names := fields(t, family, 1); len(names) != 1 || string(names[0]) != name {
			continue
		}
		for _, metric := range fields(t, family, 4) {
			for _, histogram := range fields(t, metric, 7) {
				classic += len(fields(t, histogram, 3))
				native += len(fields(t, histogram, 12))
			}
		}
	}
	return classic, native
}

// fields returns the length-delimited fields of a number in a protobuf message.
func fields(t *testing.T, message []byte, number uint64) (found [][]byte) {
	t.Helper()
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		message = message[n:]
		var size uint64
		switch tag & 7 {
		case 0:
			_, n = binary.Uvarint(message)
		case 1:
			n = 8
		case 2:
			size, n = binary.Uvarint(message)
			if tag>>3 == number {
				found = append(found, message[n:n+int(size)])
			}
		case 5:
			n = 4
		default:
			t.Fatalf("wire type %d", tag&7)
		}
		message = message[n+int(size):]
	}
	return found
}

// Prometheus itself has nothing to say against a node's page.
func TestPromtoolAcceptsTheMetrics(t *testing.T) {
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("MICELIO_TEST_TOOLS") == "required" {
			t.Fatal("promtool is not installed; scripts/install-test-tools.sh does it")
		}
		t.Skip("promtool is not installed; make test installs it")
	}
	_, text := scrape(t, busy(t), "")
	check := exec.CommandContext(t.Context(), path, "check", "metrics")
	check.Stdin = strings.NewReader(string(text))
	out, err := check.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "micelio_") || strings.Contains(line, "error") {
			t.Errorf("promtool: %s", line)
		}
	}
	if len(out) == 0 && err != nil {
		t.Error(err)
	}
}

// A node says of itself what /readyz says.
func TestTheStateOfANodeIsThatOfReadyz(t *testing.T) {
	n := openNode(t)
	for phase, want := range map[int32]string{phaseStarting: "starting", phaseReady: "ready", phaseDraining: "draining"} {
		n.phase.Store(phase)
		got := n.state(n.checks())
		ready := n.answer(http.MethodGet, "/readyz").Code == http.StatusOK
		if got != want || ready != (want == stateReady) {
			t.Errorf("in phase %d it is %q, want %q, and /readyz says %v", phase, got, want, ready)
		}
	}
}

func TestAnswersAreCountedByWhereTheyCameFrom(t *testing.T) {
	m := newMeter()
	for _, o := range []gateway.Observation{
		{Op: "get", Status: 200, Tier: object.TierRAM, Duration: 60 * time.Microsecond, BytesOut: 10},
		{Op: "head", Status: 200, Tier: object.TierRAM, Duration: time.Hour},
		{Op: "get", Status: 206, Tier: object.TierOrigin, Duration: 90 * time.Millisecond, BytesOut: 5, Aborted: true},
		{Op: "get", Status: 404, Duration: time.Millisecond},
		{Op: "put", Status: 200, Tier: object.TierOrigin, Duration: time.Second, BytesIn: 7},
		{Op: "put", Status: 503, Duration: time.Second},
		{Op: "get", Status: 500, Duration: time.Millisecond, Aborted: true}, // failed once, not twice
		{Op: "other", Status: 501, Duration: time.Millisecond},              // as intended
	} {
		m.observe(o)
	}
	type few struct {
		From         string
		Upto, Slower int64 // 100 us, and all
	}
	var got []few
	for _, c := range m.answerCounts(m.clientSeries()) {
		if len(c.Bounds) != len(c.Buckets) || !slices.IsSorted(c.Bounds) || !slices.IsSorted(c.Buckets) || c.Bounds[1] != 1e-4 {
			t.Errorf("from %q: bounds %v, buckets %v", c.From, c.Bounds, c.Buckets)
		}
		got = append(got, few{c.From, c.Buckets[1], c.Count})
	}
	if diff := cmp.Diff([]few{{"", 0, 5}, {"origin", 0, 1}, {"ram", 1, 2}}, got); diff != "" {
		t.Error("-want +got", diff)
	}
	requests, failed, in, out := totals(m.clientSeries())
	if got, want := fmt.Sprint(requests, failed, in, out), "8 3 7 15"; got != want {
		t.Errorf("totals are %s, want %s", got, want)
	}
}

// What has been answered from nowhere is not there.
func TestAnIdleNodeHasNoAnswers(t *testing.T) {
	m := newMeter()
	newLaneMeter(m)
	if got := m.answerCounts(m.clientSeries()); !cmp.Equal(got, []console.AnswerCount(nil)) {
		t.Errorf("%+v", got)
	}
}
