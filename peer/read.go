package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/micelio/micelio/object"
)

// Get implements object.Store. The body streams from the connection; closing it
// early keeps the connection if at most DrainLimit bytes are left.
func (c *Client) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return nil, err
	}
	l := c.begin(ctx, "get", key)
	obj, err := l.get(key, encodeGet(opt))
	if err != nil {
		l.end()
		return nil, err
	}
	return obj, nil
}

func (l *call) get(key object.Key, options []byte) (*object.Object, error) {
	req, err := l.request(http.MethodGet, objectPath(key), options)
	if err != nil {
		return nil, err
	}
	resp, err := l.send(req, http.StatusOK, http.StatusPartialContent)
	if err != nil {
		return nil, l.failed(err)
	}
	obj, err := answeredObject(resp, key)
	if err != nil {
		l.discard(resp)
		return nil, l.failed(err)
	}
	l.pause()
	l.widen(obj.Length)
	obj.Body = &body{call: l, resp: resp, left: obj.Length}
	return obj, nil
}

// answeredObject reads the headers of an answer to a Get of key.
func answeredObject(resp *http.Response, key object.Key) (*object.Object, error) {
	info, err := answeredInfo(resp)
	if err != nil {
		return nil, err
	}
	obj := &object.Object{Info: info, Length: info.Size}
	if resp.StatusCode == http.StatusPartialContent {
		obj.Offset, obj.Length, err = parseContentRange(resp.Header.Get("Content-Range"), info.Size)
		if err != nil {
			return nil, err
		}
	}
	if info.Key != key || resp.ContentLength != obj.Length {
		return nil, fmt.Errorf("%w: %d bytes of %q, where %d of %q were asked",
			errStranger, resp.ContentLength, info.Key, obj.Length, key)
	}
	return obj, nil
}

func contentRange(offset, length, size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", offset, offset+length-1, size)
}

// parseContentRange reads what contentRange wrote for an object of size bytes.
func parseContentRange(s string, size int64) (offset, length int64, err error) {
	part, _, _ := strings.Cut(strings.TrimPrefix(s, "bytes "), "/")
	from, to, _ := strings.Cut(part, "-")
	first, err1 := parseCount(from)
	last, err2 := parseCount(to)
	if err1 != nil || err2 != nil || last < first || last >= size || s != contentRange(first, last-first+1, size) {
		return 0, 0, fmt.Errorf("%w: Content-Range %.64q of %d bytes", errStranger, s, size)
	}
	return first, last - first + 1, nil
}

// Head implements object.Store.
func (c *Client) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return object.Info{}, err
	}
	l := c.begin(ctx, "head", key)
	defer l.end()
	return l.head(key, encodeHead(opt))
}

func (l *call) head(key object.Key, options []byte) (object.Info, error) {
	req, err := l.request(http.MethodHead, objectPath(key), options)
	if err != nil {
		return object.Info{}, err
	}
	resp, err := l.send(req, http.StatusOK)
	if err != nil {
		return object.Info{}, l.failed(err)
	}
	defer l.discard(resp)
	info, err := answeredInfo(resp)
	if err == nil && info.Key != key {
		err = fmt.Errorf("%w: describes %q", errStranger, info.Key)
	}
	if err != nil {
		return object.Info{}, l.failed(err)
	}
	return info, nil
}

// A body is the body of an answer. It ends with io.EOF only after all its
// bytes.
type body struct {
	call   *call
	resp   *http.Response
	left   int64
	err    error // sticky outcome
	closed bool
}

var errBodyClosed = errors.New("read after close")

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	b.call.allow(inactive)
	n, err := b.resp.Body.Read(p)
	b.call.pause()
	b.left -= int64(n)
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF && b.left == 0:
		b.err = io.EOF
		b.call.end()
	default:
		b.err = b.call.failed(err)
	}
	return n, b.err
}

// Close implements io.Closer. It never fails: bytes that were not read are
// nobody's loss.
func (b *body) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	if b.err == nil && b.left <= DrainLimit {
		b.call.discard(b.resp)
	} else {
		_ = b.resp.Body.Close()
	}
	b.err = errBodyClosed
	b.call.end()
	return nil
}
