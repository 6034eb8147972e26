package loadtest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"strconv"
	"strings"
)

// maxHead bounds the header section of an answer, as net/http does with more.
const maxHead = 64 << 10

// errProtocol is wrapped by every error about what is no answer of HTTP/1.1.
var errProtocol = errors.New("not an answer of HTTP/1.1")

// A head is what the header section of an answer says, as far as a measurement
// needs it.
type head struct {
	status  int
	length  int64 // Content-Length, -1 without one
	chunked bool
	close   bool // the connection ends with this answer

	// cache is X-Cache, and lives until the next read.
	cache []byte
}

// readHead reads the header section of an answer, past those of interim answers
// (1xx). It takes nothing that net/http does not take, and less: no folded
// lines, no transfer coding but chunked, no lines longer than the buffer. The
// framing must be right even with a hostile server, because the next answer on
// the connection is read where this one ends.
func readHead(in *bufio.Reader, h *head) error {
	for interim := 0; ; interim++ {
		if err := readOneHead(in, h); err != nil {
			return err
		}
		if h.status >= 200 {
			return nil
		}
		if h.status == 101 || interim == 5 { // as many as net/http's Transport suffers
			return fmt.Errorf("%w: an interim answer of status %d", errProtocol, h.status)
		}
	}
}

func readOneHead(in *bufio.Reader, h *head) error {
	*h = head{length: -1, cache: h.cache[:0]}
	line, err := readLine(in)
	if err != nil {
		return err
	}
	if h.status, h.close, err = parseStatusLine(line); err != nil {
		return err
	}
	fields := fieldState{http10: h.close}
	for size := len(line); ; {
		if line, err = readLine(in); err != nil {
			return noEOF(err)
		}
		if len(line) == 0 {
			break
		}
		if size += len(line); size > maxHead {
			return fmt.Errorf("%w: a header of more than %d bytes", errProtocol, maxHead)
		}
		if err := h.field(line, &fields); err != nil {
			return err
		}
	}
	if fields.http10 && h.chunked {
		return fmt.Errorf("%w: chunks in HTTP/1.0", errProtocol)
	}
	h.close = h.close && !fields.keepAlive || fields.closes
	if h.chunked {
		h.length = -1
	}
	return nil
}

// readLine returns a line without its end, valid until the next read.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("%w: a line of more than %d bytes", errProtocol, len(line))
		}
		if len(line) > 0 {
			return nil, noEOF(err)
		}
		return nil, err
	}
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, nil
}

// noEOF makes an end in the middle an error of its own.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseStatusLine reads "HTTP/1.1 200 OK". HTTP/1.0 closes unless it says otherwise.
func parseStatusLine(line []byte) (status int, http10 bool, err error) {
	const version = "HTTP/1.1 "
	if len(line) < len(version)+3 || string(line[:7]) != version[:7] || line[8] != ' ' || (line[7] != '1' && line[7] != '0') {
		return 0, false, fmt.Errorf("%w: it begins with %.40q", errProtocol, line)
	}
	code := line[len(version):]
	for _, c := range code[:3] {
		if c < '0' || c > '9' {
			return 0, false, fmt.Errorf("%w: it begins with %.40q", errProtocol, line)
		}
		status = 10*status + int(c-'0')
	}
	if status < 100 || (len(code) > 3 && code[3] != ' ') {
		return 0, false, fmt.Errorf("%w: it begins with %.40q", errProtocol, line)
	}
	return status, line[7] == '0', nil
}

// fieldState is what has to be known until the end of the header section.
type fieldState struct {
	http10, closes, keepAlive bool
	hasCache, hasCoding       bool
}

