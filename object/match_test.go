package object_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/micelio/micelio/object"
)

func TestParseETagTakesOneStrongTag(t *testing.T) {
	for header, want := range map[string]object.ETag{
		`"abc"`: "abc", `abc`: "abc", ` "abc" `: "abc", `""`: "", `"d41d8-2"`: "d41d8-2", `"*"`: "*", `"a,b"`: "a,b", "\"\xe9\"": "\xe9",
	} {
		if got, ok := object.ParseETag(header); !ok || got != want {
			t.Errorf("ParseETag(%q) = %q, %t; want %q", header, got, ok, want)
		}
	}
	for _, header := range []string{
		"", " ", "*", `W/"abc"`, "W/abc", "W/", `"abc`, `abc"`, `"`, `"a"b"`, `"a" "b"`, `"a", "b"`, "a b", `"a b"`, "\"a\nb\"", "a\x7f",
	} {
		if got, ok := object.ParseETag(header); ok {
			t.Errorf("ParseETag(%q) = %q, want it refused", header, got)
		}
	}
}

func TestParseMatchReadsLists(t *testing.T) {
	cases := map[string]struct {
		strong, weak string // which of the tags a, b, c match, by either comparison
		canonical    string
	}{
		`"a"`:                   {"a", "a", `"a"`},
		`a`:                     {"a", "a", `"a"`},
		`"a", "b"`:              {"ab", "ab", `"a", "b"`},
		`"a","b" ,	"c"`:         {"abc", "abc", `"a", "b", "c"`},
		`a,b`:                   {"ab", "ab", `"a", "b"`},
		`a, "b"`:                {"ab", "ab", `"a", "b"`},
		`W/"a"`:                 {"", "a", `W/"a"`},
		`W/"a", "b"`:            {"b", "ab", `"b", W/"a"`},
		`"a", W/"a"`:            {"a", "a", `"a", W/"a"`},
		`"a", , "b",`:           {"ab", "ab", `"a", "b"`}, // empty list elements are ignored (RFC 9110 §5.6.1.2)
		`  "a"  `:               {"a", "a", `"a"`},
		`*`:                     {"abc", "abc", `*`},
		` * `:                   {"abc", "abc", `*`},
		`"*"`:                   {"", "", `"*"`},
		`""`:                    {"", "", `""`},
		`"a,b"`:                 {"", "", `"a,b"`},
		`"` + "\xe9" + `", "c"`: {"c", "c", `"` + "\xe9" + `", "c"`},
	}
	for header, want := range cases {
		m, err := object.ParseMatch(header)
		if err != nil || !m.IsSet() {
			t.Errorf("ParseMatch(%q) = %v, %v", header, m, err)
			continue
		}
		var strong, weak string
		for _, tag := range []object.ETag{"a", "b", "c"} {
			if m.Strong(tag) {
				strong += string(tag)
			}
			if m.Weak(tag) {
				weak += string(tag)
			}
		}
		if strong != want.strong || weak != want.weak || m.String() != want.canonical {
			t.Errorf("ParseMatch(%q) is strong for %q, weak for %q and prints %s; want %+v", header, strong, weak, m, want)
		}
		if m.IsAny() != (want.canonical == "*") {
			t.Errorf("ParseMatch(%q): any version is %t", header, m.IsAny())
		}
	}
}

func TestAnEmptyHeaderIsNoCondition(t *testing.T) {
	for _, header := range []string{"", " ", "\t "} {
		if m, err := object.ParseMatch(header); err != nil || m.IsSet() || m.IsAny() || m.String() != "" {
			t.Errorf("ParseMatch(%q) = %v, %v; want no condition", header, m, err)
		}
	}
}

// A condition that is not understood must never pass for none: that would turn a
// compare-and-swap into an overwrite.
func TestAMalformedConditionIsRefused(t *testing.T) {
	for _, header := range []string{
		`"a`, `a"`, `"a" "b"`, `"a"b`, `a b`, `*, "a"`, `"a", *`, "W/", `W/*`, `w/"a"`, `W /"a"`, `,`, `, "a"`, `"a b"`, "\"a\r\n\"",
		"\"a\x00\"", "\n", "\x7f",
	} {
		if m, err := object.ParseMatch(header); err == nil {
			t.Errorf("ParseMatch(%q) = %v, want an error", header, m)
		}
	}
}

func TestOnlyHTTPsWhiteSpaceIsAnEmptyHeader(t *testing.T) {
	for _, header := range []string{"\u00a0", "\u2003", "\u0085"} {
		if m, err := object.ParseMatch(header); err == nil && (!m.IsSet() || m.Strong("a") || m.Weak("a")) {
			t.Errorf("ParseMatch(%q) = %v is no condition, or one that anything passes", header, m)
		}
	}
}

func TestMatchETagIsAConditionEvenWhenItNamesNothing(t *testing.T) {
	m := object.MatchETag()
	if !m.IsSet() || m.Strong("a") || m.Weak("a") {
		t.Errorf("MatchETag() matches or is not set")
	}
	if sent, err := object.ParseMatch(m.String()); err != nil || !sent.IsSet() || sent.Strong("a") {
		t.Errorf("MatchETag() is sent as %q, which is read as %v, %v", m, sent, err)
	}
}

func TestETagOfAMatchIsItsOnlyStrongTag(t *testing.T) {
	for header, want := range map[string]object.ETag{`"a"`: "a", `""`: "", `*`: "-", `"a", "b"`: "-", `W/"a"`: "-", `"a", W/"b"`: "-", "": "-"} {
		m, err := object.ParseMatch(header)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := m.ETag(); ok != (want != "-") || (ok && got != want) {
			t.Errorf("the one tag of %q is %q, %t; want %q", header, got, ok, want)
		}
	}
}

