package tiers

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/micelio/micelio/object"
)

func TestADescriptionThatIsTooLongIsRefused(t *testing.T) {
	t.Parallel()
	for _, n := range []int{maxDescription, 1 << 17} {
		if _, err := describedStored(object.Info{Version: strings.Repeat("x", n)}, time.Time{}); err == nil {
			t.Errorf("a version of %d bytes was written", n)
		}
	}
}

func TestADescriptionComesBackAsItWas(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]Entry{
		"nothing": {},
		"all": {
			Info: object.Info{
				Key: "a/b", Size: 5 << 30, ETag: "etag", Version: "7", SHA256: object.Digest{1, 2, 31: 3},
				Modified: time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC),
				Attrs: object.Attrs{
					ContentType: "text/plain", ContentEncoding: "gzip", ContentLanguage: "en",
					ContentDisposition: "inline", CacheControl: "no-cache", User: map[string]string{"a": "1", "b": ""},
				},
			},
			Born: time.Unix(1_800_000_000, 5), lasting: true,
		},
		"far times":  {Info: object.Info{Modified: time.Date(12_000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"early ones": {Info: object.Info{Modified: time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC)}, Born: time.Unix(-1, 0)},
	} {
		b, err := describe(nil, &e.Info, e.Born, e.lasting, e.Info.User)
		if err != nil {
			t.Fatal(err)
		}
		var got Entry
		if err := got.recall(string(b)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(e, got, cmp.AllowUnexported(Entry{})); diff != "" {
			t.Errorf("%s comes back changed (-written +read):\n%s", name, diff)
		}
		if key := describedKey(string(b)); key != e.Info.Key {
			t.Errorf("%s: the key is %q, want %q", name, key, e.Info.Key)
		}
	}
}

// FuzzDescription holds that what a description says survives its way to the
// disk, whatever bytes it is made of.
func FuzzDescription(f *testing.F) {
	f.Add("key", "etag", "version", "text/plain", "name", "value")
	f.Add("\x00", "\xff", "\u2028<>&", "\ufffd", `\ufffd`, "\"\\")
	f.Fuzz(func(t *testing.T, key, etag, version, contentType, name, value string) {
		info := object.Info{
			Key: object.Key(key), ETag: object.ETag(etag), Version: version, Tier: object.TierSSD,
			Attrs: object.Attrs{ContentType: contentType, User: map[string]string{name: value}},
		}
		b, err := describedStored(info, time.Time{})
		if err != nil {
			return
		}
		got, err := recallStored(b, 0)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(info, got.Info); diff != "" {
			t.Fatalf("%q comes back changed (-written +read):\n%s", b, diff)
		}
	})
}

// FuzzRecall holds that any bytes are refused or read, and that what was read
// says the same when it is written again.
func FuzzRecall(f *testing.F) {
	whole, _ := describedStored(object.Info{Key: "a", Size: 3, Attrs: object.Attrs{User: map[string]string{"b": "c"}}}, time.Unix(1, 1))
	f.Add(whole, int64(3))
	f.Add(whole[:len(whole)-1], int64(3))
	f.Add([]byte(`{"Key":"a","Size":3}`), int64(3))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		e, err := recallStored(b, size)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("%q: %v", b, err)
			}
			return
		}
		again, err := describe(nil, &e.Info, e.Born, e.lasting, e.Info.User)
		if err != nil {
			t.Fatal(err)
		}
		got, err := recallStored(again, size)
		if diff := cmp.Diff(e, got, cmp.AllowUnexported(Entry{}), cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Fatalf("%v, read again it says (-first +second):\n%s", err, diff)
		}
	})
}
