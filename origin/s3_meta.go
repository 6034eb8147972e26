package origin

import (
	"crypto/rand"
	"fmt"
	"maps"
	"mime"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/micelio/micelio/object"
)

// The names of what we keep in the metadata of an object.
const (
	metaVersion = "micelio-version" // Info.Version
	metaSHA256  = "micelio-sha256"  // Info.SHA256
)

// maxOwnMeta is how much of S3's 2 KiB of metadata is ours.
const maxOwnMeta = len(metaVersion) + 64 + len(metaSHA256) + 64

// userMeta returns the metadata of an object that is to be written.
func userMeta(opt object.PutOptions, version string) (map[string]string, error) {
	meta := map[string]string{metaVersion: encodeMeta(version)}
	if !opt.SHA256.IsZero() {
		meta[metaSHA256] = opt.SHA256.String()
	}
	size := maxOwnMeta
	for name, value := range opt.Attrs.User {
		name = strings.ToLower(name)
		if _, taken := meta[name]; taken || name == metaSHA256 {
			continue // what a tool copied from one of our objects describes that one
		}
		if !isToken(name) {
			return nil, fmt.Errorf("the metadata name %q cannot be in a header, and so not in S3", name)
		}
		meta[name] = encodeMeta(value)
		size += len(name) + len(meta[name])
	}
	if size > object.MaxUserMeta {
		return nil, fmt.Errorf("%w: the metadata needs %d bytes of the %d that S3 keeps, with our own", object.ErrTooLarge, size, object.MaxUserMeta)
	}
	return meta, nil
}

// isToken reports whether a string can be part of the name of a header field
// (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("()<>@,;:\\\"/[]?={}", c) >= 0 {
			return false
		}
	}
	return s != ""
}

// encodeMeta returns a value as a header can carry it. Other than printable
// ASCII is encoded as RFC 2047 says, which is what S3 itself does with it.
func encodeMeta(value string) string {
	plain := strings.TrimSpace(value) == value && !strings.Contains(value, "=?")
	for i := range len(value) {
		plain = plain && value[i] >= ' ' && value[i] < 0x7f
	}
	if plain {
		return value
	}
	return encodeWord(value)
}

// encodeWord encodes the whole value as one word: mime.WordEncoder leaves plain
// values alone, and splits long ones so that some decoders add spaces.
func encodeWord(value string) string {
	var b strings.Builder
	b.WriteString("=?UTF-8?Q?")
	for i := range len(value) {
		c := value[i]
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	b.WriteString("?=")
	return b.String()
}

func decodeMeta(value string) string {
	if !strings.Contains(value, "=?") {
		return value
	}
	decoded, err := new(mime.WordDecoder).DecodeHeader(value)
	if err != nil {
		return value
	}
	return decoded
}

// A description is what the headers of an answer say about an object.
type description struct {
	etag         *string
	size         int64
	modified     *time.Time
	versionID    *string
	contentType  *string
	encoding     *string
	language     *string
	disposition  *string
	cacheControl *string
	meta         map[string]string
}

func describeGet(out *s3.GetObjectOutput, size int64) description {
	return description{
		etag: out.ETag, size: size, modified: out.LastModified, versionID: out.VersionId, meta: out.Metadata,
		contentType: out.ContentType, encoding: out.ContentEncoding, language: out.ContentLanguage,
		disposition: out.ContentDisposition, cacheControl: out.CacheControl,
	}
}

func describeHead(out *s3.HeadObjectOutput) description {
	return description{
		etag: out.ETag, size: aws.ToInt64(out.ContentLength), modified: out.LastModified, versionID: out.VersionId, meta: out.Metadata,
		contentType: out.ContentType, encoding: out.ContentEncoding, language: out.ContentLanguage,
		disposition: out.ContentDisposition, cacheControl: out.CacheControl,
	}
}

// info returns the Info of an object that others may have written.
func (d description) info(key object.Key) object.Info {
	info := object.Info{
		Key: key, Size: d.size, ETag: etagOf(d.etag), Modified: aws.ToTime(d.modified), Tier: object.TierOrigin,
		Attrs: object.Attrs{
			ContentType: aws.ToString(d.contentType), ContentEncoding: withoutChunks(aws.ToString(d.encoding)),
			ContentLanguage: aws.ToString(d.language), ContentDisposition: aws.ToString(d.disposition), CacheControl: aws.ToString(d.cacheControl),
		},
	}
	user := maps.Clone(d.meta)
	for name, value := range d.meta {
		delete(user, name)
		switch name = strings.ToLower(name); name {
		case metaVersion:
			info.Version = decodeMeta(value)
		case metaSHA256:
			info.SHA256, _ = object.ParseDigest(value)
		default:
			user[name] = decodeMeta(value)
		}
	}
	if len(user) > 0 {
		info.Attrs.User = user
	}
	if info.Version == "" {
		info.Version = foreignVersion(d)
	}
	return info
}

// foreignVersion names a write that was not ours: by the version of a bucket
// that keeps versions, else by its second.
func foreignVersion(d description) string {
	if id := aws.ToString(d.versionID); id != "" && id != "null" {
		return "id-" + id
	}
	return "at-" + strconv.FormatInt(aws.ToTime(d.modified).Unix(), 10)
}

// etagOf returns an ETag without its quotes.
func etagOf(header *string) object.ETag {
	return object.ETag(strings.Trim(strings.TrimPrefix(aws.ToString(header), "W/"), `"`))
}

// withoutChunks removes the encoding of a transfer that some services keep as
// one of the object.
func withoutChunks(encoding string) string {
	var kept []string
	for part := range strings.SplitSeq(encoding, ",") {
		if part = textproto.TrimString(part); part != "" && part != "aws-chunked" {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, ",")
}

// optional returns a header that is sent only if there is something to say.
func optional(value string) *string {
	if value == "" {
		return nil
	}
	return &value
}

// newVersion names a write: 128 random bits.
func newVersion() string { return rand.Text() }
