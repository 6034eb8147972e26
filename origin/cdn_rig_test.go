package origin_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/origin"
)

// Sizes on both sides of what a CDN's answer is proven before it is handed out.
const (
	cdnSmall = 10_000
	cdnLarge = origin.CDNWhole + 300_000
)

// A behaviour is what an edge does with a request instead of passing it on.
type behaviour func(w http.ResponseWriter, r *http.Request, honest http.Handler)

// An edge is a CDN in front of a Store. It is honest until it is told otherwise.
type edge struct {
	store object.Store
	url   string
	close func()
	acts  atomic.Pointer[behaviour]
	asked atomic.Int32

	mu   sync.Mutex // guards the following
	last *http.Request
}

func newEdge(t testing.TB, store object.Store) *edge {
	t.Helper()
	e := &edge{store: store}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	e.url, e.close = server.URL, server.Close
	return e
}

func (e *edge) act(b behaviour) { e.acts.Store(&b) }

func (e *edge) lastRequest() *http.Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.asked.Add(1)
	e.mu.Lock()
	e.last = r
	e.mu.Unlock()
	if b := e.acts.Load(); b != nil {
		(*b)(w, r, http.HandlerFunc(e.honest))
		return
	}
	e.honest(w, r)
}

// honest answers what the Store has, as S3 does.
func (e *edge) honest(w http.ResponseWriter, r *http.Request) {
	path, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	obj, err := e.store.Get(r.Context(), object.Key(path), object.GetOptions{})
	if err != nil {
		status := http.StatusBadGateway
		if errors.Is(err, object.ErrNotFound) {
			status = http.StatusNotFound
		}
		http.Error(w, err.Error(), status)
		return
	}
	defer obj.Body.Close()
	h := w.Header()
	h.Set("ETag", obj.ETag.Quoted())
	h.Set("Content-Length", strconv.FormatInt(obj.Length, 10))
	h.Set("Content-Type", obj.ContentType)
	h.Set("Last-Modified", obj.Modified.UTC().Format(http.TimeFormat))
	if obj.ContentEncoding != "" {
		h.Set("Content-Encoding", obj.ContentEncoding)
	}
	for name, value := range obj.User {
		h.Set("X-Amz-Meta-"+name, value)
	}
	io.Copy(w, obj.Body)
}

// A spy counts what reaches the authority, and can take it away.
type spy struct {
	object.Store
	gets, heads atomic.Int32
	down        atomic.Bool
	described   atomic.Pointer[func(*object.Info)] // changes what Head says
	lastGet     atomic.Pointer[object.GetOptions]
}

func (s *spy) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	s.gets.Add(1)
	s.lastGet.Store(&opt)
	if s.down.Load() {
		return nil, object.ErrUnavailable
	}
	return s.Store.Get(ctx, key, opt)
}

func (s *spy) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	s.heads.Add(1)
	if s.down.Load() {
		return object.Info{}, object.ErrUnavailable
	}
	info, err := s.Store.Head(ctx, key, opt)
	if change := s.described.Load(); change != nil && err == nil {
		(*change)(&info)
	}
	return info, err
}

func (s *spy) describe(change func(*object.Info)) { s.described.Store(&change) }

// A cdnRig is a CDN in front of an authority in memory.
type cdnRig struct {
	*origin.CDN
	t    testing.TB
	edge *edge
	spy  *spy
}

func newCDNRig(t testing.TB, change ...func(*origin.CDNConfig)) *cdnRig {
	t.Helper()
	s := &spy{Store: &objecttest.Memory{}}
	e := newEdge(t, s.Store)
	return &cdnRig{CDN: openCDN(t, s, e.url, change...), t: t, edge: e, spy: s}
}

func openCDN(t testing.TB, upstream object.Store, url string, change ...func(*origin.CDNConfig)) *origin.CDN {
	t.Helper()
	cfg := origin.CDNConfig{BaseURL: url, AllowPrivate: true, Log: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&cfg)
	}
	c, err := origin.NewCDN(upstream, defaultClasses(t), cfg)
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}

// verified puts n bytes under the key that is their digest.
func (r *cdnRig) verified(seed uint64, n int) (object.Key, []byte) {
	r.t.Helper()
	body := cdnBytes(seed, n)
	key := object.Key("artifacts/sha256:" + object.Digest(sha256.Sum256(body)).String())
	r.put(key, body)
	return key, body
}

// immutable puts n bytes under a key that is no digest of them.
func (r *cdnRig) immutable(seed uint64, n int) (object.Key, []byte) {
	r.t.Helper()
	key, body := object.Key("derivations/sha256:"+strconv.FormatUint(seed, 10)), cdnBytes(seed, n)
	r.put(key, body)
	return key, body
}

func (r *cdnRig) put(key object.Key, body []byte) {
	r.t.Helper()
	_, err := r.spy.Store.Put(r.t.Context(), key, object.BytesSource(body), object.PutOptions{Attrs: object.Attrs{
		ContentType: "application/x-true", User: map[string]string{"owner": "us"},
	}})
	must(r.t, err)
}

// wantRead reads the whole object and returns what came with it.
func (r *cdnRig) wantRead(key object.Key, want []byte, tier object.Tier) object.Info {
	r.t.Helper()
	got, info, err := readCDN(r.t.Context(), r.CDN, key)
	if err != nil || !bytes.Equal(got, want) {
		r.t.Fatalf("%q: %d bytes, %v; want %d", key, len(got), err, len(want))
	}
	if info.Tier != tier {
		r.t.Fatalf("%q came from tier %q, want %q; %+v", key, info.Tier, tier, r.Stats())
	}
	return info
}

// readCDN reads an object to its end.
func readCDN(ctx context.Context, s object.Store, key object.Key) ([]byte, object.Info, error) {
	obj, err := s.Get(ctx, key, object.GetOptions{})
	if err != nil {
		return nil, object.Info{}, err
	}
	defer obj.Body.Close()
	body, err := io.ReadAll(obj.Body)
	if err == nil && int64(len(body)) != obj.Length {
		err = errors.New("a clean end, but not the announced length")
	}
	return body, obj.Info, err
}

// wantMisses holds the counters of misses to exactly these.
func (r *cdnRig) wantMisses(reason origin.CDNMiss, n int64) {
	r.t.Helper()
	if got := r.Stats().Misses; got[reason] != n {
		r.t.Errorf("misses %v, want %d %s", got, n, reason)
	}
}

// cdnBytes returns n bytes that no compression or accident can fake.
func cdnBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 7}).Read(b)
	return b
}

// discardLog is for servers that are meant to be treated badly.
func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

func md5Hex(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}