// field reads one header field.
func (h *head) field(line []byte, s *fieldState) error {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || !isToken(line[:colon]) {
		return fmt.Errorf("%w: the header line %.40q", errProtocol, line)
	}
	name, value := line[:colon], trim(line[colon+1:])
	for _, c := range value {
		if (c < ' ' && c != '\t') || c == 0x7f {
			return fmt.Errorf("%w: the header line %.40q", errProtocol, line)
		}
	}
	switch len(name) { // of the few names that matter, each has a length of its own
	case len("X-Cache"):
		if !s.hasCache && equalFold(name, "x-cache") {
			s.hasCache = true
			h.cache = append(h.cache[:0], value...)
		}
	case len("Connection"):
		if equalFold(name, "connection") {
			s.connection(value)
		}
	case len("Content-Length"):
		if equalFold(name, "content-length") {
			return h.contentLength(value)
		}
	case len("Transfer-Encoding"):
		if equalFold(name, "transfer-encoding") {
			if s.hasCoding || !equalFold(value, "chunked") {
				return fmt.Errorf("%w: the transfer coding %.40q", errProtocol, value)
			}
			s.hasCoding, h.chunked = true, true
		}
	}
	return nil
}

func (h *head) contentLength(value []byte) error {
	if len(value) == 0 || value[0] == '+' {
		return fmt.Errorf("%w: the Content-Length %.40q", errProtocol, value)
	}
	n, err := strconv.ParseUint(string(value), 10, 63) // the conversion stays on the stack
	if err != nil || (h.length >= 0 && h.length != int64(n)) {
		return fmt.Errorf("%w: the Content-Length %.40q", errProtocol, value)
	}
	h.length = int64(n)
	return nil
}

// connection reads a list of options.
func (s *fieldState) connection(value []byte) {
	for option := range bytes.SplitSeq(value, []byte(",")) {
		option = trim(option)
		s.closes = s.closes || equalFold(option, "close")
		s.keepAlive = s.keepAlive || equalFold(option, "keep-alive")
	}
}

// trim removes blanks at both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// equalFold compares with a word in lower-case ASCII.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// tokenBytes are the bytes that the name of a field can have (RFC 9110, 5.6.2).
const tokenBytes = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// isToken reports whether b can be the name of a field. Nearly all bytes of names
// are letters and dashes.
func isToken(b []byte) bool {
	for _, c := range b {
		if lower := c | 0x20; (lower < 'a' || lower > 'z') && c != '-' && strings.IndexByte(tokenBytes, c) < 0 {
			return false
		}
	}
	return len(b) > 0
}

// hasBody reports whether a body follows the header section of an answer to op.
func (h *head) hasBody(op Op) bool {
	return op != OpHead && h.status != 204 && h.status != 304
}

// readBody hands the pieces of a body to each, and returns how long it was. It
// sets h.close where the body ends with the connection.
func readBody(in *bufio.Reader, h *head, scratch []byte, each func(piece []byte)) (n int64, err error) {
	switch {
	case h.chunked:
		if n, err = readPieces(httputil.NewChunkedReader(in), scratch, each); err != nil {
			return n, fmt.Errorf("reading chunks: %w", noEOF(err))
		}
		return n, skipTrailer(in)
	case h.length >= 0:
		for n < h.length {
			// Read goes past the buffer of in where it is empty and scratch is larger.
			got, err := in.Read(scratch[:min(h.length-n, int64(len(scratch)))])
			each(scratch[:got])
			if n += int64(got); err != nil && n < h.length {
				return n, noEOF(err)
			}
		}
		return n, nil
	}
	h.close = true
	return readPieces(in, scratch, each)
}

func readPieces(r io.Reader, scratch []byte, each func([]byte)) (n int64, err error) {
	for {
		got, err := r.Read(scratch)
		each(scratch[:got])
		n += int64(got)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// maxTrailer bounds what follows the last chunk, below what net/http takes.
const maxTrailer = 4000

// skipTrailer reads what follows the last chunk: fields, which say nothing to us,
// and an empty line. Here net/http insists on lines that end as they should.
func skipTrailer(in *bufio.Reader) error {
	var h head
	for size := 0; ; {
		line, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return noEOF(err)
		}
		if size += len(line); err != nil || size > maxTrailer || !bytes.HasSuffix(line, []byte("\r\n")) {
			return fmt.Errorf("%w: the trailer line %.40q", errProtocol, line)
		}
		if len(line) == len("\r\n") {
			return nil
		}
		if err := h.field(line[:len(line)-2], new(fieldState)); err != nil {
			return err
		}
	}
}
