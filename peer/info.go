package peer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/micelio/micelio/object"
)

// Names of the fields that describe an object, in ascending order.
const (
	fieldAge                = "age" // in nanoseconds
	fieldCacheControl       = "cache-control"
	fieldContentDisposition = "content-disposition"
	fieldContentEncoding    = "content-encoding"
	fieldContentLanguage    = "content-language"
	fieldContentType        = "content-type"
	fieldETag               = "etag"
	fieldKey                = "key"
	fieldModified           = "modified" // seconds since 1970, with nine decimals
	fieldNode               = "node"
	fieldSHA256             = "sha256"
	fieldSize               = "size"
	fieldTier               = "tier"
	fieldUser               = "u." // and the escaped name of one piece of user metadata
	fieldVersion            = "version"
)

// infoRoom fits the usual Info, so that encoding one allocates once.
const infoRoom = 384

// encodeInfo writes all that info says as fields.
func encodeInfo(info object.Info) []byte {
	b := make([]byte, 0, infoRoom)
	if info.Age > 0 {
		b = appendField(b, fieldAge, strconv.FormatInt(int64(info.Age), 10))
	}
	b = appendContent(b, info.Attrs)
	b = appendKnown(b, fieldETag, string(info.ETag))
	b = appendField(b, fieldKey, string(info.Key))
	if !info.Modified.IsZero() {
		b = appendField(b, fieldModified, encodeTime(info.Modified))
	}
	b = appendKnown(b, fieldNode, info.Node)
	b = appendKnown(b, fieldSHA256, info.SHA256.String())
	b = appendField(b, fieldSize, strconv.FormatInt(info.Size, 10))
	b = appendKnown(b, fieldTier, string(info.Tier))
	b = appendUser(b, info.User)
	return appendKnown(b, fieldVersion, info.Version)
}

// decodeInfo reads what encodeInfo wrote. Key and size must be there; fields it
// does not know are passed over, as they can only add to a description.
func decodeInfo(s string) (object.Info, error) {
	var info object.Info
	var hasKey, hasSize bool
	err := eachField(s, func(name, value string) (err error) {
		switch name {
		case fieldAge:
			var age int64
			age, err = parseCount(value)
			info.Age = time.Duration(age)
		case fieldETag:
			info.ETag = object.ETag(value)
		case fieldKey:
			hasKey = true
			info.Key, err = object.ParseKey(value)
		case fieldModified:
			info.Modified, err = decodeTime(value)
		case fieldNode:
			info.Node = value
		case fieldSHA256:
			info.SHA256, err = parseDigest(value)
		case fieldSize:
			hasSize = true
			info.Size, err = parseCount(value)
		case fieldTier:
			info.Tier = object.Tier(value)
		case fieldVersion:
			info.Version = value
		default:
			_, err = setAttr(&info.Attrs, name, value)
		}
		return err
	})
	if err == nil && !(hasKey && hasSize) {
		err = fmt.Errorf("%w: key or size is missing", errField)
	}
	return info, err
}

// appendContent appends the attributes that have names of their own. They sort
// before everything but an age.
func appendContent(b []byte, a object.Attrs) []byte {
	b = appendKnown(b, fieldCacheControl, a.CacheControl)
	b = appendKnown(b, fieldContentDisposition, a.ContentDisposition)
	b = appendKnown(b, fieldContentEncoding, a.ContentEncoding)
	b = appendKnown(b, fieldContentLanguage, a.ContentLanguage)
	return appendKnown(b, fieldContentType, a.ContentType)
}

// appendUser appends the writer's own metadata. It sorts before a version and
// after everything else.
func appendUser(b []byte, user map[string]string) []byte {
	if len(user) == 0 {
		return b
	}
	names := make([][2]string, 0, len(user))
	for name := range user {
		names = append(names, [2]string{string(appendEscaped(nil, name)), name})
	}
	slices.SortFunc(names, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	for _, name := range names {
		b = appendField(b, fieldUser+name[0], user[name[1]])
	}
	return b
}

// setAttr sets the attribute that a field carries and reports whether it was
// one.
func setAttr(a *object.Attrs, name, value string) (known bool, err error) {
	switch name {
	case fieldCacheControl:
		a.CacheControl = value
	case fieldContentDisposition:
		a.ContentDisposition = value
	case fieldContentEncoding:
		a.ContentEncoding = value
	case fieldContentLanguage:
		a.ContentLanguage = value
	case fieldContentType:
		a.ContentType = value
	default:
		escaped, ok := strings.CutPrefix(name, fieldUser)
		if !ok {
			return false, nil
		}
		user, err := unescape(escaped)
		if err != nil {
			return false, errField
		}
		if a.User == nil {
			a.User = map[string]string{}
		}
		a.User[user] = value
	}
	return true, nil
}

// timeDigits is the number of decimals of a time.
const timeDigits = 9

func encodeTime(t time.Time) string {
	return fmt.Sprintf("%d.%0*d", t.Unix(), timeDigits, t.Nanosecond())
}

func decodeTime(s string) (time.Time, error) {
	seconds, fraction, ok := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(seconds, 10, 64)
	if !ok || err != nil || len(fraction) != timeDigits {
		return time.Time{}, errField
	}
	ns, err := parseCount(fraction)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(sec, ns).UTC(), nil
}

// parseCount reads an unsigned decimal number.
func parseCount(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, errField
	}
	return int64(n), nil
}

func parseDigest(s string) (object.Digest, error) {
	d, ok := object.ParseDigest(s)
	if !ok || d.IsZero() {
		return object.Digest{}, errField
	}
	return d, nil
}
