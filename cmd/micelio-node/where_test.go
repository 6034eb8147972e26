package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/micelio/micelio/node"
)

// counters returns what a node has counted about its tiers and its origin.
func counters(t *testing.T, n *node.Node) (lines []string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+n.AdminAddr()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "micelio_tier_bytes") {
			continue // the SSD tier sets room aside when nobody asks, too
		}
		if strings.HasPrefix(line, "micelio_tier_") || strings.HasPrefix(line, "micelio_origin_requests_total") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		t.Fatalf("%s counts nothing", n.ID())
	}
	return lines
}

func TestWhereShowsTheRouteAndTheCopiesOfAKey(t *testing.T) {
	nodes := startNodes(t, 3)
	for _, n := range nodes[:2] {
		for i := range 6 {
			key := fmt.Sprintf("cache/b/sha256:x/file (%d)%%2F", i)
			request(t, http.MethodPut, nodes[2], strings.NewReplacer("%", "%25", " ", "%20").Replace(key), "x")
			code, stdout, stderr := runWith(t, nil, "where", "--check", "--json", "--admin-listen", n.AdminAddr(), key)
			var r whereReport
			if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != exitOK || stderr != "" {
				t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
			}
			asked := slices.Clone(r.Candidates) // up to the node itself, which is the last resort too
			if i := slices.Index(asked, n.ID()); i >= 0 {
				asked = asked[:i]
			}
			asked = append(asked, n.ID())
			if r.Key != key || r.Class != "immutable" || r.Self != n.ID() || len(r.Candidates) != 2 || r.Owner != r.Candidates[0] ||
				r.Partition == nil || !slices.Equal(r.Asked, asked) || len(r.Holders) != 3 {
				t.Errorf("%s: got %+v", key, r)
			}
			for _, h := range r.Holders {
				if want := h.ID == r.Owner; slices.Contains(h.Held, "ram") != want || h.Owner != r.Owner || h.State != "serving" || h.Error != "" {
					t.Errorf("%s, owned by %s: got %+v", key, r.Owner, h)
				}
			}
			wantSaid(t, n, key, &r)
		}
	}
}

// wantSaid holds what people read to what programs do.
func wantSaid(t *testing.T, n *node.Node, key string, r *whereReport) {
	t.Helper()
	code, stdout, stderr := runWith(t, nil, "where", key, "--check", "--admin-listen", n.AdminAddr())
	wants := []string{
		"key         " + key + "\n", "\nclass       immutable\n", "\nowner       " + r.Owner + "\n", "\nepoch       " + r.Epoch + "\n",
		fmt.Sprintf("\npartition   %d\n", *r.Partition), "\nsuccessors  " + r.Candidates[1] + "\n",
		"\nasked       " + strings.Join(r.Asked, ", else ") + " itself\n", "\n" + r.Owner + "  serving  ram, ssd  " + r.Owner + "\n",
	}
	for _, want := range wants {
		if code != exitOK || stderr != "" || !strings.Contains(stdout, want) {
			t.Errorf("exit code %d, %s: no %q in\n%s", code, stderr, want, stdout)
		}
	}
}

