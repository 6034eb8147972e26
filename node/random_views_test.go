package node

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

var viewRequests = flag.Int("view-requests", 0, "how many requests are made over random views of the ring; 0 for a few")

// A disputed cluster is one whose nodes have another view of it at each look.
type disputed struct {
	nodes []*running
	views []*ring.View
	looks atomic.Int64
}

func newDisputed(t *testing.T, n int) *disputed {
	d := &disputed{nodes: startCluster(t, n, func(c *Config) { c.SSDBytes, c.ClusterSecret = 0, Secret(secretA) })}
	members := slices.DeleteFunc(slices.Clone(d.nodes[0].ring.View().Members()), func(m ring.Member) bool { return m.State != ring.Serving })
	for mask := range 1 << n {
		var some []ring.Member
		for i, m := range members {
			if mask&(1<<i) != 0 {
				some = append(some, m)
			}
		}
		v, err := ring.NewView(some)
		if err != nil {
			t.Fatal(err)
		}
		d.views = append(d.views, v)
	}
	for _, node := range d.nodes {
		r := node.router
		// A request looks once for its owner; whoever it meets looks for itself.
		r.view = func() *ring.View {
			d.looks.Add(1)
			return d.views[rand.IntN(len(d.views))]
		}
	}
	return d
}

// TestRandomViewsCostAHopAtMost makes requests of nodes that never agree who
// owns a key: each is answered, rightly, and none goes on from where it arrived.
func TestRandomViewsCostAHopAtMost(t *testing.T) {
	requests := *viewRequests
	switch {
	case requests == 0 && raceEnabled:
		requests = 1000
	case requests == 0:
		requests = 6000
	}
	d := newDisputed(t, 4)
	const keys = 64
	body := func(k int) []byte { return bytes.Repeat([]byte{byte('a' + k%26)}, 100+k) }
	key := func(k int) object.Key { return object.Key(fmt.Sprintf("cache/x/sha256:%d/out", k)) }
	for k := range keys {
		if _, err := d.nodes[0].Store().Put(t.Context(), key(k), object.BytesSource(body(k)), object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var next atomic.Int64
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for i := next.Add(1); i <= int64(requests) && !t.Failed(); i = next.Add(1) {
				k := rand.IntN(keys)
				if err := d.request(t.Context(), d.nodes[rand.IntN(len(d.nodes))], i, key(k), body(k)); err != nil {
					t.Errorf("request %d of %s: %v", i, key(k), err)
				}
			}
		})
	}
	clients.Wait()
	if t.Failed() {
		return
	}
	made, sent, refused := int64(requests+requests/100+keys), 0.0, 0.0
	for _, n := range d.nodes {
		sent += total(t, n, "micelio_peer_requests_total")
		refused += total(t, n, "micelio_peer_refused_total")
	}
	t.Logf("%d requests, %.2f hops each on average, %v refused", made, sent/float64(made), refused)
	if int64(sent) > made || int64(sent) < made/2 {
		t.Errorf("%v hops of %d requests, want at most one each and not far less", sent, made)
	}
	if refused != 0 {
		t.Errorf("%v requests were refused by peers", refused)
	}
	if looks := d.looks.Load(); looks != made {
		t.Errorf("%d looks at the ring for %d requests, want one each: who is asked must not ask on", looks, made)
	}
}

// request makes one of several requests and checks its answer.
func (d *disputed) request(ctx context.Context, n *running, i int64, key object.Key, body []byte) error {
	switch i % 100 {
	case 0: // two requests
		mine := object.Key(fmt.Sprintf("sessions/%d/head", i))
		if _, err := n.Store().Put(ctx, mine, object.BytesSource(body), object.PutOptions{}); err != nil {
			return err
		}
		return n.Store().Delete(ctx, mine, object.DeleteOptions{})
	case 1:
		info, err := n.Store().Head(ctx, key, object.HeadOptions{})
		if err == nil && info.Size != int64(len(body)) {
			err = fmt.Errorf("%d bytes, want %d", info.Size, len(body))
		}
		return err
	case 2:
		if _, err := n.Store().Head(ctx, "nothing/here", object.HeadOptions{}); !errors.Is(err, object.ErrNotFound) {
			return fmt.Errorf("a missing key: %w", err)
		}
		return nil
	}
	obj, err := n.Store().Get(ctx, key, object.GetOptions{})
	if err != nil {
		return err
	}
	defer obj.Body.Close()
	got, err := io.ReadAll(obj.Body)
	if err == nil && !bytes.Equal(got, body) {
		err = errors.New("other bytes")
	}
	return err
}

// Strangers at the peer port of a node with a secret change nothing, whatever
// they send.
func TestStrangersAtThePeerPortChangeNothing(t *testing.T) {
	nodes := startCluster(t, 2, func(c *Config) { c.ClusterSecret = Secret(secretA) })
	key := object.Key("sessions/a/head")
	if _, err := nodes[0].Store().Put(t.Context(), key, object.BytesSource([]byte("ours")), object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	addr := nodes[0].peers.Addr().String()
	for name, cfg := range map[string]peer.Config{
		"no secret":       {Node: "x", Cluster: "micelio"},
		"another secret":  {Node: "x", Cluster: "micelio", Secrets: [][]byte{[]byte(secretB)}},
		"another cluster": {Node: "x", Cluster: "other", Secrets: [][]byte{[]byte(secretA)}},
	} {
		pool := peer.NewPool(cfg)
		c := pool.Client(addr)
		if _, err := c.Put(t.Context(), key, object.BytesSource([]byte("theirs")), object.PutOptions{}); err == nil {
			t.Errorf("%s: a Put was accepted", name)
		}
		if err := c.Delete(t.Context(), key, object.DeleteOptions{}); err == nil {
			t.Errorf("%s: a Delete was accepted", name)
		}
		if obj, err := c.Get(t.Context(), key, object.GetOptions{}); err == nil {
			obj.Body.Close()
			t.Errorf("%s: a Get was answered", name)
		}
		pool.Close()
	}
	for _, junk := range []string{strings.Repeat("junk", 50_000), "DELETE /o/sessions/a/head HTTP/1.1\r\nHost: x\r\n\r\n", "\x00\x01\x02\r\n\r\n"} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, junk) // it may hang up before all was said
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
	}
	for _, n := range nodes {
		obj, err := n.Store().Get(t.Context(), key, object.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(obj.Body); err != nil || string(b) != "ours" {
			t.Errorf("%q, %v", b, err)
		}
		obj.Body.Close()
	}
	if n := total(t, nodes[0], "micelio_peer_refused_total"); n < 9 {
		t.Errorf("%v refusals were counted, want 9 at least", n)
	}
}

// total adds up a metric of a node over its labels.
func total(t *testing.T, n *running, name string) (sum float64) {
	t.Helper()
	families, err := n.meter.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}
