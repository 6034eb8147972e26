package migrate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/micelio/micelio/object"
)

// A record says that the destination was given, or was found to hold, what the
// source held. It is true of the two states only.
type record struct {
	Key      object.Key
	Size     int64
	SHA256   object.Digest // of the bytes
	Attrs    string        // digest of the attributes, see digestAttrs
	From, To state
	Verified bool // the bytes at the destination were read and have the digest
}

// differs says in what an object at the destination is not what is recorded, ""
// if in nothing.
func (rec *record) differs(to object.Info, sum object.Digest) string {
	switch {
	case to.Size != rec.Size:
		return sizesDiffer(rec.Size, to.Size)
	case sum != rec.SHA256:
		return fmt.Sprintf("the bytes hash to %s at the source, to %s at the destination", rec.SHA256, sum)
	case digestAttrs(to.Attrs) != rec.Attrs:
		return "the bytes are the same, the content type or other metadata is not"
	}
	return ""
}

// A state is what tells one version of an object from another, as far as a
// Store says.
type state struct {
	ETag     object.ETag `json:"etag,omitempty"`
	Version  string      `json:"version,omitempty"`
	Modified int64       `json:"modified"` // nanoseconds since 1970
	Size     int64       `json:"size"`
}

func stateOf(info *object.Info) state {
	return state{ETag: info.ETag, Version: info.Version, Modified: nanos(info.Modified), Size: info.Size}
}

// nanos is UnixNano without its undefined results.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// is reports whether a listing shows the same bytes. Listings say less than
// answers do, and the time of a write may differ from the one that is listed, so
// the time counts only where no ETag names the bytes.
func (s state) is(listed *object.Info) bool {
	if s.Size != listed.Size || s.Version != "" && listed.Version != "" && s.Version != listed.Version {
		return false
	}
	if s.ETag != "" && listed.ETag != "" {
		return s.ETag == listed.ETag
	}
	return s.Modified == nanos(listed.Modified)
}

// isRead is is for a state that a read has shown. Other attributes leave the
// ETag as it was, and S3 lists no version: there the time tells, of which a read
// says the second only.
func (s state) isRead(listed *object.Info) bool {
	if !s.is(listed) {
		return false
	}
	at := nanos(listed.Modified)
	if s.Version != "" && listed.Version != "" || s.Modified == 0 || at == 0 {
		return true
	}
	return max(s.Modified-at, at-s.Modified) < int64(time.Second)
}

// isOf reports whether the listings still show what the record is of. What was
// written and never read has a time that says little.
func (rec *record) isOf(p pair) bool {
	return p.from != nil && p.to != nil && rec.From.isRead(p.from) &&
		rec.To.is(p.to) && (!rec.Verified || rec.To.isRead(p.to))
}

// untyped are the content types that services report for an object that was
// written without one.
var untyped = []string{"application/octet-stream", "binary/octet-stream"}

// digestAttrs names attributes so that two objects with the same ones have the
// same name.
func digestAttrs(a object.Attrs) string {
	if slices.Contains(untyped, a.ContentType) {
		a.ContentType = ""
	}
	h := sha256.New()
	for _, text := range []string{a.ContentType, a.ContentEncoding, a.ContentLanguage, a.ContentDisposition, a.CacheControl} {
		fmt.Fprintf(h, "%q\n", text)
	}
	for _, name := range slices.Sorted(maps.Keys(a.User)) {
		fmt.Fprintf(h, "%q %q\n", strings.ToLower(name), a.User[name])
	}
	const enough = 16 // bytes: nobody makes them collide on purpose
	return hex.EncodeToString(h.Sum(nil)[:enough])
}

// A jsonRecord is a record in a line of the journal.
type jsonRecord struct {
	Key      string `json:"key"`
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
	Attrs    string `json:"attrs"`
	From     state  `json:"from"`
	To       state  `json:"to"`
	Verified bool   `json:"verified"`
}

// maxLine bounds a line of the journal. Keys and ETags are far smaller; a longer
// line is damaged.
const maxLine = 64 << 10

var (
	errLine    = errors.New("damaged line")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// seal returns a line: the checksum of a text, and the text.
func seal(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(text, castagnoli), text), nil
}

// unseal reads a line, with its end, into v.
func unseal(line []byte, v any) error {
	const sumLen = 9 // with the space
	text, ended := bytes.CutSuffix(line, []byte("\n"))
	if !ended || len(text) < sumLen || string(text[:sumLen]) != fmt.Sprintf("%08x ", crc32.Checksum(text[sumLen:], castagnoli)) {
		return errLine
	}
	dec := json.NewDecoder(bytes.NewReader(text[sumLen:]))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", errLine, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errLine
	}
	return nil
}

func (rec record) line() ([]byte, error) {
	return seal(jsonRecord{
		Key: string(rec.Key), Size: rec.Size, SHA256: rec.SHA256.String(), Attrs: rec.Attrs,
		From: rec.From, To: rec.To, Verified: rec.Verified,
	})
}

func parseRecord(line []byte) (record, error) {
	var j jsonRecord
	if err := unseal(line, &j); err != nil {
		return record{}, err
	}
	key, err := object.ParseKey(j.Key)
	if err != nil {
		return record{}, fmt.Errorf("%w: %w", errLine, err)
	}
	sum, ok := object.ParseDigest(j.SHA256)
	if !ok || j.Size < 0 || j.From.Size < 0 || j.To.Size < 0 {
		return record{}, errLine
	}
	return record{Key: key, Size: j.Size, SHA256: sum, Attrs: j.Attrs, From: j.From, To: j.To, Verified: j.Verified}, nil
}
