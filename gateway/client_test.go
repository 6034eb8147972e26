package gateway

import (
	"context"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

const testBucket = "micelio"

// serve starts a server of the dialect over store.
func serve(t *testing.T, cfg Config) *httptest.Server {
	t.Helper()
	cfg.Bucket, cfg.Node = testBucket, "node-1"
	if cfg.Region == "" {
		cfg.Region = "eu-central-1"
	}
	s := httptest.NewUnstartedServer(New(cfg))
	s.Config.DisableGeneralOptionsHandler = true
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func TestTheDialectCarriesAWholeStore(t *testing.T) {
	for name, c := range map[string]client{
		"plain bodies, ListObjectsV2":        {},
		"signed chunks, ListObjects":         {framing: signedFraming, v1: true},
		"chunks with a trailer, raw listing": {framing: trailerFraming, rawNames: true},
	} {
		t.Run(name, func(t *testing.T) {
			objecttest.Test(t, func(t *testing.T) object.Store {
				c := c
				c.base = serve(t, Config{Store: newMemStore()}).URL + "/" + testBucket
				return &c
			})
		})
	}
}

// A client is a Store that speaks the dialect to a server.
type client struct {
	base     string
	framing  framing // of uploads whose size is known
	v1       bool
	rawNames bool // do not ask for encoding-type=url
}

// do sends a request and returns the answer of a success.
func (c *client) do(ctx context.Context, method, target string, h http.Header, body io.Reader, size int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+target, body)
	if err != nil {
		return nil, err
	}
	req.Header, req.ContentLength = h, size
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	doc, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return resp, sentinelOf(resp.StatusCode, doc)
}

func sentinelOf(status int, doc []byte) error {
	var e errorDocument
	_ = xml.Unmarshal(doc, &e) // the answer to a HEAD has none
	switch e.Code {
	case "InvalidURI", "InvalidArgument", "KeyTooLongError":
		return object.ErrInvalidKey
	case "BadDigest", "XAmzContentSHA256Mismatch":
		return object.ErrDigest
	}
	for _, a := range answers {
		if a.answer.status == status && (e.Code == "" || e.Code == a.answer.code) {
			return a.is
		}
	}
	return fmt.Errorf("status %d, code %q", status, e.Code)
}

// path returns the target of a key. The empty key has none: its target would
// be the bucket's.
func path(key object.Key) (string, error) {
	if key == "" {
		return "", object.ErrInvalidKey
	}
	return "/" + encodeName(string(key)), nil
}

func conditionHeader(match, noneMatch object.Match) http.Header {
	h := http.Header{}
	setIf(h, "If-Match", match.String())
	setIf(h, "If-None-Match", noneMatch.String())
	return h
}

func (c *client) read(ctx context.Context, method string, key object.Key, h http.Header) (*http.Response, object.Info, error) {
	target, err := path(key)
	if err != nil {
		return nil, object.Info{}, err
	}
	resp, err := c.do(ctx, method, target, h, nil, 0)
	if resp == nil {
		return nil, object.Info{}, err
	}
	info := infoOf(key, resp)
	if resp.StatusCode == http.StatusNotModified {
		err = &object.NotModifiedError{Info: info}
	}
	return resp, info, err
}

func infoOf(key object.Key, resp *http.Response) object.Info {
	h := resp.Header
	info := object.Info{Key: key, Size: resp.ContentLength, Tier: object.Tier(h.Get("X-Cache")), Node: h.Get("Micelio-Node")}
	info.ETag, _ = object.ParseETag(h.Get("ETag"))
	info.Modified, _ = http.ParseTime(h.Get("Last-Modified"))
	info.Attrs = object.Attrs{
		ContentType: h.Get("Content-Type"), ContentEncoding: h.Get("Content-Encoding"), ContentLanguage: h.Get("Content-Language"),
		ContentDisposition: h.Get("Content-Disposition"), CacheControl: h.Get("Cache-Control"), User: map[string]string{},
	}
	for name, values := range h {
		if key, ok := strings.CutPrefix(strings.ToLower(name), metaPrefix); ok {
			info.User[key] = values[0]
		}
	}
	return info
}

func (c *client) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	_, info, err := c.read(ctx, http.MethodHead, key, conditionHeader(opt.IfMatch, opt.IfNoneMatch))
	return info, err
}

func (c *client) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	h := conditionHeader(opt.IfMatch, opt.IfNoneMatch)
	setIf(h, "Range", opt.Range.String())
	resp, info, err := c.read(ctx, http.MethodGet, key, h)
	if err != nil {
		return nil, err
	}
	obj := &object.Object{Info: info, Length: info.Size, Body: resp.Body}
	if resp.StatusCode == http.StatusPartialContent {
		var last int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &obj.Offset, &last, &obj.Size); err != nil {
			resp.Body.Close()
			return nil, err
		}
	}
	return obj, nil
}

func (c *client) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	target, err := path(key)
	if err != nil {
		return object.Info{}, err
	}
	h := conditionHeader(opt.IfMatch, opt.IfNoneMatch)
	setAttrs(h, opt.Attrs)
	if opt.Attrs.ContentType == "" {
		h.Del("Content-Type")
	}
	if opt.MD5 != nil {
		h.Set("Content-MD5", base64.StdEncoding.EncodeToString(opt.MD5))
	}
	if !opt.SHA256.IsZero() {
		h.Set("x-amz-checksum-sha256", base64.StdEncoding.EncodeToString(opt.SHA256[:]))
	}
	r, err := object.OpenExact(src)
	if err != nil {
		return object.Info{}, err
	}
	defer r.Close()
	body := &recorder{r: r, size: src.Size()}
	var wire io.Reader = body
	size := src.Size()
	if c.framing != plainFraming && size >= 0 {
		wire, size = c.framing.encode(h, body, size, opt.SHA256.IsZero())
	}
	if size == 0 {
		wire = nil
	}
	resp, err := c.do(ctx, http.MethodPut, target, h, wire, size)
	if body.err != nil {
		return object.Info{}, body.err
	}
	if err != nil {
		return object.Info{}, err
	}
	info := infoOf(key, resp)
	info.Size = body.n
	return info, nil
}

