package object_test

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/micelio/micelio/object"
)

const hexDigits = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func defaultClasses(tb testing.TB) *object.Classes {
	tb.Helper()
	classes, err := object.NewClasses(object.DefaultVerified, object.DefaultImmutable)
	if err != nil {
		tb.Fatal(err)
	}
	return classes
}

func TestTheDefaultPatternsDecideTheClass(t *testing.T) {
	upper := strings.ToUpper(hexDigits)
	cases := map[object.Class][]string{
		object.Verified: {
			"artifacts/sha256:" + hexDigits,
			"cas/" + hexDigits,
			"main/cas/" + hexDigits,
			"a/b/c/cas/" + hexDigits,
			"cas/cas/" + hexDigits,
		},
		object.Immutable: {
			// ** stands for no segment too, so a name that is only nearly a
			// digest is still an immutable name, of bytes that cannot be proven.
			"artifacts/sha256:" + hexDigits[:63],
			"artifacts/sha256:" + hexDigits + "0",
			"artifacts/sha256:" + upper,
			"artifacts/sha256:" + strings.Repeat("0", 64),
			"artifacts/sha256:",
			"artifacts/sha256:" + hexDigits + "/decoded",
			"artifacts/sha256:" + hexDigits + "/a/b/c",
			"cache/sha256:1",
			"cache/builds/sha256:" + hexDigits,
			"cache/a/b/sha256:1/c/d",
			"derivations/sha256:" + hexDigits,
			"trees/ab/cdef",
			"repo/trees/ab/cdef",
			"blobs/ab/cdef",
			"a/b/blobs/öü/x", // ? is a character, not a byte
		},
		object.Mutable: {
			"a", "head", "refs/head",
			"sessions/1/head",
			"sessions/artifacts/sha256:" + hexDigits,
			"sessions/1/files/src/main.go",
			"artifacts", "artifacts/x", "artifacts/sha512:" + hexDigits, "artifacts/Sha256:" + hexDigits,
			"x/artifacts/sha256:" + hexDigits, // the pattern begins at the root
			"cas", "cas/" + hexDigits[:63], "cas/" + hexDigits + "0", "cas/" + upper, "cas/" + hexDigits + "/x", "cas/x/" + hexDigits,
			"cas/" + hexDigits[:63] + "g", "cas/ " + hexDigits, "acas/" + hexDigits,
			"cas/" + strings.Repeat("0", 64), // the zero digest means "not known" and proves nothing
			"derivations/sha256:1/log", "derivations/x/sha256:1",
			"cache", "cache/sha1:1",
			"trees/ab", "trees/abc/d", "trees/a/b", "trees/ab/c/d", "xtrees/ab/c",
		},
	}
	classes := defaultClasses(t)
	for want, keys := range cases {
		for _, key := range keys {
			got, digest := classes.Of(object.Key(key))
			if got != want {
				t.Errorf("%q is %v, want %v", key, got, want)
			}
			wantDigest := ""
			if want == object.Verified {
				wantDigest = hexDigits
			}
			if digest.String() != wantDigest {
				t.Errorf("%q names the digest %q, want %q", key, digest, wantDigest)
			}
		}
	}
}

func TestWithoutPatternsEveryKeyIsMutable(t *testing.T) {
	for _, key := range []object.Key{"a", "artifacts/sha256:" + hexDigits, "cas/" + hexDigits} {
		if class, digest := (&object.Classes{}).Of(key); class != object.Mutable || !digest.IsZero() {
			t.Errorf("%q is %v with digest %q, want mutable", key, class, digest)
		}
	}
}

func TestVerifiedPatternsDecideBeforeImmutableOnes(t *testing.T) {
	classes, err := object.NewClasses([]string{"x/{sha256}"}, []string{"**"})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[object.Key]object.Class{
		"x/" + hexDigits: object.Verified, "x/" + hexDigits + "/y": object.Immutable, "y": object.Immutable,
	} {
		if got, _ := classes.Of(key); got != want {
			t.Errorf("%q is %v, want %v", key, got, want)
		}
	}
}

