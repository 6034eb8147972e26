package seglog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// An ID names an object: a hash of its key. Callers keep the key itself in the
// description, and compare it.
type ID [16]byte

// ErrDamaged means that what was read is not what had been written.
var ErrDamaged = errors.New("damaged record")

const (
	// BlockSize is the unit of checksums in large objects, in bytes: small
	// enough that a small range costs little to verify, large enough that
	// checksums are 0.006 % of the data.
	BlockSize = 64 << 10

	// MaxInline is the size up to which an object is one record, in bytes, read
	// by one system call.
	MaxInline = 256 << 10

	// MaxMeta bounds a description, in bytes.
	MaxMeta = 64 << 10

	// page is what chunks are aligned to, and their header's size.
	page = 4 << 10

	// unit is what records are aligned to: offsets in it fit 32 bits in
	// segments of up to 64 GiB.
	unit = 16

	// maxRecord bounds a record that is no chunk, in bytes.
	maxRecord = headerSize + MaxMeta + MaxInline

	headerSize  = 80
	recordMagic = 0x4c474553 // "SEGL"
)

// A kind says what a record is.
type kind uint8

const (
	kindInline    kind = 1 // description and bytes of a small object
	kindDesc      kind = 2 // description of a large one
	kindChunk     kind = 3 // a part of a large one
	kindTombstone kind = 4 // the object is deleted
)

// A header begins every record, little endian:
//
//	 0 magic u32   4 kind u8, three zero bytes   8 nonce u64
//	16 id [16]     32 lsn u64    40 gen u64      48 size u64
//	56 chunk u32   60 metaLen u32   64 dataLen u32
//	68 bodyCRC u32 72 headerCRC u32 76 zero u32
type header struct {
	kind    kind
	nonce   uint64 // of the segment's present life
	id      ID
	lsn     uint64 // sequence number: the highest of an id counts
	gen     uint64 // of a large object: what its chunks belong to
	size    uint64 // of the object, in bytes
	chunk   uint32 // number of the chunk
	metaLen uint32
	dataLen uint32 // bytes of the object in this record
	bodyCRC uint32 // of description and bytes; of the block sums of a chunk
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// recordLen returns what a record takes of its segment, in bytes.
func (h *header) recordLen() int64 {
	if h.kind == kindChunk {
		return page + roundUp(int64(h.dataLen), page)
	}
	return roundUp(headerSize+int64(h.metaLen)+int64(h.dataLen), unit)
}

// put writes the header to b.
func (h *header) put(b []byte) {
	le := binary.LittleEndian
	clear(b[:headerSize])
	le.PutUint32(b, recordMagic)
	b[4] = byte(h.kind)
	le.PutUint64(b[8:], h.nonce)
	copy(b[16:], h.id[:])
	le.PutUint64(b[32:], h.lsn)
	le.PutUint64(b[40:], h.gen)
	le.PutUint64(b[48:], h.size)
	le.PutUint32(b[56:], h.chunk)
	le.PutUint32(b[60:], h.metaLen)
	le.PutUint32(b[64:], h.dataLen)
	le.PutUint32(b[68:], h.bodyCRC)
	le.PutUint32(b[72:], checksum(b[:72]))
}

// setNonce fills in the nonce of a header that put has written: it is known
// only when the record's segment is.
func setNonce(b []byte, nonce uint64) {
	binary.LittleEndian.PutUint64(b[8:], nonce)
	binary.LittleEndian.PutUint32(b[72:], checksum(b[:72]))
}

// parseHeader reads a header of a segment whose nonce is known. Its lengths are
// within their bounds, and nothing else is known of what follows it.
func parseHeader(b []byte, nonce uint64) (header, error) {
	le := binary.LittleEndian
	if len(b) < headerSize || le.Uint32(b) != recordMagic {
		return header{}, fmt.Errorf("%w: no record here", ErrDamaged)
	}
	h := header{
		kind: kind(b[4]), nonce: le.Uint64(b[8:]), id: ID(b[16:32]),
		lsn: le.Uint64(b[32:]), gen: le.Uint64(b[40:]), size: le.Uint64(b[48:]),
		chunk: le.Uint32(b[56:]), metaLen: le.Uint32(b[60:]), dataLen: le.Uint32(b[64:]), bodyCRC: le.Uint32(b[68:]),
	}
	switch {
	case le.Uint32(b[72:]) != checksum(b[:72]):
		return header{}, fmt.Errorf("%w: header checksum", ErrDamaged)
	case h.nonce != nonce:
		return header{}, fmt.Errorf("%w: of an earlier life of its segment", ErrDamaged)
	case !h.plausible():
		return header{}, fmt.Errorf("%w: impossible lengths", ErrDamaged)
	}
	return h, nil
}

// plausible reports whether the fields can be those of a record.
func (h *header) plausible() bool {
	if h.metaLen > MaxMeta || h.size > maxObject {
		return false
	}
	switch h.kind {
	case kindInline:
		return h.dataLen <= MaxInline && h.size == uint64(h.dataLen)
	case kindDesc:
		return h.dataLen == 0
	case kindChunk:
		return h.metaLen == 0 && h.dataLen > 0 && h.dataLen <= maxChunk
	case kindTombstone:
		return h.metaLen == 0 && h.dataLen == 0
	}
	return false
}

// maxObject bounds the size of an object, in bytes: 1 PiB, so that no
// arithmetic on sizes that were read from a disk overflows.
const maxObject = 1 << 50

// encodeRecord appends a record without chunk data to b. The nonce is missing.
func encodeRecord(b []byte, h header, meta, data []byte) []byte {
	h.metaLen, h.dataLen = uint32(len(meta)), uint32(len(data))
	h.bodyCRC = crc32.Update(checksum(meta), castagnoli, data)
	at := len(b)
	b = append(b, make([]byte, headerSize)...)
	b = append(append(b, meta...), data...)
	h.put(b[at:])
	for len(b)%unit != 0 {
		b = append(b, 0)
	}
	return b
}

// body checks what follows the header of a record that is no chunk, and
// returns its description and bytes.
func (h *header) body(record []byte) (meta, data []byte, err error) {
	end := headerSize + int(h.metaLen) + int(h.dataLen)
	if len(record) < end {
		return nil, nil, fmt.Errorf("%w: cut short", ErrDamaged)
	}
	b := record[headerSize:end]
	if checksum(b) != h.bodyCRC {
		return nil, nil, fmt.Errorf("%w: checksum of %d bytes", ErrDamaged, len(b))
	}
	return b[:h.metaLen:h.metaLen], b[h.metaLen:], nil
}

// chunkPage writes the first page of a chunk: its header and the checksums of
// its blocks.
func chunkPage(p []byte, h header, sums []uint32) {
	clear(p[:page])
	at := headerSize
	for _, s := range sums {
		binary.LittleEndian.PutUint32(p[at:], s)
		at += 4
	}
	h.bodyCRC = checksum(p[headerSize:at])
	h.put(p)
}

// chunkSums reads the checksums of a chunk's blocks off its first page.
func (h *header) chunkSums(p []byte) ([]uint32, error) {
	n := int(blocksOf(int64(h.dataLen)))
	b := p[headerSize : headerSize+4*n]
	if checksum(b) != h.bodyCRC {
		return nil, fmt.Errorf("%w: checksum of a chunk's page", ErrDamaged)
	}
	sums := make([]uint32, n)
	for i := range sums {
		sums[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return sums, nil
}

func blocksOf(n int64) int64 { return (n + BlockSize - 1) / BlockSize }
