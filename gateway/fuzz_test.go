package gateway

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/gateway/gatewaytest"
	"github.com/micelio/micelio/object"
)

// A target that is taken names a valid key, and the one that the standard
// library's decoder finds in it.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{
		"/", "/micelio", "/micelio/", "/micelio/a/b", "/micelio/a%2fb?x=y", "/micelio/%2e%2e%2f", "/micelio/a+b", "/micelio/%00",
		"//a", "http://h/a", "*", "/micelio/%e6%97%a5", "/micelio/%252e", "/micelio?list-type=2&prefix=a%2Fb", "/micelio/a#b", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := parseTarget(raw)
		if err != nil {
			if a := classify(err); a.status != 400 {
				t.Fatalf("%q is refused with %d", raw, a.status)
			}
			return
		}
		path, _, _ := strings.Cut(raw, "?")
		decoded, err := url.PathUnescape(path)
		if err != nil {
			t.Fatalf("%q was taken: %v", raw, err)
		}
		bucket, key, _ := strings.Cut(strings.TrimPrefix(decoded, "/"), "/")
		if got.bucket != bucket || string(got.key) != key {
			t.Fatalf("%q is %q %q, want %q %q", raw, got.bucket, got.key, bucket, key)
		}
		if got.key == "" {
			return
		}
		if _, err := object.ParseKey(string(got.key)); err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		again, err := parseTarget("/" + bucket + "/" + encodeName(key))
		if err != nil || again.key != got.key {
			t.Fatalf("%q does not survive encoding: %q, %v", key, again.key, err)
		}
	})
}

// Whatever comes, the reader yields the announced number of bytes and a clean
// end, or an error; it yields the same in single bytes; and the bytes are
// those of a body that is put together again from them.
func FuzzAWSChunkedReader(f *testing.F) {
	for _, l := range layouts {
		f.Add([]byte(l.body), int64(12))
	}
	f.Add([]byte("3\r\nabc\r\n0\r\n\r\n"), int64(3))
	f.Add([]byte("0\r\n\r\n"), int64(0))
	f.Add([]byte("3\r\nabcX0\r\n\r\n"), int64(3))
	f.Fuzz(func(t *testing.T, wire []byte, size int64) {
		if size < 0 {
			return
		}
		read := func(r io.Reader, piece int) ([]byte, error) {
			c := newAWSChunkedReader(r, size, func(string, string) error { return nil })
			var got bytes.Buffer
			_, err := io.CopyBuffer(&got, struct{ io.Reader }{c}, make([]byte, piece))
			return got.Bytes(), err
		}
		got, err := read(bytes.NewReader(wire), 1)
		large, largeErr := read(bytes.NewReader(wire), 32<<10)
		if !bytes.Equal(got, large) || (err == nil) != (largeErr == nil) {
			t.Fatalf("single bytes: %q, %v; at once: %q, %v", got, err, large, largeErr)
		}
		if int64(len(got)) > size {
			t.Fatalf("%d bytes, announced were %d", len(got), size)
		}
		if err != nil {
			return
		}
		if int64(len(got)) != size {
			t.Fatalf("a clean end after %d bytes of %d", len(got), size)
		}
		if _, err := read(bytes.NewReader(wire[:len(wire)-1]), 64); err == nil {
			t.Fatal("a clean end without the last byte")
		}
		if _, err := read(bytes.NewReader(append(bytes.Clone(wire), 'x')), 64); err == nil {
			t.Fatal("a clean end with a byte behind the end")
		}
		if back, err := read(gatewaytest.Signed.Reader(bytes.NewReader(got)), 64); err != nil || !bytes.Equal(back, got) {
			t.Fatalf("encoded again it is %q, %v", back, err)
		}
	})
}

