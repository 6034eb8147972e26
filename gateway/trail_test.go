package gateway

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/micelio/micelio/internal/trail"
	"github.com/micelio/micelio/object"
)

// A trailed Store says which trails it was asked with, and fails.
type trailed struct {
	object.Store
	seen chan trail.Trail
}

func (s trailed) Get(ctx context.Context, key object.Key, _ object.GetOptions) (*object.Object, error) {
	t, _ := trail.From(ctx)
	s.seen <- t
	return nil, fmt.Errorf("get %q: %w", key, object.ErrUnavailable)
}

func TestTheStoreIsAskedInTheTraceOfTheClient(t *testing.T) {
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	seen, observed := make(chan trail.Trail, 1), make(chan Observation, 1)
	url := serve(t, Config{Store: trailed{newMemStore(), seen}, Observe: func(o Observation) { observed <- o }}).URL
	for _, c := range []struct {
		header                 http.Header
		trace, state, clientID string
	}{
		{http.Header{"Traceparent": {"00-" + trace + "-" + parent + "-01"}, "Tracestate": {"a=1", "b=2"}, "X-Request-Id": {"build-7"}}, trace, "a=1,b=2", "build-7"},
		{http.Header{"Traceparent": {"00-" + trace + "-" + parent + "-zz"}, "Tracestate": {"a=1"}, "X-Request-Id": {"build 7"}}, "", "", ""},
		{http.Header{"Micelio-Request": {"FORGED"}, "Micelio-Traceparent": {"00-" + trace + "-" + parent + "-01"}}, "", "", ""},
	} {
		resp, _ := send(t, "GET", url+"/micelio/k", c.header, nil)
		got, o := <-seen, <-observed
		if id := resp.Header.Get("X-Amz-Request-Id"); got.Request != id || o.ID != id || got.Trace() != o.Trace {
			t.Errorf("%v: the answer is that to %s, the store was asked for %s in %s, %+v was observed", c.header, id, got.Request, got.Trace(), o)
		}
		if (got.Trace() == trace) != (c.trace == trace) || got.State() != c.state || o.ClientID != c.clientID {
			t.Errorf("%v: trace %s, state %q, client's id %q", c.header, got.Trace(), got.State(), o.ClientID)
		}
		if o.Status != http.StatusServiceUnavailable || o.Err == nil || o.Key != "k" {
			t.Errorf("a failure was observed as %+v", o)
		}
	}
}
