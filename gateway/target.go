package gateway

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/micelio/micelio/object"
)

// A target is what a request is about.
type target struct {
	bucket string     // "" for the service itself
	key    object.Key // "" for the bucket itself
	query  url.Values
}

// maxEscaped is how many bytes of a request target one byte of a name takes
// at most, as %XX.
const maxEscaped = 3

// parseTarget reads a request target as the client sent it. Each name is
// percent-decoded exactly once, "+" is a plus sign, and nothing is resolved:
// a dot segment is a fault of the name, not a step in a tree.
func parseTarget(raw string) (target, error) {
	path, rawQuery, _ := strings.Cut(raw, "?")
	if !strings.HasPrefix(path, "/") {
		return target{}, invalidURI("The request target must be a path: it must start with a slash.")
	}
	if strings.ContainsRune(raw, '#') {
		return target{}, invalidURI("The request target must not contain a fragment.")
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return target{}, invalidURI("The query string is malformed.")
	}
	rawBucket, rawKey, _ := strings.Cut(path[1:], "/")
	t := target{query: query}
	if rawBucket == "" && rawKey == "" && path == "/" {
		return t, nil
	}
	if t.bucket, err = parseBucket(rawBucket); err != nil {
		return target{}, err
	}
	if rawKey != "" {
		t.key, err = parseKey(rawKey)
	}
	return t, err
}

// parseBucket reads the first segment of a path. Whether there is such a
// bucket is not its question.
func parseBucket(raw string) (string, error) {
	name, err := url.PathUnescape(raw)
	if err != nil {
		return "", invalidURI("The request target has a malformed percent-encoding.")
	}
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	}
	if strings.Trim(name, ".") == "" || strings.ContainsFunc(name, odd) {
		return "", &apiError{status: 400, code: "InvalidBucketName", message: "The specified bucket is not valid."}
	}
	return name, nil
}

// parseKey reads everything after the bucket.
func parseKey(raw string) (object.Key, error) {
	if len(raw) > maxEscaped*object.MaxKeyLen {
		return "", errKeyTooLong
	}
	name, err := url.PathUnescape(raw)
	if err != nil {
		return "", invalidURI("The request target has a malformed percent-encoding.")
	}
	return checkKey(name)
}

// checkKey makes a Key of a name that has been decoded.
func checkKey(name string) (object.Key, error) {
	switch {
	case len(name) > object.MaxKeyLen:
		return "", errKeyTooLong
	case !utf8.ValidString(name):
		return "", invalidURI("The key is not valid UTF-8.")
	}
	key, err := object.ParseKey(name)
	if err != nil {
		return "", &apiError{status: 400, code: "InvalidArgument", message: err.Error(), cause: err}
	}
	return key, nil
}

var errKeyTooLong = &apiError{status: 400, code: "KeyTooLongError", message: "Your key is too long.", cause: object.ErrInvalidKey}
