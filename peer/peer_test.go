package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	objecttest.Test(t, func(t *testing.T) object.Store { return clientOf(t, new(objecttest.Memory)) })
}

// testConfig is that of the clients in these tests.
var testConfig = Config{Node: "tester", Cluster: "the cluster"}

// poolOf returns a Pool that ends with the test.
func poolOf(t testing.TB, cfg Config) *Pool {
	p := NewPool(cfg)
	t.Cleanup(p.Close)
	return p
}

// serve starts a server that ends with the test and returns its address.
func serve(t testing.TB, h http.Handler) string {
	return serveWith(t, h).Listener.Addr().String()
}

func serveWith(t testing.TB, h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.MaxHeaderBytes = MaxHeaderBytes
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func handlerOf(store object.Store) http.Handler {
	return NewHandler(store, HandlerConfig{Node: "owner", Cluster: testConfig.Cluster})
}

// clientOf serves store on a real socket and returns a client of it.
func clientOf(t testing.TB, store object.Store) *Client {
	addr := serve(t, handlerOf(store))
	return poolOf(t, testConfig).Client(addr)
}

// deadAddr returns the address of a port that nobody listens on.
func deadAddr(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// raw listens on a real socket and hands every connection to conn.
func raw(t testing.TB, conn func(c net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conn(c)
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Addr().String()
}

// wantErr holds err to match all of want and, of the errors that a caller acts
// on, no others.
func wantErr(t testing.TB, what string, err error, want ...error) {
	t.Helper()
	wanted := map[error]bool{}
	for _, w := range want {
		wanted[w] = true
		if !errors.Is(err, w) {
			t.Errorf("%s: error %v, want %v", what, err, w)
		}
	}
	if wanted[object.ErrUnavailable] && errors.Is(err, ErrUnreachable) != unreachable(err) {
		t.Errorf("%s: error %v: ErrUnreachable is wrong", what, err)
	}
	acted := []error{
		ErrNotSent, context.Canceled, context.DeadlineExceeded, io.EOF, object.ErrNotFound, object.ErrPrecondition,
		object.ErrNotModified, object.ErrRange, object.ErrTooLarge, object.ErrInvalidKey, object.ErrDigest,
		object.ErrConflict, object.ErrUnavailable, object.ErrUnknownOutcome,
	}
	for _, e := range acted {
		if !wanted[e] && errors.Is(err, e) {
			t.Errorf("%s: error %v matches %v too", what, err, e)
		}
	}
}

// unreachable reports whether err says that no handler of the peer's answered.
func unreachable(err error) bool {
	var r *refusal
	return !errors.As(err, &r)
}

// oneShot is a source that can be opened once, and knows whether it was.
type oneShot struct {
	size   int64
	r      io.Reader
	opened bool
}

func (s *oneShot) Size() int64 { return s.size }
func (s *oneShot) Open() (io.ReadCloser, error) {
	if s.opened {
		return nil, object.ErrReplay
	}
	s.opened = true
	return io.NopCloser(s.r), nil
}

func put(t testing.TB, s object.Store, key object.Key, body string) object.Info {
	t.Helper()
	info, err := s.Put(t.Context(), key, object.BytesSource([]byte(body)), object.PutOptions{})
	if err != nil {
		t.Fatalf("Put %q: %v", key, err)
	}
	return info
}
