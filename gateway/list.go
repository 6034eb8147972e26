package gateway

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"hash/crc32"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/micelio/micelio/object"
)

// maxKeys is the most entries of one page, and what a page has if nobody asks
// for less. It is S3's limit.
const maxKeys = 1000

// A listQuery is what ListObjects (version 1) or ListObjectsV2 asks for.
type listQuery struct {
	v2         bool
	prefix     string
	delimiter  string
	after      string // where the page starts
	limit      int
	encodeURL  bool
	fetchOwner bool

	marker, startAfter, token string // to be repeated in the answer
}

func parseListQuery(q url.Values) (l listQuery, err error) {
	switch q.Get("list-type") {
	case "":
	case "2":
		l.v2 = true
	default:
		return l, invalidArgument("list-type must be 2 or absent.")
	}
	for _, name := range []string{"prefix", "delimiter", "marker", "start-after"} {
		if err := checkListName(name, q.Get(name)); err != nil {
			return l, err
		}
	}
	l.prefix, l.delimiter = q.Get("prefix"), q.Get("delimiter")
	if l.limit, err = parseMaxKeys(q.Get("max-keys")); err != nil {
		return l, err
	}
	switch q.Get("encoding-type") {
	case "":
	case "url":
		l.encodeURL = true
	default:
		return l, invalidArgument("Invalid Encoding Method specified in Request")
	}
	if !l.v2 {
		l.marker = q.Get("marker")
		l.after = l.marker
		return l, nil
	}
	l.fetchOwner = q.Get("fetch-owner") == "true"
	l.startAfter, l.token = q.Get("start-after"), q.Get("continuation-token")
	l.after = l.startAfter
	if q.Has("continuation-token") {
		var ok bool
		if l.after, ok = decodeToken(l.token); !ok {
			return l, invalidArgument("The continuation token provided is incorrect")
		}
	}
	return l, nil
}

// checkListName refuses what no key starts with or contains and an XML
// document cannot repeat.
func checkListName(name, value string) error {
	switch {
	case len(value) > object.MaxKeyLen:
		return invalidArgument("The parameter " + name + " is too long.")
	case !utf8.ValidString(value):
		return invalidArgument("The parameter " + name + " is not valid UTF-8.")
	case strings.ContainsFunc(value, unicode.IsControl):
		return invalidArgument("The parameter " + name + " contains a control character.")
	}
	return nil
}

func parseMaxKeys(s string) (int, error) {
	if s == "" {
		return maxKeys, nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, invalidArgument("max-keys must be an integer between 0 and 2147483647.")
	}
	return int(min(n, maxKeys)), nil
}

// encodeToken makes a continuation token of the last name of a page: a
// checksum and the name. The checksum is no secret: it tells accidents (a
// token cut off, or of another system) from tokens, and that is all that is
// needed, since a token says nothing that start-after could not.
func encodeToken(name string) string {
	b := binary.BigEndian.AppendUint32(nil, crc32.Checksum([]byte(name), castagnoli))
	return base64.RawURLEncoding.EncodeToString(append(b, name...))
}

func decodeToken(token string) (name string, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) <= crc32.Size || strings.ContainsAny(token, "\r\n") {
		return "", false // the decoder skips line breaks
	}
	sum, b := binary.BigEndian.Uint32(b), b[crc32.Size:]
	name = string(b)
	return name, sum == crc32.Checksum(b, castagnoli) && checkListName("", name) == nil
}

// listObjects answers a page. The page is gathered before the first byte is
// sent, so a listing that fails is an error and never a short list.
func (x *exchange) listObjects(q url.Values) error {
	l, err := parseListQuery(q)
	if err != nil {
		return err
	}
	page, err := x.listPage(l)
	if err != nil {
		return err
	}
	return x.sendXML(http.StatusOK, page)
}

func (x *exchange) listPage(l listQuery) (*listResult, error) {
	page := l.newResult(x.Bucket)
	if l.limit == 0 {
		return page, nil
	}
	count, last := 0, ""
	opt := object.ListOptions{Prefix: l.prefix, Delimiter: l.delimiter, After: l.after, Limit: l.limit + 1}
	for e, err := range x.Store.List(x.ctx(), opt) {
		if err != nil {
			return nil, err
		}
		if count == l.limit {
			page.IsTruncated = true
			break
		}
		count++
		last = e.Name()
		l.add(page, e)
	}
	if l.v2 {
		*page.KeyCount = count
	}
	if page.IsTruncated && l.v2 {
		page.NextContinuationToken = encodeToken(last)
	} else if page.IsTruncated {
		page.NextMarker = l.encode(last)
	}
	return page, nil
}

// newResult returns an empty page.
func (l listQuery) newResult(bucket string) *listResult {
	page := &listResult{Name: bucket, Prefix: l.encode(l.prefix), Delimiter: l.encode(l.delimiter), MaxKeys: l.limit}
	if l.encodeURL {
		page.EncodingType = "url"
	}
	if l.v2 {
		page.KeyCount = new(int)
		page.StartAfter, page.ContinuationToken = l.encode(l.startAfter), l.token
	} else {
		marker := l.encode(l.marker)
		page.Marker = &marker
	}
	return page
}

func (l listQuery) add(page *listResult, e object.Entry) {
	if e.CommonPrefix != "" {
		page.CommonPrefixes = append(page.CommonPrefixes, commonPrefix{l.encode(e.CommonPrefix)})
		return
	}
	o := listedObject{
		Key: l.encode(string(e.Key)), LastModified: e.Modified.UTC().Format(isoMillis), Size: e.Size, StorageClass: storageClass,
	}
	if e.ETag != "" {
		o.ETag = e.ETag.Quoted()
	}
	if !l.v2 || l.fetchOwner {
		o.Owner = &owner{ownerID, ownerID}
	}
	page.Contents = append(page.Contents, o)
}

// encode writes a name as the client asked for it.
func (l listQuery) encode(name string) string {
	if !l.encodeURL {
		return name
	}
	return encodeName(name)
}

// encodeName percent-encodes a name so that it decodes to itself whether or
// not the decoder takes "+" for a space: clients differ. Slashes stay.
func encodeName(name string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
	}
	return b.String()
}

type listResult struct {
	XMLName        xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name           string
	Prefix         string
	Delimiter      string  `xml:",omitempty"`
	EncodingType   string  `xml:",omitempty"`
	Marker         *string // version 1 only
	NextMarker     string  `xml:",omitempty"`
	StartAfter     string  `xml:",omitempty"`
	KeyCount       *int    // version 2 only
	MaxKeys        int
	IsTruncated    bool
	Contents       []listedObject
	CommonPrefixes []commonPrefix

	ContinuationToken     string `xml:",omitempty"`
	NextContinuationToken string `xml:",omitempty"`
}

type listedObject struct {
	Key          string
	LastModified string
	ETag         string `xml:",omitempty"`
	Size         int64
	Owner        *owner
	StorageClass string
}

type commonPrefix struct{ Prefix string }
