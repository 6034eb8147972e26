package s3test_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/origin/s3test"
)

// The examples of the S3 API reference, "Signature Calculations for the
// Authorization Header", with its key, its time and its results.

const exampleScope = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"

func exampleFake(t *testing.T) *s3test.Fake {
	at := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	fake := s3test.NewFake(t, s3test.FakeClock(func() time.Time { return at }), s3test.FakeBucket("examplebucket"))
	fake.AddKey("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "")
	return fake
}

// answer returns the code of the error that a request gets, "" for none.
func answer(fake *s3test.Fake, req *http.Request) string {
	w := httptest.NewRecorder()
	fake.ServeHTTP(w, req)
	_, rest, _ := strings.Cut(w.Body.String(), "<Code>")
	code, _, _ := strings.Cut(rest, "</Code>")
	return code
}

func TestTheExamplesOfSignedReads(t *testing.T) {
	t.Parallel()
	fake := exampleFake(t)
	header := func(signature string) *http.Request {
		req := httptest.NewRequest(http.MethodGet, "http://examplebucket.s3.amazonaws.com/test.txt", nil)
		req.Header.Set("Range", "bytes=0-9")
		req.Header.Set("X-Amz-Content-Sha256", hexSum(nil))
		req.Header.Set("X-Amz-Date", "20130524T000000Z")
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+exampleScope+",SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature="+signature)
		return req
	}
	query := func(signature string) *http.Request {
		return httptest.NewRequest(http.MethodGet, "http://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="+
			strings.ReplaceAll(exampleScope, "/", "%2F")+"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="+signature, nil)
	}
	// The fake takes the path for that of a bucket it does not have.
	for want, req := range map[string][]*http.Request{
		"NoSuchBucket": {
			header("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
			query("aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"),
		},
		"SignatureDoesNotMatch": {header(strings.Repeat("0", 64)), query(strings.Repeat("0", 64))},
	} {
		for _, r := range req {
			if got := answer(fake, r); got != want {
				t.Errorf("%s: %s, want %s", r.URL, got, want)
			}
		}
	}
}

// chunked is the upload of the example: 65 KiB of the letter a in two chunks.
func chunked(signatures [3]string, trailer string) []byte {
	var b bytes.Buffer
	for i, size := range []int{64 << 10, 1 << 10, 0} {
		fmt.Fprintf(&b, "%x;chunk-signature=%s\r\n%s", size, signatures[i], strings.Repeat("a", size))
		if size > 0 || trailer == "" {
			b.WriteString("\r\n")
		}
	}
	b.WriteString(trailer)
	return b.Bytes()
}

func TestTheExamplesOfSignedChunks(t *testing.T) {
	t.Parallel()
	plain := [3]string{
		"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
		"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
		"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
	}
	trailing := [3]string{
		"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
		"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
		"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
	}
	const trailerSignature = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
	trailer := func(checksum, signature string) string {
		return "x-amz-checksum-crc32c:" + checksum + "\r\nx-amz-trailer-signature:" + signature + "\r\n\r\n"
	}
	upload := func(body []byte, change func(h http.Header)) *http.Request {
		req := httptest.NewRequest(http.MethodPut, "http://s3.amazonaws.com/examplebucket/chunkObject.txt", bytes.NewReader(body))
		for name, value := range map[string]string{
			"X-Amz-Date": "20130524T000000Z", "X-Amz-Storage-Class": "REDUCED_REDUNDANCY", "Content-Encoding": "aws-chunked",
			"X-Amz-Decoded-Content-Length": "66560", "X-Amz-Content-Sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
			"Authorization": "AWS4-HMAC-SHA256 Credential=" + exampleScope +
				",SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class" +
				",Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
		} {
			req.Header.Set(name, value)
		}
		if change != nil {
			change(req.Header)
		}
		return req
	}
	withTrailer := func(h http.Header) {
		h.Set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
		h.Set("X-Amz-Trailer", "x-amz-checksum-crc32c")
		h.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+exampleScope+
			",SignedHeaders=content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer"+
			",Signature=106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e")
	}
	other := func(b []byte) []byte { b = bytes.Clone(b); b[100] = 'b'; return b }
	for name, c := range map[string]struct {
		req  *http.Request
		want string
	}{
		"chunks":              {upload(chunked(plain, ""), nil), ""},
		"another byte":        {upload(other(chunked(plain, "")), nil), "SignatureDoesNotMatch"},
		"no size":             {upload(bytes.Replace(chunked(plain, ""), []byte("400;"), []byte("xyz;"), 1), nil), "IncompleteBody"},
		"trailer":             {upload(chunked(trailing, trailer("sOO8/Q==", trailerSignature)), withTrailer), ""},
		"another trailer":     {upload(chunked(trailing, trailer("AAAAAA==", trailerSignature)), withTrailer), "SignatureDoesNotMatch"},
		"no trailer":          {upload(chunked(trailing, "\r\n"), withTrailer), "MalformedTrailerError"},
		"unknown trailer too": {upload(chunked(trailing, "x-amz-meta-a:b\r\n"+trailer("sOO8/Q==", trailerSignature)), withTrailer), "MalformedTrailerError"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := exampleFake(t)
			got := answer(fake, c.req)
			if _, _, found := fake.Object("chunkObject.txt"); found != (c.want == "") {
				t.Errorf("the object is there: %v", found)
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
