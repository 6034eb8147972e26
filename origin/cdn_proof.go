package origin

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strings"

	"github.com/micelio/micelio/object"
)

// A proof says what the bytes of an object must hash to. MD5 will do where the
// other side is not the writer: to find other bytes for a given MD5 is out of
// reach, only two of one's own choice with the same one are not.
type proof struct {
	sum    []byte
	sha256 bool // else MD5
}

func bySHA256(d object.Digest) proof { return proof{sum: d[:], sha256: true} }

func byMD5(sum []byte) proof { return proof{sum: sum} }

// hash returns a new hash of the proof's kind.
func (p proof) hash() hash.Hash {
	if p.sha256 {
		return sha256.New()
	}
	return md5.New()
}

// accepts reports whether h has seen the right bytes.
func (p proof) accepts(h hash.Hash) bool { return bytes.Equal(h.Sum(nil), p.sum) }

// holds reports whether b are the right bytes.
func (p proof) holds(b []byte) bool {
	h := p.hash()
	h.Write(b)
	return p.accepts(h)
}

// md5Of returns the MD5 that an ETag looks like.
func md5Of(etag object.ETag) (sum []byte, ok bool) {
	if len(etag) != 2*md5.Size || strings.ToLower(string(etag)) != string(etag) {
		return nil, false
	}
	sum, err := hex.DecodeString(string(etag))
	return sum, err == nil
}

// isMD5 reports whether an ETag is the MD5 of b.
func isMD5(etag object.ETag, b []byte) bool {
	sum, ok := md5Of(etag)
	return ok && byMD5(sum).holds(b)
}
