package hotset

import (
	"hash/maphash"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/object"
)

// A hotCopy is a whole object in memory. Nothing of it changes but renewing.
type hotCopy struct {
	hash  uint64
	info  object.Info // its Key, and what the owner said of it
	bytes []byte
	cost  int64

	born  time.Time // when the bytes came from the authority
	renew time.Time // when a read asks for its successor
	ends  time.Time // when it is no answer any more

	renewing atomic.Bool
}

const (
	// copySets sets of copyWays places hold the copies: a key has its place in
	// one set. There are at most some 500 copies, because to keep one a key needs
	// half of the share of the reads that makes it hot; so a set is full about
	// never. A set is half a line of a processor's cache: a key without a copy
	// costs a look at that.
	copySets = 1024
	copyWays = 4

	// copyOverhead is what a copy takes besides its bytes and strings.
	copyOverhead = 512

	// mapEntry is what a piece of user metadata takes besides its strings.
	mapEntry = 96
)

// A place is where a copy is, or nil.
type place = atomic.Pointer[hotCopy]

// copies is the table of copies. Readers take no lock; whoever changes it does so
// under Store.mu.
type copies struct {
	seed maphash.Seed
	sets [copySets][copyWays]place
}

func (t *copies) hash(key object.Key) uint64 { return maphash.String(t.seed, string(key)) }

// find returns the copy of a key, nil if there is none. It may have ended.
func (t *copies) find(hash uint64, key object.Key) *hotCopy {
	set := &t.sets[hash%copySets]
	for i := range set {
		if c := set[i].Load(); c != nil && c.hash == hash && c.info.Key == key {
			return c
		}
	}
	return nil
}

// placeOf returns a place for a key: that of its copy, or one that is free. nil: the
// set is full.
func (t *copies) placeOf(hash uint64, key object.Key) *place {
	set := &t.sets[hash%copySets]
	var free *place
	for i := range set {
		switch c := set[i].Load(); {
		case c == nil:
			free = &set[i]
		case c.hash == hash && c.info.Key == key:
			return &set[i]
		}
	}
	return free
}

// each calls yield for the place of every copy.
func (t *copies) each(yield func(at *place, c *hotCopy)) {
	for i := range t.sets {
		for j := range t.sets[i] {
			if c := t.sets[i][j].Load(); c != nil {
				yield(&t.sets[i][j], c)
			}
		}
	}
}

// describe returns the object of a copy as it is answered now.
func (c *hotCopy) describe(now time.Time) object.Info {
	info := c.info
	info.Age = max(now.Sub(c.born), 0)
	return info
}

// open answers a read with a copy.
func (c *hotCopy) open(now time.Time, opt object.GetOptions) (*object.Object, error) {
	info := c.describe(now)
	if err := object.CheckRead(info, opt.IfMatch, opt.IfNoneMatch); err != nil {
		return nil, err
	}
	offset, length, err := opt.Range.Resolve(info.Size)
	if err != nil {
		return nil, err
	}
	a := &answer{
		Object: object.Object{Info: info, Offset: offset, Length: length},
		body:   body{c.bytes[offset : offset+length]},
	}
	a.Body = &a.body
	return &a.Object, nil
}

// An answer is an Object and its Body in one allocation.
type answer struct {
	object.Object
	body body
}

// A body is bytes in memory on their way to a reader.
type body struct{ left []byte }

func (b *body) Read(p []byte) (int, error) {
	if len(b.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

// WriteTo writes all that is left in one call, without a copy.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b.left)
	b.left = b.left[n:]
	return int64(n), err
}

func (b *body) Close() error { return nil }

// keepable returns what a copy keeps of an Info: strings of its own, because those
// of an answer are parts of its whole header.
func keepable(info object.Info) object.Info {
	for _, s := range []*string{
		&info.Version, &info.ContentType, &info.ContentEncoding, &info.ContentLanguage, &info.ContentDisposition, &info.CacheControl,
		(*string)(&info.Key), (*string)(&info.ETag),
	} {
		*s = strings.Clone(*s)
	}
	if info.User != nil {
		user := make(map[string]string, len(info.User))
		for name, value := range maps.All(info.User) {
			user[strings.Clone(name)] = strings.Clone(value)
		}
		info.User = user
	}
	info.Tier, info.Node, info.Age = object.TierHot, "", 0
	return info
}

// costOf returns what a copy of an object takes, in bytes, if its body takes so
// many.
func costOf(info object.Info, body int64) int64 {
	n := body + copyOverhead
	for _, s := range []string{
		info.Version, info.ContentType, info.ContentEncoding, info.ContentLanguage, info.ContentDisposition, info.CacheControl,
		string(info.Key), string(info.ETag),
	} {
		n += roundUp(int64(len(s)))
	}
	for name, value := range info.User {
		n += mapEntry + roundUp(int64(len(name))) + roundUp(int64(len(value)))
	}
	return n
}

// pageSize is the unit of allocations that are too large for a size class.
const pageSize = 8 << 10

// roundUp returns the most that the allocator takes for n bytes: its size classes
// lie less than a fifth or at most 16 bytes apart, above 32 KiB a page.
func roundUp(n int64) int64 {
	switch {
	case n == 0:
		return 0
	case n > 32<<10:
		return (n + pageSize - 1) / pageSize * pageSize
	}
	return n + max(n/5, 16)
}

// buffer returns a buffer of n bytes whose capacity is all that it takes.
func buffer(n int64) []byte { return slices.Grow([]byte(nil), int(n))[:n] }