func TestToAskWhereIsNoUse(t *testing.T) {
	nodes := startNodes(t, 2)
	request(t, http.MethodPut, nodes[0], "sessions/1/state", "x")
	before := [][]string{counters(t, nodes[0]), counters(t, nodes[1])}
	for _, key := range []string{"sessions/1/state", "cache/b/sha256:x/nothing", "nothing"} {
		if code, stdout, stderr := runWith(t, nil, "where", "--check", key, "--admin-listen", nodes[0].AdminAddr()); code != exitOK {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
	}
	for i, n := range nodes {
		if after := counters(t, n); !slices.Equal(after, before[i]) {
			t.Errorf("%s counted\n%s before, and then\n%s", n.ID(), before[i], after)
		}
	}
}

func TestWhereSaysWhoIsPassedOverAndWhoDoesNotSay(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/where/sessions/1":
			fmt.Fprint(w, `{"key":"sessions/1","class":"mutable","staleness":"1s","epoch":"11","partition":7,"owner":"b",
				"candidates":["b","a"],"asked":["a"],"self":"a","held":["ssd"]}`)
		case "/where/other":
			fmt.Fprint(w, `{"key":"sessions/1","self":"a"}`)
		case "/ring":
			fmt.Fprintf(w, `{"self":"a","members":[{"id":"a","state":"serving"},{"id":"b","state":"serving","admin":%q}]}`, dead.Listener.Addr())
		}
	}))
	defer server.Close()
	a := server.Listener.Addr().String()
	for _, tt := range []struct {
		args  []string
		code  int
		wants []string
	}{
		{[]string{"sessions/1"}, exitOK, []string{"\nclass       mutable, up to 1s old\n", "\nasked       a itself; not b, which did not answer lately\n", "\na has       ssd\n"}},
		{[]string{"sessions/1", "--check"}, exitFailure, []string{"\na     serving  ssd  b\n", "\nb     serving  ?    -\n", "\n  b: no answer: dial tcp "}},
		{[]string{"other"}, exitFailure, []string{"micelio-node: the node at " + a + ": what answers is no node"}},
		{[]string{"a//b"}, exitUsage, []string{`"a//b": invalid key: the key has an empty segment`}},
		{[]string{"a", "b"}, exitUsage, []string{`unexpected argument "b"`}},
		{nil, exitUsage, []string{"no key: name the object, micelio-node where KEY"}},
		{[]string{"a", "--admin-listen=127.0.0.1:0"}, exitUsage, []string{"chose a free port"}},
		{[]string{"a", "--admin-listen=" + dead.Listener.Addr().String()}, exitFailure, []string{"no answer: dial tcp"}},
	} {
		code, stdout, stderr := runWith(t, []string{"MICELIO_ADMIN_LISTEN=" + a}, append([]string{"where"}, tt.args...)...)
		if code != tt.code || (stdout == "") != (stderr != "") {
			t.Errorf("%q: exit code %d\n%s%s", tt.args, code, stdout, stderr)
		}
		for _, want := range tt.wants {
			if !strings.Contains(stdout+stderr, want) {
				t.Errorf("%q: no %q in\n%s%s", tt.args, want, stdout, stderr)
			}
		}
	}
}

// Admin listeners are for their own machine by default. What a member told the node
// that was asked, at its peer listener, counts then.
func TestMembersWhoseAdminListenerIsElsewhereAreHeardThroughTheNode(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told := ""
		switch {
		case r.URL.Path == "/ring":
			if r.URL.Query().Has("check") {
				told = `,"epoch":"1111"`
			}
			fmt.Fprintf(w, `{"epoch":"1111","cluster":"micelio","self":"a","members":[{"id":"a","state":"serving"},{"id":"b","state":"serving","admin":%q%s}]}`,
				dead.Listener.Addr(), told)
		case r.URL.Query().Has("check"):
			told = `,"copies":[{"node":"a","tiers":[]},{"node":"b","tiers":["ram","ssd in part"]}]`
			fallthrough
		default:
			fmt.Fprintf(w, `{"key":"what? #1","class":"mutable","epoch":"1111","owner":"b","candidates":["b","a"],"asked":["b","a"],"self":"a","held":[]%s}`, told)
		}
	}))
	defer server.Close()
	admin := "--admin-listen=" + server.Listener.Addr().String()
	code, stdout, stderr := runWith(t, nil, "ring", admin)
	if code != exitOK || !strings.Contains(stdout, "\nall 2 agree on the epoch\n") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = runWith(t, nil, "where", "--check", "what? #1", admin)
	if code != exitOK || !strings.Contains(stdout, "\nb     serving  ram, ssd in part  -\n") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}
