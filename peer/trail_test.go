package peer

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/micelio/micelio/internal/trail"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

// trails is a Store that notes for which request it was asked.
type trails struct {
	objecttest.Memory
	seen chan trail.Trail
}

func (s *trails) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	t, _ := trail.From(ctx)
	s.seen <- t
	return s.Memory.Get(ctx, key, opt)
}

func TestThePeerAnswersInTheTraceOfWhoeverAsks(t *testing.T) {
	store := &trails{seen: make(chan trail.Trail, 1)}
	observed := make(chan Observation, 1)
	put(t, &store.Memory, "key", "body")
	h := NewHandler(store, HandlerConfig{
		Node: "owner", Cluster: testConfig.Cluster, Secrets: [][]byte{ourSecret},
		Observe: func(o Observation) { observed <- o },
	})
	c := poolOf(t, secretly(ourSecret)).Client(serve(t, h))
	sent := trail.Continue("00A1", []string{"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, []string{"a=1, b=x y"})
	for key, want := range map[object.Key]struct {
		status int
		bytes  int64
	}{"key": {http.StatusOK, 4}, "missing": {http.StatusNotFound, 0}} {
		obj, err := c.Get(trail.With(t.Context(), sent), key, object.GetOptions{})
		if err == nil {
			obj.Body.Close()
		} else {
			wantErr(t, "get", err, object.ErrNotFound)
		}
		if got := <-store.seen; got != sent {
			t.Errorf("%q: asked with %+v, want %+v", key, got, sent)
		}
		o := <-observed
		if o.Op != "get" || o.Key != key || o.Status != want.status || o.BytesOut != want.bytes || o.Trail != sent || o.From != testConfig.Node ||
			o.Aborted || (o.Err == nil) != (want.status == http.StatusOK) {
			t.Errorf("%q was observed as %+v", key, o)
		}
	}
	if _, err := c.Head(t.Context(), "key", object.HeadOptions{}); err != nil {
		t.Fatal(err)
	}
	if o := <-observed; !o.Trail.IsZero() || o.Op != "head" {
		t.Errorf("a request without a trail was observed as %+v", o)
	}
}

// What a stranger on the way writes into the trail, the proof does not fit.
func TestATrailIsProven(t *testing.T) {
	for _, name := range []string{headerRequest, headerParent, headerState} {
		h, request := recordedDelete(t, new(objecttest.Memory))
		request.Header.Set(name, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request)
		if w.Code != http.StatusUnauthorized || h.counted("unproven") != 1 {
			t.Errorf("%s: status %d, refused %v", name, w.Code, h.refused)
		}
	}
}

func TestAMalformedTrailIsPassedOver(t *testing.T) {
	store := &trails{seen: make(chan trail.Trail, 1)}
	put(t, &store.Memory, "key", "body")
	h := handlerOf(store)
	for _, header := range []http.Header{
		{headerParent: {"junk"}, headerRequest: {"00A1"}},
		{headerRequest: {"00A1"}},
		{headerParent: {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, headerRequest: {"a b"}},
	} {
		r := httptest.NewRequest(http.MethodGet, "/o/key", nil)
		r.Header = header
		r.Header[headerHop], r.Header[headerCluster], r.Header[headerFrom] = []string{"1"}, []string{"the%20cluster"}, []string{"other"}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Errorf("%v: status %d", header, w.Code)
		}
		if got := <-store.seen; got.Request == "a b" {
			t.Errorf("%v: request %q", header, got.Request)
		}
	}
}

// A body that breaks because of the peer's own Store is told apart from one that
// nobody wants any more.
func TestABrokenBodyIsObservedAsOne(t *testing.T) {
	observed := make(chan Observation, 1)
	broken := errors.New("the disk is gone")
	h := NewHandler(breaking{err: broken}, HandlerConfig{Node: "owner", Cluster: testConfig.Cluster, Observe: func(o Observation) { observed <- o }})
	obj, err := poolOf(t, testConfig).Client(serve(t, h)).Get(t.Context(), "key", object.GetOptions{})
	if err == nil { // or it broke before its header was sent
		defer obj.Body.Close()
	}
	if o := <-observed; !o.Aborted || !errors.Is(o.Err, broken) {
		t.Errorf("observed %+v", o)
	}
}

// A page that ends in an error is as good as a broken one, and what is not modified is
// no failure.
func TestAPageThatFailsIsObservedAsBroken(t *testing.T) {
	observed := make(chan Observation, 1)
	broken := errors.New("the disk is gone")
	var memory objecttest.Memory
	put(t, &memory, "key", "body")
	c := poolOf(t, testConfig).Client(serve(t, NewHandler(failingPages{&memory, broken},
		HandlerConfig{Node: "owner", Cluster: testConfig.Cluster, Observe: func(o Observation) { observed <- o }})))
	for range c.List(t.Context(), object.ListOptions{}) {
	}
	if o := <-observed; o.Op != "list" || o.Status != http.StatusOK || !o.Aborted || o.Left || !errors.Is(o.Err, broken) {
		t.Errorf("a page was observed as %+v", o)
	}
	info, err := c.Head(t.Context(), "key", object.HeadOptions{})
	<-observed
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Get(t.Context(), "key", object.GetOptions{IfNoneMatch: object.MatchETag(info.ETag)})
	wantErr(t, "get", err, object.ErrNotModified)
	if o := <-observed; o.Status != http.StatusNotModified || o.Err != nil || o.Aborted {
		t.Errorf("what is not modified was observed as %+v", o)
	}
}

// failingPages is a Store whose listings fail behind the first object.
type failingPages struct {
	*objecttest.Memory
	err error
}

func (s failingPages) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return func(yield func(object.Entry, error) bool) {
		for e, err := range s.Memory.List(ctx, opt) {
			if !yield(e, err) {
				return
			}
		}
		yield(object.Entry{}, s.err)
	}
}

// Whoever leaves before the answer has not seen it fail, whatever the Store says then.
func TestWhoLeftIsObservedAsSuch(t *testing.T) {
	observed := make(chan Observation, 1)
	store := patient{asked: make(chan struct{})}
	c := poolOf(t, testConfig).Client(serve(t, NewHandler(store,
		HandlerConfig{Node: "owner", Cluster: testConfig.Cluster, Observe: func(o Observation) { observed <- o }})))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-store.asked
		cancel()
	}()
	_, err := c.Get(ctx, "key", object.GetOptions{})
	wantErr(t, "get", err, context.Canceled)
	if o := <-observed; !o.Left || o.Aborted || !errors.Is(o.Err, context.Canceled) {
		t.Errorf("observed %+v", o)
	}
}

// patient is a Store that answers when it is not asked any more.
type patient struct {
	object.Store
	asked chan struct{}
}

func (s patient) Get(ctx context.Context, _ object.Key, _ object.GetOptions) (*object.Object, error) {
	close(s.asked)
	<-ctx.Done()
	return nil, ctx.Err()
}

// breaking is a Store whose bodies break.
type breaking struct {
	object.Store
	err error
}

func (s breaking) Get(_ context.Context, key object.Key, _ object.GetOptions) (*object.Object, error) {
	return &object.Object{Info: object.Info{Key: key, Size: 1 << 20}, Length: 1 << 20, Body: brokenBody{s.err}}, nil
}

type brokenBody struct{ err error }

func (b brokenBody) Read([]byte) (int, error) { return 0, b.err }
func (b brokenBody) Close() error             { return nil }
