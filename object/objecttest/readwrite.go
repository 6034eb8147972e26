package objecttest

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/micelio/micelio/object"
)

func testMissing(k *kit) {
	k.wantMissing("no/such/object")
	k.put("no/such/object-2", []byte("x"), object.PutOptions{})
	k.wantMissing("no/such/object")
	k.wantMissing("no/such")
	k.wantMissing("no/such/object-2/below")
}

func testRoundTrip(k *kit) {
	for i, size := range []int{0, 1, 100, 4096, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1<<20 + 13, 5 << 20} {
		key := object.Key("round/trip-" + strings.Repeat("i", i+1))
		body := random(uint64(size), size)
		before := time.Now()
		put := k.put(key, body, object.PutOptions{})
		for range 2 { // the second read may come from somewhere else
			obj := k.wantBody(key, body)
			if obj.ETag != put.ETag {
				k.Errorf("%d bytes: Get has ETag %q, Put %q", size, obj.ETag, put.ETag)
			}
			if d := obj.Modified.Sub(before); d < -5*time.Second || d > time.Minute {
				k.Errorf("%d bytes: modified %v after the Put", size, d)
			}
		}
		head, err := k.store.Head(k.Context(), key, object.HeadOptions{})
		if err != nil || head.ETag != put.ETag || head.Size != int64(size) || head.Key != key {
			k.Errorf("%d bytes: Head %+v, %v", size, head, err)
		}
		if !head.SHA256.IsZero() && head.SHA256 != sha256.Sum256(body) {
			k.Errorf("%d bytes: Head has SHA256 %v", size, head.SHA256)
		}
	}
}

func testUnknownSize(k *kit) {
	for _, size := range []int{0, 1, 300_000} {
		body := random(7, size)
		info, err := k.store.Put(k.Context(), "unknown/size", object.ReaderSource(bytes.NewReader(body), -1), object.PutOptions{})
		if err != nil || info.Size != int64(size) {
			k.Fatalf("Put of %d bytes: %+v, %v", size, info, err)
		}
		k.wantBody("unknown/size", body)
	}
}

func testAttrs(k *kit) {
	want := object.Attrs{
		ContentType: "text/x-elixir; charset=utf-8", ContentEncoding: "zstd", ContentLanguage: "de",
		ContentDisposition: `attachment; filename="main.ex"`, CacheControl: "max-age=60",
		User: map[string]string{"mtime": "1700000000.25", "owner": "füchse & co"},
	}
	k.put("with/attrs", []byte("body"), object.PutOptions{Attrs: want})
	for range 2 {
		head, err := k.store.Head(k.Context(), "with/attrs", object.HeadOptions{})
		if err != nil {
			k.Fatal(err)
		}
		for where, got := range map[string]object.Attrs{"Head": head.Attrs, "Get": k.wantBody("with/attrs", []byte("body")).Attrs} {
			if !sameAttrs(got, want) {
				k.Errorf("%s: %+v, want %+v", where, got, want)
			}
		}
	}
}

func sameAttrs(a, b object.Attrs) bool {
	user := maps.Equal(a.User, b.User)
	return user && a.ContentType == b.ContentType && a.ContentEncoding == b.ContentEncoding &&
		a.ContentLanguage == b.ContentLanguage && a.ContentDisposition == b.ContentDisposition && a.CacheControl == b.CacheControl
}

func testOverwrite(k *kit) {
	one := k.put("over/write", []byte("one"), object.PutOptions{Attrs: object.Attrs{ContentType: "text/one"}})
	k.wantBody("over/write", []byte("one"))
	two := k.put("over/write", []byte("number two"), object.PutOptions{})
	if one.ETag == two.ETag {
		k.Errorf("other bytes, same ETag %q", one.ETag)
	}
	if obj := k.wantBody("over/write", []byte("number two")); obj.ContentType == "text/one" {
		k.Error("the overwritten content type is still there")
	}
	// The same bytes again, with another type: only the version tells.
	three := k.put("over/write", []byte("number two"), object.PutOptions{Attrs: object.Attrs{ContentType: "text/three"}})
	if three.Version != "" && three.Version == two.Version {
		k.Errorf("two writes share version %q", three.Version)
	}
	if obj := k.wantBody("over/write", []byte("number two")); obj.ContentType != "text/three" {
		k.Errorf("content type %q, want text/three", obj.ContentType)
	}
	if named := k.put("over/write", []byte("x"), object.PutOptions{Version: "w-17"}); named.Version != "" && named.Version != "w-17" {
		k.Errorf("version %q, want the one that the writer chose", named.Version)
	}
}

