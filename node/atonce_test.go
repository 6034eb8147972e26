package node

import (
	"bytes"
	"log/slog"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/fastlane"
	"github.com/micelio/micelio/object"
)

// What is in the owner's memory is answered in the same way with the fast lane and
// without, and counted in the same way.
func TestTheFastLaneAnswersAndCountsAsTheSlowOneDoes(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 256)
	const key = object.Key("cache/builds/sha256:1/out")
	type answer struct {
		Status int
		Header http.Header
		Body   string
	}
	var answers [2][]answer
	for i, fast := range []bool{true, false} {
		n := startNode(t, t.TempDir(), func(cfg *Config) { cfg.FastLane, cfg.CanaryInterval = fast, 0 })
		info := put(t, n, key, content)
		want(t, n, key, content)
		before := n.cache.Stats().RAM
		for _, header := range [][]string{
			nil, {"Range", "bytes=16-31"}, {"If-None-Match", info.ETag.Quoted()}, {"If-None-Match", `"x"`}, {"Accept", "*/*"},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				resp, body := fetch(t, n, method, key, header...)
				for _, each := range []string{"Date", "X-Amz-Request-Id", "Last-Modified", "Micelio-Node", "Age"} {
					if resp.Header.Get(each) == "" {
						t.Errorf("fast %t: %s without %s: %v", fast, method, each, resp.Header)
					}
					resp.Header.Del(each)
				}
				answers[i] = append(answers[i], answer{resp.StatusCode, resp.Header, string(body)})
			}
		}
		_ = n.drained() // an answer is counted when it has been sent
		if hits := n.cache.Stats().RAM.Hits - before.Hits; hits != 10 {
			t.Errorf("fast %t: ten reads are %d hits of the RAM tier", fast, hits)
		}
		if misses := n.cache.Stats().RAM.Misses - before.Misses; misses != 0 {
			t.Errorf("fast %t: ten hits are %d misses of the RAM tier", fast, misses)
		}
		for labels, reads := range map[[3]string]float64{
			{"get", "200", "ram"}: 3, {"get", "206", "ram"}: 1, {"get", "304", "ram"}: 1,
			{"head", "200", "ram"}: 3, {"head", "206", "ram"}: 1, {"head", "304", "ram"}: 1,
		} {
			got := (&growing{T: t, all: []*running{n}}).counted("micelio_requests_total",
				map[string]string{"op": labels[0], "code": labels[1], "tier": labels[2]})
			if got != reads {
				t.Errorf("fast %t: %v is counted %v times, want %v", fast, labels, got, reads)
			}
		}
	}
	if diff := cmp.Diff(answers[0], answers[1]); diff != "" {
		t.Errorf("with the fast lane and without:\n%s", diff)
	}
}

// The fast lane is only for who owns the key, for what clients may see, and for
// nodes that do not drain.
func TestTheFastLaneFindsOnlyWhatIsAtHand(t *testing.T) {
	nodes := startCluster(t, 2)
	content := []byte("content")
	key := ownedBy(t, nodes, 0, "cache/builds/sha256:%d/out")
	put(t, nodes[0], key, content)
	want(t, nodes[0], key, content)
	put(t, nodes[0], "sessions/1", content)
	want(t, nodes[0], "sessions/1", content)
	lookUp := func(n *running, key object.Key) []byte {
		var a fastlane.Answer
		if !n.lookUp(key, &a) {
			return nil
		}
		return a.Bytes
	}
	if got := lookUp(nodes[0], key); !slices.Equal(got, content) {
		t.Errorf("the owner finds %q", got)
	}
	if got := lookUp(nodes[1], key); got != nil {
		t.Errorf("the other node finds %q", got)
	}
	for _, k := range []object.Key{"sessions/1", object.InternalPrefix + "canary/x", "cache/builds/sha256:missing/out", ""} {
		if got := lookUp(nodes[0], k); got != nil {
			t.Errorf("%q is found: %q", k, got)
		}
	}
	if err := nodes[1].Store().Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := lookUp(nodes[0], key); got != nil {
		t.Errorf("a deleted object is found: %q", got)
	}
	put(t, nodes[0], key, content)
	want(t, nodes[0], key, content)
	nodes[0].phase.Store(phaseDraining)
	if got := lookUp(nodes[0], key); got != nil {
		t.Errorf("a node that drains finds %q", got)
	}
}

func TestALookupAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	n := startNode(t, t.TempDir())
	const key = object.Key("cache/builds/sha256:1/out")
	put(t, n, key, []byte("content"))
	want(t, n, key, []byte("content"))
	var a fastlane.Answer
	// Once in a while a read is noted among those that are read most.
	if allocs := testing.AllocsPerRun(1000, func() { n.lookUp(key, &a) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// BenchmarkLookUp is what a hit costs besides the lane: the ring, the RAM tier, and
// counting who is read most.
func BenchmarkLookUp(b *testing.B) {
	cfg := DefaultConfig()
	cfg.DataDir, cfg.SSDBytes = b.TempDir(), 0
	cfg.Listen, cfg.PeerListen, cfg.AdminListen, cfg.GossipListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	n, err := Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer n.release()
	const key = object.Key("cache/builds/sha256:1/out")
	if _, err := n.stack.Put(b.Context(), key, object.BytesSource(make([]byte, 4096)), object.PutOptions{}); err != nil {
		b.Fatal(err)
	}
	var a fastlane.Answer
	b.ReportAllocs()
	for b.Loop() {
		a = fastlane.Answer{}
		if !n.lookUp(key, &a) {
			b.Fatal("not found")
		}
	}
}
