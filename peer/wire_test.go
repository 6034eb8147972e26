package peer

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

func textLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// fullInfo has a value in every field, odd ones where that is legal.
func fullInfo() object.Info {
	return object.Info{
		Key: "ünï cödé/🦊+%&=#?.txt", Size: 1 << 40, ETag: `a&b=c,ü-3`, Version: "w/17 &",
		SHA256: sha256.Sum256([]byte("x")), Modified: time.Unix(1_700_000_000, 123_456_789).UTC(),
		Attrs: object.Attrs{
			ContentType: "text/plain; charset=utf-8", ContentEncoding: "zstd", ContentLanguage: "de",
			ContentDisposition: `attachment; filename="füchse.txt"`, CacheControl: "max-age=60, \t\r\n\x00\xff",
			User: map[string]string{"": "no name", "owner": "füchse & co", "a b": "", "ü=&%": "\r\nX-Evil: 1", "z": "\xff"},
		},
		Tier: object.TierSSD, Node: "node 7/ü", Age: 90*time.Second + 1,
	}
}

func TestInfoSurvivesTheWire(t *testing.T) {
	for _, want := range []object.Info{
		fullInfo(),
		{Key: "k"},
		{Key: "k", Modified: time.Unix(0, 0).UTC()},
		{Key: "k", Modified: time.Unix(-5, 1).UTC()},
		{Key: "k", Modified: time.Unix(1<<40, 999_999_999).UTC(), Size: 1<<63 - 1},
	} {
		line := string(encodeInfo(want))
		if strings.ContainsFunc(line, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Errorf("%q is no header value", line)
		}
		got, err := decodeInfo(line)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got)\n%s", line, err, diff)
		}
	}
}

func TestMalformedInfoIsRefused(t *testing.T) {
	for _, s := range []string{
		"", "key=k", "size=1", "key=k&size=", "key=k&size=-1", "key=k&size=+1", "key=k&size=1 ", "key=k&size=99999999999999999999",
		"size=1&key=k", "key=k&key=k&size=1", "key=%zz&size=1", "key=&size=1", "key=a//b&size=1", "key=k&size=1&", "&key=k&size=1",
		"key=k&&size=1", "key&size=1", "key=k&modified=5&size=1", "key=k&modified=5.5&size=1", "key=k&modified=5.-00000001&size=1",
		"key=k&modified=x.000000000&size=1", "key=k&sha256=00&size=1", "age=-1&key=k&size=1", "key=k&size=1&u.%zz=x",
		"key=k&sha256=" + strings.Repeat("0", 64) + "&size=1",
	} {
		if info, err := decodeInfo(s); err == nil {
			t.Errorf("%q was read as %+v", s, info)
		}
	}
	if _, err := decodeInfo("key=k&shape=round&size=1"); err != nil {
		t.Errorf("a field of a newer node: %v", err)
	}
}

var compareOptions = cmp.Options{
	cmp.AllowUnexported(object.Match{}, object.Range{}), cmpopts.EquateEmpty(),
}

func TestOptionsSurviveTheWire(t *testing.T) {
	weak, err := object.ParseMatch(`"a,b", W/"c", "ü"`)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []object.Match{{}, object.MatchAny(), object.MatchETag("a"), object.MatchETag("a", "b"), object.MatchETag(""), object.MatchETag(), weak} {
		for _, r := range []object.Range{{}, object.From(0), object.From(5), object.Bytes(1, 2), object.Suffix(3), object.Suffix(0)} {
			want := object.GetOptions{Range: r, IfMatch: m, IfNoneMatch: m}
			got, err := decodeGet(string(encodeGet(want)))
			if diff := cmp.Diff(want, got, compareOptions); err != nil || diff != "" {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		}
		want := object.PutOptions{
			IfMatch: m, IfNoneMatch: m, Attrs: fullInfo().Attrs, Version: "v&", SHA256: fullInfo().SHA256, MD5: bytes.Repeat([]byte{7}, 16),
		}
		got, size, err := decodePut(string(encodePut(want, 12)))
		if diff := cmp.Diff(want, got, compareOptions); err != nil || diff != "" || size != 12 {
			t.Errorf("size %d, %v (-want +got)\n%s", size, err, diff)
		}
		del, err := decodeDelete(string(encodeDelete(object.DeleteOptions{IfMatch: m})))
		if diff := cmp.Diff(m, del.IfMatch, compareOptions); err != nil || diff != "" {
			t.Errorf("%v (-want +got)\n%s", err, diff)
		}
	}
	// What this node believes to be current says nothing there.
	if got, _, err := decodePut(string(encodePut(object.PutOptions{Base: "b"}, 12))); got.Base != "" || err != nil {
		t.Errorf("a base travelled: %+v, %v", got, err)
	}
	if got, err := decodeDelete(string(encodeDelete(object.DeleteOptions{Base: "b"}))); got.Base != "" || err != nil {
		t.Errorf("a base travelled: %+v, %v", got, err)
	}
	if _, size, err := decodePut(string(encodePut(object.PutOptions{}, -1))); size != -1 || err != nil {
		t.Errorf("unknown size: %d, %v", size, err)
	}
	list := object.ListOptions{Prefix: "a b\x00\xff", After: "ü", Delimiter: "&", Limit: 7}
	if got, err := decodeList(string(encodeList(list))); got != list || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestARangeWithoutSyntaxSelectsNothing(t *testing.T) {
	opt, err := decodeGet(string(encodeGet(object.GetOptions{Range: object.Bytes(5, 0)})))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := opt.Range.Resolve(100); !errors.Is(err, object.ErrRange) {
		t.Errorf("resolved: %v", err)
	}
}

func TestAConditionThatNamesNothingIsStillOne(t *testing.T) {
	c := clientOf(t, new(objecttest.Memory))
	put(t, c, "key", "body")
	_, err := c.Put(t.Context(), "key", object.BytesSource(nil), object.PutOptions{IfMatch: object.MatchETag()})
	wantErr(t, "put", err, object.ErrPrecondition)
}

func TestLongSelectionsFitTheBudgetAndMeanTheSame(t *testing.T) {
	c := clientOf(t, new(objecttest.Memory))
	long := strings.Repeat("m", object.MaxKeyLen)
	for _, key := range []string{"a", long[1:], long, "z"} {
		put(t, c, object.Key(key), "x")
	}
	huge := strings.Repeat("m", 1<<20)
	for _, want := range []struct {
		opt   object.ListOptions
		names []string
	}{
		{object.ListOptions{After: huge}, []string{"z"}},
		{object.ListOptions{Prefix: huge}, nil},
		{object.ListOptions{Delimiter: huge, Prefix: "a"}, []string{"a"}},
	} {
		var names []string
		for e, err := range c.List(t.Context(), want.opt) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, e.Name())
		}
		if diff := cmp.Diff(want.names, names); diff != "" {
			t.Error(diff)
		}
	}
}

