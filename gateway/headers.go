package gateway

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/micelio/micelio/object"
)

const (
	// defaultContentType is what S3 answers for an object that was stored
	// without a type.
	defaultContentType = "binary/octet-stream"

	// metaPrefix starts the header fields of user metadata. S3 sends their
	// names in lower case, and some clients depend on it.
	metaPrefix = "x-amz-meta-"

	// maxSystemAttrs bounds the stored header fields that are not user
	// metadata, in bytes of values: S3's limit for the header of a PUT.
	maxSystemAttrs = 8 << 10

	awsChunked = "aws-chunked"
)

// parseAttrs reads what a PUT says about its object. All other fields are
// about the request, and end with it.
func parseAttrs(h http.Header) (object.Attrs, error) {
	var a object.Attrs
	system := 0
	for _, f := range []struct {
		name string
		to   *string
	}{
		{"Content-Type", &a.ContentType}, {"Content-Encoding", &a.ContentEncoding}, {"Content-Language", &a.ContentLanguage},
		{"Content-Disposition", &a.ContentDisposition}, {"Cache-Control", &a.CacheControl},
	} {
		*f.to = strings.Join(h.Values(f.name), ", ")
		if err := checkValue(f.name, *f.to); err != nil {
			return a, err
		}
		system += len(*f.to)
	}
	if system > maxSystemAttrs {
		return a, &apiError{status: http.StatusBadRequest, code: "RequestHeaderSectionTooLarge",
			message: fmt.Sprintf("The header fields to store have %d bytes, at most %d are allowed.", system, maxSystemAttrs)}
	}
	a.ContentEncoding = withoutAWSChunked(a.ContentEncoding)
	var err error
	a.User, err = parseUserMeta(h)
	return a, err
}

// parseUserMeta reads the x-amz-meta-* fields. Repeated ones are joined by
// commas, as S3 does.
func parseUserMeta(h http.Header) (map[string]string, error) {
	var user map[string]string
	size := 0
	for name, values := range h {
		key, found := strings.CutPrefix(strings.ToLower(name), metaPrefix)
		if !found {
			continue
		}
		value := strings.Join(values, ",")
		if key == "" {
			return nil, invalidArgument("A metadata field has no name.")
		}
		if err := checkValue(name, value); err != nil {
			return nil, err
		}
		if user == nil {
			user = make(map[string]string)
		}
		user[key] = value
		size += len(key) + len(value)
	}
	if size > object.MaxUserMeta {
		return nil, &apiError{status: http.StatusBadRequest, code: "MetadataTooLarge",
			message: fmt.Sprintf("Your metadata headers exceed the maximum allowed metadata size of %d bytes.", object.MaxUserMeta)}
	}
	return user, nil
}

// checkValue refuses values that cannot be kept and replayed byte by byte.
func checkValue(name, value string) error {
	if !utf8.ValidString(value) {
		return invalidArgument("The value of " + name + " is not valid UTF-8.")
	}
	if strings.ContainsFunc(value, unicode.IsControl) {
		return invalidArgument("The value of " + name + " contains a control character.")
	}
	return nil
}

// withoutAWSChunked returns a Content-Encoding without the coding that only
// frames the upload.
func withoutAWSChunked(encoding string) string {
	if !hasAWSChunked(encoding) {
		return encoding
	}
	codings := slices.DeleteFunc(strings.Split(encoding, ","), isAWSChunked)
	for i := range codings {
		codings[i] = strings.TrimSpace(codings[i])
	}
	return strings.Join(codings, ",")
}

func hasAWSChunked(encoding string) bool {
	return slices.ContainsFunc(strings.Split(encoding, ","), isAWSChunked)
}

func isAWSChunked(coding string) bool {
	return strings.EqualFold(strings.TrimSpace(coding), awsChunked)
}

// setAttrs replays what parseAttrs read.
func setAttrs(h http.Header, a object.Attrs) {
	h.Set("Content-Type", cmp.Or(a.ContentType, defaultContentType))
	setIf(h, "Content-Encoding", a.ContentEncoding)
	setIf(h, "Content-Language", a.ContentLanguage)
	setIf(h, "Content-Disposition", a.ContentDisposition)
	setIf(h, "Cache-Control", a.CacheControl)
	for key, value := range a.User {
		h[metaPrefix+key] = []string{value}
	}
}

func setIf(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}

// single returns a header field that must not be repeated with other values:
// with two, no reading of the request is safe.
func single(h http.Header, name string) (string, error) {
	values := h.Values(name)
	if len(slices.Compact(slices.Clone(values))) > 1 {
		return "", invalidArgument("The header " + name + " is there more than once.")
	}
	return h.Get(name), nil
}

// namesLoop reports whether CDN-Loop fields name a server among those that a
// request has passed. Parameters of a name mean nothing to others (RFC 8586 §2).
func namesLoop(fields []string, name string) bool {
	for _, field := range fields {
		for passed := range strings.SplitSeq(field, ",") {
			id, _, _ := strings.Cut(passed, ";")
			if strings.TrimSpace(id) == name {
				return true
			}
		}
	}
	return false
}
