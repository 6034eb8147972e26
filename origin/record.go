package origin

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/micelio/micelio/object"
)

// An identity tells one state of a file from all others that were at its name.
// The change time is not in it: publishing a file under its name moves that.
type identity struct {
	inode uint64
	size  int64
	mtime int64 // nanoseconds since 1970
}

func identify(fi fs.FileInfo) identity {
	id := identity{size: fi.Size(), mtime: fi.ModTime().UnixNano()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		id.inode = uint64(st.Ino)
	}
	return id
}

// version is what a file that no writer named is called: the same as long as it
// is the same file in the same state.
func (id identity) version() string {
	b := binary.BigEndian.AppendUint64(nil, id.inode)
	b = binary.BigEndian.AppendUint64(b, uint64(id.size))
	b = binary.BigEndian.AppendUint64(b, uint64(id.mtime))
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:versionLen])
}

// versionLen is the length of the versions made here, in bytes before
// hexadecimal: 128 bits never meet by accident.
const versionLen = 16

// A record is what is known about one state of one file.
type record struct {
	id      identity
	md5     [md5.Size]byte
	sha256  object.Digest
	version string
	attrs   object.Attrs
}

// info describes the object that the record's file is.
func (r *record) info(key object.Key) object.Info {
	return object.Info{
		Key:      key,
		Size:     r.id.size,
		ETag:     object.ETag(hex.EncodeToString(r.md5[:])),
		Version:  r.version,
		SHA256:   r.sha256,
		Modified: time.Unix(0, r.id.mtime),
		Attrs:    r.attrs,
		Tier:     object.TierOrigin,
	}
}

// The format of a record: the magic, the fields, and the CRC-32C of all that.
// Numbers are varints, strings have their length before them, and the user's
// metadata its count. The digit in the magic is the version of the format; a
// record of another version is no record.
const (
	recordMagic = "micelio-record-1\n"

	// maxRecord is the longest record in bytes. HTTP servers take header blocks
	// of 8 to 64 KiB, and attributes come from headers.
	maxRecord = 64 << 10
)

var (
	errRecord  = errors.New("malformed record")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// encode returns the record of key as it is kept in a file.
func (r *record) encode(key object.Key) []byte {
	b := append([]byte(nil), recordMagic...)
	b = appendString(b, string(key))
	b = binary.AppendUvarint(b, r.id.inode)
	b = binary.AppendVarint(b, r.id.size)
	b = binary.AppendVarint(b, r.id.mtime)
	b = append(b, r.md5[:]...)
	b = append(b, r.sha256[:]...)
	b = appendString(b, r.version)
	for _, s := range attrFields(&r.attrs) {
		b = appendString(b, *s)
	}
	b = binary.AppendUvarint(b, uint64(len(r.attrs.User)))
	for _, name := range slices.Sorted(maps.Keys(r.attrs.User)) {
		b = appendString(appendString(b, name), r.attrs.User[name])
	}
	return seal(b)
}

// seal appends the checksum.
func seal(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// attrFields are the attributes that are single strings, in the order in which
// a record has them.
func attrFields(a *object.Attrs) []*string {
	return []*string{&a.ContentType, &a.ContentEncoding, &a.ContentLanguage, &a.ContentDisposition, &a.CacheControl}
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeRecord reads a record and the key it was written for. It accepts what
// encode returns and nothing else that an accident could make of it.
func decodeRecord(b []byte) (object.Key, *record, error) {
	n := len(b) - crc32.Size
	if n < len(recordMagic) || string(b[:len(recordMagic)]) != recordMagic ||
		crc32.Checksum(b[:n], castagnoli) != binary.LittleEndian.Uint32(b[n:]) {
		return "", nil, errRecord
	}
	p := recordParser{rest: b[len(recordMagic):n]}
	r := &record{}
	key := object.Key(p.string())
	r.id.inode = p.uvarint()
	r.id.size = p.varint()
	r.id.mtime = p.varint()
	copy(r.md5[:], p.bytes(len(r.md5)))
	copy(r.sha256[:], p.bytes(len(r.sha256)))
	r.version = p.string()
	for _, s := range attrFields(&r.attrs) {
		*s = p.string()
	}
	count := p.uvarint()
	for i := uint64(0); i < count && !p.failed; i++ {
		if r.attrs.User == nil {
			r.attrs.User = map[string]string{}
		}
		name := p.string()
		r.attrs.User[name] = p.string()
	}
	if p.failed || len(p.rest) != 0 {
		return "", nil, errRecord
	}
	return key, r, nil
}

// A recordParser takes fields off the front of rest until one is not there.
type recordParser struct {
	rest   []byte
	failed bool
}

func (p *recordParser) bytes(n int) []byte {
	if p.failed || n < 0 || n > len(p.rest) {
		p.failed = true
		return nil
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}

func (p *recordParser) uvarint() uint64 {
	v, n := binary.Uvarint(p.rest)
	if n <= 0 {
		p.failed = true
		return 0
	}
	p.rest = p.rest[n:]
	return v
}

func (p *recordParser) varint() int64 {
	v, n := binary.Varint(p.rest)
	if n <= 0 {
		p.failed = true
		return 0
	}
	p.rest = p.rest[n:]
	return v
}

func (p *recordParser) string() string {
	n := p.uvarint()
	if n > uint64(len(p.rest)) {
		p.failed = true
		return ""
	}
	return string(p.bytes(int(n)))
}

// checkAttrs refuses attributes that no record could hold.
func checkAttrs(key object.Key, opt object.PutOptions) error {
	r := record{version: opt.Version, attrs: opt.Attrs}
	if n := len(r.encode(key)); n > maxRecord-numbersLen {
		return fmt.Errorf("%w: the attributes need %d bytes", object.ErrTooLarge, n)
	}
	return nil
}

// numbersLen is how much longer a record can get when its numbers and its
// version are filled in.
const numbersLen = 3*binary.MaxVarintLen64 + 2*versionLen
