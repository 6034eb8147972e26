package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	// maxChunkLine bounds the line before a chunk: a size, and a signature of
	// 64 hexadecimal digits (144 with ECDSA).
	maxChunkLine = 512

	// maxTrailer bounds what follows the last chunk: a checksum and its
	// signature.
	maxTrailer = 4 << 10
)

var errChunk = errors.New("malformed aws-chunked body")

// An awsChunkedReader takes the aws-chunked framing off a body:
//
//	<hex size>[;chunk-signature=<sig>] CRLF <bytes> CRLF   any number of times
//	0[;chunk-signature=<sig>] CRLF
//	<name>:<value> CRLF                                    trailers, if any
//	CRLF
//
// It yields exactly size bytes and then io.EOF, after the last chunk and the
// trailers have come, been understood, and nothing followed them; otherwise it
// ends with another error. Signatures are skipped.
type awsChunkedReader struct {
	br    *bufio.Reader
	chunk int64 // bytes left in the current chunk
	left  int64 // bytes left in all chunks
	first bool  // no chunk has begun yet
	err   error

	// trailer is told each trailer; its error ends the body.
	trailer func(name, value string) error
}

func newAWSChunkedReader(r io.Reader, size int64, trailer func(name, value string) error) *awsChunkedReader {
	// The buffer only has to hold lines; large reads of bytes pass it by.
	return &awsChunkedReader{br: bufio.NewReaderSize(r, max(maxChunkLine, maxTrailer)), left: size, first: true, trailer: trailer}
}

func (c *awsChunkedReader) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if c.chunk == 0 {
		if c.err = c.nextChunk(); c.err != nil {
			return 0, c.err
		}
	}
	n, err := c.br.Read(p[:min(int64(len(p)), c.chunk)])
	c.chunk -= int64(n)
	c.left -= int64(n)
	c.err = cut(err)
	return n, c.err
}

// nextChunk reads up to the first byte of the next chunk. After the last one
// it reads the rest of the body and returns io.EOF.
func (c *awsChunkedReader) nextChunk() error {
	if !c.first {
		var end [2]byte
		if _, err := io.ReadFull(c.br, end[:]); err != nil {
			return cut(err)
		}
		if string(end[:]) != "\r\n" {
			return fmt.Errorf("%w: a chunk is longer than its size", errChunk)
		}
	}
	c.first = false
	line, err := c.readLine()
	if err != nil {
		return err
	}
	size, ok := parseChunkLine(line)
	switch {
	case !ok:
		return fmt.Errorf("%w: no chunk size", errChunk)
	case size > c.left:
		return fmt.Errorf("%w: more bytes than the decoded length", errChunk)
	case size > 0:
		c.chunk = size
		return nil
	case c.left > 0:
		return fmt.Errorf("%w: fewer bytes than the decoded length: %w", errChunk, io.ErrUnexpectedEOF)
	}
	return c.readTrailers()
}

// readLine returns the next line without its CRLF.
func (c *awsChunkedReader) readLine() (string, error) {
	line, err := c.br.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull) || len(line) > maxChunkLine:
		return "", fmt.Errorf("%w: the line before a chunk is too long", errChunk)
	case err != nil:
		return "", cut(err)
	case !strings.HasSuffix(string(line), "\r\n"):
		return "", fmt.Errorf("%w: a line ends without CR", errChunk)
	}
	return string(line[:len(line)-2]), nil
}

// parseChunkLine returns the size in the line before a chunk. What follows
// the size must be an extension of printable characters.
func parseChunkLine(line string) (size int64, ok bool) {
	digits, extension, _ := strings.Cut(line, ";")
	const maxDigits = 15 // below 2^60: no overflow
	if digits == "" || len(digits) > maxDigits {
		return 0, false
	}
	for _, d := range []byte(digits) {
		switch {
		case d >= '0' && d <= '9':
			d -= '0'
		case d >= 'a' && d <= 'f':
			d -= 'a' - 10
		case d >= 'A' && d <= 'F':
			d -= 'A' - 10
		default:
			return 0, false
		}
		size = size<<4 | int64(d)
	}
	return size, !strings.ContainsFunc(extension, func(r rune) bool { return r < ' ' || r > '~' })
}

// readTrailers reads everything behind the last chunk line. Clients differ in
// how they end a trailer line (LF, CRLF, LF CRLF), so lines that end in any of
// these are taken; the section itself must end with an empty line.
func (c *awsChunkedReader) readTrailers() error {
	section, err := io.ReadAll(io.LimitReader(c.br, maxTrailer+1))
	switch {
	case err != nil:
		return cut(err)
	case len(section) > maxTrailer:
		return fmt.Errorf("%w: the trailers are too long", errChunk)
	}
	s := string(section)
	if s != "\r\n" && !strings.HasSuffix(s, "\n\r\n") {
		return fmt.Errorf("%w: the trailers do not end with an empty line: %w", errChunk, io.ErrUnexpectedEOF)
	}
	for line := range strings.SplitSeq(s, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue
		}
		name, value, found := strings.Cut(line, ":")
		if !found {
			return errTrailer
		}
		if err := c.trailer(strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)); err != nil {
			return err
		}
	}
	return io.EOF
}

// cut makes an end inside the framing an error.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

var errTrailer = &apiError{status: 400, code: "MalformedTrailerError", cause: errChunk,
	message: "The request contained trailing data that was not well-formed or did not conform to our published schema."}
