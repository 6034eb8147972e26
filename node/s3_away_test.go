package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
	"github.com/micelio/micelio/origin/s3test"
	"github.com/micelio/micelio/pace"
)

const (
	// awayFor is longer than a circuit breaker stays open: attempts to find out
	// how the origin is are among what is counted.
	awayFor = 5 * time.Second

	// awayRequests is how many requests for the origin an outage sees at least.
	// Breakers open once most of what they saw in ten seconds failed, so on a
	// machine with little to give an outage takes longer to show what it costs.
	awayRequests = 400

	// visitLimit bounds the time all that may take.
	visitLimit = 2 * time.Minute

	// backWithin is how soon a cluster serves again once its origin does.
	backWithin = 10 * time.Second
)

// An outage takes the origin away from nodes and gives it back.
type outage struct {
	begin, end func()
	attempts   func() int64 // that arrived during it, nil if nobody can count them
}

// deaf puts a proxy before a server that can refuse connections.
func deaf(t *testing.T, server *s3test.Server) (endpoint string, o outage) {
	proxy := s3test.Toxiproxy(t, server.Endpoint)
	return proxy.URL(), outage{begin: func() { proxy.Down(t) }, end: func() { proxy.Up(t) }}
}

// slow puts a proxy before a server that can ask for less.
func slow(t *testing.T, server *s3test.Server) (endpoint string, o outage) {
	g := newGate(t, server)
	return g.URL, outage{func() { g.refusing.Store(true) }, func() { g.refusing.Store(false) }, g.refused.Load}
}

// A cluster whose origin is away goes on serving what never changes, says
// "later" to everything else, does not press an origin that suffers, and is back
// soon after it.
func TestAClusterOutlivesItsOrigin(t *testing.T) {
	for name, before := range map[string]func(*testing.T, *s3test.Server) (string, outage){
		"it refuses connections": deaf, "it says SlowDown": slow,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := s3test.VersityGW(t)
			endpoint, away := before(t, server)
			v := &visitors{t: t, client: newClient(t), nodes: startCluster(t, 3, over(server, endpoint)), past: openPast(t, server)}
			v.prepare()
			before := v.stats()
			away.begin()
			v.replace() // by somebody who still reaches the bucket
			v.visit()
			after := v.stats()
			v.wantRestraint(before, after, away.attempts)
			away.end()
			v.wantBack()
		})
	}
}

// visitors read and write through all nodes of a cluster.
type visitors struct {
	t      *testing.T
	client *http.Client
	nodes  []*running
	past   *origin.S3 // the bucket, past the outage

	kept map[object.Key][]byte // in the tiers
	cold []object.Key          // in the bucket only

	hits, asked atomic.Int64 // reads of kept keys, and requests that the origin had to answer
}

const heads = 6 // mutable keys

func head(i int) string { return fmt.Sprintf("projects/%d/head", i%heads) }

// prepare stores keys of all kinds and reads what is to be in the tiers.
func (v *visitors) prepare() {
	v.t.Helper()
	v.kept = map[object.Key][]byte{}
	for _, size := range []int{10, 3_000, 300_000} { // the last is on the SSD only
		body := bytes.Repeat([]byte{byte(size / 10)}, size)
		for _, key := range keep(body) {
			if strings.HasPrefix(string(key), "projects/") {
				key = object.Key(fmt.Sprintf("projects/1/blobs/ab/%d", size))
			}
			v.kept[key] = body
			put(v.t, v.nodes[0], key, body)
		}
	}
	for i := range heads {
		put(v.t, v.nodes[i%3], object.Key(head(i)), []byte("old"))
	}
	for _, n := range v.nodes {
		for key, body := range v.kept {
			want(v.t, n, key, body)
		}
		for i := range heads {
			want(v.t, n, object.Key(head(i)), []byte("old"))
		}
		settled(n)
	}
	for i := range 20 {
		key := object.Key(fmt.Sprintf("cache/x/sha256:%d/cold", i))
		v.cold = append(v.cold, key)
		v.putPast(key, string(key))
	}
}

func (v *visitors) putPast(key object.Key, body string) {
	v.t.Helper()
	if _, err := v.past.Put(v.t.Context(), key, object.BytesSource([]byte(body)), object.PutOptions{}); err != nil {
		v.t.Fatal(err)
	}
}

func (v *visitors) replace() {
	v.t.Helper()
	for i := range heads {
		v.putPast(object.Key(head(i)), "new")
	}
}

