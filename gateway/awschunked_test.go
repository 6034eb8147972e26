package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/micelio/micelio/object"
)

// layouts are aws-chunked bodies of "hello, world" byte by byte as SDKs and
// the S3 reference write them.
var layouts = map[string]struct {
	sha, trailer, body string
}{
	"JavaScript SDK, unsigned trailer": {
		"STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-checksum-crc32",
		"c\r\nhello, world\r\n0\r\nx-amz-checksum-crc32:/6tyOg==\r\n\r\n",
	},
	"several chunks, upper-case sizes": {
		"STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-checksum-crc32",
		"00A\r\nhello, wor\r\n2\r\nld\r\n0\r\nx-amz-checksum-crc32:/6tyOg==\r\n\r\n",
	},
	"minio-go, signed": {
		"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "",
		"c;chunk-signature=" + signature + "\r\nhello, world\r\n0;chunk-signature=" + signature + "\r\n\r\n",
	},
	"reference, signed trailer": {
		"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "x-amz-checksum-crc32",
		"c;chunk-signature=" + signature + "\r\nhello, world\r\n0;chunk-signature=" + signature +
			"\r\nx-amz-checksum-crc32:/6tyOg==\n\r\nx-amz-trailer-signature:" + signature + "\r\n\r\n",
	},
	"Java SDK, signed trailer": {
		"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "x-amz-checksum-crc32",
		"c;chunk-signature=" + signature + "\r\nhello, world\r\n0;chunk-signature=" + signature +
			"\r\nx-amz-checksum-crc32:/6tyOg==\r\nx-amz-trailer-signature:" + signature + "\r\n\r\n",
	},
	"aws-cli without credentials": {
		"", "x-amz-checksum-crc32",
		"c\r\nhello, world\r\n0\r\nx-amz-checksum-crc32:/6tyOg==\r\n\r\n",
	},
	"no trailer": {
		"STREAMING-UNSIGNED-PAYLOAD-TRAILER", "",
		"c\r\nhello, world\r\n0\r\n\r\n",
	},
}

var signature = strings.Repeat("0f", 32)

func TestChunkedLayoutsOfRealClientsAreDecoded(t *testing.T) {
	for name, l := range layouts {
		for _, chunkedTransfer := range []bool{false, true} {
			store := newMemStore()
			s := serve(t, Config{Store: store})
			var body io.Reader = strings.NewReader(l.body)
			if chunkedTransfer {
				body = iotest.OneByteReader(body)
			}
			h := http.Header{"Content-Encoding": {"aws-chunked"}, "X-Amz-Decoded-Content-Length": {"12"}}
			setIf(h, "X-Amz-Content-Sha256", l.sha)
			setIf(h, "X-Amz-Trailer", l.trailer)
			resp, doc := send(t, "PUT", s.URL+"/micelio/k", h, body)
			info, stored := store.stored(t, "k")
			if resp.StatusCode != 200 || stored != "hello, world" || info.ContentEncoding != "" {
				t.Errorf("%s: %d %s, stored %q with encoding %q", name, resp.StatusCode, doc, stored, info.ContentEncoding)
			}
		}
	}
}

// send makes a request and returns the whole answer.
func send(t *testing.T, method, url string, h http.Header, body io.Reader) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if h != nil {
		req.Header = h
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	doc, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: the answer does not end cleanly: %v", method, url, err)
	}
	return resp, string(doc)
}

