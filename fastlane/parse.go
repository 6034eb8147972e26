package fastlane

import (
	"bytes"
	"strings"
	"unsafe"

	"github.com/micelio/micelio/object"
)

// A request is a plain read, taken apart. What it refers to is part of the buffer
// that it was parsed from, or of decoded.
type request struct {
	head    bool
	key     string
	tag     string // of If-None-Match, without quotes; "" if there is none
	rng     object.Range
	decoded [object.MaxKeyLen]byte
}

// parse takes the request at the beginning of buf, whose path begins with prefix,
// and returns its length. It returns 0 for one that is not complete or not plain.
func (r *request) parse(buf []byte, prefix string) int {
	at := r.parseLine(buf, prefix)
	if at == 0 {
		return 0
	}
	n := r.parseFields(buf[at:])
	if n == 0 {
		return 0
	}
	return at + n
}

// parseLine takes the first line. The only query that it takes is the name of the
// operation, which SDKs add and nobody reads.
func (r *request) parseLine(buf []byte, prefix string) int {
	const get, head = "GET ", "HEAD "
	at := 0
	switch {
	case hasPrefix(buf, get):
		at, r.head = len(get), false
	case hasPrefix(buf, head):
		at, r.head = len(head), true
	default:
		return 0
	}
	if !hasPrefix(buf[at:], prefix) {
		return 0
	}
	at += len(prefix)
	begin, escaped := at, false
	for at < len(buf) && isPathByte(buf[at]) {
		escaped = escaped || buf[at] == '%'
		at++
	}
	path := buf[begin:at]
	for _, rest := range [...]string{" HTTP/1.1\r\n", "?x-id=GetObject HTTP/1.1\r\n", "?x-id=HeadObject HTTP/1.1\r\n"} {
		if hasPrefix(buf[at:], rest) {
			return r.setKey(path, escaped, at+len(rest))
		}
	}
	return 0
}

// setKey sets the key that a path names, and returns at, or 0 if there is none.
// Whether a name may be a key, and of what class it is, is no question of ours: what
// is in memory is an object.
func (r *request) setKey(path []byte, escaped bool, at int) int {
	if escaped {
		var ok bool
		if path, ok = r.decode(path); !ok {
			return 0
		}
	}
	if len(path) == 0 || len(path) > object.MaxKeyLen {
		return 0
	}
	r.key = stringOf(path)
	return at
}

// decode undoes percent-encoding, once.
func (r *request) decode(path []byte) ([]byte, bool) {
	n := 0
	for i := 0; i < len(path); i++ {
		b := path[i]
		if b == '%' {
			if i+2 >= len(path) {
				return nil, false
			}
			high, low := hexDigit(path[i+1]), hexDigit(path[i+2])
			if high > 15 || low > 15 {
				return nil, false
			}
			b = high<<4 | low
			i += 2
		}
		if n == len(r.decoded) {
			return nil, false
		}
		r.decoded[n] = b
		n++
	}
	return r.decoded[:n], true
}

// maxFields is far below what the server refuses.
const maxFields = 64

// parseFields takes the header fields and the empty line behind them, and returns
// their length.
func (r *request) parseFields(buf []byte) int {
	r.tag, r.rng = "", object.Range{}
	var seen seenFields
	at := 0
	for range maxFields {
		line := buf[at:]
		if hasPrefix(line, "\r\n") {
			if !seen.host || seen.since && r.tag == "" {
				return 0
			}
			return at + len("\r\n")
		}
		end := bytes.IndexByte(line, '\n')
		if end < 1 || line[end-1] != '\r' {
			return 0
		}
		at += end + 1
		line = line[:end-1]
		colon := bytes.IndexByte(line, ':')
		if colon < 1 || !r.field(line[:colon], line[colon+1:], &seen) {
			return 0
		}
	}
	return 0
}

// seenFields are those that there must be, or that count for others.
type seenFields struct{ host, since bool }

// maxName is the length of the longest name that is known.
const maxName = len("upgrade-insecure-requests")

