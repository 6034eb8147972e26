package tiers

import (
	"context"
	"io"
)

// A diskSource reads a copy on the SSD.
type diskSource struct {
	copy   Stored
	chunks *chunkPool
	size   int64        // of the object
	end    int64        // of what the reader wants: no block behind it is read
	blocks *blockReader // nil: the copy has none
	buf    *chunk
	at     int64
	n      int
}

func (d *diskSource) readAt(_ context.Context, p []byte, pos int64) (int, error) {
	if pos < d.at || pos >= d.at+int64(d.n) {
		if n := direct(len(p), pos, d.size); n > 0 {
			return d.copy.ReadAt(p[:n], pos)
		}
	}
	if d.buf == nil {
		d.buf = d.chunks.get()
	}
	if pos < d.at || pos >= d.at+int64(d.n) {
		d.at, d.n = pos/BlockSize*BlockSize, 0
		n, err := d.copy.ReadAt(d.buf.data[:min(chunkSize, roundUp(d.end-d.at))], d.at)
		if err != nil {
			return 0, err
		}
		d.n = n
	}
	return copy(p, d.buf.data[pos-d.at:d.n]), nil
}

// direct returns how many bytes of a copy of size bytes can be read from offset
// pos on into a reader's buffer of n bytes without another one between: 0 if it
// would have to begin or end within a block. A reader with a buffer of a block
// keeps no other memory here, however slow it is.
func direct(n int, pos, size int64) int {
	switch {
	case pos%BlockSize != 0:
		return 0
	case int64(n) >= size-pos:
		return int(size - pos)
	}
	return n / BlockSize * BlockSize
}

func (d *diskSource) close() {
	if d.buf != nil {
		d.buf.release()
	}
	if d.blocks != nil {
		d.blocks.close()
	}
	d.copy.Close()
}

// A streamSource passes the upstream's bytes through. It is read in order.
type streamSource struct{ body io.ReadCloser }

func (s *streamSource) readAt(_ context.Context, p []byte, _ int64) (int, error) {
	n, err := s.body.Read(p)
	if n > 0 {
		return n, nil
	}
	if err == io.EOF {
		return 0, io.ErrUnexpectedEOF
	}
	return 0, err
}

func (s *streamSource) close() { s.body.Close() }