func (c *client) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	target, err := path(key)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, http.MethodDelete, target, conditionHeader(opt.IfMatch, object.Match{}), nil, 0)
	return err
}

func (c *client) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return func(yield func(object.Entry, error) bool) {
		q := url.Values{"prefix": {opt.Prefix}, "delimiter": {opt.Delimiter}}
		position := "marker"
		if !c.v1 {
			q.Set("list-type", "2")
			position = "start-after"
		}
		if !c.rawNames {
			q.Set("encoding-type", "url")
		}
		q.Set(position, opt.After)
		for left := opt.Limit; ; {
			if opt.Limit > 0 {
				q.Set("max-keys", strconv.Itoa(left))
			}
			page, err := c.page(ctx, q)
			if err != nil {
				yield(object.Entry{}, err)
				return
			}
			for _, e := range page.merged() {
				if left--; !yield(e, nil) {
					return
				}
			}
			if !page.IsTruncated || (opt.Limit > 0 && left == 0) {
				return
			}
			if c.v1 {
				q.Set("marker", c.decode(page.NextMarker))
			} else {
				q.Set("continuation-token", page.NextContinuationToken)
			}
		}
	}
}

// page gets one page, with its names decoded.
func (c *client) page(ctx context.Context, q url.Values) (*listResult, error) {
	resp, err := c.do(ctx, http.MethodGet, "?"+q.Encode(), http.Header{}, nil, 0)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	page := &listResult{}
	if err := xml.NewDecoder(resp.Body).Decode(page); err != nil {
		return nil, err
	}
	for i := range page.Contents {
		page.Contents[i].Key = c.decode(page.Contents[i].Key)
	}
	for i := range page.CommonPrefixes {
		page.CommonPrefixes[i].Prefix = c.decode(page.CommonPrefixes[i].Prefix)
	}
	return page, nil
}

func (c *client) decode(name string) string {
	if c.rawNames {
		return name
	}
	name, err := url.QueryUnescape(name)
	if err != nil {
		return "undecodable: " + err.Error()
	}
	return name
}

// merged returns the entries of a page in one order.
func (p *listResult) merged() []object.Entry {
	var entries []object.Entry
	objects, prefixes := p.Contents, p.CommonPrefixes
	for len(objects)+len(prefixes) > 0 {
		if len(objects) == 0 || (len(prefixes) > 0 && prefixes[0].Prefix < objects[0].Key) {
			entries = append(entries, object.Entry{CommonPrefix: prefixes[0].Prefix})
			prefixes = prefixes[1:]
			continue
		}
		o := objects[0]
		etag, _ := object.ParseETag(o.ETag)
		modified, _ := time.Parse(isoMillis, o.LastModified)
		entries = append(entries, object.Entry{Info: object.Info{Key: object.Key(o.Key), Size: o.Size, ETag: etag, Modified: modified}})
		objects = objects[1:]
	}
	return entries
}

// A recorder remembers how a source ended: net/http reports something else
// when the server answers first. It withholds the bytes that complete the size
// until the source has ended, since with them the server has a whole upload.
type recorder struct {
	r    io.Reader
	size int64
	n    int64
	err  error
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.n += int64(n)
	if r.n == r.size {
		if err = expectEnd(r.r, err); err == nil {
			err = io.EOF
		}
	}
	if err != nil && err != io.EOF {
		r.err, n = err, 0
	}
	return n, err
}

// A framing is a way to send the bytes of an upload.
type framing int

const (
	plainFraming framing = iota
	signedFraming
	trailerFraming
)

// chunkSize is what SDKs use.
const chunkSize = 64 << 10

// encode puts the framing around body and returns its size on the wire.
func (f framing) encode(h http.Header, body io.Reader, size int64, sum bool) (io.Reader, int64) {
	h.Set("X-Amz-Decoded-Content-Length", strconv.FormatInt(size, 10))
	if ce := h.Get("Content-Encoding"); ce != "" {
		h.Set("Content-Encoding", "aws-chunked, "+ce)
	}
	h.Set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
	if f == trailerFraming {
		h.Set("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
		if sum {
			h.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
		}
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(f.write(w, body, sum)) }()
	return r, -1
}

func (f framing) write(w io.Writer, body io.Reader, sum bool) error {
	extension := ""
	if f == signedFraming {
		extension = ";chunk-signature=" + strings.Repeat("ab", 32)
	}
	crc := crc32.NewIEEE()
	chunk := make([]byte, chunkSize)
	for {
		n, err := io.ReadFull(body, chunk)
		if err == io.ErrUnexpectedEOF && n > 0 {
			err = nil
		}
		if n > 0 {
			crc.Write(chunk[:n])
			if _, err := fmt.Fprintf(w, "%x%s\r\n%s\r\n", n, extension, chunk[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	trailer := ""
	if f == trailerFraming && sum {
		trailer = "x-amz-checksum-crc32:" + base64.StdEncoding.EncodeToString(crc.Sum(nil)) + "\r\n"
	}
	_, err := fmt.Fprintf(w, "0%s\r\n%s\r\n", extension, trailer)
	return err
}
