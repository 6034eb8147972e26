package object

import (
	"errors"
	"slices"
	"strings"
)

// An ETag is a strong validator: it names the bytes of one version of an
// object. It is opaque, holds no quotes, and is compared for equality only.
// Micelio never issues weak validators.
type ETag string

// Quoted returns the ETag as an HTTP header carries it.
func (e ETag) Quoted() string { return `"` + string(e) + `"` }

// ParseETag reads one strong entity tag from a header, quoted or, as S3
// clients also send it, bare. A weak tag is refused.
func ParseETag(s string) (ETag, bool) {
	tag, weak, rest, ok := cutTag(trimSpace(s))
	return tag, ok && !weak && trimSpace(rest) == ""
}

// A Match is the value of an If-Match or If-None-Match condition. The zero
// Match is no condition at all.
type Match struct {
	set  bool
	any  bool
	tags []ETag // strong tags
	weak []ETag // tags sent as W/"…"
}

// MatchAny is the condition "*": any existing version.
func MatchAny() Match { return Match{set: true, any: true} }

// MatchETag is the condition that names exactly these versions. Without any it
// names the empty tag, which no version has, so that it stays a condition when
// it is sent as a header.
func MatchETag(tags ...ETag) Match {
	if len(tags) == 0 {
		tags = []ETag{""}
	}
	return Match{set: true, tags: tags}
}

// IsSet reports whether there is a condition.
func (m Match) IsSet() bool { return m.set }

// IsAny reports whether the condition is "*".
func (m Match) IsAny() bool { return m.any }

// ETag returns the version if the condition names exactly one, by a strong tag.
func (m Match) ETag() (ETag, bool) {
	if m.any || len(m.tags) != 1 || len(m.weak) != 0 {
		return "", false
	}
	return m.tags[0], true
}

// Strong reports whether the condition names e by strong comparison, which is
// the one for If-Match and for every write: a weak tag never matches.
func (m Match) Strong(e ETag) bool { return m.any || slices.Contains(m.tags, e) }

// Weak reports whether the condition names e by weak comparison, which is the
// one for If-None-Match on reads (RFC 9110 §13.1.2).
func (m Match) Weak(e ETag) bool { return m.Strong(e) || slices.Contains(m.weak, e) }

// String returns the condition as a header value, "" if there is none.
func (m Match) String() string {
	if m.any {
		return "*"
	}
	var parts []string
	for _, t := range m.tags {
		parts = append(parts, t.Quoted())
	}
	for _, t := range m.weak {
		parts = append(parts, "W/"+t.Quoted())
	}
	return strings.Join(parts, ", ")
}

var errMatch = errors.New("malformed entity tag list")

// ParseMatch reads the value of an If-Match or If-None-Match header. An empty
// value is no condition.
func ParseMatch(header string) (Match, error) {
	s := trimSpace(header)
	if s == "" {
		return Match{}, nil
	}
	if s == "*" {
		return MatchAny(), nil
	}
	m := Match{set: true}
	for s != "" {
		tag, weak, rest, ok := cutTag(s)
		if !ok {
			return Match{}, errMatch
		}
		if weak {
			m.weak = append(m.weak, tag)
		} else {
			m.tags = append(m.tags, tag)
		}
		s = strings.TrimLeft(rest, " \t")
		if s == "" {
			break
		}
		if s[0] != ',' {
			return Match{}, errMatch
		}
		s = strings.Trim(s, ", \t")
	}
	return m, nil
}

// trimSpace cuts off what HTTP calls white space and nothing else: a header of
// a no-break space is a condition, if an odd one, and not an absent one.
func trimSpace(s string) string { return strings.Trim(s, " \t") }

// cutTag splits the first entity tag off s. Bare tags end at a comma or space.
func cutTag(s string) (tag ETag, weak bool, rest string, ok bool) {
	if after, found := strings.CutPrefix(s, "W/"); found {
		weak, s = true, after
	}
	if strings.HasPrefix(s, `"`) {
		end := strings.IndexByte(s[1:], '"')
		if end < 0 {
			return "", false, "", false
		}
		tag, rest = ETag(s[1:1+end]), s[end+2:]
	} else {
		end := strings.IndexAny(s, ", \t")
		if end < 0 {
			end = len(s)
		}
		tag, rest = ETag(s[:end]), s[end:]
		if tag == "*" {
			return "", false, "", false
		}
	}
	if strings.ContainsFunc(string(tag), func(r rune) bool { return r <= ' ' || r == '"' || r == 0x7f }) {
		return "", false, "", false
	}
	return tag, weak, rest, tag != "" || strings.HasPrefix(s, `"`)
}
