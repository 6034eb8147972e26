package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/micelio/micelio/object"
)

func TestAPutAnswers200WithItsETag(t *testing.T) {
	store := newMemStore()
	url := serve(t, Config{Store: store}).URL + "/micelio/k"
	for name, body := range map[string]io.Reader{
		"sized": strings.NewReader("0123456789"), "chunked": io.MultiReader(strings.NewReader("01234"), strings.NewReader("56789")),
	} {
		resp, doc := send(t, "PUT", url+"?x-id=PutObject", nil, body)
		if resp.StatusCode != 200 || resp.Header.Get("ETag") != etag || doc != "" || resp.Header.Get("X-Cache") != tierNone {
			t.Errorf("%s: %d, header %v, body %q", name, resp.StatusCode, resp.Header, doc)
		}
		if _, got := store.stored(t, "k"); got != "0123456789" {
			t.Errorf("%s: stored %q", name, got)
		}
	}
}

func TestOnlyTheHeadersOfTheObjectAreKept(t *testing.T) {
	store := newMemStore()
	addr := serve(t, Config{Store: store}).Listener.Addr().String()
	resp, doc := raw(t, addr, "PUT /micelio/k HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Type: text/plain\r\n"+
		"Content-Encoding: gzip\r\nContent-Language: de\r\nCache-Control: no-cache\r\nContent-Disposition: inline\r\n"+
		"X-Amz-Meta-Name: füchse\r\nX-Amz-META-Both: a\r\nx-amz-meta-both: b\r\nX-Amz-Acl: private\r\nX-Amz-Storage-Class: STANDARD\r\n"+
		"Authorization: AWS4-HMAC-SHA256 Credential=x\r\nCookie: a=b\r\nX-Other: c\r\nX-Amz-Date: d\r\nSet-Cookie: e=f\r\nExpires: 0\r\n\r\nabc")
	want := object.Attrs{
		ContentType: "text/plain", ContentEncoding: "gzip", ContentLanguage: "de", ContentDisposition: "inline", CacheControl: "no-cache",
		User: map[string]string{"name": "füchse", "both": "a,b"},
	}
	if got, _ := store.stored(t, "k"); resp.StatusCode != 200 || !cmp.Equal(got.Attrs, want) {
		t.Errorf("%d %s: %s", resp.StatusCode, doc, cmp.Diff(want, got.Attrs))
	}
}

func TestTheClustersOwnHeadersAreDropped(t *testing.T) {
	h := http.Header{"Micelio-Hop": {"1"}, "micelio-write-id": {"x"}, "MICELIO-X": {"y"}, "Micelioish": {"z"}, "Range": {"a"}}
	dropPrivate(h)
	if want := (http.Header{"Micelioish": {"z"}, "Range": {"a"}}); !cmp.Equal(h, want) {
		t.Error(cmp.Diff(want, h))
	}
}

func TestRefusalsThatTheHeaderDecidesComeBeforeTheBody(t *testing.T) {
	addr := serve(t, Config{Store: newMemStore(), MaxObject: 1000}).Listener.Addr().String()
	for header, want := range map[string]int{
		"Content-Length: 1001":                         413,
		"Content-Length: 5\r\nContent-MD5: !":          400,
		"Content-Length: 5\r\nIf-None-Match: \"x\"":    501,
		"Content-Length: 5\r\nx-amz-copy-source: /a/b": 501,
		"Content-Length: 5":                            100,
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "PUT /micelio/k HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n%s\r\n\r\n", header)
		line, err := textproto.NewReader(bufio.NewReader(conn)).ReadLine()
		conn.Close()
		if err != nil || !strings.HasPrefix(line, fmt.Sprintf("HTTP/1.1 %d ", want)) {
			t.Errorf("%q: %q, %v, want %d", header, line, err, want)
		}
	}
}

// The rest of a refused body must not be taken for the next request.
func TestARefusedUploadLeavesNoRequestBehind(t *testing.T) {
	for _, size := range []int{100, 100_000, 1_000_000} {
		store := newMemStore()
		addr := serve(t, Config{Store: store}).Listener.Addr().String()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		smuggled := "DELETE /micelio/k HTTP/1.1\r\nHost: x\r\n\r\n"
		body := strings.Repeat(smuggled, size/len(smuggled)+1)
		go fmt.Fprintf(conn, "PUT /micelio/a/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 400 {
			t.Errorf("%d bytes: %v, %v", size, resp, err)
		} else {
			io.Copy(io.Discard, resp.Body)
		}
		conn.(*net.TCPConn).CloseWrite()
		if second, err := http.ReadResponse(r, nil); err == nil {
			t.Errorf("%d bytes: a second answer, %d", size, second.StatusCode)
		}
		conn.Close()
		if n := store.calls.Load(); n != 0 {
			t.Errorf("%d bytes: the store was called %d times", size, n)
		}
	}
}

