package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// evil moves the cursor, changes the title of the window, begins another line and
// turns around what follows, in UTF-8 and in eight bits.
const evil = "a\x1b[2J\x1b]0;x\a\nb\u009b1m\u202ec\U000e0041"

func TestNobodyWorksUponTheTerminal(t *testing.T) {
	quoted, err := json.Marshal(evil)
	if err != nil {
		t.Fatal(err)
	}
	page := strings.NewReplacer("EVIL", string(quoted))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ring":
			page.WriteString(w, `{"epoch":EVIL,"cluster":EVIL,"self":EVIL,"members":[
				{"id":EVIL,"state":EVIL,"data":EVIL,"peer":EVIL,"admin":EVIL},{"id":"b","state":"serving","admin":EVIL},{"id":"c","state":"x","admin":"127.0.0.1:1","epoch":EVIL}]}`)
		case "/where/s\u202e":
			page.WriteString(w, `{"key":"s\u202e","class":EVIL,"staleness":EVIL,"epoch":EVIL,"owner":EVIL,"candidates":[EVIL,"b"],"asked":[EVIL],"self":EVIL,
				"held":[EVIL],"copies":[{"node":"b","tiers":[],"error":EVIL},{"node":"c","tiers":[EVIL]}]}`)
		default:
			http.Error(w, evil, http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	admin := "--admin-listen=" + server.Listener.Addr().String()
	for _, args := range [][]string{{"ring"}, {"ring", "--json"}, {"where", "s\u202e"}, {"where", "--check", "s\u202e"}, {"where", "--check", "--json", "s\u202e"},
		{"where", "other"}, {"health"}, {"health", "--live"}, {"top", "--once"}} {
		code, stdout, stderr := runWith(t, nil, append(args, admin)...)
		for _, r := range strings.ReplaceAll(stdout+stderr, "\n", "") {
			if !isHarmless(r) {
				t.Errorf("%q: %q in\n%q\n%q", args, r, stdout, stderr)
				break
			}
		}
		if strings.Contains(stdout+stderr, "\nb") && args[0] != "ring" && args[0] != "where" || stdout+stderr == "" {
			t.Errorf("%q: exit code %d\n%s%s", args, code, stdout, stderr)
		}
	}
	// What programs read is what was said.
	_, stdout, _ := runWith(t, nil, "where", "--json", "s\u202e", admin)
	var got whereReport
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || got.Key != "s\u202e" || got.Owner != evil {
		t.Errorf("%v: %+v", err, got)
	}
}

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
