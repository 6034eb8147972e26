package tiers

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/micelio/micelio/object"
)

// maxCopyMeta bounds the description of a copy, in bytes: a key, the attributes
// and the user metadata, all of which are bounded, escaped.
const maxCopyMeta = 64 << 10

// A copyMeta is the description of a copy on disk.
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

func newCopyMeta(info object.Info, born time.Time) copyMeta {
	return copyMeta{
		Key: info.Key, Size: info.Size, ETag: info.ETag, Version: info.Version, SHA256: info.SHA256.String(),
		Modified: info.Modified, Attrs: info.Attrs, Born: born,
	}
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

// encode returns the description as it is stored.
func (m copyMeta) encode() ([]byte, error) {
	if !m.isText() {
		return nil, errors.New("description cannot be written as JSON")
	}
	b, err := json.Marshal(m)
	if err == nil && len(b) > maxCopyMeta {
		err = fmt.Errorf("description of %d bytes is too long", len(b))
	}
	return b, err
}

// decodeCopyMeta reads what encode wrote, of a copy of so many bytes.
func decodeCopyMeta(b []byte, size int64) (m copyMeta, err error) {
	if err := json.Unmarshal(b, &m); err != nil || m.Size != size {
		return m, fmt.Errorf("%w: description", ErrDamaged)
	}
	return m, nil
}

// info returns what the description says about the object.
func (m copyMeta) info() object.Info {
	digest, _ := object.ParseDigest(m.SHA256)
	return object.Info{
		Key: m.Key, Size: m.Size, ETag: m.ETag, Version: m.Version, SHA256: digest,
		Modified: m.Modified, Attrs: m.Attrs, Tier: object.TierSSD,
	}
}
