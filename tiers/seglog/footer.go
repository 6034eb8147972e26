package seglog

import (
	"encoding/binary"
	"fmt"
)

const (
	segmentMagic = "MICSEG02" // and the version of everything in this package
	footerMagic  = "MICFOOT2"
	entrySize    = 56
	tailSize     = 64
)

// An entry is what a footer says about one record.
type entry struct {
	kind  kind
	id    ID
	lsn   uint64
	gen   uint64
	size  uint64 // of the object
	off   uint32 // of the record in its segment, in units
	len   uint32 // of the record, in bytes
	chunk uint32
}

func (e *entry) put(b []byte) {
	le := binary.LittleEndian
	copy(b, e.id[:])
	le.PutUint64(b[16:], e.lsn)
	le.PutUint64(b[24:], e.gen)
	le.PutUint64(b[32:], e.size)
	le.PutUint32(b[40:], e.off)
	le.PutUint32(b[44:], e.len)
	le.PutUint32(b[48:], e.chunk)
	le.PutUint32(b[52:], uint32(e.kind))
}

func parseEntry(b []byte) entry {
	le := binary.LittleEndian
	return entry{
		id: ID(b[:16]), lsn: le.Uint64(b[16:]), gen: le.Uint64(b[24:]), size: le.Uint64(b[32:]),
		off: le.Uint32(b[40:]), len: le.Uint32(b[44:]), chunk: le.Uint32(b[48:]), kind: kind(b[52]),
	}
}

// entryOf describes a record at offset off of its segment.
func entryOf(h *header, off int64) entry {
	return entry{
		kind: h.kind, id: h.id, lsn: h.lsn, gen: h.gen, size: h.size,
		off: uint32(off / unit), len: uint32(h.recordLen()), chunk: h.chunk,
	}
}

// within reports whether an entry can be one of a segment of segSize bytes.
func (e *entry) within(segSize int64) bool {
	off := int64(e.off) * unit
	return e.kind >= kindInline && e.kind <= kindTombstone && e.size <= maxObject &&
		off >= page && e.len >= headerSize && off+int64(e.len) <= segSize && e.len%unit == 0 &&
		(e.kind == kindChunk || e.len <= maxRecord)
}

// A segmentHeader is the first page of a segment.
type segmentHeader struct {
	store  uint64 // id of the Store
	number uint32 // of the segment
	seq    uint64 // order in which segments were begun
	nonce  uint64
	size   int64 // of the segment
}

func (s *segmentHeader) encode() []byte {
	b := make([]byte, page)
	le := binary.LittleEndian
	copy(b, segmentMagic)
	le.PutUint64(b[8:], s.store)
	le.PutUint32(b[16:], s.number)
	le.PutUint64(b[24:], s.seq)
	le.PutUint64(b[32:], s.nonce)
	le.PutUint64(b[40:], uint64(s.size))
	le.PutUint32(b[60:], checksum(b[:60]))
	return b
}

func parseSegmentHeader(b []byte) (segmentHeader, error) {
	le := binary.LittleEndian
	if len(b) < 64 || string(b[:8]) != segmentMagic || le.Uint32(b[60:]) != checksum(b[:60]) {
		return segmentHeader{}, fmt.Errorf("%w: no segment header", ErrDamaged)
	}
	return segmentHeader{
		store: le.Uint64(b[8:]), number: le.Uint32(b[16:]), seq: le.Uint64(b[24:]),
		nonce: le.Uint64(b[32:]), size: int64(le.Uint64(b[40:])),
	}, nil
}

// footerLen returns what n entries take at the end of a segment, in bytes.
func footerLen(n int) int64 { return int64(n)*entrySize + tailSize }

// encodeFooter returns the last footerLen(len(entries)) bytes of a segment.
func encodeFooter(nonce uint64, entries []entry) []byte {
	b := make([]byte, footerLen(len(entries)))
	for i := range entries {
		entries[i].put(b[i*entrySize:])
	}
	body, tail := b[:len(b)-tailSize], b[len(b)-tailSize:]
	le := binary.LittleEndian
	copy(tail, footerMagic)
	le.PutUint64(tail[8:], nonce)
	le.PutUint64(tail[16:], uint64(len(entries)))
	le.PutUint32(tail[24:], checksum(body))
	le.PutUint32(tail[28:], checksum(tail[:28]))
	return b
}

// parseTail reads the last bytes of a segment and returns how many entries come
// before them, and their checksum.
func parseTail(tail []byte, nonce uint64, segSize int64) (count int, sum uint32, err error) {
	le := binary.LittleEndian
	if len(tail) != tailSize || string(tail[:8]) != footerMagic || le.Uint32(tail[28:]) != checksum(tail[:28]) {
		return 0, 0, fmt.Errorf("%w: no footer", ErrDamaged)
	}
	n := le.Uint64(tail[16:])
	if le.Uint64(tail[8:]) != nonce || n > uint64(segSize/entrySize) || footerLen(int(n)) > segSize-page {
		return 0, 0, fmt.Errorf("%w: footer of another life", ErrDamaged)
	}
	return int(n), le.Uint32(tail[24:]), nil
}

// parseEntries reads the entries of a footer.
func parseEntries(b []byte, sum uint32, segSize int64) ([]entry, error) {
	if len(b)%entrySize != 0 || checksum(b) != sum {
		return nil, fmt.Errorf("%w: footer checksum", ErrDamaged)
	}
	entries := make([]entry, len(b)/entrySize)
	for i := range entries {
		entries[i] = parseEntry(b[i*entrySize:])
		if !entries[i].within(segSize) {
			return nil, fmt.Errorf("%w: footer entry %d", ErrDamaged, i)
		}
	}
	return entries, nil
}

// readFooter reads the footer of a segment's present life.
func readFooter(f File, nonce uint64, segSize int64) ([]entry, error) {
	tail := make([]byte, tailSize)
	if _, err := f.ReadAt(tail, segSize-tailSize); err != nil {
		return nil, err
	}
	n, sum, err := parseTail(tail, nonce, segSize)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n*entrySize)
	if n > 0 {
		if _, err := f.ReadAt(b, segSize-footerLen(n)); err != nil {
			return nil, err
		}
	}
	return parseEntries(b, sum, segSize)
}