func TestADigestMayHaveLiteralNeighbours(t *testing.T) {
	classes, err := object.NewClasses([]string{"nar/sha256-{sha256}.nar.xz", "**/{sha256}/**"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[object.Key]object.Class{
		"nar/sha256-" + hexDigits + ".nar.xz": object.Verified,
		"nar/sha256-" + hexDigits + ".nar":    object.Mutable,
		"nar/" + hexDigits + ".nar.xz":        object.Mutable,
		hexDigits:                             object.Verified,
		"a/" + hexDigits + "/b/c":             object.Verified,
		"a/b":                                 object.Mutable,
	} {
		if got, digest := classes.Of(key); got != want || (got == object.Verified) != (digest.String() == hexDigits) {
			t.Errorf("%q is %v with digest %q, want %v", key, got, digest, want)
		}
	}
}

// A matcher that goes back into every "**" would not come to an end here, and a
// client can make up such a name for any pattern with several of them.
func TestManyDoubleStarsDoNotMultiply(t *testing.T) {
	classes, err := object.NewClasses(nil, []string{strings.Repeat("**/a/", 50) + "b"})
	if err != nil {
		t.Fatal(err)
	}
	deep := object.Key(strings.Repeat("a/", object.MaxKeyLen/2-1))
	for key, want := range map[object.Key]object.Class{deep + "c": object.Mutable, deep + "b": object.Immutable} {
		if got, _ := classes.Of(key); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

func TestAllFaultyPatternsAreReportedTogether(t *testing.T) {
	verified := []string{"no/digest", "{sha256}/{sha256}", "*{sha256}", "x//{sha256}", "[/{sha256}", "ok/{sha256}"}
	immutable := []string{"x/{sha256}", "a**", "**b/c", "", "/a", "a/", "[", "a/[z-", `trailing\`, "ok/*", "***"}
	_, err := object.NewClasses(verified, immutable)
	if err == nil {
		t.Fatal("no error")
	}
	for _, pattern := range append(verified, immutable...) {
		named := strings.Contains(err.Error(), fmt.Sprintf("pattern %q", pattern))
		if wantNamed := !strings.HasPrefix(pattern, "ok/"); named != wantNamed {
			t.Errorf("pattern %q is named: %t, want %t, in:\n%v", pattern, named, wantNamed, err)
		}
	}
	if got, want := strings.Count(err.Error(), "\n")+1, len(verified)+len(immutable)-2; got != want {
		t.Errorf("%d lines of error, want one for each of %d patterns:\n%v", got, want, err)
	}
}

func TestClassesPrintTheirNames(t *testing.T) {
	for class, want := range map[object.Class]string{object.Mutable: "mutable", object.Immutable: "immutable", object.Verified: "verified"} {
		if got := class.String(); got != want {
			t.Errorf("class %d prints as %q, want %q", class, got, want)
		}
	}
}

// FuzzClasses compares the matcher with a regular expression made from the same
// pattern: of "/" + key, in which every segment, and so every part of the
// pattern, begins with its slash.
func FuzzClasses(f *testing.F) {
	keys := []string{"a", "a/b", "a/b/c/d", "artifacts/sha256:" + hexDigits, "x/cas/" + hexDigits, "cas/" + strings.Repeat("0", 64), "trees/ab/c", "ö/ü"}
	patterns := append([]string{"**", "**/**", "a/**", "**/b", "a/**/d", "**/a/**/b/**", "*", "?", "a*/?b", "{sha256}", "**/{sha256}/**"}, object.DefaultVerified...)
	for _, pattern := range append(patterns, object.DefaultImmutable...) {
		for _, key := range keys {
			f.Add(pattern, key)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		key, err := object.ParseKey(name)
		if err != nil || strings.ContainsAny(pattern, `[\`) || !utf8.ValidString(pattern) {
			return
		}
		var verified, immutable []string
		want := object.Mutable
		matched := naivePattern(pattern).MatchString("/" + name)
		if strings.Contains(pattern, "{sha256}") {
			verified = []string{pattern}
			if matched {
				want = object.Verified
			}
		} else {
			immutable = []string{pattern}
			if matched {
				want = object.Immutable
			}
		}
		classes, err := object.NewClasses(verified, immutable)
		if err != nil {
			return
		}
		got, digest := classes.Of(key)
		if strings.Contains(name, strings.Repeat("0", 64)) && want == object.Verified {
			return // the zero digest is none; the table has the case
		}
		if got != want || (got == object.Verified) == digest.IsZero() {
			t.Fatalf("with pattern %q key %q is %v (%s), want %v", pattern, name, got, digest, want)
		}
		if !digest.IsZero() && !strings.Contains(name, digest.String()) {
			t.Fatalf("with pattern %q key %q names the digest %s", pattern, name, digest)
		}
	})
}

func naivePattern(pattern string) *regexp.Regexp {
	var expr strings.Builder
	expr.WriteString(`(?s)\A`)
	for segment := range strings.SplitSeq(pattern, "/") {
		if segment == "**" {
			expr.WriteString(`(?:/[^/]+)*`)
			continue
		}
		quoted := regexp.QuoteMeta(segment)
		expr.WriteString("/" + strings.NewReplacer(`\*`, `[^/]*`, `\?`, `[^/]`, `\{sha256\}`, `[0-9a-f]{64}`).Replace(quoted))
	}
	return regexp.MustCompile(expr.String() + `\z`)
}

// FuzzPatternsThatCompileMatch looks for a pattern that is accepted and then
// fails in use, where nobody could report it.
func FuzzPatternsThatCompileMatch(f *testing.F) {
	for _, pattern := range []string{"a/[b-d]", "[", "[]a]", "[^a]/**", `\[`, `a\`, "a[", "*[", "[a-", "**/*/?[a"} {
		f.Add(pattern, "a/b")
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if _, err := object.NewClasses(nil, []string{pattern}); err != nil {
			return
		}
		for segment := range strings.SplitSeq(pattern, "/") {
			for part := range strings.SplitSeq(name, "/") {
				if _, err := path.Match(segment, part); err != nil {
					t.Fatalf("pattern %q compiles, and segment %q against %q is %v", pattern, segment, part, err)
				}
			}
		}
	})
}

func BenchmarkClassesOf(b *testing.B) {
	classes := defaultClasses(b)
	for name, key := range map[string]object.Key{
		"artifact":  "artifacts/sha256:" + hexDigits,
		"cas":       "main/cas/" + hexDigits,
		"immutable": "repo/trees/9f/86d081884c7d65",
		"mutable":   "sessions/0b9e7f52/files/src/internal/main.go",
		"deepest":   object.Key(strings.Repeat("a/", object.MaxKeyLen/2-1) + "a"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				classes.Of(key)
			}
		})
	}
}
