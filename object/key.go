package object

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxKeyLen is the longest key in bytes. It is S3's own limit.
const MaxKeyLen = 1024

// A Key names an object: segments separated by single slashes. A Key made by
// [ParseKey] is valid; one converted from a string is not checked, so every
// border where a name enters (an HTTP dialect, a peer, a directory listing)
// parses it.
type Key string

// ParseKey checks that s may name an object and returns it as a Key, unchanged.
// The error wraps [ErrInvalidKey] and says which rule was broken.
//
// A valid key is 1 to 1024 bytes of UTF-8, has no empty, "." or ".." segment
// (hence no leading, trailing or double slash), no control character, no
// backslash and no U+FFFE or U+FFFF. Stores disagree about everything outside
// these rules: some fold "a//b" into "a/b", some lose it in listings, and XML
// cannot carry control characters. Inside them spaces, "+", "%", ":",
// brackets, leading dots and any script work everywhere.
func ParseKey(s string) (Key, error) {
	if why := keyFault(s); why != "" {
		return "", fmt.Errorf("%w: %s", ErrInvalidKey, why)
	}
	return Key(s), nil
}

// keyFault names the first rule that s breaks, or returns "".
func keyFault(s string) string {
	switch {
	case s == "":
		return "the key is empty"
	case len(s) > MaxKeyLen:
		return fmt.Sprintf("the key has %d bytes, at most %d are allowed", len(s), MaxKeyLen)
	case !utf8.ValidString(s):
		return "the key is not valid UTF-8"
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == '\\' || r == 0xFFFE || r == 0xFFFF {
			return fmt.Sprintf("the key contains %U", r)
		}
	}
	for segment := range strings.SplitSeq(s, "/") {
		switch segment {
		case "":
			return "the key has an empty segment"
		case ".", "..":
			return fmt.Sprintf("the key has a %q segment", segment)
		}
	}
	return ""
}
