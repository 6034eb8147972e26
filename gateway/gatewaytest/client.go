// Package gatewaytest is an object.Store that speaks the S3 dialect to a node,
// for tests: what holds for every Store can be asked of a node from outside,
// over its socket. It is no client for programs: it signs nothing, retries
// nothing and sends every object as one upload.
package gatewaytest

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/micelio/micelio/object"
)

// A Client is a Store whose every call is one request to a node; a List is one
// for each page. What the dialect cannot say is missing: Info has no Version
// and no SHA256, and PutOptions.Version is not sent. An object that was stored
// without a ContentType has the one that S3 gives it.
//
// A request without an answer is ErrUnavailable if it cannot have taken
// effect, otherwise ErrUnknownOutcome. Answers that match none of package
// object's errors are errors of their own.
//
// The fields are not to be changed once the Client is in use.
type Client struct {
	// Base is the URL of the bucket without a slash at its end, as in
	// "http://127.0.0.1:8080/micelio".
	Base string

	// Framing is that of uploads whose size is known; the others are sent plain,
	// since the dialect announces the size of what is framed.
	Framing Framing

	// V1 lists by ListObjects instead of ListObjectsV2.
	V1 bool

	// RawNames lists without encoding-type=url: names come as they are, as far
	// as XML can carry them.
	RawNames bool

	// HTTP makes the requests, nil for http.DefaultClient.
	HTTP *http.Client
}

var _ object.Store = (*Client)(nil)

// metaPrefix starts the header fields of user metadata.
const metaPrefix = "x-amz-meta-"

// do makes a request and returns its answer. A refusal is an error and, for
// its header, an answer without a body.
func (c *Client) do(ctx context.Context, method, target string, h http.Header, body io.Reader, size int64) (*http.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Base+target, body)
	if err != nil {
		return nil, fmt.Errorf("gateway client: %w", err)
	}
	h.Set("Accept-Encoding", "identity") // or net/http would undo an encoding that is the object's own
	req.Header, req.ContentLength = h, size
	resp, err := cmp.Or(c.HTTP, http.DefaultClient).Do(req)
	if err != nil {
		return nil, unanswered(ctx, method, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return resp, refusal(method+" "+target, resp)
}

// target returns the path of a key behind Base. The empty key has none: its
// path would be the bucket's.
func target(key object.Key) (string, error) {
	if key == "" {
		return "", object.ErrInvalidKey
	}
	return (&url.URL{Path: "/" + string(key)}).EscapedPath(), nil
}

func conditions(match, noneMatch object.Match) http.Header {
	h := http.Header{}
	set(h, "If-Match", match.String())
	set(h, "If-None-Match", noneMatch.String())
	return h
}

func set(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}

// Head describes an object.
func (c *Client) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	resp, info, err := c.read(ctx, http.MethodHead, key, conditions(opt.IfMatch, opt.IfNoneMatch))
	if err != nil {
		return object.Info{}, err
	}
	return info, resp.Body.Close()
}

// Get returns an object or a part of it. A body whose connection breaks ends
// with an error.
func (c *Client) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	h := conditions(opt.IfMatch, opt.IfNoneMatch)
	set(h, "Range", opt.Range.String())
	resp, info, err := c.read(ctx, http.MethodGet, key, h)
	if err != nil {
		return nil, err
	}
	obj := &object.Object{Info: info, Length: info.Size, Body: resp.Body}
	if resp.StatusCode == http.StatusPartialContent {
		var last int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &obj.Offset, &last, &obj.Size); err != nil {
			resp.Body.Close()
			return nil, fmt.Errorf("gateway client: content range of %q: %w", key, err)
		}
	}
	return obj, nil
}

// read makes a GET or HEAD. Without an error the answer's body is the caller's.
func (c *Client) read(ctx context.Context, method string, key object.Key, h http.Header) (*http.Response, object.Info, error) {
	path, err := target(key)
	if err != nil {
		return nil, object.Info{}, err
	}
	resp, err := c.do(ctx, method, path, h, nil, 0)
	if resp == nil {
		return nil, object.Info{}, err
	}
	info := infoOf(key, resp)
	if resp.StatusCode == http.StatusNotModified {
		err = &object.NotModifiedError{Info: info}
	}
	return resp, info, err
}

// infoOf reads what an answer says about an object.
func infoOf(key object.Key, resp *http.Response) object.Info {
	h := resp.Header
	info := object.Info{Key: key, Size: resp.ContentLength, Node: h.Get("Micelio-Node")}
	if tier := h.Get("X-Cache"); tier != "none" {
		info.Tier = object.Tier(tier)
	}
	info.ETag, _ = object.ParseETag(h.Get("ETag"))
	info.Modified, _ = http.ParseTime(h.Get("Last-Modified"))
	info.Age, _ = time.ParseDuration(h.Get("Age") + "s")
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

// Put stores an object. When it has returned, the source is not read any more;
// so a Put that is refused waits for the read that is under way.
func (c *Client) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	path, err := target(key)
	if err != nil {
		return object.Info{}, err
	}
	u, err := openUpload(src)
	if err != nil {
		return object.Info{}, err
	}
	h := uploadHeader(opt)
	body, size, err := c.Framing.frame(h, u, opt.SHA256.IsZero())
	var resp *http.Response
	if err == nil {
		resp, err = c.do(ctx, http.MethodPut, path, h, body, size)
	}
	if err == nil {
		err = resp.Body.Close()
	}
	sent, broken := u.finish()
	if broken != nil {
		return object.Info{}, fmt.Errorf("gateway client: source of %q: %w", key, broken)
	}
	if err != nil {
		return object.Info{}, err
	}
	info := infoOf(key, resp)
	info.Size = sent
	return info, nil
}

// uploadHeader says what opt does.
func uploadHeader(opt object.PutOptions) http.Header {
	h := conditions(opt.IfMatch, opt.IfNoneMatch)
	set(h, "Content-Type", opt.Attrs.ContentType)
	set(h, "Content-Encoding", opt.Attrs.ContentEncoding)
	set(h, "Content-Language", opt.Attrs.ContentLanguage)
	set(h, "Content-Disposition", opt.Attrs.ContentDisposition)
	set(h, "Cache-Control", opt.Attrs.CacheControl)
	for name, value := range opt.Attrs.User {
		h.Set(metaPrefix+name, value)
	}
	if opt.MD5 != nil {
		h.Set("Content-MD5", base64.StdEncoding.EncodeToString(opt.MD5))
	}
	if !opt.SHA256.IsZero() {
		h.Set("X-Amz-Checksum-Sha256", base64.StdEncoding.EncodeToString(opt.SHA256[:]))
	}
	return h
}

// Delete removes an object.
func (c *Client) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	path, err := target(key)
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, http.MethodDelete, path, conditions(opt.IfMatch, object.Match{}), nil, 0)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
