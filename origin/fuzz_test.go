package origin

import (
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/micelio/micelio/object"
)

var oddSeeds = []string{
	"a", "a/b", "...", ".micelio/meta/x", "100%", "%2e", "~", "a~/b", "ünïcödé/日本語/🦊", "A b+c", strings.Repeat("x", oddPiece),
	strings.Repeat("x", oddPiece+1), strings.Repeat("x", oddPiece-1) + ".", strings.Repeat("ö", 512), strings.Repeat("d/", 511) + "e",
}

func FuzzAnOddNameIsReversible(f *testing.F) {
	for _, s := range oddSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, err := object.ParseKey(s)
		if err != nil {
			return
		}
		name := encodeOdd(key)
		if got, ok := decodeOdd(name); !ok || got != key {
			t.Errorf("%q is encoded as %q, decoded as %q, %v", key, name, got, ok)
		}
		segments := strings.Split(name, "/")
		for i, segment := range segments {
			isDir := strings.HasSuffix(segment, oddDirSuffix)
			if segment == "" || segment == "." || segment == ".." || len(segment) > oddPiece+len(oddDirSuffix) || isDir != (i < len(segments)-1) {
				t.Errorf("%q has segment %d %q", key, i, segment)
			}
		}
		if path.Clean(name) != name {
			t.Errorf("%q is encoded as %q, which is not clean", key, name)
		}
	})
}

func FuzzAnOddNameIsTheOnlyOne(f *testing.F) {
	for _, s := range oddSeeds {
		f.Add(encodeOdd(object.Key(s)))
	}
	for _, s := range []string{"", "%", "%2", "%2f", "%zz", "%41", "a/b", "a~/b", "..", "%2E%2E%2Fetc", strings.Repeat("x", oddPiece+1)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if key, ok := decodeOdd(name); ok && encodeOdd(key) != name {
			t.Errorf("%q is a second name of %q", name, key)
		}
	})
}

func FuzzARecordIsReadAsWritten(f *testing.F) {
	whole := &record{id: identity{7, 42, 1_700_000_000_123_456_789}, version: "v", attrs: object.Attrs{
		ContentType: "text/plain", User: map[string]string{"a": "1", "b": ""},
	}}
	f.Add(whole.encode("some/key"))
	f.Add((&record{id: identity{1<<64 - 1, -1, -1}}).encode(""))
	f.Add([]byte(recordMagic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if key, r, err := decodeRecord(b); err == nil {
			wantSameRecord(t, key, r)
		}
		// Past the checksum, which a fuzzer does not find by itself.
		sealed := seal(append([]byte(recordMagic), b...))
		if key, r, err := decodeRecord(sealed); err == nil {
			wantSameRecord(t, key, r)
		}
	})
}

func wantSameRecord(t *testing.T, key object.Key, r *record) {
	t.Helper()
	k, again, err := decodeRecord(r.encode(key))
	if err != nil || k != key {
		t.Fatalf("%q became %q, %v", key, k, err)
	}
	if diff := cmp.Diff(r, again, cmp.AllowUnexported(record{}, identity{}), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}
