package node

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/console"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/ring"
)

func TestAnyNodeSaysWhereAKeyIs(t *testing.T) {
	nodes := startCluster(t, 3)
	key := ownedBy(t, nodes, 1, "cache/b/sha256:%d/file (1)")
	put(t, nodes[0], key, []byte("body"))
	want(t, nodes[2], key, []byte("body"))
	for _, n := range nodes {
		w, err := n.showcase.Where(t.Context(), string(key))
		if err != nil {
			t.Fatal(err)
		}
		if w.Owner != nodes[1].ID() || w.Class != "immutable" || w.Partition == nil || len(w.Route) == 0 || len(w.Copies) != 3 {
			t.Errorf("%s: %+v", n.ID(), w)
		}
		for _, c := range w.Copies {
			switch has := len(c.Tiers) > 0; {
			case c.Error != "":
				t.Errorf("%s of %s: %s", n.ID(), c.Node, c.Error)
			case has != (c.Node == w.Owner):
				t.Errorf("%s says that %s has %v", n.ID(), c.Node, c.Tiers)
			case has && (c.Tiers[0] != string(object.TierRAM) || c.Size != 4 || c.ETag == ""):
				t.Errorf("%s: %+v", n.ID(), c)
			}
		}
	}
	if _, err := nodes[0].showcase.Where(t.Context(), "a//b"); !errors.Is(err, object.ErrInvalidKey) {
		t.Errorf("no key: %v", err)
	}

	// A member that does not say is named, and the others' word stands.
	nodes[1].stop()
	<-nodes[1].done
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	w, err := nodes[0].showcase.Where(ctx, string(key))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range w.Copies {
		if c.Node == nodes[1].ID() && c.Error == "" {
			t.Errorf("a node that is gone has %+v", c)
		}
	}
}

func TestMembersOfOneViewAgree(t *testing.T) {
	nodes := startCluster(t, 3)
	for _, n := range nodes {
		r := n.showcase.Status(console.Counters{}).Ring
		for !r.Agreed && t.Context().Err() == nil { // a busy machine may take a second to answer
			n.plane.acquaintances.round(t.Context())
			r = n.showcase.Status(console.Counters{}).Ring
		}
		if len(r.Members) != 3 {
			t.Errorf("%s: %+v", n.ID(), r)
		}
		for _, m := range r.Members {
			if !m.Self && (m.Epoch != r.Epoch || m.RTT <= 0 || m.Breaker != "closed" || m.State != "serving") {
				t.Errorf("%s of %s: %+v", n.ID(), m.ID, m)
			}
		}
	}
}

// Copies of other nodes' keys are looked for in passing. What counts hits alone has
// no hit ratio, and must not look as if it always hit.
func TestATierThatCountsNoMissesHasNoHitRatio(t *testing.T) {
	nodes := startCluster(t, 2)
	n := nodes[0]
	if n.hot == nil {
		t.Fatal("a node of two keeps no copies of the other's keys")
	}
	key := ownedBy(t, nodes, 0, "cache/b/sha256:%d/file")
	put(t, n, key, []byte("body"))
	want(t, n, key, []byte("body"))
	counted := n.showcase.Counters()
	var shown, ratios []string
	for _, tier := range n.showcase.Status(counted).Tiers {
		shown = append(shown, tier.Name)
	}
	for _, tier := range counted.Tiers {
		ratios = append(ratios, tier.Name)
	}
	if slices.Index(shown, "hot") < 0 || slices.Index(ratios, "hot") >= 0 || slices.Index(ratios, "ram") < 0 {
		t.Errorf("shown are %v, and look-ups counted of %v", shown, ratios)
	}
	if counted.CPU <= 0 {
		t.Errorf("all that took %v s of CPU", counted.CPU)
	}
}

func TestAMemberThatWasNotHeardDoesNotAgree(t *testing.T) {
	nodes := startCluster(t, 2)
	other, _ := nodes[0].ring.View().Member(nodes[1].ID())
	nodes[0].plane.acquaintances.mu.Lock()
	nodes[0].plane.acquaintances.of = map[memberID]acquaintance{
		{other.ID, other.Boot}: {epoch: nodes[0].ring.View().Epoch() + 1, heard: time.Now()},
	}
	nodes[0].plane.acquaintances.mu.Unlock()
	if r := nodes[0].showcase.Status(console.Counters{}).Ring; r.Agreed {
		t.Errorf("%+v", r)
	}
}

