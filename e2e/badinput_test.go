package e2e

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// raw sends bytes to a node as they are and returns the status and the S3 code
// of the answer; a status of 0 means that none came. A request that is cut ends
// with its last byte; any other leaves the connection open, as clients do.
func (p *process) raw(request string, cut bool) (status int, code string) {
	p.t.Helper()
	conn, err := net.Dial("tcp", p.addr["client"])
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return 0, "" // refused before all of it was sent, and the answer was lost with the connection
	}
	if cut {
		conn.(*net.TCPConn).CloseWrite()
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	doc, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Errorf("the answer to %.60q does not end cleanly: %v", request, err)
	}
	_, rest, _ := strings.Cut(string(doc), "<Code>")
	code, _, _ = strings.Cut(rest, "</Code>")
	return resp.StatusCode, code
}

// listing names everything below dir with its size.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasPrefix(d.Name(), "segment-") && filepath.Base(filepath.Dir(name)) == "cache" {
			return nil // the SSD tier makes room when it likes
		}
		info, err := d.Info()
		if err == nil && !d.IsDir() {
			name += " " + strconv.FormatInt(info.Size(), 10)
		}
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// wantUnchanged reports what is new or gone below dir.
func wantUnchanged(t *testing.T, dir string, before []string) {
	t.Helper()
	after := listing(t, dir)
	for _, name := range after {
		if !slices.Contains(before, name) {
			t.Errorf("left behind: %s", name)
		}
	}
	for _, name := range before {
		if !slices.Contains(after, name) {
			t.Errorf("gone: %s", name)
		}
	}
}