// A query that is taken stays within its limits, and every token that is
// taken is one that was given.
func FuzzListQuery(f *testing.F) {
	for _, s := range []string{
		"list-type=2", "list-type=2&max-keys=7&prefix=a%2F&delimiter=%2F", "marker=x", "list-type=2&continuation-token=" + encodeToken("a/b"),
		"list-type=2&continuation-token=AAAA", "max-keys=99999999999999999999", "encoding-type=url", "prefix=%ff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		l, err := parseListQuery(q)
		if err != nil {
			if a := classify(err); a.status != 400 || a.code != "InvalidArgument" {
				t.Fatalf("%q is refused with %v", query, a)
			}
			return
		}
		if l.limit < 0 || l.limit > maxKeys {
			t.Fatalf("%q: limit %d", query, l.limit)
		}
		for _, name := range []string{l.prefix, l.delimiter, l.after} {
			if checkListName("", name) != nil {
				t.Fatalf("%q: name %q", query, name)
			}
		}
		if l.token != "" && encodeToken(l.after) != l.token {
			t.Fatalf("%q: token %q of %q was never given", query, l.token, l.after)
		}
		if l.after == "" {
			return
		}
		if name, ok := decodeToken(encodeToken(l.after)); !ok || name != l.after {
			t.Fatalf("the token of %q decodes to %q, %v", l.after, name, ok)
		}
	})
}

// The values that the conditions of a request are put together from.
var (
	tagLists = []string{"", etag, `"x"`, "W/" + etag, `"x", ` + etag, "*", `W/"x"`}
	dates    = []string{"", thenHTTP, earlierHTTP, laterHTTP, "never"}
	ranges   = []string{"", "bytes=0-0", "bytes=2-4", "bytes=7-", "bytes=-3", "bytes=0-99", "bytes=10-", "bytes=9-9"}
	ifRanges = []string{"", etag, `"x"`, "W/" + etag, thenHTTP, earlierHTTP, laterHTTP}
)

// The standard library's file server is another implementation of RFC 9110's
// conditional requests: both must agree on every combination.
func FuzzConditions(f *testing.F) {
	for i := range 8 {
		f.Add(uint8(i), uint8(i/2), uint8(i*3), uint8(i*5), uint8(i), uint8(i*2))
	}
	f.Add(uint8(0), uint8(0), uint8(1), uint8(1), uint8(6), uint8(4))
	f.Add(uint8(1), uint8(1), uint8(2), uint8(2), uint8(2), uint8(1))
	store := newMemStore()
	if _, err := store.Put(f.Context(), "k", object.BytesSource([]byte("0123456789")), object.PutOptions{}); err != nil {
		f.Fatal(err)
	}
	store.modified(then)
	handler := New(Config{Store: store, Bucket: testBucket})
	f.Fuzz(func(t *testing.T, match, none, since, unmodified, rng, ifRange uint8) {
		h := http.Header{}
		pick := func(name string, from []string, i uint8) { setIf(h, name, from[int(i)%len(from)]) }
		pick("If-Match", tagLists, match)
		pick("If-None-Match", tagLists, none)
		pick("If-Modified-Since", dates, since)
		pick("If-Unmodified-Since", dates, unmodified)
		pick("Range", ranges, rng)
		pick("If-Range", ifRanges, ifRange)
		request := func() *http.Request {
			r := httptest.NewRequest(http.MethodGet, "/micelio/k", nil)
			r.Header = h.Clone()
			return r
		}
		want, got := httptest.NewRecorder(), httptest.NewRecorder()
		want.Header().Set("ETag", etag)
		http.ServeContent(want, request(), "k", then.Truncate(time.Second), bytes.NewReader([]byte("0123456789")))
		handler.ServeHTTP(got, request())
		if got.Code != want.Code || got.Header().Get("Content-Range") != want.Header().Get("Content-Range") ||
			(got.Code < 300 && got.Body.String() != want.Body.String()) {
			t.Fatalf("%v: %d %q %q, want %d %q %q", h, got.Code, got.Header().Get("Content-Range"), got.Body,
				want.Code, want.Header().Get("Content-Range"), want.Body)
		}
	})
}

// A document that a client sends is read without a panic, and what is read
// stays within its limits.
func FuzzDeleteRequest(f *testing.F) {
	f.Add([]byte(`<Delete><Quiet>true</Quiet><Object><Key>a</Key><ETag>"x"</ETag></Object></Delete>`))
	f.Add([]byte(`<!DOCTYPE x [<!ENTITY e "aaaa">]><Delete><Object><Key>&e;</Key></Object></Delete>`))
	f.Add([]byte(`<Delete><Object><Key>../a</Key></Object></Delete>`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		store := newMemStore()
		r := httptest.NewRequest(http.MethodPost, "/micelio?delete", bytes.NewReader(doc))
		w := httptest.NewRecorder()
		New(Config{Store: store, Bucket: testBucket}).ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 400 && w.Code != 411 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if store.calls.Load() > maxDeleteKeys {
			t.Fatalf("%d keys deleted", store.calls.Load())
		}
	})
}