func testRanges(k *kit) {
	const size = 300_000
	body := random(3, size)
	k.put("ranges", body, object.PutOptions{})
	cases := []struct {
		r           object.Range
		offset, len int64
	}{
		{object.Bytes(0, 1), 0, 1}, {object.Bytes(0, size), 0, size}, {object.Bytes(1, 2), 1, 2},
		{object.Bytes(65_535, 2), 65_535, 2}, {object.Bytes(size-1, 1), size - 1, 1},
		{object.Bytes(299_000, 5_000), 299_000, 1_000}, {object.From(0), 0, size}, {object.From(262_144), 262_144, size - 262_144},
		{object.Suffix(1), size - 1, 1}, {object.Suffix(70_000), size - 70_000, 70_000}, {object.Suffix(2 * size), 0, size},
	}
	for pass := range 2 { // cold, then from wherever the first pass left it
		for _, c := range cases {
			obj, got := k.get("ranges", object.GetOptions{Range: c.r})
			if obj.Offset != c.offset || obj.Length != c.len || obj.Size != size || !bytes.Equal(got, body[c.offset:c.offset+c.len]) {
				k.Errorf("pass %d, %v: offset %d, length %d, size %d, or wrong bytes", pass, c.r, obj.Offset, obj.Length, obj.Size)
			}
		}
		for _, r := range []object.Range{object.From(size), object.Bytes(size+5, 10), object.Suffix(0)} {
			_, err := k.getErr("ranges", object.GetOptions{Range: r})
			k.wantErr(r.String(), err, object.ErrRange)
		}
	}
	k.put("empty", nil, object.PutOptions{})
	_, err := k.getErr("empty", object.GetOptions{Range: object.From(0)})
	k.wantErr("a range of nothing", err, object.ErrRange)
}

// oddKeys are legal names that trip careless storage.
var oddKeys = []object.Key{
	"a b/c  d", "plus+plus", "100%", "%2e%2e%2fetc", "colon:sep", "brackets[1](2){3}", "q?a=b&c#d", "star*", "~tilde",
	".hidden", "dir/.dot/file", "...", "a/..b", ".micelio/meta/x", ".micelio", "trailing. ", "semi;colon,comma", `quote"'`, "<xml>&amp;",
	"ünïcödé/日本語/🦊", "e\u0301", "\u00e9", "CASE", "case", "sessions/test 123/file (1).txt",
	"artifacts-like/sha256:9f86d081", "x.tmp", "x.meta", object.Key(strings.Repeat("s", 300)),
	object.Key("deep/" + strings.Repeat("d/", 300) + "leaf"), object.Key(strings.Repeat("ö", 512)),
}

func testOddKeys(k *kit) {
	oddKeys := k.possible(oddKeys)
	for _, key := range oddKeys {
		k.put(key, []byte("body of "+key), object.PutOptions{})
	}
	listed := map[string]bool{}
	for _, name := range k.list(object.ListOptions{}) {
		listed[name] = true
	}
	for _, key := range oddKeys {
		k.wantBody(key, []byte("body of "+key))
		if !listed[string(key)] {
			k.Errorf("%q is not listed", key)
		}
	}
	if len(listed) != len(oddKeys) {
		k.Errorf("%d names listed, %d were put", len(listed), len(oddKeys))
	}
	for _, key := range oddKeys {
		if err := k.store.Delete(k.Context(), key, object.DeleteOptions{}); err != nil {
			k.Fatalf("Delete %q: %v", key, err)
		}
		k.wantMissing(key)
	}
}

func testNameAndPrefix(k *kit) {
	if k.fileTree {
		k.Skip("not in a tree of files")
	}
	for _, order := range [][]object.Key{{"n", "n/b", "n/b/c"}, {"m/b/c", "m/b", "m"}} {
		for _, key := range order {
			k.put(key, []byte("at "+key), object.PutOptions{})
		}
		for _, key := range order {
			k.wantBody(key, []byte("at "+key))
		}
		k.put(order[0], []byte("again"), object.PutOptions{})
		k.put(order[2], []byte("again"), object.PutOptions{})
		k.wantBody(order[0], []byte("again"))
		k.wantBody(order[2], []byte("again"))
		if err := k.store.Delete(k.Context(), order[0], object.DeleteOptions{}); err != nil {
			k.Fatal(err)
		}
		k.wantMissing(order[0])
		k.wantBody(order[2], []byte("again"))
		k.put(order[0], []byte("third"), object.PutOptions{})
		k.wantBody(order[0], []byte("third"))
	}
	want := []string{"m", "m/b", "m/b/c", "n", "n/b", "n/b/c"}
	wantNames(k, object.ListOptions{}, want)
}

