package peer

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/micelio/micelio/object"
)

// A CachedReader is what cached reads are answered from: what a node has at
// hand. It asks nobody and reports false for all that it has not, whatever the
// reason.
type CachedReader interface {
	// GetCached answers as Store.Get does, if it has all that opt selects.
	GetCached(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, bool)

	// HeadCached describes an object.
	HeadCached(key object.Key) (object.Info, bool)
}

// ErrNotCached is the answer to a cached read of what the peer has not. It says
// nothing about the object, and matches object.ErrUnavailable too.
var ErrNotCached = fmt.Errorf("not cached: %w", object.ErrUnavailable)

// A NotCachedError is an ErrNotCached with who else may have the object.
type NotCachedError struct {
	Previous []string // ids of nodes that the peer would ask; a hint, from whoever answered
	err      error
}

func (e *NotCachedError) Error() string { return e.err.Error() }
func (e *NotCachedError) Unwrap() error { return e.err }

// headerPrevious names, on the answer to a cached read, nodes that may have what
// is not cached: ids joined by commas, at most maxNamed.
const (
	headerPrevious = "Micelio-Previous"
	maxNamed       = 4
)

// asNotCached adds to the refusal of a cached read who else may have the object.
func asNotCached(resp *http.Response, r *refusal) error {
	e := &NotCachedError{err: r}
	for id := range strings.SplitSeq(resp.Header.Get(headerPrevious), ",") {
		if id != "" && len(e.Previous) < maxNamed {
			e.Previous = append(e.Previous, id)
		}
	}
	return e
}

// notCached has the status that HTTP has for it (RFC 9111, only-if-cached).
var notCached = outcome{"not-cached", http.StatusGatewayTimeout, ErrNotCached}

// cachedMark is the option that makes a read a cached one. It is the first field
// there can be. A peer that does not know it refuses it, as all options it does
// not know: it must not take the read for an ordinary one and ask its upstream.
const cachedMark = "cached=1"

// markCached adds the mark to the options of a read.
func markCached(options []byte) []byte {
	if len(options) == 0 {
		return []byte(cachedMark)
	}
	return append([]byte(cachedMark+"&"), options...)
}

// cutCached returns the options without the mark, and whether it was there.
func cutCached(options string) (string, bool) {
	rest, found := strings.CutPrefix(options, cachedMark)
	if !found || rest == "" {
		return rest, found
	}
	if rest, found = strings.CutPrefix(rest, "&"); !found || rest == "" {
		return options, false // malformed, as the decoder will say
	}
	return rest, true
}

// GetCached asks the peer for what it has at hand of an object: see
// CachedReader. The error for what it has not matches ErrNotCached.
func (c *Client) GetCached(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return nil, err
	}
	l := c.begin(ctx, "get cached", key)
	obj, err := l.get(key, markCached(encodeGet(opt)))
	if err != nil {
		l.end()
		return nil, err
	}
	return obj, nil
}

// HeadCached is GetCached without the bytes.
func (c *Client) HeadCached(ctx context.Context, key object.Key) (object.Info, error) {
	if _, err := object.ParseKey(string(key)); err != nil {
		return object.Info{}, err
	}
	l := c.begin(ctx, "head cached", key)
	defer l.end()
	return l.head(key, markCached(nil))
}

// getCached answers a cached read with these options.
func (x *exchange) getCached(key object.Key, options string) {
	x.seen.Op = "get-cached"
	opt, err := decodeGet(options)
	if err != nil {
		x.malformed(err)
		return
	}
	if x.cfg.Cached != nil {
		if obj, ok := x.cfg.Cached.GetCached(x.ctx, key, opt); ok {
			x.answer(key, obj)
			return
		}
	}
	x.refuseCached(key)
}

// refuseCached says that nothing is cached, and who else may have it.
func (x *exchange) refuseCached(key object.Key) {
	if x.cfg.Previous != nil {
		if ids := x.cfg.Previous(key); len(ids) > 0 {
			x.w.Header()[headerPrevious] = []string{strings.Join(ids[:min(len(ids), maxNamed)], ",")}
		}
	}
	x.refuse(notCached, ErrNotCached)
}

// headCached answers a cached read without bytes.
func (x *exchange) headCached(key object.Key, options string) {
	x.seen.Op = "head-cached"
	if options != "" {
		x.malformed(errUnknown)
		return
	}
	if x.cfg.Cached != nil {
		if info, ok := x.cfg.Cached.HeadCached(key); ok {
			x.describe(info)
			x.respond(http.StatusOK)
			return
		}
	}
	x.refuseCached(key)
}
