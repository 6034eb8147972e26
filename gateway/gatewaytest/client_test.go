package gatewaytest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/micelio/micelio/gateway/gatewaytest"
	"github.com/micelio/micelio/object"
)

// calls are the ways to ask a Store for one object.
var calls = map[string]func(ctx context.Context, s object.Store) error{
	"Get": func(ctx context.Context, s object.Store) error {
		_, err := s.Get(ctx, "k", object.GetOptions{})
		return err
	},
	"Head": func(ctx context.Context, s object.Store) error {
		_, err := s.Head(ctx, "k", object.HeadOptions{})
		return err
	},
	"Put": func(ctx context.Context, s object.Store) error {
		_, err := s.Put(ctx, "k", object.BytesSource([]byte("abc")), object.PutOptions{})
		return err
	},
	"Delete": func(ctx context.Context, s object.Store) error { return s.Delete(ctx, "k", object.DeleteOptions{}) },
}

func TestANodeThatIsNotThereIsUnavailable(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close()
	for name, call := range calls {
		err := call(t.Context(), &gatewaytest.Client{Base: s.URL + "/micelio"})
		if !errors.Is(err, object.ErrUnavailable) || errors.Is(err, object.ErrUnknownOutcome) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAWriteWithoutAnAnswerHasAnUnknownOutcome(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		for name, call := range calls {
			ctx, cancel := context.WithCancel(t.Context())
			s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // the node has it all, and says nothing
				if cancelled {
					cancel()
					<-r.Context().Done()
				}
				panic(http.ErrAbortHandler)
			}))
			err := call(ctx, &gatewaytest.Client{Base: s.URL + "/micelio"})
			s.Close()
			cancel()
			write := name == "Put" || name == "Delete"
			if err == nil || errors.Is(err, object.ErrUnknownOutcome) != write || errors.Is(err, context.Canceled) != cancelled ||
				errors.Is(err, object.ErrUnavailable) != (!write && !cancelled) {
				t.Errorf("%s, cancelled %t: %v", name, cancelled, err)
			}
		}
	}
}

// An endlessSource yields zeros until it is closed.
type endlessSource struct{ closed bool }

func (s *endlessSource) Size() int64                  { return -1 }
func (s *endlessSource) Open() (io.ReadCloser, error) { return s, nil }

func (s *endlessSource) Read(p []byte) (int, error) {
	if s.closed {
		return 0, errors.New("read behind its end")
	}
	return len(p), nil
}

func (s *endlessSource) Close() error {
	s.closed = true
	return nil
}

// The source has no lock: the race detector sees a read that outlives its Put.
func TestARefusedPutLeavesItsSource(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusPreconditionFailed)
	}))
	defer s.Close()
	src := &endlessSource{}
	_, err := (&gatewaytest.Client{Base: s.URL + "/micelio"}).Put(t.Context(), "k", src, object.PutOptions{})
	if !errors.Is(err, object.ErrPrecondition) || !src.closed {
		t.Errorf("%v, source closed: %t", err, src.closed)
	}
}
