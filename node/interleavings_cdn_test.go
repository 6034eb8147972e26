package node

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
)

// A liar is a CDN that has something else than the object.
type liar func(w http.ResponseWriter, key object.Key)

// TestInterleavingsBehindACDN is row 25 of the table: the CDN has cached that
// there is no such object, or wrong bytes, or those of an earlier life. All that
// it can say otherwise is in package origin, TestNoLieReachesAReader and its
// neighbours.
func TestInterleavingsBehindACDN(t *testing.T) {
	s := newSimulator(t)
	size := 4 * simBlock
	for name, lie := range map[string]liar{
		"25 the CDN has cached a 404": func(w http.ResponseWriter, _ object.Key) { w.WriteHeader(http.StatusNotFound) },
		"25 the CDN has wrong bytes":  func(w http.ResponseWriter, _ object.Key) { _, _ = w.Write([]byte(strings.Repeat("?", size))) },
		"25 the CDN has old bytes":    func(w http.ResponseWriter, _ object.Key) { _, _ = w.Write([]byte(simContent("v0", size))) },
		"25 the CDN breaks off": func(w http.ResponseWriter, _ object.Key) {
			w.Header().Set("Content-Length", "64")
			_, _ = w.Write([]byte(simContent("v1", size/2)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				asked.Add(1)
				lie(w, object.Key(strings.TrimPrefix(q.URL.Path, "/")))
			}))
			server.Config.SetKeepAlivesEnabled(false) // a connection that waits would hold simulated time up
			server.Start()
			defer server.Close()
			for _, p := range pairs() {
				t.Run(p.String(), func(t *testing.T) {
					for _, c := range []column{immutable, strict, bounded} {
						asked.Store(0)
						synctest.Test(t, func(t *testing.T) { s.behind(t, server.URL, rowRun{column: c, pair: p}) })
						if n := asked.Load(); (n > 0) != (c == immutable) {
							t.Errorf("%s: the CDN was asked %d times", c, n)
						}
					}
				})
			}
		})
	}
}

// behind plays the row with nodes that read through a CDN.
func (s *simulator) behind(t *testing.T, url string, x rowRun) {
	t.Helper()
	var cdns []*origin.CDN
	x.row = &interleaving{front: func(below object.Store) object.Store {
		cdn, err := origin.NewCDN(below, s.classes, origin.CDNConfig{BaseURL: url, AllowPrivate: true})
		if err != nil {
			t.Fatal(err)
		}
		cdns = append(cdns, cdn)
		return cdn
	}}
	x.play = func(r *rowRig) {
		r.given("v1")
		for range 2 {
			r.wantAll(now("v1"))
		}
		if x.column == immutable {
			r.finally("v1")
			return
		}
		r.write(r.entry, "v2")
		r.wantOwn("v2", lately("v1", r.acked))
		r.remove(r.entry)
		r.wantOwn("absent", lately("v2", r.acked), lately("v1", r.acked))
		r.finally("absent")
	}
	for _, fault := range s.runRow(x) {
		t.Errorf("%s: %s", x.column, fault)
	}
	for _, cdn := range cdns {
		if err := cdn.Close(); err != nil {
			t.Error(err)
		}
	}
}
