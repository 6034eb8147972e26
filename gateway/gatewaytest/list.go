package gatewaytest

import (
	"context"
	"encoding/xml"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/micelio/micelio/object"
)

// List yields the objects that opt selects, page after page.
func (c *Client) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return func(yield func(object.Entry, error) bool) {
		q := c.listQuery(opt)
		for left := opt.Limit; ; {
			if opt.Limit > 0 {
				q.Set("max-keys", strconv.Itoa(left))
			}
			page, err := c.page(ctx, q)
			if err != nil {
				yield(object.Entry{}, err)
				return
			}
			for _, e := range page.entries {
				if left--; !yield(e, nil) {
					return
				}
			}
			if !page.more || (opt.Limit > 0 && left <= 0) {
				return
			}
			if c.V1 {
				q.Set("marker", page.next)
			} else {
				q.Set("continuation-token", page.next)
			}
		}
	}
}

// listQuery asks for the first page.
func (c *Client) listQuery(opt object.ListOptions) url.Values {
	q := url.Values{"prefix": {opt.Prefix}, "delimiter": {opt.Delimiter}}
	if c.V1 {
		q.Set("marker", opt.After)
	} else {
		q.Set("list-type", "2")
		q.Set("start-after", opt.After)
	}
	if !c.RawNames {
		q.Set("encoding-type", "url")
	}
	return q
}

// A page is a part of a listing, decoded.
type page struct {
	entries []object.Entry
	more    bool
	next    string // the marker or token of the page behind this one
}

// A listDocument is a page as it comes.
type listDocument struct {
	XMLName     xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	IsTruncated bool

	NextMarker            string // version 1
	NextContinuationToken string // version 2

	Contents []struct {
		Key          string
		LastModified time.Time
		ETag         string
		Size         int64
	}
	CommonPrefixes []struct{ Prefix string }
}

// page gets one page.
func (c *Client) page(ctx context.Context, q url.Values) (*page, error) {
	resp, err := c.do(ctx, http.MethodGet, "?"+q.Encode(), http.Header{}, nil, 0)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var doc listDocument
	if err := xml.NewDecoder(resp.Body).Decode(&doc); err != nil {
		return nil, fmt.Errorf("gateway client: page of a listing: %w", err)
	}
	if err := c.decodeNames(&doc); err != nil {
		return nil, fmt.Errorf("gateway client: name in a listing: %w", err)
	}
	p := &page{entries: doc.merge(), more: doc.IsTruncated, next: doc.NextContinuationToken}
	if c.V1 {
		p.next = doc.NextMarker
	}
	return p, nil
}

// decodeNames takes the encoding off that was asked for.
func (c *Client) decodeNames(doc *listDocument) error {
	if c.RawNames {
		return nil
	}
	names := []*string{&doc.NextMarker}
	for i := range doc.Contents {
		names = append(names, &doc.Contents[i].Key)
	}
	for i := range doc.CommonPrefixes {
		names = append(names, &doc.CommonPrefixes[i].Prefix)
	}
	for _, name := range names {
		decoded, err := url.QueryUnescape(*name)
		if err != nil {
			return err
		}
		*name = decoded
	}
	return nil
}

// merge returns the entries in one order; a document has the objects and the
// prefixes apart.
func (doc *listDocument) merge() []object.Entry {
	entries := make([]object.Entry, 0, len(doc.Contents)+len(doc.CommonPrefixes))
	prefixes := doc.CommonPrefixes
	for _, o := range doc.Contents {
		for len(prefixes) > 0 && prefixes[0].Prefix < o.Key {
			entries = append(entries, object.Entry{CommonPrefix: prefixes[0].Prefix})
			prefixes = prefixes[1:]
		}
		etag, _ := object.ParseETag(o.ETag) // a listing need not know it
		entries = append(entries, object.Entry{Info: object.Info{Key: object.Key(o.Key), Size: o.Size, ETag: etag, Modified: o.LastModified}})
	}
	for _, p := range prefixes {
		entries = append(entries, object.Entry{CommonPrefix: p.Prefix})
	}
	return entries
}
