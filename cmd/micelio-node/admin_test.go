package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// to leads a questioner to an address, whatever name it asks for.
func to(address string) *questioner {
	q := newQuestioner()
	q.transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return q
}

// Browsers are refused by such a name.
func TestANodeIsAskedByAnyNameThatLeadsToIt(t *testing.T) {
	const name = "node1.example.com:8082"
	q := to(startNodes(t, 1)[0].AdminAddr())
	var seen ringAnswer
	if err := q.ask(t.Context(), name, ringPath, "", &seen); err != nil || seen.Self != "node-1" {
		t.Errorf("%v: %+v", err, seen)
	}
	if said, err := q.health(t.Context(), "http://"+name+"/readyz?verbose"); err != nil || said != "ready" {
		t.Errorf("%q, %v", said, err)
	}
	asked := ""
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked += r.Host + " "
		fmt.Fprint(w, `{"self":"x"}`)
	}))
	defer proxy.Close()
	if err := to(proxy.Listener.Addr().String()).ask(t.Context(), name, ringPath, "", &seen); err != nil || asked != name+" " {
		t.Errorf("%v: asked for %s", err, asked)
	}
}