func testInvalidKeys(k *kit) {
	for _, key := range []object.Key{"", "/", "/a", "a/", "a//b", "../a", "a/../b", "a/.", "nul\x00", "cr\r\nlf", "bad\xff", object.Key(strings.Repeat("x", 1025))} {
		_, err := k.getErr(key, object.GetOptions{})
		k.wantErr("Get", err, object.ErrInvalidKey)
		_, err = k.store.Head(k.Context(), key, object.HeadOptions{})
		k.wantErr("Head", err, object.ErrInvalidKey)
		_, err = k.store.Put(k.Context(), key, object.BytesSource([]byte("x")), object.PutOptions{})
		k.wantErr("Put", err, object.ErrInvalidKey)
		k.wantErr("Delete", k.store.Delete(k.Context(), key, object.DeleteOptions{}), object.ErrInvalidKey)
	}
	wantNames(k, object.ListOptions{}, []string{})
}

func testDigests(k *kit) {
	body := []byte("the true bytes")
	sum := md5.Sum(body)
	good := object.PutOptions{SHA256: sha256.Sum256(body), MD5: sum[:]}
	k.put("digests", body, good)
	for name, opt := range map[string]object.PutOptions{
		"SHA256": {SHA256: sha256.Sum256([]byte("other"))},
		"MD5":    {MD5: make([]byte, md5.Size)},
	} {
		for _, size := range []int64{14, -1} {
			for _, key := range []object.Key{"digests", "digests-new"} {
				_, err := k.store.Put(k.Context(), key, object.ReaderSource(strings.NewReader("the FALSE byte"), size), opt)
				k.wantErr("Put with a wrong "+name, err, object.ErrDigest)
			}
		}
	}
	k.wantBody("digests", body)
	k.wantMissing("digests-new")
}

func testBrokenSources(k *kit) {
	k.put("kept", []byte("kept"), object.PutOptions{})
	failure := errors.New("the client went away")
	half := random(9, 200_000)
	cases := map[string]struct {
		src  brokenSource
		want error
	}{
		"early end":             {brokenSource{400_000, half, io.EOF}, io.ErrUnexpectedEOF},
		"nothing at all":        {brokenSource{10, nil, io.EOF}, io.ErrUnexpectedEOF},
		"error":                 {brokenSource{400_000, half, failure}, failure},
		"error at the last":     {brokenSource{200_001, half, failure}, failure},
		"error, unknown size":   {brokenSource{-1, half, failure}, failure},
		"more than it promised": {brokenSource{100_000, half, io.EOF}, nil},
	}
	for name, c := range cases {
		for _, key := range []object.Key{"kept", "broken"} {
			_, err := k.store.Put(k.Context(), key, c.src, object.PutOptions{})
			if err == nil || (c.want != nil && !errors.Is(err, c.want)) {
				k.Errorf("%s: error %v, want %v", name, err, c.want)
			}
		}
	}
	k.wantBody("kept", []byte("kept"))
	k.wantMissing("broken")
}

// testNoTornReads overwrites a key with bodies of one repeated byte, each of
// another length, and lets readers look for any body that mixes two.
func testNoTornReads(k *kit) {
	ctx, stop := context.WithCancel(k.Context())
	var versions [26][]byte
	for i := range versions {
		versions[i] = bytes.Repeat([]byte{byte('a' + i)}, 100_000+1000*i)
	}
	version := func(i int) []byte { return versions[i%26] }
	k.put("torn", version(0), object.PutOptions{})
	var readers sync.WaitGroup
	defer readers.Wait()
	defer stop()
	for range 3 {
		readers.Go(func() {
			for ctx.Err() == nil {
				obj, err := k.store.Get(ctx, "torn", object.GetOptions{})
				if err != nil {
					if ctx.Err() == nil {
						k.Errorf("Get: %v", err)
					}
					return
				}
				body, err := io.ReadAll(obj.Body)
				obj.Body.Close()
				if err != nil {
					continue // a body may break, but not end cleanly with the wrong bytes
				}
				if len(body) == 0 || !bytes.Equal(body, version(int(body[0]-'a'))) {
					k.Errorf("a body of %d bytes mixes versions", len(body))
				}
			}
		})
	}
	for i := range 30 {
		k.put("torn", version(i), object.PutOptions{})
	}
}

func testCancelled(k *kit) {
	k.put("there", []byte("x"), object.PutOptions{})
	ctx := cancelled()
	if obj, err := k.store.Get(ctx, "there", object.GetOptions{}); err == nil {
		_, err = io.ReadAll(obj.Body)
		obj.Body.Close()
		if err != nil {
			k.wantErr("reading", err, context.Canceled)
		}
	} else {
		k.wantErr("Get", err, context.Canceled)
	}
	_, err := k.store.Put(ctx, "there", object.BytesSource([]byte("y")), object.PutOptions{})
	k.wantErr("Put", err, context.Canceled)
	k.wantBody("there", []byte("x"))
}
