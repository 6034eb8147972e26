package tiers

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/micelio/micelio/object"
)

// A copy of an object is one file:
//
//	bytes of the object          info.Size
//	crc32c of each 64 KiB block  4 bytes each, little endian
//	description                  JSON of copyMeta
//	footer                       32 bytes: magic, length of the description,
//	                             crc32c of checksums, description and footer,
//	                             size of the object, two zero words
//
// The description comes last because it is complete only when the bytes are.
// Nothing is synced: a file that a crash tore has a wrong checksum somewhere
// and is a miss.

const (
	copyMagic  = "MICCPY01"
	footerSize = 32

	// maxCopyMeta bounds the description that a reader believes: a key, the
	// attributes and the user metadata, all of which are bounded, escaped.
	maxCopyMeta = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// copyMeta is the description of a copy.
type copyMeta struct {
	Key      object.Key
	Size     int64
	ETag     object.ETag
	Version  string
	SHA256   string
	Modified time.Time
	Attrs    object.Attrs
	Born     time.Time // when the bytes came from the authority
}

// isText reports whether all of the description is UTF-8. Headers can carry
// other bytes, which JSON would replace by something similar.
func (m copyMeta) isText() bool {
	a := m.Attrs
	for _, s := range []string{
		string(m.Key), string(m.ETag), m.Version,
		a.ContentType, a.ContentEncoding, a.ContentLanguage, a.ContentDisposition, a.CacheControl,
	} {
		if !utf8.ValidString(s) {
			return false
		}
	}
	for k, v := range a.User {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return false
		}
	}
	return true
}

func blocks(size int64) int64 { return (size + BlockSize - 1) / BlockSize }

// encodeTrailer returns what follows the object's bytes in the file.
func encodeTrailer(meta copyMeta, sums []uint32) ([]byte, error) {
	if !meta.isText() {
		return nil, errors.New("description cannot be written as JSON")
	}
	desc, err := json.Marshal(meta)
	if err != nil {
		return nil, err
	}
	if len(desc) > maxCopyMeta {
		return nil, fmt.Errorf("description of %d bytes is too long", len(desc))
	}
	b := make([]byte, 0, 4*len(sums)+len(desc)+footerSize)
	for _, s := range sums {
		b = binary.LittleEndian.AppendUint32(b, s)
	}
	b = append(b, desc...)
	foot := len(b)
	b = append(b, copyMagic...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(desc)))
	b = binary.LittleEndian.AppendUint32(b, 0) // the checksum's place
	b = binary.LittleEndian.AppendUint64(b, uint64(meta.Size))
	b = append(b, make([]byte, footerSize-24)...)
	binary.LittleEndian.PutUint32(b[foot+12:], checksum(b))
	return b, nil
}