func FuzzParseMatch(f *testing.F) {
	for _, header := range []string{
		"", "*", `"a"`, `a`, `W/"a"`, `"a", W/"b", c`, `"a",,"b"`, `W/a`, `"*"`, `""`, `"a`, `a"b`, "\u00a0", `"é"`, "\"\xff\"", "W/W/a", "a\r\nb",
	} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		m, err := object.ParseMatch(header)
		if err != nil {
			if m.IsSet() {
				t.Fatalf("ParseMatch(%q) returns a condition beside %v", header, err)
			}
			return
		}
		if got, want := m.IsSet(), strings.Trim(header, " \t") != ""; got != want {
			t.Fatalf("ParseMatch(%q) is a condition: %t", header, got)
		}
		if sent := m.String(); strings.ContainsAny(sent, "\r\n\x00") {
			t.Fatalf("ParseMatch(%q) prints %q, which breaks a header", header, sent)
		}
		again, err := object.ParseMatch(m.String())
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("ParseMatch(%q) = %#v prints %q, which is read as %#v, %v", header, m, m, again, err)
		}
		if strings.Contains(header, `"`) {
			return // a comma may be part of a tag
		}
		for part := range strings.SplitSeq(header, ",") {
			if tag, ok := object.ParseETag(part); ok && !(m.Strong(tag) && m.Weak(tag)) {
				t.Fatalf("ParseMatch(%q) does not name %q", header, tag)
			}
		}
	})
}

func FuzzParseETag(f *testing.F) {
	for _, header := range []string{`"a"`, "a", `W/"a"`, "*", `"`, `"a"b`, "\xff", `""`} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		tag, ok := object.ParseETag(header)
		if !ok {
			return
		}
		if again, ok := object.ParseETag(tag.Quoted()); !ok || again != tag {
			t.Fatalf("ParseETag(%q) = %q, which is read back as %q, %t", header, tag, again, ok)
		}
		if m, err := object.ParseMatch(tag.Quoted()); err != nil || !m.Strong(tag) {
			t.Fatalf("the condition %s does not name %q: %v", m, tag, err)
		}
	})
}

func TestReadConditions(t *testing.T) {
	info := object.Info{Key: "k", Size: 3, ETag: "v2"}
	none, err := object.ParseMatch("")
	weak, err2 := object.ParseMatch(`W/"v2"`)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		ifMatch, ifNoneMatch object.Match
		want                 error
	}{
		"no condition":                     {none, none, nil},
		"If-Match, current":                {object.MatchETag("v1", "v2"), none, nil},
		"If-Match, old":                    {object.MatchETag("v1"), none, object.ErrPrecondition},
		"If-Match, any":                    {object.MatchAny(), none, nil},
		"If-Match, weak":                   {weak, none, object.ErrPrecondition},
		"If-None-Match, current":           {none, object.MatchETag("v2"), object.ErrNotModified},
		"If-None-Match, weak":              {none, weak, object.ErrNotModified},
		"If-None-Match, any":               {none, object.MatchAny(), object.ErrNotModified},
		"If-None-Match, old":               {none, object.MatchETag("v1"), nil},
		"If-Match is tested first":         {object.MatchETag("v1"), object.MatchETag("v2"), object.ErrPrecondition},
		"both, and If-None-Match says old": {object.MatchETag("v2"), object.MatchETag("v2"), object.ErrNotModified},
	}
	for name, c := range cases {
		got := object.CheckRead(info, c.ifMatch, c.ifNoneMatch)
		if !errors.Is(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if notModified, ok := errors.AsType[*object.NotModifiedError](got); ok && !reflect.DeepEqual(notModified.Info, info) {
			t.Errorf("%s: the answer describes %+v, want %+v", name, notModified.Info, info)
		}
	}
}

func TestWriteConditions(t *testing.T) {
	var none object.Match
	weak, err := object.ParseMatch(`W/"v2"`)
	if err != nil {
		t.Fatal(err)
	}
	current := &object.Info{ETag: "v2"}
	cases := map[string]struct {
		current              *object.Info
		ifMatch, ifNoneMatch object.Match
		want                 error
	}{
		"nothing there, no condition":       {nil, none, none, nil},
		"nothing there, If-Match":           {nil, object.MatchETag("v2"), none, object.ErrNotFound},
		"nothing there, If-Match any":       {nil, object.MatchAny(), none, object.ErrNotFound},
		"nothing there, If-None-Match any":  {nil, none, object.MatchAny(), nil},
		"there, no condition":               {current, none, none, nil},
		"there, If-Match current":           {current, object.MatchETag("v2"), none, nil},
		"there, If-Match old":               {current, object.MatchETag("v1"), none, object.ErrPrecondition},
		"there, If-Match any":               {current, object.MatchAny(), none, nil},
		"there, If-Match weak":              {current, weak, none, object.ErrPrecondition},
		"there, If-None-Match any":          {current, none, object.MatchAny(), object.ErrPrecondition},
		"there, If-None-Match current":      {current, none, object.MatchETag("v2"), object.ErrPrecondition},
		"there, If-None-Match old":          {current, none, object.MatchETag("v1"), nil},
		"there, a weak tag excludes no one": {current, none, weak, nil},
	}
	for name, c := range cases {
		if got := object.CheckWrite(c.current, c.ifMatch, c.ifNoneMatch); !errors.Is(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
