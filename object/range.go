package object

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Range asks for one part of an object. The zero Range asks for all of it.
type Range struct {
	set   bool
	first int64 // first byte; negative: so many bytes from the end
	last  int64 // last byte, inclusive; -1: to the end
}

// Bytes is the range of length bytes from offset, which must not be negative. No
// bytes at all are a range that is never satisfiable.
func Bytes(offset, length int64) Range {
	switch {
	case length <= 0:
		return Suffix(0) // offset + length - 1 would name another range, or none
	case length > math.MaxInt64-offset:
		return From(offset)
	}
	return Range{true, offset, offset + length - 1}
}

// From is the range from offset to the end.
func From(offset int64) Range { return Range{true, offset, -1} }

// Suffix is the range of the last n bytes.
func Suffix(n int64) Range {
	if n == 0 {
		return Range{true, 0, -2} // "bytes=-0" asks for nothing and is never satisfiable
	}
	return Range{true, -n, -1}
}

// IsSet reports whether the range asks for less than everything by its form.
func (r Range) IsSet() bool { return r.set }

// SuffixLength returns n of a range of the last n bytes, 0 of any other.
func (r Range) SuffixLength() int64 {
	if r.first < 0 {
		return -r.first
	}
	return 0
}

// String returns the range as a Range header value, "" for the whole.
func (r Range) String() string {
	switch {
	case !r.set:
		return ""
	case r.last == -2:
		return "bytes=-0"
	case r.first < 0:
		return fmt.Sprintf("bytes=-%d", -r.first)
	case r.last < 0:
		return fmt.Sprintf("bytes=%d-", r.first)
	}
	return fmt.Sprintf("bytes=%d-%d", r.first, r.last)
}

// Resolve returns which bytes of an object of size bytes the range selects. A
// range that ends after the object is cut to it; one that selects no byte at
// all is ErrRange.
func (r Range) Resolve(size int64) (offset, length int64, err error) {
	if !r.set {
		return 0, size, nil
	}
	first, last := r.first, r.last
	if first < 0 {
		first = max(size+first, 0)
	}
	if last == -1 || last >= size {
		last = size - 1
	}
	if first >= size || last < first {
		return 0, 0, ErrRange
	}
	return first, last - first + 1, nil
}

// ParseRange reads a Range header. A header that is not one well-formed range
// of bytes is to be ignored and the whole object answered (RFC 9110 §14.2,
// and what S3 does with several ranges); ok is then false.
func ParseRange(header string) (r Range, ok bool) {
	spec, found := strings.CutPrefix(header, "bytes=")
	if !found {
		return Range{}, false
	}
	from, to, found := strings.Cut(trimSpace(spec), "-")
	if !found {
		return Range{}, false
	}
	if from == "" {
		n, ok := parseOffset(to)
		if !ok {
			return Range{}, false
		}
		return Suffix(n), true
	}
	first, ok := parseOffset(from)
	if !ok {
		return Range{}, false
	}
	if to == "" {
		return From(first), true
	}
	last, ok := parseOffset(to)
	if !ok || last < first {
		return Range{}, false
	}
	return Range{true, first, last}, true
}

// parseOffset reads an unsigned decimal number: no sign, no space.
func parseOffset(s string) (int64, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