// Nobody looks at a node most of the time: then its questions are few.
func TestMembersAreAskedMoreOftenWhileSomebodyLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		view, err := ring.NewView([]ring.Member{{ID: "a", State: ring.Serving}, {ID: "b", State: ring.Serving}, {ID: "c", State: ring.Serving}})
		if err != nil {
			t.Fatal(err)
		}
		var asked atomic.Int64
		a := &acquaintances{self: "a", view: func() *ring.View { return view }, ask: func(_ context.Context, m ring.Member) (uint64, error) {
			if m.ID == "b" {
				asked.Add(1)
			}
			return 1, nil
		}}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		time.Sleep(time.Minute + time.Second)
		if n := asked.Swap(0); n < 6 || n > 7 {
			t.Errorf("asked %d times in a minute, want one in %v", n, idleEvery)
		}
		for range 30 {
			a.about(view.Members()[1])
			time.Sleep(2 * time.Second)
		}
		if n := asked.Load(); n < 29 || n > 31 {
			t.Errorf("asked %d times in a minute while somebody looked, want one in %v", n, acquaintEvery)
		}
		stop()
		<-done
	})
}

func TestTheRingAndAKeyAreCheckedThroughOneNode(t *testing.T) {
	nodes := startCluster(t, 2)
	key := ownedBy(t, nodes, 1, "cache/b/sha256:%d/file")
	put(t, nodes[0], key, []byte("body"))
	want(t, nodes[0], key, []byte("body"))

	var report ringReport
	answered := func() bool { // a busy machine may take a second to answer
		return !slices.ContainsFunc(report.Members, func(m memberReport) bool { return m.Error != "" })
	}
	for again := true; again; again = !answered() {
		report = ringReport{}
		_, body := ask(t, nodes[0], "/ring?check")
		if err := json.Unmarshal([]byte(body), &report); err != nil || len(report.Members) != 2 {
			t.Fatalf("%v: %s", err, body)
		}
	}
	for _, m := range report.Members {
		if m.Epoch != report.Epoch || m.Error != "" || (m.RTT > 0) == m.Self {
			t.Errorf("got %+v, want epoch %s", m, report.Epoch)
		}
	}
	var where whereReport
	for again := true; again; again = where.Copies[0].Error+where.Copies[1].Error != "" {
		where = whereReport{}
		_, body := ask(t, nodes[0], "/where/"+string(key)+"?check")
		if err := json.Unmarshal([]byte(body), &where); err != nil || len(where.Copies) != 2 {
			t.Fatalf("%v: %s", err, body)
		}
	}
	if mine, theirs := where.Copies[0], where.Copies[1]; len(mine.Tiers) != 0 || len(theirs.Tiers) == 0 || theirs.Size != 4 {
		t.Errorf("got %+v and %+v", mine, theirs)
	}
}

// DNS rebinding makes a page's own name lead to a node. What the console and its
// neighbours tell is not for that page; probes and scrapes come by any name.
func TestAnAdminListenerKnowsItsNames(t *testing.T) {
	n := openNode(t, func(cfg *Config) { cfg.AdminHosts = []string{".ours.example"} })
	for _, c := range []struct {
		host, target string
		status       int
	}{
		{"evil.example", "/status", 421}, {"evil.example", "/hot", 421}, {"evil.example", "/where/a", 421},
		{"evil.example", "/debug/pprof/", 421}, {"evil.example", "/", 421},
		{"evil.example", "/metrics", 200}, {"evil.example", "/healthz", 200}, {"evil.example", "/readyz", 503},
		{"node1.ours.example", "/status", 200}, {n.AdminAddr(), "/status", 200}, {"localhost:1", "/hot", 200},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, c.target, nil)
		r.Host = c.host
		n.admin.server.Handler.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s of %s: %d, want %d", c.target, c.host, w.Code, c.status)
		}
	}
}
