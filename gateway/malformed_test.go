package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// raw sends bytes to a server, ends sending, and reads one answer. A status
// of 0 means that none came.
func raw(t *testing.T, addr, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	conn.(*net.TCPConn).CloseWrite()
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return &http.Response{Header: http.Header{}}, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("the answer to %.60q does not end cleanly: %v", request, err)
	}
	return resp, string(body)
}

// codeOf returns the S3 code of an error document, "" if there is none.
func codeOf(doc string) string {
	_, rest, _ := strings.Cut(doc, "<Code>")
	code, _, _ := strings.Cut(rest, "</Code>")
	return code
}

func TestMalformedTargetsAreRefusedAndTouchNothing(t *testing.T) {
	long, many := strings.Repeat("k", 1025), strings.Repeat("%41", 1025)
	cases := []struct {
		target string
		status int
		code   string // "" for refusals by net/http itself
	}{
		{"/micelio//", 400, "InvalidArgument"},
		{"/micelio//a", 400, "InvalidArgument"},
		{"/micelio/a//b", 400, "InvalidArgument"},
		{"/micelio/a/", 400, "InvalidArgument"},
		{"/micelio/.", 400, "InvalidArgument"},
		{"/micelio/..", 400, "InvalidArgument"},
		{"/micelio/../etc/passwd", 400, "InvalidArgument"},
		{"/micelio/a/../../etc/passwd", 400, "InvalidArgument"},
		{"/micelio/a/./b", 400, "InvalidArgument"},
		{"/micelio/%2e%2e%2fetc%2fpasswd", 400, "InvalidArgument"},
		{"/micelio/%2e%2e/x", 400, "InvalidArgument"},
		{"/micelio/sessions/%2E%2E%2f%2e%2E%2fetc/passwd", 400, "InvalidArgument"},
		{"/micelio/a%2f%2fb", 400, "InvalidArgument"},
		{"/micelio/%2fa", 400, "InvalidArgument"},
		{"/micelio/a%2f", 400, "InvalidArgument"},
		{"/micelio/a%00b", 400, "InvalidArgument"},
		{"/micelio/a%0d%0ab", 400, "InvalidArgument"},
		{"/micelio/a%0d%0aX-Evil:%201", 400, "InvalidArgument"},
		{"/micelio/a%09b", 400, "InvalidArgument"},
		{"/micelio/a%7fb", 400, "InvalidArgument"},
		{"/micelio/a%C2%85b", 400, "InvalidArgument"},
		{"/micelio/a%5cb", 400, "InvalidArgument"},
		{"/micelio/..%5c..%5cx", 400, "InvalidArgument"},
		{"/micelio/%ff", 400, "InvalidURI"},
		{"/micelio/%c3", 400, "InvalidURI"},
		{"/micelio/%ed%a0%80", 400, "InvalidURI"},
		{"/micelio/%c0%ae%c0%ae/x", 400, "InvalidURI"},
		{"/micelio/\xff", 400, "InvalidURI"},
		{"/micelio/" + long, 400, "KeyTooLongError"},
		{"/micelio/" + many, 400, "KeyTooLongError"},
		{"/micelio/" + strings.Repeat("%41", 4000), 400, "KeyTooLongError"},
		{"/micelio/a#b", 400, "InvalidURI"},
		{"/micelio/a?x=%zz", 400, "InvalidURI"},
		{"/micelio/a?a;b", 400, "InvalidURI"},
		{"//micelio/a", 400, "InvalidBucketName"},
		{"//", 400, "InvalidBucketName"},
		{"///", 400, "InvalidBucketName"},
		{"/../micelio/a", 400, "InvalidBucketName"},
		{"/./micelio/a", 400, "InvalidBucketName"},
		{"/%2e%2e%2fetc/passwd", 400, "InvalidBucketName"},
		{"/micelio%2fa", 400, "InvalidBucketName"},
		{"/mice%00lio/a", 400, "InvalidBucketName"},
		{"http://127.0.0.1/micelio/a", 400, "InvalidURI"},
		{"http://169.254.169.254/latest/meta-data", 400, "InvalidURI"},
		{"ftp://host/micelio/a", 400, "InvalidURI"},
		{"/micelio/%zz", 400, ""},
		{"/micelio/%4", 400, ""},
		{"/micelio/%", 400, ""},
		{"micelio/a", 400, ""},
		{"/micelio/a b", 400, ""},
		{"/micelio/a\x00", 400, ""},
		{"/Micelio/a", 404, "NoSuchBucket"},
		{"/other/a", 404, "NoSuchBucket"},
	}
	store := newMemStore()
	addr := serve(t, Config{Store: store}).Listener.Addr().String()
	for _, c := range cases {
		for _, method := range []string{"GET", "PUT", "DELETE", "HEAD"} {
			resp, doc := raw(t, addr, method+" "+c.target+" HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
			code := codeOf(doc)
			if method == "HEAD" && code == "" {
				code = c.code
			}
			if resp.StatusCode != c.status || code != c.code {
				t.Errorf("%s %.60q: %d %q, want %d %q", method, c.target, resp.StatusCode, code, c.status, c.code)
			}
			for _, name := range []string{"X-Cache", "Micelio-Node", "X-Amz-Request-Id", "X-Content-Type-Options"} {
				if c.code != "" && resp.Header.Get(name) == "" {
					t.Errorf("%s %.60q: the answer has no %s", method, c.target, name)
				}
			}
		}
	}
	if n := store.calls.Load(); n != 0 {
		t.Errorf("the store was called %d times", n)
	}
}

func TestMalformedRequestsAreRefusedAndTouchNothing(t *testing.T) {
	put := func(header string) string { return "PUT /micelio/a HTTP/1.1\r\nHost: x\r\n" + header + "\r\n\r\nxyz" }
	lines := strings.Repeat("X-A: 1\r\n", maxHeaderLines+1)
	cases := map[string]struct {
		request string
		status  int
		code    string
	}{
		"lower-case method":        {"get /micelio/a HTTP/1.1\r\nHost: x\r\n\r\n", 405, "MethodNotAllowed"},
		"PATCH":                    {"PATCH /micelio/a HTTP/1.1\r\nHost: x\r\n\r\n", 405, "MethodNotAllowed"},
		"OPTIONS":                  {"OPTIONS /micelio/a HTTP/1.1\r\nHost: x\r\n\r\n", 405, "MethodNotAllowed"},
		"OPTIONS *":                {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 405, "MethodNotAllowed"},
		"TRACE":                    {"TRACE /micelio/a HTTP/1.1\r\nHost: x\r\n\r\n", 405, "MethodNotAllowed"},
		"CONNECT":                  {"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", 405, "MethodNotAllowed"},
		"GET *":                    {"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400, "InvalidURI"},
		"POST of an object":        {"POST /micelio/a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405, "MethodNotAllowed"},
		"DELETE of the service":    {"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", 405, "MethodNotAllowed"},
		"too many header fields":   {"GET /micelio/a HTTP/1.1\r\nHost: x\r\n" + lines + "\r\n", 400, "RequestHeaderSectionTooLarge"},
		"chunks in HTTP/1.0":       {"PUT /micelio/a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411, "MissingContentLength"},
		"a large body of a GET":    {"GET /micelio/a HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + strings.Repeat("x", 70000), 400, "InvalidRequest"},
		"a cut body of a GET":      {"GET /micelio/a HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\nx", 400, "IncompleteBody"},
		"no length at all":         {"PUT /micelio/a HTTP/1.1\r\nHost: x\r\n\r\n", 411, "MissingContentLength"},
		"two lengths":              {put("Content-Length: 3\r\nContent-Length: 4"), 400, ""},
		"a negative length":        {put("Content-Length: -3"), 400, ""},
		"another transfer coding":  {put("Transfer-Encoding: gzip"), 501, ""},
		"Content-MD5 no base64":    {put("Content-Length: 3\r\nContent-MD5: !!!"), 400, "InvalidDigest"},
		"Content-MD5 too short":    {put("Content-Length: 3\r\nContent-MD5: YWJj"), 400, "InvalidDigest"},
		"Content-MD5 empty":        {put("Content-Length: 3\r\nContent-MD5:"), 400, "InvalidDigest"},
		"Content-MD5 twice":        {put("Content-Length: 3\r\nContent-MD5: YWJj\r\nContent-MD5: YWJk"), 400, "InvalidArgument"},
		"content-sha256 garbage":   {put("Content-Length: 3\r\nx-amz-content-sha256: abc"), 400, "InvalidArgument"},
		"content-sha256 zero":      {put("Content-Length: 3\r\nx-amz-content-sha256: " + strings.Repeat("0", 64)), 400, "XAmzContentSHA256Mismatch"},
		"unknown streaming":        {put("Content-Length: 3\r\nx-amz-content-sha256: STREAMING-X"), 501, "NotImplemented"},
		"checksum garbage":         {put("Content-Length: 3\r\nx-amz-checksum-crc32: abc"), 400, "InvalidRequest"},
		"checksum unknown":         {put("Content-Length: 3\r\nx-amz-checksum-xxhash3: YWJj"), 501, "NotImplemented"},
		"two checksums":            {put("Content-Length: 3\r\nx-amz-checksum-crc32: NSRBwg==\r\nx-amz-checksum-crc32c: NSRBwg=="), 400, "InvalidRequest"},
		"trailer without framing":  {put("Content-Length: 3\r\nx-amz-trailer: x-amz-checksum-crc32"), 400, "InvalidRequest"},
		"framing without length":   {put("Content-Length: 3\r\nContent-Encoding: aws-chunked"), 411, "MissingContentLength"},
		"framing, odd length":      {put("Content-Length: 3\r\nContent-Encoding: aws-chunked\r\nx-amz-decoded-content-length: -1"), 400, "InvalidArgument"},
		"framing and a sum":        {put("Content-Length: 3\r\nContent-Encoding: aws-chunked\r\nx-amz-content-sha256: " + strings.Repeat("a", 64)), 400, "InvalidRequest"},
		"If-Match malformed":       {put("Content-Length: 3\r\nIf-Match: \"a"), 400, "InvalidArgument"},
		"If-Match empty":           {put("Content-Length: 3\r\nIf-Match:"), 400, "InvalidArgument"},
		"If-Match of two":          {put("Content-Length: 3\r\nIf-Match: \"a\", \"b\""), 501, "NotImplemented"},
		"If-None-Match of one":     {put("Content-Length: 3\r\nIf-None-Match: \"a\""), 501, "NotImplemented"},
		"both conditions":          {put("Content-Length: 3\r\nIf-None-Match: *\r\nIf-Match: \"a\""), 501, "NotImplemented"},
		"a date condition":         {put("Content-Length: 3\r\nIf-Unmodified-Since: Mon, 02 Jan 2006 15:04:05 GMT"), 501, "NotImplemented"},
		"copy":                     {put("Content-Length: 3\r\nx-amz-copy-source: /micelio/b"), 501, "NotImplemented"},
		"encryption":               {put("Content-Length: 3\r\nx-amz-server-side-encryption: AES256"), 501, "NotImplemented"},
		"tags":                     {put("Content-Length: 3\r\nx-amz-tagging: a=b"), 501, "NotImplemented"},
		"a public ACL":             {put("Content-Length: 3\r\nx-amz-acl: public-read"), 400, "AccessControlListNotSupported"},
		"another storage class":    {put("Content-Length: 3\r\nx-amz-storage-class: GLACIER"), 400, "InvalidStorageClass"},
		"a tab in a stored value":  {put("Content-Length: 3\r\nx-amz-meta-a: a\tb"), 400, "InvalidArgument"},
		"a C1 control in a value":  {put("Content-Length: 3\r\nContent-Type: a\u0085b"), 400, "InvalidArgument"},
		"Latin-1 in a value":       {put("Content-Length: 3\r\nx-amz-meta-a: f\xfcchse"), 400, "InvalidArgument"},
		"metadata without a name":  {put("Content-Length: 3\r\nx-amz-meta-: a"), 400, "InvalidArgument"},
		"too much metadata":        {put("Content-Length: 3\r\nx-amz-meta-a: " + strings.Repeat("x", 2048)), 400, "MetadataTooLarge"},
		"too much else":            {put("Content-Length: 3\r\nContent-Type: " + strings.Repeat("x", 8193)), 400, "RequestHeaderSectionTooLarge"},
		"too large by its length":  {put("Content-Length: 1001"), 413, "EntityTooLarge"},
		"too large once decoded":   {put("Transfer-Encoding: chunked\r\nContent-Encoding: aws-chunked\r\nx-amz-decoded-content-length: 1001"), 413, "EntityTooLarge"},
		"initiating an upload":     {"POST /micelio/a?uploads HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 501, "NotImplemented"},
		"a part":                   {"PUT /micelio/a?partNumber=1&uploadId=x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 501, "NotImplemented"},
		"a PUT of an ACL":          {"PUT /micelio/a?acl HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 501, "NotImplemented"},
		"a GET of tags":            {"GET /micelio/a?tagging HTTP/1.1\r\nHost: x\r\n\r\n", 501, "NotImplemented"},
		"a DELETE of tags":         {"DELETE /micelio/a?tagging HTTP/1.1\r\nHost: x\r\n\r\n", 501, "NotImplemented"},
		"a DELETE of a version":    {"DELETE /micelio/a?versionId=abc HTTP/1.1\r\nHost: x\r\n\r\n", 404, "NoSuchVersion"},
		"a conditional DELETE":     {"DELETE /micelio/a HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n", 501, "NotImplemented"},
		"overridden headers":       {"GET /micelio/a?response-content-type=text/html HTTP/1.1\r\nHost: x\r\n\r\n", 400, "InvalidRequest"},
		"versions of the bucket":   {"GET /micelio?versions HTTP/1.1\r\nHost: x\r\n\r\n", 501, "NotImplemented"},
		"configuring the bucket":   {"PUT /micelio?versioning HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 501, "NotImplemented"},
		"removing the bucket":      {"DELETE /micelio HTTP/1.1\r\nHost: x\r\n\r\n", 501, "NotImplemented"},
		"creating another bucket":  {"PUT /other HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 403, "AccessDenied"},
		"another listing":          {"GET /micelio?list-type=3 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "InvalidArgument"},
		"a negative page":          {"GET /micelio?max-keys=-1 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "InvalidArgument"},
		"a page of no number":      {"GET /micelio?max-keys=ten HTTP/1.1\r\nHost: x\r\n\r\n", 400, "InvalidArgument"},
		"another encoding":         {"GET /micelio?encoding-type=xml HTTP/1.1\r\nHost: x\r\n\r\n", 400, "InvalidArgument"},
		"a control in a prefix":    {"GET /micelio?prefix=a%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "InvalidArgument"},
		"a prefix in Latin-1":      {"GET /micelio?prefix=%fc HTTP/1.1\r\nHost: x\r\n\r\n", 400, "InvalidArgument"},
		"a foreign token":          {"GET /micelio?list-type=2&continuation-token=abcdefgh HTTP/1.1\r\nHost: x\r\n\r\n", 400, "InvalidArgument"},
		"an empty token":           {"GET /micelio?list-type=2&continuation-token= HTTP/1.1\r\nHost: x\r\n\r\n", 400, "InvalidArgument"},
		"deleting no document":     {"POST /micelio?delete HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyz", 400, "MalformedXML"},
		"deleting nothing":         {"POST /micelio?delete HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n\r\n<Delete></Delete>", 400, "MalformedXML"},
		"deleting by a huge doc":   {"POST /micelio?delete HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n", 400, "MaxMessageLengthExceeded"},
		"posting to the bucket":    {"POST /micelio HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 501, "NotImplemented"},
		"an unknown expectation":   {put("Content-Length: 3\r\nExpect: magic"), 417, ""},
		"no host":                  {"GET /micelio/a HTTP/1.1\r\n\r\n", 400, ""},
		"space before a colon":     {put("Content-Length : 3"), 400, ""},
		"a NUL in a header":        {put("Content-Length: 3\r\nx-amz-meta-a: a\x00b"), 400, ""},
		"an uploadId in a listing": {"GET /micelio/a?uploadId=1 HTTP/1.1\r\nHost: x\r\n\r\n", 501, "NotImplemented"},
	}
	store := newMemStore()
	addr := serve(t, Config{Store: store, MaxObject: 1000}).Listener.Addr().String()
	for name, c := range cases {
		resp, doc := raw(t, addr, c.request)
		if resp.StatusCode != c.status || codeOf(doc) != c.code {
			t.Errorf("%s: %d %q, want %d %q", name, resp.StatusCode, codeOf(doc), c.status, c.code)
		}
		if c.status == 405 && resp.Header.Get("Allow") == "" {
			t.Errorf("%s: 405 without Allow", name)
		}
	}
	if n := store.calls.Load(); n != 0 {
		t.Errorf("the store was called %d times", n)
	}
}

func TestDamagedUploadsStoreNothing(t *testing.T) {
	head := "PUT /micelio/a HTTP/1.1\r\nHost: x\r\n"
	framed := func(length int, body string) string {
		return fmt.Sprintf("%sContent-Encoding: aws-chunked\r\nx-amz-decoded-content-length: %d\r\nContent-Length: %d\r\n\r\n%s", head, length, len(body), body)
	}
	cases := map[string]struct {
		request string
		status  int
		code    string
	}{
		"cut short":                {head + "Content-Length: 10\r\n\r\nabc", 400, "IncompleteBody"},
		"nothing came":             {head + "Content-Length: 10\r\n\r\n", 400, "IncompleteBody"},
		"cut in a chunk":           {head + "Transfer-Encoding: chunked\r\n\r\na\r\nabc", 400, "IncompleteBody"},
		"cut between chunks":       {head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 400, "IncompleteBody"},
		"cut before the last CRLF": {head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", 400, "IncompleteBody"},
		"no chunk size":            {head + "Transfer-Encoding: chunked\r\n\r\nabc\r\n0\r\n\r\n", 400, "IncompleteBody"},
		"a negative chunk":         {head + "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", 400, "IncompleteBody"},
		"longer than its chunk":    {head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400, "IncompleteBody"},
		"too large, unannounced":   {head + "Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + strings.Repeat("x", 1001) + "\r\n0\r\n\r\n", 413, "EntityTooLarge"},
		"framed, shorter":          {framed(4, "3\r\nabc\r\n0\r\n\r\n"), 400, "IncompleteBody"},
		"framed, longer":           {framed(2, "3\r\nabc\r\n0\r\n\r\n"), 400, "IncompleteBody"},
		"framed, not really":       {framed(3, "abc"), 400, "IncompleteBody"},
		"framed, no last chunk":    {framed(3, "3\r\nabc\r\n"), 400, "IncompleteBody"},
		"framed, empty, no end":    {framed(0, ""), 400, "IncompleteBody"},
		"framed, something behind": {framed(3, "3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"), 400, "MalformedTrailerError"},
		"a wrong MD5":              {head + "Content-Length: 3\r\nContent-MD5: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\nabc", 400, "BadDigest"},
		"a wrong sum, empty":       {head + "Content-Length: 0\r\nx-amz-checksum-crc32: AAAAAQ==\r\n\r\n", 400, "BadDigest"},
	}
	for name, c := range cases {
		store := newMemStore()
		addr := serve(t, Config{Store: store, MaxObject: 1000}).Listener.Addr().String()
		resp, doc := raw(t, addr, c.request)
		if resp.StatusCode != c.status || codeOf(doc) != c.code {
			t.Errorf("%s: %d %q, want %d %q", name, resp.StatusCode, codeOf(doc), c.status, c.code)
		}
		if keys := store.keys(t); len(keys) != 0 {
			t.Errorf("%s: stored %q", name, keys)
		}
	}
}
