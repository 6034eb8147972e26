package trail

import (
	"encoding/hex"
	"strings"
)

// A traceparent is version-trace-parent-flags in lower-case hexadecimal digits.
const (
	traceAt   = 3
	parentAt  = traceAt + 32 + 1
	flagsAt   = parentAt + 16 + 1
	parentLen = flagsAt + 2
)

// parse reads a traceparent. A version that is not known is read as far as it is
// like version 00, which later ones must be (§3.2.2.1, §4.3).
func parse(s string) (t Trail, ok bool) {
	if len(s) < parentLen || s[traceAt-1] != '-' || s[parentAt-1] != '-' || s[flagsAt-1] != '-' {
		return t, false
	}
	var version, flags [1]byte
	var parent [8]byte
	if !unhex(version[:], s[:traceAt-1]) || !unhex(t.trace[:], s[traceAt:parentAt-1]) ||
		!unhex(parent[:], s[parentAt:flagsAt-1]) || !unhex(flags[:], s[flagsAt:parentLen]) {
		return Trail{}, false
	}
	switch rest := s[parentLen:]; {
	case version[0] == 0xff,
		version[0] == 0 && rest != "",
		rest != "" && rest[0] != '-',
		t.trace == [16]byte{},
		parent == [8]byte{}:
		return Trail{}, false
	}
	t.sampled = flags[0]&1 != 0 // no other flag means anything, and those must not be sent on (§3.2.2.5.2)
	return t, true
}

// unhex decodes lower-case digits, as many as dst holds.
func unhex(dst []byte, s string) bool {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'F' {
			return false
		}
	}
	_, err := hex.Decode(dst, []byte(s))
	return err == nil
}

// format returns a traceparent of version 00.
func (t *Trail) format(span [8]byte) string {
	var b [parentLen]byte
	copy(b[:], "00-")
	hex.Encode(b[traceAt:], t.trace[:])
	b[parentAt-1] = '-'
	hex.Encode(b[parentAt:], span[:])
	copy(b[flagsAt-1:], "-00")
	if t.sampled {
		b[parentLen-1] = '1'
	}
	return string(b[:])
}

const (
	// maxMembers is how many members a tracestate may have (§3.3.1.1).
	maxMembers = 32

	// maxState is what everybody should be able to send on, in bytes (§3.3.1.5). More
	// than that is cut: it goes with each request to each peer.
	maxState = 512

	// longMember is the length above which members are the first to go (§3.3.1.5).
	longMember = 128
)

// checkState returns a tracestate, sent in one field or in several, as it is to be
// sent on: as it came, without empty members and without those that are too much.
// It returns "" for one that is malformed.
func checkState(fields []string) string {
	var members []string
	size := 0
	seen := make(map[string]bool)
	for _, field := range fields {
		for member := range strings.SplitSeq(field, ",") {
			if member = strings.Trim(member, " \t"); member == "" {
				continue // allowed (§3.3.1.1)
			}
			key, value, ok := strings.Cut(member, "=")
			if !ok || !isStateKey(key) || !isStateValue(value) || seen[key] || len(members) == maxMembers {
				return ""
			}
			seen[key] = true
			members = append(members, member)
			size += len(member) + 1
		}
	}
	for _, least := range []int{longMember, 0} {
		for i := len(members) - 1; i >= 0 && size-1 > maxState; i-- {
			if n := len(members[i]); n > least {
				size -= n + 1
				members = append(members[:i], members[i+1:]...)
			}
		}
	}
	return strings.Join(members, ",")
}

// isStateKey reports whether s is "key" of the grammar: a name, or tenant@system
// (§3.3.1.3.1).
func isStateKey(s string) bool {
	tenant, system, multi := strings.Cut(s, "@")
	if multi {
		return isStateName(tenant, 241, true) && isStateName(system, 14, false)
	}
	return isStateName(s, 256, false)
}

func isStateName(s string, most int, digitFirst bool) bool {
	if s == "" || len(s) > most {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z':
		case '0' <= c && c <= '9' && (i > 0 || digitFirst):
		case i > 0 && strings.IndexByte("_-*/", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// isStateValue reports whether s is "value" of the grammar (§3.3.1.3.2). The blanks
// at its end belong to no member.
func isStateValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == ',' || c == '=' {
			return false
		}
	}
	return s != "" && len(s) <= 256
}
