package tiers

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/micelio/micelio/object"
)

// A description is what the tiers keep about a copy besides its bytes: what of
// its Info is the object's own, and when the bytes came from the authority. It
// is one string, so that a copy in memory is two things to the garbage collector
// and not twelve, and what is read out of it shares its memory.
//
// In order, numbers little endian:
//
//	offset  0  version of this format, 1
//	        1  which of the following are known, a bit each
//	        2  length of the key, 16 bits
//	        4  nanoseconds of Modified, 32 bits
//	        8  Size, 64 bits
//	       16  when the bytes came from the authority, nanoseconds since 1970, 64 bits
//	       24  seconds of Modified since 1970, 64 bits
//	       32  SHA-256, zeros if it is not known
//	       64  the key
//	then ETag, version, the five headers, and names and values of the user
//	metadata in turn, each with its length, 16 bits, before it.
const (
	descriptionVersion = 1
	descriptionHead    = 64

	describedModified = 1 << 0
	describedBorn     = 1 << 1
	describedLasting  = 1 << 2
)

// maxDescription bounds a description, in bytes: a key, the attributes and the
// user metadata, all of which are bounded.
const maxDescription = 64<<10 - 1

// describe returns the description of a copy, with this user metadata. It fails
// if that is too long.
func describe(dst []byte, info *object.Info, born time.Time, lasting bool, user map[string]string) ([]byte, error) {
	head := [descriptionHead]byte{0: descriptionVersion}
	if lasting {
		head[1] |= describedLasting
	}
	if !born.IsZero() {
		head[1] |= describedBorn
		binary.LittleEndian.PutUint64(head[16:], uint64(born.UnixNano()))
	}
	if !info.Modified.IsZero() {
		head[1] |= describedModified
		binary.LittleEndian.PutUint32(head[4:], uint32(info.Modified.Nanosecond()))
		binary.LittleEndian.PutUint64(head[24:], uint64(info.Modified.Unix()))
	}
	binary.LittleEndian.PutUint16(head[2:], uint16(len(info.Key))) // the whole is checked below
	binary.LittleEndian.PutUint64(head[8:], uint64(info.Size))
	copy(head[32:], info.SHA256[:])
	b := append(append(dst, head[:]...), info.Key...)
	for _, s := range describedStrings(info) {
		b = appendCounted(b, *s)
	}
	b = appendCounted(b, string(info.ETag))
	for name, value := range user {
		b = appendCounted(appendCounted(b, name), value)
	}
	if n := len(b) - len(dst); n > maxDescription {
		return nil, fmt.Errorf("tiers: description of %d bytes is too long", n)
	}
	return b, nil
}

// describedStrings are the strings of an Info that a description has in this
// order.
func describedStrings(info *object.Info) [6]*string {
	return [...]*string{
		&info.Version, &info.ContentType, &info.ContentEncoding, &info.ContentLanguage,
		&info.ContentDisposition, &info.CacheControl,
	}
}

func appendCounted(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint16(b, uint16(len(s))), s...)
}

// describedKey returns the key of a description.
func describedKey(description string) object.Key {
	n := int(description[2]) | int(description[3])<<8
	return object.Key(description[descriptionHead : descriptionHead+n])
}

// recall sets what a description says about an entry. Its strings become part of
// the entry. The error matches ErrDamaged.
func (e *Entry) recall(description string) (err error) {
	e.Born, err = recallInfo(&e.Info, description)
	e.lasting = err == nil && describesLasting(description)
	return err
}

// describesLasting reports whether a description is of a key that is never
// validated.
func describesLasting(description string) bool { return description[1]&describedLasting != 0 }

// recallInfo sets what a description says of an object, and returns when its bytes
// came from the authority.
func recallInfo(info *object.Info, description string) (born time.Time, err error) {
	if len(description) < descriptionHead || description[0] != descriptionVersion {
		return born, fmt.Errorf("%w: description", ErrDamaged)
	}
	number := func(at int) uint64 { return littleEndian(description[at : at+8]) }
	flags := description[1]
	if flags&describedBorn != 0 {
		born = time.Unix(0, int64(number(16)))
	}
	if flags&describedModified != 0 {
		info.Modified = time.Unix(int64(number(24)), int64(number(4)&0xffffffff)).UTC()
	}
	info.Size = int64(number(8))
	copy(info.SHA256[:], description[32:])
	rest := reader{rest: description[descriptionHead:]}
	info.Key = object.Key(rest.cut(int(description[2]) | int(description[3])<<8))
	for _, s := range describedStrings(info) {
		*s = rest.counted()
	}
	info.ETag = object.ETag(rest.counted())
	for rest.rest != "" && !rest.short {
		if info.User == nil {
			info.User = make(map[string]string)
		}
		name := rest.counted()
		info.User[name] = rest.counted()
	}
	if rest.short {
		return born, fmt.Errorf("%w: text in a description", ErrDamaged)
	}
	return born, nil
}

// A reader takes a string apart, without a copy of anything.
type reader struct {
	rest  string
	short bool // it ended too early
}

// counted returns a string that has its length before it.
func (r *reader) counted() string {
	n := r.cut(2)
	if r.short {
		return ""
	}
	return r.cut(int(n[0]) | int(n[1])<<8)
}

// cut returns the next n bytes, none if there are not so many.
func (r *reader) cut(n int) string {
	if r.short = r.short || n > len(r.rest); r.short {
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func littleEndian(s string) (n uint64) {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// describedStored is the description of a copy on disk.
func describedStored(info object.Info, born time.Time) ([]byte, error) {
	return describe(nil, &info, born, false, info.User)
}

// recallStored reads the description of a copy on disk, of so many bytes.
func recallStored(b []byte, size int64) (e Entry, err error) {
	if err := e.recall(string(b)); err != nil {
		return e, err
	}
	if e.Info.Size != size {
		return e, fmt.Errorf("%w: description of %d bytes, there are %d", ErrDamaged, e.Info.Size, size)
	}
	e.Info.Tier = object.TierSSD
	return e, nil
}
