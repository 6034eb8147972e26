package object

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// A Source is the bytes of a Put.
type Source interface {
	// Size returns the number of bytes, or -1 if it is known only at the end.
	Size() int64

	// Open returns a reader from the first byte. Sources that can be read
	// again may be opened any number of times, also at once; a source that
	// streams from a client answers ErrReplay from the second time on.
	Open() (io.ReadCloser, error)
}

// BytesSource is a Source of bytes in memory, readable any number of times.
func BytesSource(b []byte) Source { return bytesSource(b) }

type bytesSource []byte

func (b bytesSource) Size() int64 { return int64(len(b)) }
func (b bytesSource) Open() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(b)), nil
}

// ReaderSource is a Source that can be opened once and reads r. Size is -1 if
// it is not known. Closing the opened reader does not close r.
func ReaderSource(r io.Reader, size int64) Source { return &readerSource{r: r, size: size} }

type readerSource struct {
	r      io.Reader
	size   int64
	opened atomic.Bool
}

func (s *readerSource) Size() int64 { return s.size }
func (s *readerSource) Open() (io.ReadCloser, error) {
	if s.opened.Swap(true) {
		return nil, ErrReplay
	}
	return io.NopCloser(s.r), nil
}

var errTooLong = errors.New("source has more bytes than it announced")

// OpenExact opens src and returns a reader that yields exactly src.Size bytes:
// a source that ends early fails with io.ErrUnexpectedEOF instead of a clean
// end, one that goes on is an error too. Stores read sources through it, so
// that a cut upload can never look whole.
func OpenExact(src Source) (io.ReadCloser, error) {
	r, err := src.Open()
	if err != nil || src.Size() < 0 {
		return r, err
	}
	return &exactReader{ReadCloser: r, size: src.Size()}, nil
}

type exactReader struct {
	io.ReadCloser
	size, n int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	e.n += int64(n)
	switch {
	case e.n > e.size:
		return n, fmt.Errorf("%w (%d)", errTooLong, e.size)
	case err == io.EOF && e.n < e.size:
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}