// startInside runs a node whose data directory has neighbours, one of them
// worth stealing, and an object, so that every directory it needs exists.
func startInside(t *testing.T, args ...string) (p *process, around string) {
	t.Helper()
	around = t.TempDir()
	for _, name := range []string{"secret", "data/secret"} {
		file := filepath.Join(around, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("secret"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p = start(t, append([]string{"--data-dir=" + filepath.Join(around, "data")}, args...)...)
	if err := p.put("/micelio/sessions/1/state", strings.NewReader("state"), 5); err != nil {
		t.Fatal(err)
	}
	return p, around
}

func TestBadKeysAreRefusedAndTouchNothing(t *testing.T) {
	p, around := startInside(t)
	before := listing(t, around)
	for target, code := range map[string]string{
		"/micelio/../secret":                         "InvalidArgument",
		"/micelio/../../secret":                      "InvalidArgument",
		"/micelio/sessions/../../../secret":          "InvalidArgument",
		"/micelio/./secret":                          "InvalidArgument",
		"/micelio/%2e%2e%2fsecret":                   "InvalidArgument",
		"/micelio/%2e%2e/%2E%2E/secret":              "InvalidArgument",
		"/micelio/sessions%2f..%2f..%2fsecret":       "InvalidArgument",
		"/micelio/%2fetc%2fpasswd":                   "InvalidArgument",
		"/micelio//etc/passwd":                       "InvalidArgument",
		"/micelio/sessions//state":                   "InvalidArgument",
		"/micelio/sessions/1/state/":                 "InvalidArgument",
		"/micelio/sessions/1/state%00":               "InvalidArgument",
		"/micelio/sessions%0d%0aX-Cache:%20ram":      "InvalidArgument",
		"/micelio/%7f":                               "InvalidArgument",
		`/micelio/..\secret`:                         "InvalidArgument",
		"/micelio/..%5c..%5csecret":                  "InvalidArgument",
		"/micelio/%c0%ae%c0%ae/secret":               "InvalidURI",
		"/micelio/\xff\xfe":                          "InvalidURI",
		"/micelio/%ed%a0%80":                         "InvalidURI",
		"/micelio/a#b":                               "InvalidURI",
		"/micelio/" + strings.Repeat("k", 1025):      "KeyTooLongError",
		"/micelio/" + strings.Repeat("%c3%b6", 513):  "KeyTooLongError",
		"/micelio/" + strings.Repeat("deep/", 220):   "KeyTooLongError",
		"//micelio/sessions/1/state":                 "InvalidBucketName",
		"/../micelio/sessions/1/state":               "InvalidBucketName",
		"/%2e%2e%2fsecret":                           "InvalidBucketName",
		"http://127.0.0.1/micelio/sessions/1/state":  "InvalidURI",
		"http://169.254.169.254/latest/meta-data":    "InvalidURI",
		"file:///etc/passwd":                         "InvalidURI",
		"/micelio/%zz":                               "", // no URL at all: answered before there is a dialect
		"/micelio/sessions/1/state HTTP/1.1 smuggle": "",
	} {
		for _, method := range []string{"GET", "PUT", "HEAD", "DELETE"} {
			status, got := p.raw(method+" "+target+" HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nevil", false)
			if method == "HEAD" && got == "" {
				got = code
			}
			if status != http.StatusBadRequest || got != code {
				t.Errorf("%s %.60q: %d %q, want 400 %q", method, target, status, got, code)
			}
		}
	}
	wantUnchanged(t, around, before)
	if got := p.get(p.url("/micelio/sessions/1/state")); got != "state" {
		t.Errorf("what was there before is now %q", got)
	}
}

func TestABadUploadLeavesNothingBehind(t *testing.T) {
	p, around := startInside(t, "--max-object-bytes=100000")
	body, large := strings.Repeat("x", 50_000), strings.Repeat("x", 100_001)
	md5sum := md5.Sum([]byte("other"))
	verified := fmt.Sprintf("artifacts/sha256:%x", sha256.Sum256([]byte("the true bytes")))
	sized := func(n int) string { return "Content-Length: " + strconv.Itoa(n) + "\r\n" }
	chunked := func(chunks ...string) string {
		var b strings.Builder
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for _, c := range chunks {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(c), c)
		}
		return b.String()
	}
	before := listing(t, around)
	for name, c := range map[string]struct {
		key, rest string
		status    int
		code      string
	}{
		"cut short":               {"sessions/2/a", sized(60_000) + "\r\n" + body, 400, "IncompleteBody"},
		"cut before the first":    {"sessions/2/b", sized(60_000) + "\r\n", 400, "IncompleteBody"},
		"cut between chunks":      {"sessions/2/c", chunked(body), 400, "IncompleteBody"},
		"cut in a chunk":          {"sessions/2/d", "Transfer-Encoding: chunked\r\n\r\nffff\r\n" + body, 400, "IncompleteBody"},
		"longer than its chunk":   {"sessions/2/e", "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400, "IncompleteBody"},
		"longer once decoded":     {"sessions/2/f", "Content-Encoding: aws-chunked\r\nx-amz-decoded-content-length: 2\r\n" + sized(13) + "\r\n3\r\nabc\r\n0\r\n\r\n", 400, "IncompleteBody"},
		"shorter once decoded":    {"sessions/2/g", "Content-Encoding: aws-chunked\r\nx-amz-decoded-content-length: 4\r\n" + sized(13) + "\r\n3\r\nabc\r\n0\r\n\r\n", 400, "IncompleteBody"},
		"a wrong Content-MD5":     {"sessions/2/h", "Content-MD5: " + base64.StdEncoding.EncodeToString(md5sum[:]) + "\r\n" + sized(len(body)) + "\r\n" + body, 400, "BadDigest"},
		"a wrong content sha256":  {"sessions/2/i", fmt.Sprintf("x-amz-content-sha256: %x\r\n", sha256.Sum256(nil)) + sized(len(body)) + "\r\n" + body, 400, "XAmzContentSHA256Mismatch"},
		"not the key's bytes":     {verified, sized(len(body)) + "\r\n" + body, 400, "BadDigest"},
		"nor unannounced":         {verified, chunked(body, ""), 400, "BadDigest"},
		"too large":               {"sessions/2/j", sized(len(large)) + "\r\n" + large, 413, "EntityTooLarge"},
		"too large, unannounced":  {"sessions/2/k", chunked(large, ""), 413, "EntityTooLarge"},
		"a name that is too long": {"sessions/" + strings.Repeat("k", 1025), sized(4) + "\r\nevil", 400, "KeyTooLongError"},
	} {
		status, code := p.raw("PUT /micelio/"+c.key+" HTTP/1.1\r\nHost: x\r\n"+c.rest, strings.HasPrefix(name, "cut "))
		if status != c.status || code != c.code {
			t.Errorf("%s: %d %q, want %d %q", name, status, code, c.status, c.code)
		}
		if c.status == 400 && c.code == "KeyTooLongError" {
			continue
		}
		if status, code := p.raw("GET /micelio/"+c.key+" HTTP/1.1\r\nHost: x\r\n\r\n", false); status != 404 || code != "NoSuchKey" {
			t.Errorf("%s: reads %d %q, want 404 NoSuchKey", name, status, code)
		}
	}
	wantUnchanged(t, around, before)
	for _, rest := range []string{sized(60_000) + "\r\n" + body, chunked(body)} {
		if status, code := p.raw("PUT /micelio/sessions/1/state HTTP/1.1\r\nHost: x\r\n"+rest, true); code != "IncompleteBody" {
			t.Errorf("cut over an object: %d %q", status, code)
		}
		if got := p.get(p.url("/micelio/sessions/1/state")); got != "state" {
			t.Errorf("the object that was there is now %.40q", got)
		}
	}
}

// What follows a sized body is not part of it.
func TestABodyEndsAtItsLength(t *testing.T) {
	p, _ := startInside(t)
	if status, code := p.raw("PUT /micelio/sessions/2/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody and more", false); status != 200 {
		t.Errorf("%d %q", status, code)
	}
	if got := p.get(p.url("/micelio/sessions/2/a")); got != "body" {
		t.Errorf("stored %q", got)
	}
}

func TestARangeOutsideIsRefused(t *testing.T) {
	p, _ := startInside(t)
	for _, pass := range []string{"from the tiers", "again"} {
		for header, want := range map[string]int{
			"bytes=0-1": 206, "bytes=4-99": 206, "bytes=-99": 206,
			"bytes=5-": 416, "bytes=5-6": 416, "bytes=-0": 416, "bytes=9223372036854775807-": 416,
			"bytes=3-1": 200, "bytes=x": 200, "lines=1-2": 200,
		} {
			status, code := p.raw("GET /micelio/sessions/1/state HTTP/1.1\r\nHost: x\r\nRange: "+header+"\r\n\r\n", false)
			if status != want || (status == 416 && code != "InvalidRange") {
				t.Errorf("%s, %s: %d %q, want %d", pass, header, status, code, want)
			}
		}
	}
}

// Tiers with room for next to nothing cost hits, and no request.
func TestFullTiersFailNoRequest(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--ssd-bytes=4MiB", "--ram-bytes=1"}, {"--ssd-bytes=5MB", "--ram-bytes=2000"}, {"--ssd-bytes=10MiB", "--ram-bytes=0"}} {
		p := start(t, append(args, "--fill-memory-bytes=1", "--data-dir="+t.TempDir())...)
		var all sync.WaitGroup
		for w := range 4 {
			all.Go(func() {
				for i := range 10 {
					body := bytes.Repeat([]byte{byte('a' + w)}, 1+i*i*2000)
					for _, key := range []string{"cache/x/sha256:%d-%d/out", "sessions/%d/%d"} {
						path := "/micelio/" + fmt.Sprintf(key, w, i)
						if err := p.put(path, bytes.NewReader(body), int64(len(body))); err != nil {
							t.Error(err)
							return
						}
						for range 2 {
							if status, got, err := p.fetch(path); err != nil || status != 200 || !bytes.Equal(got, body) {
								t.Errorf("%v: GET %s: %d, %d bytes, %v; want %d", args, path, status, len(got), err, len(body))
							}
						}
					}
				}
			})
		}
		all.Wait()
		p.kill()
	}
}

// fetch returns the status and the body of a GET.
func (p *process) fetch(path string) (int, []byte, error) {
	resp, err := http.Get(p.url(path))
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// A node is killed under writers, three times. Whatever it acknowledged is
// whole; whatever it did not is whole or not there.
func TestAKilledNodeLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, "--data-dir="+dir)
	body := func(path string) []byte { return bytes.Repeat([]byte(path), 2000) }
	var mu sync.Mutex
	acked := map[string]bool{} // by path; false while it is not known
	for round := range 3 {
		crash := make(chan struct{})
		enough := sync.OnceFunc(func() { close(crash) })
		var writers sync.WaitGroup
		for w := range 8 {
			writers.Go(func() {
				defer enough()
				for i := 0; ; i++ {
					path := fmt.Sprintf("/micelio/%s/%d-%d-%d", []string{"sessions", "cache/sha256:x"}[i%2], round, w, i)
					mu.Lock()
					acked[path] = false
					mu.Unlock()
					if p.put(path, bytes.NewReader(body(path)), int64(len(body(path)))) != nil {
						return // killed
					}
					mu.Lock()
					acked[path] = true
					mu.Unlock()
					if i == 5 {
						enough()
					}
				}
			})
		}
		<-crash
		p.kill()
		writers.Wait()
		p.restart()
		confirmed := 0
		for path, known := range acked {
			if known {
				confirmed++
			}
			status, got, err := p.fetch(path)
			switch {
			case err != nil:
				t.Errorf("GET %s: %v", path, err)
			case status == 200 && bytes.Equal(got, body(path)), status == 404 && !known:
			default:
				t.Errorf("GET %s, acknowledged %v: %d, %d bytes, want %d", path, known, status, len(got), len(body(path)))
			}
		}
		if confirmed < 5*(round+1) {
			t.Fatalf("only %d writes were acknowledged", confirmed)
		}
	}
}