// field takes one header field, and reports whether it could.
func (r *request) field(name, value []byte, seen *seenFields) bool {
	value, ok := plainValue(value)
	if !ok || len(name) > maxName {
		return false
	}
	var lower [maxName]byte
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		lower[i] = b
	}
	switch string(lower[:len(name)]) {
	case "host":
		ok = !seen.host && isHost(value)
		seen.host = true
	case "connection":
		ok = strings.EqualFold(stringOf(value), "keep-alive")
	case "if-none-match":
		ok = r.tag == "" && r.setTag(value)
	case "if-modified-since":
		seen.since = true // not heeded beside If-None-Match (RFC 9110 §13.1.3)
	case "range":
		ok = !r.rng.IsSet() && r.setRange(value)
	case "user-agent", "accept", "accept-encoding", "accept-language", "cache-control", "pragma",
		"authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "x-amz-user-agent", "x-amz-checksum-mode",
		"amz-sdk-invocation-id", "amz-sdk-request", "traceparent", "tracestate", "baggage", "x-request-id",
		"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "forwarded", "via",
		"referer", "origin", "cookie", "dnt", "priority", "upgrade-insecure-requests":
		// They change no answer of the dialect.
	default:
		return false
	}
	return ok
}

// onlyField returns the value of a header field of a request that was parsed, "" if
// it has none or more than one. Few want to know it, so parse does not note it.
func onlyField(text []byte, name string) string {
	value, found := "", false
	for line := range bytes.Lines(text) {
		before, after, ok := bytes.Cut(line, []byte(":"))
		if !ok || !strings.EqualFold(stringOf(before), name) {
			continue
		}
		if found {
			return ""
		}
		value, found = string(bytes.TrimSpace(after)), true
	}
	return value
}

// setTag takes an If-None-Match of one strong tag.
func (r *request) setTag(value []byte) bool {
	n := len(value)
	if n < 3 || value[0] != '"' || value[n-1] != '"' || bytes.IndexByte(value[1:n-1], '"') >= 0 {
		return false
	}
	_, ok := object.ParseETag(stringOf(value))
	r.tag = stringOf(value[1 : n-1])
	return ok
}

// setRange takes a Range of one range.
func (r *request) setRange(value []byte) (ok bool) {
	r.rng, ok = object.ParseRange(stringOf(value))
	return ok && r.rng.IsSet()
}

// plainValue returns a field's value without the blanks around it, if it is all
// printable ASCII.
func plainValue(value []byte) ([]byte, bool) {
	for _, b := range value {
		if b < ' ' || b > '~' {
			return nil, false
		}
	}
	return bytes.Trim(value, " "), true
}

// isHost reports whether the value of a Host is one that every server takes.
func isHost(value []byte) bool {
	for _, b := range value {
		if !isHostByte(b) {
			return false
		}
	}
	return len(value) > 0
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

// stringOf returns b as a string that is valid as long as b is not changed.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func hexDigit(b byte) byte {
	switch {
	case '0' <= b && b <= '9':
		return b - '0'
	case 'a' <= b && b <= 'f':
		return b - 'a' + 10
	case 'A' <= b && b <= 'F':
		return b - 'A' + 10
	}
	return 0xff
}

// Sets of ASCII, a bit for each member.
const (
	alphanumeric = (1<<10-1)<<'0' | (1<<26-1)<<'A' | (1<<26-1)<<'a'

	// pathSet may be in a path as it is (RFC 3986 §3.3), or begins an escape.
	pathSet = alphanumeric | 1<<'-' | 1<<'.' | 1<<'_' | 1<<'~' | 1<<'!' | 1<<'$' | 1<<'&' | 1<<'\'' | 1<<'(' | 1<<')' |
		1<<'*' | 1<<'+' | 1<<',' | 1<<';' | 1<<'=' | 1<<':' | 1<<'@' | 1<<'/' | 1<<'%'

	// hostSet makes up names, addresses and ports.
	hostSet = alphanumeric | 1<<'-' | 1<<'.' | 1<<'_' | 1<<':' | 1<<'[' | 1<<']'

	// nameSet is part of what the name of a field may have.
	nameSet = alphanumeric | 1<<'-' | 1<<'.' | 1<<'_'
)

func isPathByte(b byte) bool { return isIn(b, pathSet&(1<<64-1), pathSet>>64) }
func isHostByte(b byte) bool { return isIn(b, hostSet&(1<<64-1), hostSet>>64) }
func isNameByte(b byte) bool { return isIn(b, nameSet&(1<<64-1), nameSet>>64) }

// isIn reports whether b is a member of a set whose lower and upper half these are.
// Shifts by 64 and more leave nothing.
func isIn(b byte, low, high uint64) bool { return (1<<b&low | 1<<(b-64)&high) != 0 }
