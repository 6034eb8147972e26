package object

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// A Class says what may be assumed about the bytes behind a key. The server
// decides it from the key alone; no client can choose it.
type Class uint8

const (
	// Mutable keys may change at any time: cached bytes are validated at the
	// origin on every read. It is the class of every key no pattern names.
	Mutable Class = iota

	// Immutable keys are named by a hash of something else than their bytes
	// (build inputs, decoded content): the first write wins for ever.
	Immutable

	// Verified keys are named by the SHA-256 of their bytes, so every copy can
	// be proven.
	Verified
)

func (c Class) String() string {
	switch c {
	case Immutable:
		return "immutable"
	case Verified:
		return "verified"
	}
	return "mutable"
}

// DefaultVerified and DefaultImmutable are the patterns of the forge's own
// content-addressed names.
var (
	DefaultVerified  = []string{"artifacts/sha256:{sha256}", "**/cas/{sha256}"}
	DefaultImmutable = []string{
		"artifacts/sha256:*/**", "cache/**/sha256:*/**", "derivations/sha256:*",
		"**/trees/??/*", "**/blobs/??/*",
	}
)

// Classes maps keys to their class by patterns. It is immutable and safe for
// concurrent use; the zero Classes calls every key mutable.
type Classes struct {
	verified, immutable []pattern
}

// sha256Token stands in a pattern for 64 lower-case hexadecimal digits: the
// digest of the object's own bytes.
const sha256Token = "{sha256}"

// NewClasses compiles patterns, verified ones first: the first that matches
// decides. In a pattern "**" is any number of whole segments, also none, "*"
// and "?" stay inside a segment as in path.Match, and {sha256}, needed exactly
// once in a verified pattern and allowed nowhere else, is the digest; the rest
// of its segment is literal and must hold no wildcard. All faulty patterns are
// reported together.
func NewClasses(verified, immutable []string) (*Classes, error) {
	c := &Classes{}
	var errs []error
	for _, p := range verified {
		if strings.Count(p, sha256Token) != 1 {
			errs = append(errs, fmt.Errorf("verified pattern %q must contain %s exactly once", p, sha256Token))
			continue
		}
		if wildcardBesideToken(p) {
			errs = append(errs, fmt.Errorf("verified pattern %q has a wildcard in the segment of %s", p, sha256Token))
			continue
		}
		c.verified = append(c.verified, compile(p, &errs))
	}
	for _, p := range immutable {
		if strings.Contains(p, sha256Token) {
			errs = append(errs, fmt.Errorf("immutable pattern %q must not contain %s", p, sha256Token))
			continue
		}
		c.immutable = append(c.immutable, compile(p, &errs))
	}
	return c, errors.Join(errs...)
}

// Of returns the class of key and, for a verified key, the digest it names.
func (c *Classes) Of(key Key) (Class, Digest) {
	for _, p := range c.verified {
		var d Digest
		if p.match(string(key), &d) {
			return Verified, d
		}
	}
	for _, p := range c.immutable {
		if p.match(string(key), nil) {
			return Immutable, Digest{}
		}
	}
	return Mutable, Digest{}
}

// A pattern is a key pattern, taken apart.
type pattern []segment

// A segment is one segment of a pattern. The usual ones are told apart when they
// are compiled: path.Match reads a pattern anew each time, which was most of what
// the class of a key cost, and every read needs that.
type segment struct {
	kind   segmentKind
	before string // the text, what stands before the rest, or the pattern
	after  string // what stands behind a digest
}

type segmentKind uint8

const (
	wild     segmentKind = iota // what only path.Match understands
	literal                     // before
	prefixed                    // before, and then anything: "before*"
	digest                      // {sha256}, between before and after
	anyPath                     // "**"
)

func newSegment(s string) segment {
	const special = `*?[\`
	before, after, hasDigest := strings.Cut(s, sha256Token)
	switch {
	case s == "**":
		return segment{kind: anyPath}
	case hasDigest:
		return segment{digest, before, after}
	case !strings.ContainsAny(s, special):
		return segment{kind: literal, before: s}
	case s[len(s)-1] == '*' && !strings.ContainsAny(s[:len(s)-1], special):
		return segment{kind: prefixed, before: s[:len(s)-1]}
	}
	return segment{kind: wild, before: s}
}

// wildcardBesideToken reports whether the segment of p that holds {sha256}
// also holds what path.Match would not take literally.
func wildcardBesideToken(p string) bool {
	for segment := range strings.SplitSeq(p, "/") {
		if strings.Contains(segment, sha256Token) && strings.ContainsAny(segment, `*?[\`) {
			return true
		}
	}
	return false
}

func compile(s string, errs *[]error) pattern {
	var p pattern
	for segment := range strings.SplitSeq(s, "/") {
		p = append(p, newSegment(segment))
		if _, err := path.Match(segment, ""); err != nil || segment == "" ||
			(segment != "**" && strings.Contains(segment, "**")) {
			*errs = append(*errs, fmt.Errorf("malformed key pattern %q", s))
			break
		}
	}
	return p
}

// match reports whether the pattern selects the whole of key, and stores the
// digest that {sha256} stood for.
//
// On a mismatch only the last "**" met is given one segment more: whatever an
// earlier one could take, the later one can take too. So the work is at most the
// product of the two lengths, whatever names clients think up.
func (p pattern) match(key string, d *Digest) bool {
	i, rest := 0, key      // what is still to be matched
	anchor, from := -1, "" // the pattern after the last "**", and where in key it was tried
	for {
		switch {
		case i < len(p) && p[i].kind == anyPath:
			i++
			anchor, from = i, rest
			continue
		case i == len(p) && rest == "":
			return true
		case i < len(p) && rest != "":
			segment, tail, _ := strings.Cut(rest, "/")
			if p[i].match(segment, d) {
				i, rest = i+1, tail
				continue
			}
		}
		if anchor < 0 || from == "" {
			return false
		}
		_, from, _ = strings.Cut(from, "/")
		i, rest = anchor, from
	}
}

// match reports whether the segment selects this one of a key.
func (want *segment) match(segment string, d *Digest) bool {
	switch want.kind {
	case literal:
		return segment == want.before
	case prefixed:
		return strings.HasPrefix(segment, want.before)
	case wild:
		ok, _ := path.Match(want.before, segment)
		return ok
	}
	hexa, ok := strings.CutPrefix(segment, want.before)
	if !ok {
		return false
	}
	if hexa, ok = strings.CutSuffix(hexa, want.after); !ok {
		return false
	}
	digest, ok := ParseDigest(hexa)
	if ok && d != nil {
		*d = digest
	}
	return ok
}
