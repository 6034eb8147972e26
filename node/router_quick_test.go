package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/pace"
	"github.com/micelio/micelio/peer"
	"github.com/micelio/micelio/ring"
)

// awaitQuick reads a key of another node until a quick lane answers it.
func awaitQuick(t *testing.T, n *running, key object.Key) {
	t.Helper()
	var a peer.Answer
	for n.router.quick(key, &a) != quickAnswered {
		if t.Context().Err() != nil {
			t.Fatal("no quick read")
		}
		runtime.Gosched()
	}
	a.Release()
}

// elsewhereKey returns a key of this form that another node than n owns.
func elsewhereKey(n *running, form string) object.Key {
	for i := 0; ; i++ {
		key := object.Key(fmt.Sprintf(form, i))
		if owner, _ := n.ring.View().Owner(string(key)); owner.ID != n.ID() {
			return key
		}
	}
}

func withoutHotCopies(cfg *Config) { cfg.HotCopies = false }

func TestAQuickReadLooksLikeTheOrdinaryOne(t *testing.T) {
	for name, secret := range map[string]string{"open": "", "with a secret": "the secret of this cluster of ours"} {
		t.Run(name, func(t *testing.T) {
			nodes := startCluster(t, 2, withoutHotCopies, func(cfg *Config) { cfg.ClusterSecret = Secret(secret) })
			n := nodes[0]
			key := elsewhereKey(n, "cache/x/sha256:%d/out")
			attrs := object.Attrs{ContentType: "text/plain", CacheControl: "max-age=60", User: map[string]string{"who": "me"}}
			if _, err := n.Store().Put(t.Context(), key, object.BytesSource([]byte("0123456789")), object.PutOptions{Attrs: attrs}); err != nil {
				t.Fatal(err)
			}
			get := func() (http.Header, string) {
				resp, err := http.Get("http://" + n.Addr() + "/" + n.cfg.Bucket + "/" + string(key))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				for _, moving := range []string{"Date", "Age", "X-Amz-Request-Id", "X-Amz-Id-2"} {
					resp.Header.Del(moving)
				}
				return resp.Header, string(body)
			}
			header, body := get() // there is no lane yet
			awaitQuick(t, n, key)
			owner, _ := n.ring.View().Owner(string(key))
			c := n.laneTo(owner)
			before := c.QuickAnswered()
			for c.QuickAnswered() == before { // or the machine was too busy
				quickHeader, quickBody := get()
				if diff := cmp.Diff(header, quickHeader); diff != "" || quickBody != body || body != "0123456789" {
					t.Fatalf("%q, quickly %q\n%s", body, quickBody, diff)
				}
			}
			if got := header.Get("X-Cache"); got != "ram" {
				t.Errorf("X-Cache: %s, want ram", got)
			}
		})
	}
}

func TestAQuickReadOfADeletedObjectFindsNothing(t *testing.T) {
	nodes := startCluster(t, 3, withoutHotCopies)
	n := nodes[0]
	key := elsewhereKey(n, "cache/x/sha256:%d/out")
	if _, err := n.Store().Put(t.Context(), key, object.BytesSource([]byte("body")), object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitQuick(t, n, key)
	if err := nodes[1].Store().Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	var a peer.Answer
	if n.router.quick(key, &a) == quickAnswered {
		t.Error("it is read after its DELETE")
	}
	if _, err := n.Store().Get(t.Context(), key, object.GetOptions{}); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("read: %v", err)
	}
}

// A read that the fast lane leaves to the handler came twice to the owner's quick lane,
// which then looked to have little of what it was asked for.
func TestAnOwnerIsAskedQuicklyOnceForARead(t *testing.T) {
	nodes := startCluster(t, 2, withoutHotCopies)
	n := nodes[0]
	there := elsewhereKey(n, "cache/x/sha256:%d/out")
	put(t, n, there, []byte("body"))
	awaitQuick(t, n, there)
	owner, _ := n.ring.View().Owner(string(there))
	c := n.laneTo(owner)
	missing := elsewhereKey(n, "cache/x/sha256:missing-%d/out")
	const reads = 20
	before := c.QuickStats()
	for range reads {
		if resp, _ := fetch(t, n, "GET", missing); resp.StatusCode != http.StatusNotFound {
			t.Fatal(resp.Status)
		}
		fetch(t, n, "GET", there) // so that it keeps being asked
	}
	after := c.QuickStats()
	if asked := after.Absent - before.Absent + after.Late - before.Late; asked > reads || asked == 0 {
		t.Errorf("for %d reads of what it does not have the owner was asked %d times", reads, asked)
	}
}