// visit sends requests of all kinds, for long enough to tell.
func (v *visitors) visit() {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), visitLimit)
	defer cancel()
	began := time.Now()
	enough := func() bool { return v.asked.Load() >= awayRequests && time.Since(began) >= awayFor }
	var all sync.WaitGroup
	for w := range 6 {
		all.Go(func() {
			pause := time.NewTicker(10 * time.Millisecond)
			defer pause.Stop()
			for i := w; !v.t.Failed() && !enough(); i++ {
				select {
				case <-pause.C:
				case <-ctx.Done():
					return
				}
				v.visitOnce(i)
			}
		})
	}
	all.Wait()
	v.t.Logf("%d reads of kept keys, %d requests for the origin", v.hits.Load(), v.asked.Load())
	if !enough() {
		v.t.Errorf("that is all there was in %v, too few to tell anything", visitLimit)
	}
}

// visitOnce reads every kept key and makes one request that needs the origin.
func (v *visitors) visitOnce(i int) {
	n := v.nodes[i%3]
	for key, body := range v.kept {
		v.hits.Add(1)
		resp, got, err := dialect(context.Background(), v.client, n, http.MethodGet, string(key), nil)
		if err != nil || status(resp) != http.StatusOK || !bytes.Equal(got, body) {
			v.t.Errorf("a kept key, %s: %d, %d bytes, %v", key, status(resp), len(got), err)
			return
		}
	}
	v.asked.Add(1)
	method, key := http.MethodGet, head(i)
	switch i / 3 % 6 {
	case 0:
		key = string(v.cold[i%len(v.cold)])
	case 1:
		method = http.MethodHead
	case 2:
		method = http.MethodPut
	}
	resp, got, err := dialect(context.Background(), v.client, n, method, key, strings.NewReader("written"))
	if err != nil || status(resp) != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		v.t.Errorf("%s %s without the origin: %d, Retry-After %q, %.100q, %v; want 503", method, key, status(resp), resp.Header.Get("Retry-After"), got, err)
	}
}

func (v *visitors) stats() (sum origin.S3Stats) {
	for _, n := range v.nodes {
		st := n.s3.Stats()
		sum.Demand += st.Demand
		sum.Attempts += st.Attempts
		sum.Retries += st.Retries
		sum.Hedges += st.Hedges
		sum.BreakerRefused += st.BreakerRefused
	}
	return sum
}

// wantRestraint holds the nodes to what they may send to an origin that fails:
// what was wanted and a tenth of it, and what each may retry at once.
func (v *visitors) wantRestraint(before, after origin.S3Stats, counted func() int64) {
	v.t.Helper()
	burst := int64(len(v.nodes)) * pace.DefaultBurst
	attempts := after.Attempts - before.Attempts
	if counted != nil {
		attempts = counted()
	}
	allowed := v.asked.Load()*11/10 + burst
	v.t.Logf("%d attempts for %d requests, %d allowed; %d demanded, %d retried, %d refused by breakers", attempts, v.asked.Load(), allowed,
		after.Demand-before.Demand, after.Retries-before.Retries, after.BreakerRefused-before.BreakerRefused)
	if attempts > allowed || attempts == 0 {
		v.t.Errorf("%d attempts at the origin for %d requests, at most %d are allowed", attempts, v.asked.Load(), allowed)
	}
}

// wantBack waits until every node serves everything, and never anything old.
func (v *visitors) wantBack() {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), backWithin)
	defer cancel()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	began := time.Now()
	for _, n := range v.nodes {
		for i, key := range append([]object.Key{object.Key(head(0)), object.Key(head(1)), object.Key(head(2))}, v.cold...) {
			right := "new"
			if i >= 3 {
				right = string(key)
			}
			for {
				_, got, err := read(ctx, n, key)
				if err == nil {
					if string(got) != right {
						v.t.Errorf("%s through %s: %q, want %q", key, n.ID(), got, right)
					}
					break
				}
				if !errors.Is(err, object.ErrUnavailable) {
					v.t.Fatalf("%s through %s: %v, %v after the end", key, n.ID(), err, time.Since(began))
				}
				<-pause.C
			}
		}
	}
	v.t.Logf("back after %v", time.Since(began))
	if _, err := v.nodes[1].Store().Put(v.t.Context(), object.Key(head(0)), object.BytesSource([]byte("newer")), object.PutOptions{}); err != nil {
		v.t.Errorf("a write after the end: %v", err)
	}
	want(v.t, v.nodes[2], object.Key(head(0)), []byte("newer"))
}
