package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRingShowsEveryMemberAndThatAllAgree(t *testing.T) {
	nodes := startNodes(t, 3)
	for _, n := range nodes {
		code, stdout, stderr := runWith(t, nil, "ring", "--admin-listen", n.AdminAddr())
		lines := strings.Split(stdout, "\n")
		if code != exitOK || stderr != "" || len(lines) != 9 || !strings.HasPrefix(lines[0], "cluster micelio, epoch ") ||
			!strings.HasSuffix(lines[0], ", as "+n.ID()+" sees it") || lines[7] != "all 3 agree on the epoch" {
			t.Errorf("%s: exit code %d\n%s%s", n.ID(), code, stdout, stderr)
			continue
		}
		for i, line := range lines[3:6] {
			if want := fmt.Sprintf("node-%d  serving  ", i+1); !strings.HasPrefix(line, want) || !strings.HasSuffix(line, nodes[i].AdminAddr()) ||
				strings.Index(line, nodes[i].Addr()) != strings.Index(lines[2], "CLIENTS") {
				t.Errorf("%s: line %q below %q", n.ID(), line, lines[2])
			}
		}
	}
	code, stdout, stderr := runWith(t, nil, "ring", "--json", "--admin-listen", nodes[1].AdminAddr())
	var report ringReport
	if err := json.Unmarshal([]byte(stdout), &report); code != exitOK || err != nil || stderr != "" {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	sum := 0.0
	for i, m := range report.Members {
		if sum += m.Share; m.ID != nodes[i].ID() || m.Epoch != report.Epoch || m.Error != "" || len(m.Serving) != 3 || m.Data != nodes[i].Addr() || m.Boot == "" {
			t.Errorf("member %d is %+v", i, m)
		}
	}
	if !report.Agreed || report.Node != "node-2" || report.Asked != nodes[1].AdminAddr() || len(report.Members) != 3 || sum < 0.999 || sum > 1.001 {
		t.Errorf("got %+v", report)
	}
}

// startPage serves an admin listener that has one page. What it says may depend
// on its address.
func startPage(t *testing.T, path string, page func(self string) string) (address string) {
	t.Helper()
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, page(server.Listener.Addr().String()))
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestRingNamesWhoDoesNotAgree(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	// d is known to c only, which has not heard of a and b: half of a split.
	d := startPage(t, "/ring", func(string) string { return `{"epoch":"2222","self":"d","members":[]}` })
	c := startPage(t, "/ring", func(self string) string {
		return fmt.Sprintf(`{"epoch":"2222","self":"c","members":[{"id":"c","state":"serving","admin":%q},{"id":"d","state":"serving","admin":%q}]}`, self, d)
	})
	other := startPage(t, "/ring", func(string) string { return `{"epoch":"1111","self":"stranger"}` })
	a := startPage(t, "/ring", func(self string) string {
		return fmt.Sprintf(`{"epoch":"1111","cluster":"micelio","self":"a","members":[
			{"id":"a","state":"serving","weight":2,"share":0.25,"data":"a:1","peer":"a:2","admin":%q},{"id":"b","state":"draining","admin":%q},
			{"id":"c","state":"serving","share":0.75,"admin":%q},{"id":"e","state":"joining","admin":%q},{"id":"f","state":"joining"}]}`,
			self, dead.Listener.Addr(), c, other)
	})
	code, stdout, stderr := runWith(t, nil, "ring", "--admin-listen", a)
	if code != exitFailure || stderr != "" {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{
		"cluster micelio, epoch 1111, as a sees it\n",
		"\na     serving   2       25.0 %  1111   a:1 ", "\nb     draining  1       -       -      -  ", "\nc     serving   1       75.0 %  2222   -  ",
		"\n1 of 6 agree on the epoch\n", "  b: no answer: dial tcp ", "  c: epoch 2222, sees 2 serve: c, d\n",
		"  d: epoch 2222, sees 0 serve: \n", "  d: known to c, and not to a\n",
		"  e: " + other + " leads to stranger: its admin listener is for its own machine only (--admin-listen)\n", "  f: no admin address is known\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
}

func TestRingSaysWhatIsWrongWithTheQuestion(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	page := func(text string) string { return startPage(t, "/ring", func(string) string { return text }) }
	nothing := startPage(t, "/nothing", nil)
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--admin-listen", dead.Listener.Addr().String()}, exitFailure, "micelio-node: the node at " + dead.Listener.Addr().String() + ": no answer: dial tcp"},
		{[]string{"--admin-listen", nothing}, exitFailure, "it answers 404 Not Found: 404 page not found"},
		{[]string{"--admin-listen", page("<html>")}, exitFailure, `what answers is no node: "<html>"`},
		{[]string{"--admin-listen", page("{}")}, exitFailure, "what answers is no node"},
		{[]string{"--admin-listen", "127.0.0.1:0"}, exitUsage, "chose a free port"},
		{[]string{"--admin-listen", "nowhere"}, exitUsage, "is not an address"},
		{[]string{"now"}, exitUsage, `unexpected argument "now"`},
		{[]string{"--jsno"}, exitUsage, `did you mean "--json"?`},
	} {
		code, stdout, stderr := runWith(t, nil, append([]string{"ring"}, tt.args...)...)
		if code != tt.code || stdout != "" || !strings.Contains(stderr, tt.want) {
			t.Errorf("%q: exit code %d\n%s%s", tt.args, code, stdout, stderr)
		}
	}
}

func TestASearchForMembersEnds(t *testing.T) {
	asked := 0 // one after the other
	chain := startPage(t, "/ring", func(self string) string {
		asked++
		return fmt.Sprintf(`{"epoch":"1","self":"m%d","members":[{"id":"m%d","state":"serving","admin":%q},{"id":"m%d","state":"serving","admin":%q}]}`,
			asked, asked, self, asked+1, self)
	})
	crowd := startPage(t, "/ring", func(string) string {
		var members []string
		for i := range maxMembers + 1 {
			members = append(members, fmt.Sprintf(`{"id":"m%d","state":"serving"}`, i))
		}
		return `{"epoch":"1","self":"m0","members":[` + strings.Join(members, ",") + `]}`
	})
	for _, address := range []string{chain, crowd} {
		code, stdout, stderr := runWith(t, nil, "ring", "--admin-listen", address)
		if code != exitFailure || stdout != "" || !strings.Contains(stderr, "has no end") {
			t.Errorf("exit code %d\n%.300s%s", code, stdout, stderr)
		}
	}
	if asked != 1+maxRounds {
		t.Errorf("asked %d times, want %d", asked, 1+maxRounds)
	}
}

// What it sees is not known then, and is not nobody.
func TestOfAMemberHeardThroughAnotherOnlyTheEpochIsSaid(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	a := startPage(t, "/ring", func(self string) string {
		return fmt.Sprintf(`{"epoch":"1111","self":"a","members":[{"id":"a","state":"serving","admin":%q},{"id":"b","state":"serving","admin":%q,"epoch":"2222"}]}`,
			self, dead.Listener.Addr())
	})
	code, stdout, _ := runWith(t, nil, "ring", "--admin-listen", a)
	if code != exitFailure || !strings.HasSuffix(stdout, "\n1 of 2 agree on the epoch\n  b: epoch 2222, as it told a\n") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}