// decodeTrailer reads the trailer of a file of fileSize bytes. Every length in
// it is checked against the file before it is believed.
func decodeTrailer(r io.ReaderAt, fileSize int64) (meta copyMeta, sums []uint32, err error) {
	var foot [footerSize]byte
	if fileSize < footerSize {
		return meta, nil, fmt.Errorf("%w: file of %d bytes", ErrDamaged, fileSize)
	}
	if _, err := r.ReadAt(foot[:], fileSize-footerSize); err != nil {
		return meta, nil, err
	}
	if string(foot[:8]) != copyMagic {
		return meta, nil, fmt.Errorf("%w: no footer", ErrDamaged)
	}
	descLen := int64(binary.LittleEndian.Uint32(foot[8:]))
	want := binary.LittleEndian.Uint32(foot[12:])
	size := int64(binary.LittleEndian.Uint64(foot[16:]))
	if descLen > maxCopyMeta || size < 0 || size > fileSize ||
		size+4*blocks(size)+descLen+footerSize != fileSize {
		return meta, nil, fmt.Errorf("%w: lengths do not add up", ErrDamaged)
	}
	b := make([]byte, fileSize-size)
	if _, err := r.ReadAt(b, size); err != nil {
		return meta, nil, err
	}
	tail := b[int64(len(b))-footerSize:]
	clear(tail[12:16])
	if checksum(b) != want {
		return meta, nil, fmt.Errorf("%w: trailer checksum", ErrDamaged)
	}
	sums = make([]uint32, blocks(size))
	for i := range sums {
		sums[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	if err := json.Unmarshal(b[4*len(sums):4*len(sums)+int(descLen)], &meta); err != nil || meta.Size != size {
		return meta, nil, fmt.Errorf("%w: description", ErrDamaged)
	}
	return meta, sums, nil
}

// info returns what the description says about the object.
func (m copyMeta) info() object.Info {
	digest, _ := object.ParseDigest(m.SHA256)
	return object.Info{
		Key: m.Key, Size: m.Size, ETag: m.ETag, Version: m.Version, SHA256: digest,
		Modified: m.Modified, Attrs: m.Attrs, Tier: object.TierSSD,
	}
}

// A copyFile is the open file behind a Stored or a Spool.
type copyFile struct {
	tier *Files
	item *item // the index entry this file is, or will be
	file *os.File
	sums []uint32 // as long as the object has blocks; filled as they are written
	info object.Info
	born time.Time
	temp string // name of the file while it is not published

	written int64 // by the one writer
	once    sync.Once
	closed  atomic.Bool
}

func (c *copyFile) Info() object.Info {
	info := c.info
	if !c.born.IsZero() {
		info.Age = max(time.Since(c.born), 0)
	}
	return info
}

func (c *copyFile) Proven() bool { return c.item.proven.Load() }
func (c *copyFile) Prove()       { c.item.proven.Store(true) }

func (c *copyFile) Drop() {
	if c.tier.remove(c.item) {
		c.tier.damaged.Add(1)
	}
}

func (c *copyFile) ReadAt(p []byte, off int64) (int, error) {
	n := c.info.Size - off
	if n <= 0 {
		return 0, io.EOF
	}
	if n > int64(len(p)) {
		n = int64(len(p) / BlockSize * BlockSize)
	}
	if off%BlockSize != 0 || n == 0 {
		return 0, fmt.Errorf("tiers: unaligned read of %d bytes at %d", len(p), off)
	}
	p = p[:n]
	if got, err := c.file.ReadAt(p, off); got < len(p) {
		c.tier.failed(err)
		c.Drop()
		return 0, fmt.Errorf("%w: %d of %d bytes at %d: %w", ErrDamaged, got, len(p), off, err)
	}
	for i := int64(0); i < n; i += BlockSize {
		block := p[i:min(i+BlockSize, n)]
		if checksum(block) != c.sums[(off+i)/BlockSize] {
			c.Drop()
			return 0, fmt.Errorf("%w: block at %d", ErrDamaged, off+i)
		}
	}
	return int(n), nil
}

func (c *copyFile) Write(p []byte) error {
	if c.written%BlockSize != 0 || c.written+int64(len(p)) > c.info.Size {
		return fmt.Errorf("tiers: write of %d bytes at %d of %d", len(p), c.written, c.info.Size)
	}
	if _, err := c.file.WriteAt(p, c.written); err != nil {
		c.tier.failed(err)
		return err
	}
	for i := 0; i < len(p); i += BlockSize {
		c.sums[c.written/BlockSize] = checksum(p[i:min(i+BlockSize, len(p))])
		c.written += int64(min(BlockSize, len(p)-i))
	}
	return nil
}

func (c *copyFile) Commit(info object.Info) error {
	if c.written != info.Size || info.Size != c.info.Size || info.Key != c.info.Key {
		return errors.New("tiers: commit of an incomplete copy")
	}
	trailer, err := encodeTrailer(newCopyMeta(info, c.born), c.sums)
	if err != nil {
		return err
	}
	if err := c.tier.resize(c.item, costOf(info.Size+int64(len(trailer)))); err != nil {
		return err
	}
	if _, err := c.file.WriteAt(trailer, info.Size); err != nil {
		c.tier.failed(err)
		return err
	}
	return c.tier.publish(c)
}

func newCopyMeta(info object.Info, born time.Time) copyMeta {
	return copyMeta{
		Key: info.Key, Size: info.Size, ETag: info.ETag, Version: info.Version, SHA256: info.SHA256.String(),
		Modified: info.Modified, Attrs: info.Attrs, Born: born,
	}
}

func (c *copyFile) Abort() { c.once.Do(func() { c.tier.giveUp(c) }) }

func (c *copyFile) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	return c.file.Close()
}

var _ Spool = (*copyFile)(nil)
