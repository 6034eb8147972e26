package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/micelio/micelio/fastlane"
	"github.com/micelio/micelio/gateway"
	"github.com/micelio/micelio/internal/trail"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin/s3test"
	"github.com/micelio/micelio/peer"
)

// A scribe keeps the lines of a log, from many goroutines.
type scribe struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{} // gets a token when there is more
}

func newScribe() *scribe { return &scribe{more: make(chan struct{}, 1)} }

func (s *scribe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
	return s.text.Write(p)
}

// log returns a handler that writes lines of JSON of this level and above.
func (s *scribe) log(level slog.Leveler) slog.Handler {
	return slog.NewJSONHandler(s, &slog.HandlerOptions{Level: level})
}

func (s *scribe) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// lines returns the lines that say this message, and whose attributes have these
// values.
func (s *scribe) lines(message string, attrs ...string) (found []map[string]any) {
	for line := range strings.Lines(s.said()) {
		var all map[string]any
		if json.Unmarshal([]byte(line), &all) != nil || all["msg"] != message {
			continue
		}
		fits := true
		for i := 0; i < len(attrs); i += 2 {
			fits = fits && fmt.Sprint(all[attrs[i]]) == attrs[i+1]
		}
		if fits {
			found = append(found, all)
		}
	}
	return found
}

// await waits for a line: it is written after the answer. One that is missing is said
// before the package's time is over.
func (s *scribe) await(t *testing.T, message string, attrs ...string) map[string]any {
	t.Helper()
	ctx := t.Context()
	if deadline, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-10*time.Second))
		defer cancel()
	}
	for {
		if found := s.lines(message, attrs...); len(found) > 0 {
			return found[0]
		}
		select {
		case <-s.more:
		case <-ctx.Done():
			t.Fatalf("no line %q %q in\n%s", message, attrs, s.said())
		}
	}
}

// Whatever the load, so many lines a second say what went well, and all what did not.
func TestTheAccessLogIsBoundedButForFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, seconds, each = 10, 5, 1000
		said := newScribe()
		l := newAccessLog(slog.New(said.log(slog.LevelInfo)), rate)
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				for i := range seconds * each {
					now := time.Now()
					l.client(&gateway.Observation{Op: gateway.OpGet, Status: 200}, now)
					l.peer(&peer.Observation{Op: "get", Status: 404}, now)
					l.peer(&peer.Observation{Op: "get", Key: object.InternalPrefix + "canary", Status: 200}, now)
					if l.clients.take(now) {
						l.lane(&fastlane.Observation{Status: 200, Detail: &fastlane.Detail{Key: "lane"}})
					}
					if i%100 == 0 {
						l.client(&gateway.Observation{Op: gateway.OpPut, Status: 503, Err: object.ErrUnavailable}, now)
						l.client(&gateway.Observation{Op: gateway.OpGet, Status: 200, Aborted: true}, now)
						l.client(&gateway.Observation{Op: gateway.OpGet}, now)
						l.lane(&fastlane.Observation{Status: 200, Detail: &fastlane.Detail{Err: errors.New("reset")}})
						l.peer(&peer.Observation{Op: "get", Status: 503}, now)
						l.peer(&peer.Observation{Op: "get-cached", Status: 504, Err: fmt.Errorf("no: %w", peer.ErrNotCached)}, now)
					}
					time.Sleep(time.Second / each)
				}
			})
		}
		all.Wait()
		if strings.Contains(said.said(), object.InternalPrefix) {
			t.Error("what nodes do for themselves is logged")
		}
		for _, c := range []struct {
			message, level string
			least, most    int
		}{
			{requestLine, "INFO", rate * seconds, rate * (seconds + 1)},
			{peerRequestLine, "INFO", rate * seconds, rate * (seconds + 1)},
			{requestLine, "WARN", 2 * 4 * seconds * each / 100, 2 * 4 * seconds * each / 100},
			{peerRequestLine, "WARN", 2 * seconds * each / 100, 2 * seconds * each / 100},
		} {
			if got := len(said.lines(c.message, "level", c.level)); got < c.least || got > c.most {
				t.Errorf("%d lines %q of level %s, want %d to %d", got, c.message, c.level, c.least, c.most)
			}
		}
	})
}

func TestARateOfNothingLogsFailuresOnly(t *testing.T) {
	said := newScribe()
	l := newAccessLog(slog.New(said.log(slog.LevelInfo)), 0)
	for range 10 {
		l.client(&gateway.Observation{Op: gateway.OpGet, Status: 200}, time.Now())
		l.client(&gateway.Observation{Op: gateway.OpGet, Status: 500}, time.Now())
	}
	if got := len(said.lines(requestLine)); got != 10 {
		t.Errorf("%d lines, want those of 10 failures", got)
	}
}

