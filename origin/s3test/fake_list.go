package s3test

import (
	"encoding/base64"
	"encoding/xml"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxKeys is the most entries of one page.
const maxKeys = 1000

// listing is the answer to ListObjectsV2.
type listing struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name                  string
	Prefix                string
	Delimiter             string `xml:",omitempty"`
	StartAfter            string `xml:",omitempty"`
	EncodingType          string `xml:",omitempty"`
	ContinuationToken     string `xml:",omitempty"`
	NextContinuationToken string `xml:",omitempty"`
	KeyCount              int
	MaxKeys               int
	IsTruncated           bool
	Contents              []listed
	CommonPrefixes        []listedPrefix
}

type listed struct {
	Key          string
	LastModified string
	ETag         string
	Size         int
	StorageClass string
}

type listedPrefix struct {
	Prefix string
}

// listObjects answers ListObjectsV2.
func (c *call) listObjects() error {
	get := c.query.Get
	l := listing{Name: c.bucket, Prefix: get("prefix"), Delimiter: get("delimiter"), StartAfter: get("start-after"), ContinuationToken: get("continuation-token"), MaxKeys: maxKeys}
	if text := get("max-keys"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return refuse(http.StatusBadRequest, "InvalidArgument", "Provided max-keys not an integer or within integer range")
		}
		l.MaxKeys = min(n, maxKeys)
	}
	after := l.StartAfter
	if l.ContinuationToken != "" {
		raw, err := base64.RawURLEncoding.DecodeString(l.ContinuationToken)
		if err != nil {
			return refuse(http.StatusBadRequest, "InvalidArgument", "The continuation token provided is incorrect")
		}
		after = string(raw)
	}
	switch e := get("encoding-type"); {
	case e != "" && e != "url":
		return refuse(http.StatusBadRequest, "InvalidArgument", "Invalid Encoding Method specified in Request")
	case e == "url" && !c.f.has(QuirkNoURLEncoding):
		l.EncodingType = e
	}
	c.f.mu.Lock()
	objects := maps.Clone(c.f.buckets[c.bucket].objects)
	c.f.mu.Unlock()
	l.fill(objects, after)
	l.encode()
	sendXML(c.w, http.StatusOK, l)
	return nil
}

// fill takes the first names after one, in the order of their bytes. A common
// prefix that after begins with was listed already if after is a token, and has
// names that are left otherwise, which S3 lists.
func (l *listing) fill(objects map[string]*fakeObject, after string) {
	last := "" // of the entries
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		rest, below := strings.CutPrefix(key, l.Prefix)
		if !below || key <= after {
			continue
		}
		name, folded := key, false
		if i := strings.Index(rest, l.Delimiter); l.Delimiter != "" && i >= 0 {
			name, folded = l.Prefix+rest[:i+len(l.Delimiter)], true
		}
		if folded && (name == last || l.ContinuationToken != "" && name == after) {
			continue
		}
		if l.KeyCount == l.MaxKeys {
			if l.IsTruncated = l.MaxKeys > 0; l.IsTruncated {
				l.NextContinuationToken = base64.RawURLEncoding.EncodeToString([]byte(last))
			}
			return
		}
		last = name
		l.KeyCount++
		if folded {
			l.CommonPrefixes = append(l.CommonPrefixes, listedPrefix{name})
			continue
		}
		o := objects[key]
		l.Contents = append(l.Contents, listed{key, listedTime(o.modified), o.etag, len(o.body), "STANDARD"})
	}
}

func listedTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// encode does what encoding-type=url asks for.
func (l *listing) encode() {
	if l.EncodingType == "" {
		return
	}
	for _, s := range []*string{&l.Prefix, &l.Delimiter, &l.StartAfter} {
		*s = listedName(*s)
	}
	for i := range l.Contents {
		l.Contents[i].Key = listedName(l.Contents[i].Key)
	}
	for i := range l.CommonPrefixes {
		l.CommonPrefixes[i].Prefix = listedName(l.CommonPrefixes[i].Prefix)
	}
}

// listedName encodes as S3 does: a space is a plus, a slash stays.
func listedName(name string) string {
	return strings.ReplaceAll(url.QueryEscape(name), "%2F", "/")
}