func TestADeleteAnswers204WhetherOrNotThereWasAnObject(t *testing.T) {
	store, _ := stored(t, object.Attrs{})
	url := serve(t, Config{Store: store}).URL + "/micelio/k"
	for _, c := range []struct {
		ifMatch string
		status  int
	}{{`"x"`, 412}, {etag, 204}, {"", 204}, {etag, 404}} {
		h := http.Header{}
		setIf(h, "If-Match", c.ifMatch)
		if resp, _ := send(t, "DELETE", url, h, nil); resp.StatusCode != c.status {
			t.Errorf("If-Match %q: %d, want %d", c.ifMatch, resp.StatusCode, c.status)
		}
	}
}

func TestAPlusInAPathIsAPlus(t *testing.T) {
	store := newMemStore()
	url := serve(t, Config{Store: store}).URL
	for _, target := range []string{"/micelio/a+b", "/micelio/a%2Bb"} {
		send(t, "PUT", url+target, nil, strings.NewReader("x"))
	}
	send(t, "PUT", url+"/micelio/a%252fb", nil, strings.NewReader("x"))
	if got, want := store.keys(t), []object.Key{"a%2fb", "a+b"}; !cmp.Equal(got, want) {
		t.Errorf("stored %q, want %q", got, want)
	}
}

func TestEachRequestIsObservedOnce(t *testing.T) {
	observed := make(chan Observation, 1)
	url := serve(t, Config{Store: newMemStore(), Observe: func(o Observation) { observed <- o }}).URL
	for _, c := range []struct {
		method, target, body string
		want                 Observation
	}{
		{"PUT", "/micelio/k", "hello", Observation{Op: OpPut, Key: "k", Status: 200, BytesIn: 5}},
		{"GET", "/micelio/k", "", Observation{Op: OpGet, Key: "k", Status: 200, Tier: "ram", BytesOut: 5}},
		{"HEAD", "/micelio/k", "", Observation{Op: OpHead, Key: "k", Status: 200, Tier: "ram"}},
		{"HEAD", "/micelio/x", "", Observation{Op: OpHead, Key: "x", Status: 404}},
		{"DELETE", "/micelio/k", "", Observation{Op: OpDelete, Key: "k", Status: 204}},
		{"PUT", "/micelio", "", Observation{Op: OpBucket, Status: 200}},
		{"HEAD", "/micelio", "", Observation{Op: OpBucket, Status: 200}},
	} {
		send(t, c.method, url+c.target, nil, strings.NewReader(c.body))
		got := <-observed
		if got.Duration <= 0 {
			t.Errorf("%s %s: took %v", c.method, c.target, got.Duration)
		}
		if got.ID == "" || len(got.Trace) != 32 || got.Node != "node-1" || got.Remote == "" {
			t.Errorf("%s %s: what is there of every request is not: %+v", c.method, c.target, got)
		}
		got.Duration, got.ID, got.Trace, got.Node, got.Remote = 0, "", "", "", ""
		if got != c.want {
			t.Errorf("%s %s: %+v, want %+v", c.method, c.target, got, c.want)
		}
	}
	for target, op := range map[string]string{"/micelio?list-type=2": OpList, "/": OpBucket, "/x/y": OpOther, "/micelio/a/": OpOther} {
		send(t, "GET", url+target, nil, nil)
		if got := <-observed; got.Op != op || got.BytesOut == 0 {
			t.Errorf("GET %s: %+v, want op %q", target, got, op)
		}
	}
}

// The AWS CLI asks for a 100 before an empty body too, and waited a minute for
// it.
func TestAnEmptyUploadThatExpectsToBeContinuedIs(t *testing.T) {
	s := serve(t, Config{Store: newMemStore()})
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "PUT /micelio/empty HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n")
	answers := bufio.NewReader(conn)
	for _, want := range []string{"HTTP/1.1 100 Continue", "", "HTTP/1.1 200 OK"} {
		if line, err := answers.ReadString('\n'); err != nil || strings.TrimSpace(line) != want {
			t.Fatalf("answered %q, %v, want %q", line, err, want)
		}
	}
}
