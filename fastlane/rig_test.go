package fastlane_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"io"
	"iter"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/micelio/micelio/fastlane"
	"github.com/micelio/micelio/gateway"
	"github.com/micelio/micelio/object"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const bucket = "micelio"

// A shelf is a Store of objects in memory, which the lane finds too. It counts who
// asks.
type shelf struct {
	objects map[object.Key]*held

	mu     sync.Mutex
	some   sync.Cond
	lane   int // answers that the lane gave
	served int // reads that came through the handler
}

type held struct {
	info  object.Info
	bytes []byte
}

// newShelf returns a shelf with an object for each of what answers depend on.
func newShelf() *shelf {
	s := &shelf{objects: make(map[object.Key]*held)}
	s.some.L = &s.mu
	modified := time.Date(2026, 3, 7, 1, 2, 3, 4, time.UTC)
	s.add("small", bytes.Repeat([]byte("0123456789"), 10), object.Info{Modified: modified, Age: 7 * time.Second})
	s.add("artifacts/sha256:ab", []byte("abc"), object.Info{Modified: modified})
	s.add("empty", nil, object.Info{})
	s.add("large", bytes.Repeat([]byte("large"), 40_000), object.Info{Modified: modified})
	s.add("described", []byte("described"), object.Info{
		Modified: modified, Node: "another", Tier: object.TierPeer, Attrs: object.Attrs{
			ContentType: "text/plain; charset=utf-8", ContentEncoding: "gzip", ContentLanguage: "de", ContentDisposition: `attachment; filename="a"`,
			CacheControl: "max-age=60", User: map[string]string{"mtime": "1.5", "b": "two words"},
		}})
	s.add("odd", []byte("odd"), object.Info{Attrs: object.Attrs{ContentType: "text/\xe9", User: map[string]string{"a b": "c\td"}}})
	return s
}

func (s *shelf) add(key object.Key, b []byte, info object.Info) {
	sum := md5.Sum(b)
	info.Key, info.Size, info.ETag = key, int64(len(b)), object.ETag(hex.EncodeToString(sum[:]))
	if info.Tier == "" {
		info.Tier = object.TierRAM
	}
	s.objects[key] = &held{info, b}
}

func (s *shelf) lookUp(key object.Key, a *fastlane.Answer) bool {
	h := s.objects[key]
	if h == nil {
		return false
	}
	a.Info, a.Bytes = h.info, h.bytes
	return true
}

func (s *shelf) observe(fastlane.Observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lane++
	s.some.Signal()
}

// await waits for that many reads, or more, to be counted: the lane counts an answer
// when it has been sent.
func (s *shelf) await(reads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.lane+s.served < reads {
		s.some.Wait()
	}
}

// counts returns how many reads each lane has answered since it was last asked.
func (s *shelf) counts() (lane, served int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lane, served = s.lane, s.served
	s.lane, s.served = 0, 0
	return lane, served
}

func (s *shelf) find(key object.Key) (*held, error) {
	s.mu.Lock()
	s.served++
	s.some.Signal()
	s.mu.Unlock()
	if h := s.objects[key]; h != nil {
		return h, nil
	}
	return nil, object.ErrNotFound
}

func (s *shelf) Get(_ context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	h, err := s.find(key)
	if err != nil {
		return nil, err
	}
	if err := object.CheckRead(h.info, opt.IfMatch, opt.IfNoneMatch); err != nil {
		return nil, err
	}
	offset, length, err := opt.Range.Resolve(h.info.Size)
	if err != nil {
		return nil, err
	}
	body := io.NopCloser(bytes.NewReader(h.bytes[offset : offset+length]))
	return &object.Object{Info: h.info, Offset: offset, Length: length, Body: body}, nil
}

func (s *shelf) Head(_ context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	h, err := s.find(key)
	if err != nil {
		return object.Info{}, err
	}
	return h.info, object.CheckRead(h.info, opt.IfMatch, opt.IfNoneMatch)
}

// Put reads the bytes, and keeps nothing.
func (s *shelf) Put(_ context.Context, key object.Key, src object.Source, _ object.PutOptions) (object.Info, error) {
	r, err := src.Open()
	if err != nil {
		return object.Info{}, err
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	return object.Info{Key: key, Size: n, ETag: "put"}, err
}

func (s *shelf) Delete(context.Context, object.Key, object.DeleteOptions) error { return nil }

func (s *shelf) List(context.Context, object.ListOptions) iter.Seq2[object.Entry, error] {
	return func(func(object.Entry, error) bool) {}
}

// A server is one of the dialect over a shelf, with the lane in front or without.
type server struct {
	*http.Server
	addr    string
	methods atomic.Pointer[[]string] // of the requests that the handler got
}

// serve starts a server on a socket, for as long as the test runs.
func serve(t testing.TB, s *shelf, withLane bool) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer(s)
	srv.addr = l.Addr().String()
	if withLane {
		l = srv.withLane(l, s.lookUp, s.observe)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() {
		srv.Close()
		running.Wait()
	})
	return srv
}

// The timeouts of the servers under test.
const (
	idleTimeout   = time.Minute
	headerTimeout = 5 * time.Second
)

func newServer(s *shelf) *server {
	srv := &server{Server: &http.Server{
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: 16 << 10, DisableGeneralOptionsHandler: true,
	}}
	dialect := gateway.New(gateway.Config{Store: s, Bucket: bucket, Node: "this"})
	srv.methods.Store(new([]string))
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before := srv.methods.Load()
		after := append((*before)[:len(*before):len(*before)], r.Method)
		srv.methods.CompareAndSwap(before, &after)
		dialect.ServeHTTP(w, r)
	})
	return srv
}

func (srv *server) withLane(l net.Listener, lookup func(object.Key, *fastlane.Answer) bool, observe func(fastlane.Observation)) *fastlane.Listener {
	lane := fastlane.NewListener(l, fastlane.Config{
		Bucket: bucket, Node: "this", Lookup: lookup, Observe: observe, IdleTimeout: idleTimeout, HeaderTimeout: headerTimeout, StallTimeout: gateway.StallTimeout,
	})
	srv.ConnState = fastlane.ConnState
	srv.RegisterOnShutdown(lane.CloseIdle)
	return lane
}
