package drive

import (
	"bytes"
	"fmt"
	"strconv"
)

// check says what is wrong with the header of an answer, all lines of which end
// in CR LF.
func (s *Shot) check(header []byte) error {
	line, _, _ := bytes.Cut(header, []byte("\r\n"))
	const version = "HTTP/1.1 "
	if len(line) < len(version)+3 || string(line[:len(version)]) != version {
		return fmt.Errorf("the answer begins %q", line)
	}
	if status, err := strconv.Atoi(string(line[len(version) : len(version)+3])); err != nil || status != s.Status {
		return fmt.Errorf("%q, want %d, for %q", line, s.Status, s.line())
	}
	if s.Body == 0 {
		return nil // HEAD announces what does not come
	}
	length, ok := value(header, "content-length")
	if !ok {
		return fmt.Errorf("an answer without a length: %q", header)
	}
	if n, err := strconv.ParseInt(string(length), 10, 64); err != nil || n != s.Body {
		return fmt.Errorf("%q bytes, want %d, for %q", length, s.Body, s.line())
	}
	return nil
}

// line returns the first line of the request.
func (s *Shot) line() []byte {
	line, _, _ := bytes.Cut(s.Raw, []byte("\r\n"))
	return line
}

// value returns a field of a header by its name in lower case.
func value(header []byte, name string) ([]byte, bool) {
	for {
		i := bytes.Index(header, []byte("\r\n"))
		if i < 0 {
			return nil, false
		}
		if len(header) > len(name) && header[len(name)] == ':' && equalFold(header[:len(name)], name) {
			return bytes.TrimSpace(header[len(name)+1 : i]), true
		}
		header = header[i+2:]
	}
}

// equalFold compares letters of ASCII; what is no letter must not differ in the
// bit of the case either, which is good enough for names of fields.
func equalFold(name []byte, lower string) bool {
	for i := range name {
		if name[i]|0x20 != lower[i] {
			return false
		}
	}
	return true
}