func TestMutableKeysAreNotReadQuickly(t *testing.T) {
	nodes := startCluster(t, 2, withoutHotCopies)
	n := nodes[0]
	key := elsewhereKey(n, "sessions/%d/head")
	if _, err := n.Store().Put(t.Context(), key, object.BytesSource([]byte("body")), object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		obj, err := n.Store().Get(t.Context(), key, object.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		obj.Body.Close()
	}
	owner, _ := n.ring.View().Owner(string(key))
	if s := n.laneTo(owner).QuickStats(); s != (peer.QuickStats{}) {
		t.Errorf("%+v", s)
	}
	// Nor does a node answer so that is asked all the same.
	c := n.laneTo(owner)
	var a peer.Answer
	for c.QuickStats().Absent == 0 {
		if c.Quick(key, &a) {
			t.Fatal("the owner answered without the origin")
		}
		runtime.Gosched()
	}
}

func TestConditionsAndRangesOfQuickReads(t *testing.T) {
	nodes := startCluster(t, 2, withoutHotCopies)
	n := nodes[0]
	key := elsewhereKey(n, "cache/x/sha256:%d/out")
	info, err := n.Store().Put(t.Context(), key, object.BytesSource([]byte("0123456789")), object.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	awaitQuick(t, n, key)
	other := object.MatchETag("another")
	for name, c := range map[string]struct {
		opt  object.GetOptions
		want string
		err  error
	}{
		"all":             {object.GetOptions{}, "0123456789", nil},
		"a part":          {object.GetOptions{Range: object.Bytes(2, 3)}, "234", nil},
		"its end":         {object.GetOptions{Range: object.Suffix(2), IfMatch: object.MatchETag(info.ETag)}, "89", nil},
		"beyond":          {object.GetOptions{Range: object.From(10)}, "", object.ErrRange},
		"another version": {object.GetOptions{IfMatch: other}, "", object.ErrPrecondition},
		"not this one":    {object.GetOptions{IfNoneMatch: object.MatchETag(info.ETag)}, "", object.ErrNotModified},
		"none of another": {object.GetOptions{IfNoneMatch: other}, "0123456789", nil},
	} {
		for {
			obj, err := n.router.quickly(t.Context(), n.ring.View(), key, c.opt)
			if obj == nil && err == nil {
				continue // the machine was too busy
			}
			if !errors.Is(err, c.err) {
				t.Errorf("%s: %v, want %v", name, err, c.err)
			}
			if err == nil {
				var got bytes.Buffer
				if _, err := io.Copy(&got, obj.Body); err != nil || got.String() != c.want || obj.Size != 10 || obj.Length != int64(len(c.want)) {
					t.Errorf("%s: %q, %v of %+v", name, got.String(), err, obj)
				}
				obj.Body.Close()
				if _, err := obj.Body.Read(make([]byte, 1)); err == nil || err == io.EOF {
					t.Errorf("%s: after Close: %v", name, err)
				}
			}
			break
		}
	}
}

func TestADrainedNodeEndsItsLanes(t *testing.T) {
	nodes := startCluster(t, 2, withoutHotCopies)
	n := nodes[0]
	key := elsewhereKey(n, "cache/x/sha256:%d/out")
	if _, err := n.Store().Put(t.Context(), key, object.BytesSource([]byte("body")), object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitQuick(t, n, key)
	if err := nodes[1].drained(); err != nil {
		t.Fatal(err)
	}
	obj, err := n.Store().Get(t.Context(), key, object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	obj.Body.Close()
}

// oneHot is a memory with one object.
type oneHot struct{ key object.Key }

func (h oneHot) GetAtOnce(key object.Key, info *object.Info) ([]byte, bool) {
	*info = object.Info{Key: h.key, Size: 4}
	return []byte("body"), key == h.key
}

// laneClient returns a client with an open lane to a node with one object.
func laneClient(t testing.TB, key object.Key) *peer.Client {
	s := peer.NewQuickServer(oneHot{key})
	t.Cleanup(s.Close)
	server := httptest.NewServer(peer.NewHandler(nil, peer.HandlerConfig{Node: "a", Cluster: "c", Quick: s}))
	t.Cleanup(server.Close)
	pool := peer.NewPool(peer.Config{Node: "self", Cluster: "c"})
	t.Cleanup(pool.Close)
	c := pool.Client(server.Listener.Addr().String())
	var a peer.Answer
	for !c.Quick(key, &a) {
		runtime.Gosched()
	}
	a.Release()
	return c
}

// Failures are in a row only if no quick read was answered between them.
func TestQuickAnswersSpeakForAPeer(t *testing.T) {
	c := laneClient(t, "k")
	one := newVital(ring.Member{ID: "a", Boot: 1})
	one.lane(func(ring.Member) *peer.Client { return c })
	v := &vitals{}
	fail := func() {
		done, err := one.breaker.Allow()
		if err != nil {
			t.Fatal(err)
		}
		(&wait{vitals: v, of: one, done: done}).report(pace.Failure)
	}
	for range 3 * failuresToOpen {
		fail()
		for before := c.QuickAnswered(); c.QuickAnswered() < before+quickCredit; {
			var a peer.Answer
			c.Quick("k", &a)
			a.Release()
		}
	}
	if s := one.breaker.State(); s != pace.Closed || !one.well.Load() {
		t.Errorf("a peer that answers is %v, well %v", s, one.well.Load())
	}
	one.turned.Store(0)
	v.log = slog.New(slog.DiscardHandler)
	for range failuresToOpen {
		fail()
	}
	if s := one.breaker.State(); s != pace.Open || one.well.Load() {
		t.Errorf("a peer that does not answer any more is %v, well %v", s, one.well.Load())
	}
}

func TestAPeerThatIsGoneAroundIsNotReadQuickly(t *testing.T) {
	p := newPlan(t, object.Immutable)
	c := laneClient(t, "k")
	p.lane = func(ring.Member) *peer.Client { return c }
	owner, _ := p.view.Owner("k")
	var a peer.Answer
	for p.quick("k", &a) != quickAnswered {
		runtime.Gosched()
	}
	a.Release()
	for range failuresToOpen {
		p.vitals.blame(owner)
	}
	p.vitals.blame(owner) // the first may have met answers that nobody had told of
	if got := p.quick("k", &a); got != quickElsewhere {
		t.Errorf("a quick read of it: %v", got)
	}
}