// What did not go well is told from what only looks so.
func TestFailuresAreWarnings(t *testing.T) {
	gone := errors.New("gone")
	for name, c := range map[string]struct {
		client *gateway.Observation
		peer   *peer.Observation
		want   string
	}{
		"what this store does not do":     {client: &gateway.Observation{Op: gateway.OpGet, Status: http.StatusNotImplemented, Err: gone}, want: "INFO"},
		"a loop":                          {client: &gateway.Observation{Status: http.StatusLoopDetected, Err: gone}, want: "WARN"},
		"a panic":                         {client: &gateway.Observation{Op: gateway.OpGet}, want: "WARN"},
		"a peer's, of which nobody is":    {peer: &peer.Observation{Op: "get", Status: 500, Left: true, Err: context.Canceled}, want: "INFO"},
		"a peer's":                        {peer: &peer.Observation{Op: "get", Status: 500, Err: gone}, want: "WARN"},
		"a peer's page":                   {peer: &peer.Observation{Op: "list", Status: 200, Aborted: true, Err: gone}, want: "WARN"},
		"a peer's panic":                  {peer: &peer.Observation{Op: "get"}, want: "WARN"},
		"a peer's for what is not cached": {peer: &peer.Observation{Op: "get-cached", Status: 504, Err: peer.ErrNotCached}, want: "INFO"},
	} {
		said := newScribe()
		l := newAccessLog(slog.New(said.log(slog.LevelInfo)), 1)
		for range 3 {
			if c.client != nil {
				l.client(c.client, time.Now())
			} else {
				l.peer(c.peer, time.Now())
			}
		}
		warnings, all := strings.Count(said.said(), `"level":"WARN"`), strings.Count(said.said(), "\n")
		if c.want == "WARN" && warnings != 3 || c.want == "INFO" && (warnings != 0 || all > 2) {
			t.Errorf("%s: %d warnings in %d lines, want level %s", name, warnings, all, c.want)
		}
	}
}

// setBack returns t as it would be if the clock on the wall had been set back by d since
// the process began: a time has both that clock's seconds and the monotonic ones.
func setBack(tb testing.TB, t time.Time, d time.Duration) time.Time {
	tb.Helper()
	is := t
	*(*uint64)(unsafe.Pointer(&is)) -= uint64(d/time.Second) << 30
	if is.Sub(t) != 0 || t.Unix()-is.Unix() != int64(d/time.Second) {
		tb.Fatal("a time is not made as it was: this must be done in another way")
	}
	return is
}

func TestTheLogGoesOnWhenTheClockIsSetBack(t *testing.T) {
	const rate = 10
	q, now := newQuota(rate), time.Now()
	for range 10 * rate {
		q.take(now)
	}
	now = setBack(t, now.Add(time.Second), time.Hour)
	allowed := 0
	for range 10 * rate {
		if q.take(now) {
			allowed++
		}
	}
	if allowed != rate {
		t.Errorf("%d lines in the second after, want %d", allowed, rate)
	}
}

