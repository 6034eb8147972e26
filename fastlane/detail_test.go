package fastlane_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/fastlane"
	"github.com/micelio/micelio/gateway"
)

// A scripted connection is one whose client sends this and takes what fits.
type scripted struct {
	replay
	fails error // of each write
	out   strings.Builder
}

func (s *scripted) Write(p []byte) (int, error) {
	if s.fails != nil {
		return 0, s.fails
	}
	return s.out.Write(p)
}

// observed returns what is observed of a connection, if details of the answers are
// wanted for which wanted says so.
func observed(t *testing.T, conn *scripted, wanted func() bool) (all []fastlane.Observation) {
	t.Helper()
	lane := fastlane.NewListener(single{conn}, fastlane.Config{
		Bucket: bucket, Node: "this", Lookup: newShelf().lookUp,
		Observe: func(o fastlane.Observation) { all = append(all, o) },
		Detail:  func(time.Time) bool { return wanted() },

		IdleTimeout: idleTimeout, HeaderTimeout: headerTimeout, StallTimeout: gateway.StallTimeout,
	})
	c, err := lane.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 4096)); !errors.Is(err, io.EOF) && !errors.Is(err, conn.fails) {
		t.Fatal(err)
	}
	return all
}

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestAnAnswersDetailIsThereForWhoWantsIt(t *testing.T) {
	requests := get("small", "Traceparent: "+parent, "x-request-id: build-7") +
		get("artifacts%2Fsha256%3Aab", "Traceparent: "+parent, "Traceparent: "+parent) + read("HEAD", "small")
	conn := &scripted{replay: replay{request: []byte(requests), left: 1}}
	asked := 0
	all := observed(t, conn, func() bool { asked++; return asked != 3 })
	if len(all) != 3 || all[2].Detail != nil {
		t.Fatalf("observed %+v", all)
	}
	var ids []string
	for _, line := range strings.Split(conn.out.String(), "\r\n") {
		if id, ok := strings.CutPrefix(line, "x-amz-request-id: "); ok {
			ids = append(ids, id)
		}
	}
	want := []fastlane.Detail{
		{Key: "small", Node: "this", ID: ids[0], Parent: parent, ClientID: "build-7"},
		{Key: "artifacts/sha256:ab", Node: "this", ID: ids[1]},
	}
	for i, w := range want {
		if diff := cmp.Diff(w, *all[i].Detail); diff != "" {
			t.Errorf("answer %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestAnAnswerThatBreaksOffIsToldOfInFull(t *testing.T) {
	gone := errors.New("connection reset by peer")
	conn := &scripted{replay: replay{request: []byte(get("small", "Traceparent: "+parent)), left: 1}, fails: gone}
	all := observed(t, conn, func() bool { return false })
	if len(all) != 1 || all[0].Bytes != 0 || all[0].Status != http.StatusOK || all[0].Detail == nil || all[0].Detail.Err == nil {
		t.Fatalf("observed %+v", all)
	}
	if d := all[0].Detail; d.Key != "small" || d.Parent != parent || len(d.ID) != 16 {
		t.Errorf("detail %+v", d)
	}
}

// What is told is of the answer that broke off, and not of a request that came with it
// and is none of ours.
func TestABrokenAnswerIsNotTakenForTheRequestBehindIt(t *testing.T) {
	for name, behind := range map[string]string{
		"a miss":             get("missing%2Fartifacts", "X-Request-Id: behind"),
		"one that goes on":   strings.TrimSuffix(get("missing", "X-Request-Id: behind"), "\r\n"),
		"one of other lanes": read("HEAD", "small?acl", "X-Request-Id: behind"),
	} {
		requests := get("small", "X-Request-Id: first") + get("artifacts%2Fsha256%3Aab", "X-Request-Id: second") + behind
		conn := &scripted{replay: replay{request: []byte(requests), left: 1}, fails: errors.New("connection reset by peer")}
		all := observed(t, conn, func() bool { return false })
		if len(all) != 2 || all[0].Detail == nil || all[1].Detail == nil {
			t.Fatalf("%s: observed %+v", name, all)
		}
		if d := all[0].Detail; d.Err == nil || d.Key != "" {
			t.Errorf("%s: the first %+v", name, d)
		}
		if d := all[1].Detail; d.Err == nil || d.Key != "artifacts/sha256:ab" || d.ClientID != "second" {
			t.Errorf("%s: the last %+v", name, d)
		}
	}
}