func TestDamagedChunkedBodiesAreRefused(t *testing.T) {
	cases := map[string]struct{ trailer, body, code string }{
		"a wrong trailer sum":        {"x-amz-checksum-crc32", "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:/6tyOg==\r\n\r\n", "BadDigest"},
		"a malformed trailer sum":    {"x-amz-checksum-crc32", "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:?\r\n\r\n", "InvalidRequest"},
		"the trailer is missing":     {"x-amz-checksum-crc32", "3\r\nabc\r\n0\r\n\r\n", "MalformedTrailerError"},
		"another trailer":            {"x-amz-checksum-crc32", "3\r\nabc\r\n0\r\nx-amz-checksum-sha1:qZk+NkcGgWq6PiVxeFDCbJzQ2J0=\r\n\r\n", "MalformedTrailerError"},
		"the trailer twice":          {"x-amz-checksum-crc32", "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n", "MalformedTrailerError"},
		"a trailer not announced":    {"", "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n", "MalformedTrailerError"},
		"the trailer is cut":         {"x-amz-checksum-crc32", "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n", "IncompleteBody"},
		"endless trailers":           {"", "3\r\nabc\r\n0\r\n" + strings.Repeat("\r\n", maxTrailer), "IncompleteBody"},
		"an endless line":            {"", "3;" + strings.Repeat("x", 600) + "\r\nabc\r\n0\r\n\r\n", "IncompleteBody"},
		"a control in the extension": {"", "3;a\x01\r\nabc\r\n0\r\n\r\n", "IncompleteBody"},
		"LF alone":                   {"", "3\nabc\n0\n\n", "IncompleteBody"},
		"a signed size":              {"", "+3\r\nabc\r\n0\r\n\r\n", "IncompleteBody"},
		"a prefixed size":            {"", "0x3\r\nabc\r\n0\r\n\r\n", "IncompleteBody"},
		"a huge size":                {"", "ffffffffffffffff\r\nabc\r\n0\r\n\r\n", "IncompleteBody"},
		"a wrapping size":            {"", "10000000000000003\r\nabc\r\n0\r\n\r\n", "IncompleteBody"},
		"no CRLF behind a chunk":     {"", "3\r\nabc0\r\n\r\n", "IncompleteBody"},
		"an early last chunk":        {"", "2\r\nab\r\n0\r\n\r\n", "IncompleteBody"},
		"one chunk too many":         {"", "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", "IncompleteBody"},
	}
	for name, c := range cases {
		store := newMemStore()
		s := serve(t, Config{Store: store})
		h := http.Header{"Content-Encoding": {"aws-chunked"}, "X-Amz-Decoded-Content-Length": {"3"}}
		setIf(h, "X-Amz-Trailer", c.trailer)
		resp, doc := send(t, "PUT", s.URL+"/micelio/k", h, strings.NewReader(c.body))
		if keys := store.keys(t); resp.StatusCode != 400 || codeOf(doc) != c.code || len(keys) != 0 {
			t.Errorf("%s: %d %q, want 400 %q; stored %q", name, resp.StatusCode, codeOf(doc), c.code, keys)
		}
	}
}

func TestChecksumsAreTheOnesOfTheirNames(t *testing.T) {
	// The check values of "123456789" in the catalogues of CRCs, and of the SHAs.
	for name, want := range map[string]string{
		"crc32": "y/Q5Jg==", "crc32c": "4waSgw==", "crc64nvme": "rosUhgp5mIg=",
		"sha1": "98O8HYCOBHMq32eZZczDTKeuNEE=", "sha256": "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
	} {
		for _, trailer := range []bool{false, true} {
			store := newMemStore()
			s := serve(t, Config{Store: store})
			for _, body := range []string{"123456780", "123456789"} {
				h, wire := http.Header{}, body
				if trailer {
					wire = "9\r\n" + body + "\r\n0\r\n" + checksumPrefix + name + ":" + want + "\r\n\r\n"
					h.Set("Content-Encoding", "aws-chunked")
					h.Set("X-Amz-Decoded-Content-Length", "9")
					h.Set("X-Amz-Trailer", checksumPrefix+name)
				} else {
					h.Set(checksumPrefix+name, want)
				}
				resp, doc := send(t, "PUT", s.URL+"/micelio/k", h, strings.NewReader(wire))
				right := body == "123456789"
				if (resp.StatusCode == 200) != right || (!right && codeOf(doc) != "BadDigest") {
					t.Errorf("%s of %q, trailer %v: %d %s", name, body, trailer, resp.StatusCode, doc)
				}
			}
		}
	}
}

// A Store that stops reading at the announced size must not have the whole of
// an upload whose end is wrong.
func TestTheLastBytesAreWithheldUntilTheEndIsVerified(t *testing.T) {
	for name, u := range map[string]*upload{
		"a wrong sum":         {size: 5, body: strings.NewReader("hello"), digests: digests{sum: wrongSum()}},
		"a malformed end":     {size: 5, body: io.MultiReader(strings.NewReader("hello"), iotest.ErrReader(errChunk))},
		"one byte more":       {size: 5, body: strings.NewReader("hello!")},
		"no trailer at all":   {size: 5, body: strings.NewReader("hello"), digests: digests{sum: newChecksum(algorithms[0])}},
		"a wrong sum, length": {size: -1, limit: 10, body: strings.NewReader("hello"), digests: digests{sum: wrongSum()}},
	} {
		r, err := u.Open()
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		_, err = io.Copy(&got, r)
		if err == nil {
			t.Errorf("%s: a clean end", name)
		}
		if u.size >= 0 && got.Len() >= 5 {
			t.Errorf("%s: all bytes were handed out", name)
		}
		if _, again := r.Read(make([]byte, 1)); !errors.Is(again, err) {
			t.Errorf("%s: the error does not stay: %v, then %v", name, err, again)
		}
		if _, err := u.Open(); !errors.Is(err, object.ErrReplay) {
			t.Errorf("%s: opened twice: %v", name, err)
		}
	}
}

func wrongSum() *checksum {
	c := newChecksum(algorithms[0])
	c.want = make([]byte, c.size)
	return c
}
