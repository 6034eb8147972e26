package object_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/micelio/micelio/object"
)

// validKeys are legal names, most of them of the kind that trips careless code.
var validKeys = []string{
	"a", "a/b", "artifacts/sha256:" + strings.Repeat("9f", 32), "a b/c  d", " ", "plus+plus", "100%", "%2e%2e%2fetc", "%00",
	"colon:sep", "brackets[1](2){3}", "q?a=b&c#d", "star*", "~tilde", ".hidden", "dir/.dot/file", "...", "a/..b", "a../b",
	"trailing. ", "semi;colon,comma", `quote"'`, "<xml>&amp;", "ünïcödé/日本語/🦊", "e\u0301", "\u00a0", "\u2028", "\u202e",
	"\ufffd", "\ufeffbom", strings.Repeat("x", object.MaxKeyLen), strings.Repeat("ö", object.MaxKeyLen/2),
}

// invalidKeys holds names that break a rule, and what the error says of it.
var invalidKeys = map[string]string{
	"":                                      "the key is empty",
	strings.Repeat("x", object.MaxKeyLen+1): "at most 1024 are allowed",
	strings.Repeat("ö", object.MaxKeyLen/2+1): "the key has 1026 bytes",
	"bad\xff":               "not valid UTF-8",
	"surrogate\xed\xa0\x80": "not valid UTF-8",
	"overlong\xc0\xaf":      "not valid UTF-8",
	"nul\x00":               "U+0000",
	"cr\r\nlf":              "U+000D",
	"tab\t":                 "U+0009",
	"del\x7f":               "U+007F",
	"c1\u0085":              "U+0085",
	`back\slash`:            "U+005C",
	"\ufffe":                "U+FFFE",
	"a/\uffff":              "U+FFFF",
	"/":                     "an empty segment",
	"/a":                    "an empty segment",
	"a/":                    "an empty segment",
	"a//b":                  "an empty segment",
	".":                     `a "." segment`,
	"./a":                   `a "." segment`,
	"a/.":                   `a "." segment`,
	"a/./b":                 `a "." segment`,
	"..":                    `a ".." segment`,
	"../a":                  `a ".." segment`,
	"a/../b":                `a ".." segment`,
	"a/..":                  `a ".." segment`,
}

func TestOddButLegalNamesAreKeysUnchanged(t *testing.T) {
	for _, name := range validKeys {
		if key, err := object.ParseKey(name); err != nil || string(key) != name {
			t.Errorf("ParseKey(%q) = %q, %v; want it unchanged", name, key, err)
		}
	}
}

func TestABrokenRuleIsNamed(t *testing.T) {
	for name, want := range invalidKeys {
		key, err := object.ParseKey(name)
		if key != "" || !errors.Is(err, object.ErrInvalidKey) {
			t.Errorf("ParseKey(%q) = %q, %v; want ErrInvalidKey", name, key, err)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("ParseKey(%q) says %q, want it to say %q", name, err, want)
		}
	}
}

// An error message is written to logs and answers: it must not carry the raw
// name, which may hold line breaks or be a kilobyte long.
func TestTheErrorDoesNotRepeatTheName(t *testing.T) {
	for name := range invalidKeys {
		if _, err := object.ParseKey(name); len(err.Error()) > 100 || strings.ContainsFunc(err.Error(), unicode.IsControl) {
			t.Errorf("ParseKey(%q) says %q", name, err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, name := range validKeys {
		f.Add(name)
	}
	for name := range invalidKeys {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		key, err := object.ParseKey(name)
		keeps := keepsTheRules(name)
		switch {
		case keeps != (err == nil):
			t.Fatalf("ParseKey(%q): %v, but that it keeps the rules is %t", name, err, keeps)
		case keeps && string(key) != name:
			t.Fatalf("ParseKey(%q) = %q", name, key)
		case !keeps && (key != "" || !errors.Is(err, object.ErrInvalidKey)):
			t.Fatalf("ParseKey(%q) = %q, %v", name, key, err)
		}
	})
}

// keepsTheRules spells the rules of a key out on its own, byte by byte where it
// can: wrapped in slashes, a faulty segment is a plain substring.
func keepsTheRules(name string) bool {
	wrapped := "/" + name + "/"
	for _, banned := range []string{"//", "/./", "/../", `\`, "\x7f", "\ufffe", "\uffff"} {
		if strings.Contains(wrapped, banned) {
			return false
		}
	}
	for _, r := range name {
		if r < 0x20 || (r >= 0x80 && r < 0xa0) {
			return false
		}
	}
	return len(name) <= 1024 && utf8.ValidString(name)
}

func BenchmarkParseKey(b *testing.B) {
	for name, key := range map[string]string{
		"artifact": "artifacts/sha256:" + strings.Repeat("9f", 32),
		"session":  "sessions/0b9e7f52/files/src/internal/main.go",
		"longest":  strings.Repeat("ab/", object.MaxKeyLen/3) + "c",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(key)))
			for b.Loop() {
				if _, err := object.ParseKey(key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