// When a second's lines have been said, to find that out is all that an answer costs.
func TestWhatIsNotLoggedCostsNothing(t *testing.T) {
	l := newAccessLog(slog.New(slog.DiscardHandler), 1)
	now := time.Now()
	l.clients.take(now)
	o := gateway.Observation{Op: gateway.OpGet, Status: 200}
	if n := testing.AllocsPerRun(100, func() { l.client(&o, now); l.clients.take(now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkQuotaSpent(b *testing.B) {
	q, now := newQuota(1), time.Now()
	q.take(now)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			q.take(now)
		}
	})
}

const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"

// One request can be followed from the client through the node that it asked and the
// owner of the key to the origin, by its id and by its trace.
func TestARequestIsFollowedThroughTheCluster(t *testing.T) {
	t.Parallel()
	server := s3test.VersityGW(t)
	g := newGate(t, server)
	var mu sync.Mutex
	asked := map[string][]string{} // traces by path
	g.change = func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked[r.URL.Path] = append(asked[r.URL.Path], trail.TraceOf(r.Header.Get("Traceparent")))
	}
	nodes, said := startSaying(t, 2, over(server, g.URL))
	client := newClient(t)
	key := ownedBy(t, nodes, 1, "cache/builds/sha256:%d/out")
	if _, err := openPast(t, server).Put(t.Context(), key, object.BytesSource([]byte("content")), object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	resp, body, err := dialect(t.Context(), client, nodes[0], http.MethodGet, string(key), nil,
		"Traceparent", "00-"+traceID+"-00f067aa0ba902b7-01", "Tracestate", "a=1", "X-Request-Id", "build-7")
	if err != nil || string(body) != "content" {
		t.Fatalf("%q, %v", body, err)
	}
	id := resp.Header.Get("X-Amz-Request-Id")
	at := said[0].await(t, requestLine, "request_id", id)
	for name, want := range map[string]string{
		"trace_id": traceID, "client_request_id": "build-7", "op": "get", "key": string(key), "status": "200", "from": "origin",
		"node": nodes[1].ID(), "bytes_out": "7",
	} {
		if got := fmt.Sprint(at[name]); got != want {
			t.Errorf("the node that was asked says %s=%s, want %s", name, got, want)
		}
	}
	owner := said[1].await(t, peerRequestLine, "request_id", id)
	if owner["trace_id"] != traceID || owner["peer"] != nodes[0].ID() || owner["key"] != string(key) || owner["from"] != "origin" {
		t.Errorf("the owner says %v", owner)
	}
	mu.Lock()
	defer mu.Unlock()
	for path, traces := range asked {
		if strings.HasSuffix(path, string(key)) {
			if len(traces) == 0 || traces[0] != traceID {
				t.Errorf("the origin was asked for %s in the traces %q", path, traces)
			}
			return
		}
	}
	t.Errorf("the origin was asked for %v", asked)
}

// startSaying runs a cluster, each node of which has somebody who writes down all that
// it logs.
func startSaying(t *testing.T, n int, edits ...func(*Config)) ([]*running, []*scribe) {
	t.Helper()
	dir := t.TempDir()
	var nodes []*running
	var said []*scribe
	for i := range n {
		s := newScribe()
		nodes = append(nodes, startLogging(t, s.log(slog.LevelDebug), dir+fmt.Sprint("/", i), append([]func(*Config){func(c *Config) {
			c.Name = fmt.Sprint("node-", i)
			c.LocalPath = dir + "/origin"
			if i > 0 {
				c.Join = []string{nodes[0].GossipAddr()}
			}
		}}, edits...)...))
		said = append(said, s)
	}
	awaitServing(t, nodes, n)
	return nodes, said
}

// The fast lane's answers are logged like others.
func TestAnAnswerFromMemoryIsLoggedWithItsTrace(t *testing.T) {
	t.Parallel()
	nodes, said := startSaying(t, 1, func(c *Config) { c.AccessLogRate = 1000 })
	const key = object.Key("cache/builds/sha256:1/out")
	put(t, nodes[0], key, []byte("content"))
	want(t, nodes[0], key, []byte("content"))
	resp, _, err := dialect(t.Context(), newClient(t), nodes[0], http.MethodGet, string(key), nil,
		"Traceparent", "00-"+traceID+"-00f067aa0ba902b7-01", "X-Request-Id", "build-7")
	if err != nil {
		t.Fatal(err)
	}
	line := said[0].await(t, requestLine, "request_id", resp.Header.Get("X-Amz-Request-Id"))
	if line["trace_id"] != traceID || line["client_request_id"] != "build-7" || line["from"] != "ram" || line["key"] != string(key) ||
		line["node"] != nodes[0].ID() || line["remote"] == nil || line["bytes_out"] != 7.0 {
		t.Errorf("said %v", line)
	}
	resp, _, err = dialect(t.Context(), newClient(t), nodes[0], http.MethodGet, string(key), nil)
	if err != nil {
		t.Fatal(err)
	}
	if line := said[0].await(t, requestLine, "request_id", resp.Header.Get("X-Amz-Request-Id")); line["trace_id"] != nil {
		t.Errorf("it was not the fast lane that answered: %v", line)
	}
}

func TestTheLevelIsChangedWhileTheNodeRuns(t *testing.T) {
	t.Parallel()
	said, level := newScribe(), new(slog.LevelVar)
	n := openNode(t)
	n.openLog(slog.New(said.log(level)))
	if answer := n.answer(http.MethodGet, "/log"); answer.Code != http.StatusNotFound {
		t.Errorf("a level that nobody shared: %d", answer.Code)
	}
	n.ShareLevel(level)
	for _, c := range []struct {
		method, target string
		status         int
		level          slog.Level
	}{
		{"GET", "/log", 200, slog.LevelInfo},
		{"PUT", "/log?level=debug", 200, slog.LevelDebug},
		{"PUT", "/log?level=loud", 400, slog.LevelDebug},
		{"PUT", "/log", 400, slog.LevelDebug},
		{"PUT", "/log?level=error", 200, slog.LevelError},
		{"POST", "/log?level=info", 405, slog.LevelError},
		{"GET", "/log?level=info", 200, slog.LevelError},
	} {
		answer := n.answer(c.method, c.target)
		if answer.Code != c.status || level.Level() != c.level {
			t.Errorf("%s %s: %d %s, level %v", c.method, c.target, answer.Code, answer.Body, level.Level())
		}
		if body := strings.TrimSpace(answer.Body.String()); c.status == 200 && body != c.level.String() {
			t.Errorf("%s %s says %q", c.method, c.target, body)
		}
	}
	if changes := said.lines("log level changed"); len(changes) != 2 || changes[1]["was"] != "DEBUG" || changes[1]["is"] != "ERROR" {
		t.Errorf("said %s", said.said())
	}
}

func TestAPageInABrowserChangesNoLevel(t *testing.T) {
	t.Parallel()
	level := new(slog.LevelVar)
	n := openNode(t)
	n.ShareLevel(level)
	for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"} {
		r := httptest.NewRequest(http.MethodPut, "/log?level=debug", nil)
		r.Host = n.AdminAddr()
		r.Header.Set(name, value)
		w := httptest.NewRecorder()
		n.admin.server.Handler.ServeHTTP(w, r)
		if w.Code != http.StatusForbidden || level.Level() != slog.LevelInfo {
			t.Errorf("%s %s: %d, level %v", name, value, w.Code, level.Level())
		}
	}
}