func TestTooManyAttributesAreRefusedBeforeAnythingIsSent(t *testing.T) {
	c := poolOf(t, testConfig).Client(deadAddr(t))
	src := &oneShot{size: 1, r: strings.NewReader("x")}
	_, err := c.Put(t.Context(), "key", src, object.PutOptions{Attrs: object.Attrs{ContentType: strings.Repeat("x", MaxHeaderBytes)}})
	wantErr(t, "put", err, object.ErrTooLarge)
	if src.opened {
		t.Error("the source was opened")
	}
}

func TestTheLargestLegalHeadersPass(t *testing.T) {
	c := clientOf(t, new(objecttest.Memory))
	key := object.Key(strings.Repeat("ö", object.MaxKeyLen/2))
	attrs := object.Attrs{
		ContentType: strings.Repeat("ü", 1000), ContentDisposition: strings.Repeat("ü", 1000),
		User: map[string]string{"m": strings.Repeat("\xff", object.MaxUserMeta-1)},
	}
	if _, err := c.Put(t.Context(), key, object.BytesSource(nil), object.PutOptions{Attrs: attrs}); err != nil {
		t.Fatal(err)
	}
	info, err := c.Head(t.Context(), key, object.HeadOptions{})
	if diff := cmp.Diff(attrs, info.Attrs); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestAnswersSayWhichNodeGaveThem(t *testing.T) {
	c := clientOf(t, new(objecttest.Memory))
	want := put(t, c, "key", "body")
	if want.Node != "owner" {
		t.Errorf("Put: node %q", want.Node)
	}
	obj, err := c.Get(t.Context(), "key", object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Body.Close()
	if diff := cmp.Diff(want, obj.Info); diff != "" {
		t.Error(diff)
	}
}

func FuzzInfo(f *testing.F) {
	f.Add(string(encodeInfo(fullInfo())))
	f.Add("key=k&size=1")
	f.Add("age=1&key=%41&modified=-5.000000001&size=1&u.%zz=x")
	f.Fuzz(func(t *testing.T, s string) {
		info, err := decodeInfo(s)
		if err != nil {
			return
		}
		if _, err := object.ParseKey(string(info.Key)); err != nil || info.Size < 0 || info.Age < 0 {
			t.Fatalf("%q was read as %+v", s, info)
		}
		again, err := decodeInfo(string(encodeInfo(info)))
		if diff := cmp.Diff(info, again); err != nil || diff != "" {
			t.Fatalf("%q: %v\n%s", s, err, diff)
		}
	})
}

func FuzzOptions(f *testing.F) {
	f.Add(string(encodeGet(object.GetOptions{Range: object.From(5), IfMatch: object.MatchETag("a", "b")})))
	f.Add(string(encodePut(object.PutOptions{Attrs: fullInfo().Attrs, MD5: make([]byte, 16)}, 5)))
	f.Add(string(encodeList(object.ListOptions{Prefix: "a", After: "b", Limit: 1})))
	f.Fuzz(func(t *testing.T, s string) {
		if opt, err := decodeGet(s); err == nil {
			again, err := decodeGet(string(encodeGet(opt)))
			if diff := cmp.Diff(opt, again, compareOptions); err != nil || diff != "" {
				t.Fatalf("get %q: %v\n%s", s, err, diff)
			}
		}
		if opt, size, err := decodePut(s); err == nil {
			again, size2, err := decodePut(string(encodePut(opt, size)))
			if diff := cmp.Diff(opt, again, compareOptions); err != nil || diff != "" || size != size2 {
				t.Fatalf("put %q: %v\n%s", s, err, diff)
			}
		}
		if opt, err := decodeList(s); err == nil && max(len(opt.Prefix), len(opt.After), len(opt.Delimiter)) <= object.MaxKeyLen {
			if again, err := decodeList(string(encodeList(opt))); err != nil || again != opt {
				t.Fatalf("list %q: %+v, %v", s, again, err)
			}
		}
	})
}

func FuzzRequestTarget(f *testing.F) {
	f.Add("/o/a%20b")
	f.Add("/o/%2e%2e%2fetc")
	f.Fuzz(func(t *testing.T, target string) {
		escaped, ok := strings.CutPrefix(target, objectTarget)
		if !ok {
			return
		}
		key, err := parseKey(escaped)
		if err != nil {
			return
		}
		again, err := parseKey(strings.TrimPrefix(objectPath(key), objectTarget))
		if err != nil || again != key {
			t.Fatalf("%q: %q, %v", target, again, err)
		}
	})
}
