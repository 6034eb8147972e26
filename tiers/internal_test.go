package tiers

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
)

func sampleCopy(tb testing.TB, size int) (copyMeta, []byte) {
	tb.Helper()
	meta := copyMeta{
		Key: "dir/key ü", Size: int64(size), ETag: "etag", Version: "w-1", SHA256: strings.Repeat("ab", 32),
		Modified: time.Unix(1_700_000_000, 5).UTC(), Born: time.Unix(1_800_000_000, 0).UTC(),
		Attrs: object.Attrs{ContentType: "text/html; charset=<utf-8>", User: map[string]string{"a": "1", "b": "ü"}},
	}
	sums := make([]uint32, blocks(int64(size)))
	for i := range sums {
		sums[i] = uint32(i) * 7
	}
	trailer, err := encodeTrailer(meta, sums)
	if err != nil {
		tb.Fatal(err)
	}
	return meta, append(make([]byte, size), trailer...)
}

func TestATrailerSaysWhatWasWritten(t *testing.T) {
	for _, size := range []int{0, 1, BlockSize - 1, BlockSize, BlockSize + 1, 5*BlockSize + 3} {
		meta, file := sampleCopy(t, size)
		got, sums, err := decodeTrailer(bytes.NewReader(file), int64(len(file)))
		if err != nil || int64(len(sums)) != blocks(int64(size)) {
			t.Fatalf("%d bytes: %d checksums, %v", size, len(sums), err)
		}
		if diff := cmp.Diff(meta, got); diff != "" {
			t.Errorf("%d bytes (-written +read):\n%s", size, diff)
		}
	}
}

func TestADescriptionThatCannotBeWrittenIsRefused(t *testing.T) {
	for name, meta := range map[string]copyMeta{
		"ETag":     {ETag: "\xff"},
		"type":     {Attrs: object.Attrs{ContentType: "text/\xe9"}},
		"metadata": {Attrs: object.Attrs{User: map[string]string{"a": "\xff"}}},
		"length":   {Version: strings.Repeat("x", maxCopyMeta)},
		"year":     {Modified: time.Date(12_000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if _, err := encodeTrailer(meta, nil); err == nil {
			t.Errorf("%s: a description was written that nobody could read", name)
		}
	}
}

// FuzzDecodeTrailer holds that no file is believed that the encoder would not
// have written, and that a single changed bit is always found.
func FuzzDecodeTrailer(f *testing.F) {
	for _, size := range []int{0, 1, 100} {
		_, file := sampleCopy(f, size)
		f.Add(file, uint32(0))
		f.Add(file, uint32(8*len(file)-1))
		f.Add(file[1:], uint32(1))
		f.Add(file[:len(file)-1], uint32(1))
	}
	f.Add([]byte(copyMagic), uint32(0))
	f.Add(bytes.Repeat([]byte{0xff}, footerSize), uint32(9))
	f.Fuzz(func(t *testing.T, file []byte, bit uint32) {
		meta, sums, err := decodeTrailer(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		if meta.Size < 0 || meta.Size > int64(len(file)) || int64(len(sums)) != blocks(meta.Size) {
			t.Fatalf("a file of %d bytes has %d bytes and %d checksums", len(file), meta.Size, len(sums))
		}
		if len(file) == int(meta.Size) {
			return
		}
		at := int(meta.Size) + int(bit/8)%(len(file)-int(meta.Size))
		changed := bytes.Clone(file)
		changed[at] ^= 1 << (bit % 8)
		if _, _, err := decodeTrailer(bytes.NewReader(changed), int64(len(changed))); err == nil {
			t.Fatalf("bit %d of byte %d of %d is changed, and nobody notices", bit%8, at, len(file))
		}
	})
}

func FuzzParseCopyName(f *testing.F) {
	id := idOf("key")
	f.Add(id.String()+".ABC", id[0])
	f.Add(id.String()+".", id[0])
	f.Add(id.String(), id[0])
	f.Add(strings.ToUpper(id.String())+".x", id[0])
	f.Add(id.String()+".a.b", id[0]+1)
	f.Add("lock", byte(0))
	f.Fuzz(func(t *testing.T, name string, dir byte) {
		got, ok := parseCopyName(name, dir)
		digits, unique, cut := strings.Cut(name, ".")
		want := cut && unique != "" && digits == got.String() && got[0] == dir
		if ok != want {
			t.Fatalf("%q in %02x: %t, want %t", name, dir, ok, want)
		}
	})
}

// FuzzCopyMeta holds that what a description says survives its way to the disk.
func FuzzCopyMeta(f *testing.F) {
	f.Add("key", "etag", "version", "text/plain", "name", "value")
	f.Add("\x00", "\xff", "\u2028<>&", "\ufffd", `\ufffd`, "\"\\")
	f.Fuzz(func(t *testing.T, key, etag, version, contentType, name, value string) {
		meta := copyMeta{
			Key: object.Key(key), ETag: object.ETag(etag), Version: version,
			Attrs: object.Attrs{ContentType: contentType, User: map[string]string{name: value}},
		}
		trailer, err := encodeTrailer(meta, nil)
		if err != nil {
			return
		}
		got, _, err := decodeTrailer(bytes.NewReader(trailer), int64(len(trailer)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(meta, got); diff != "" {
			b, _ := json.Marshal(meta)
			t.Fatalf("%s comes back changed (-written +read):\n%s", b, diff)
		}
	})
}

// A flight that has been abandoned is about to be cancelled: nobody may follow
// it any more, however they came to know it.
func TestAnAbandonedFlightCannotBeEntered(t *testing.T) {
	c := New(Config{Classes: &object.Classes{}})
	f := c.newFlight("key", object.GetOptions{})
	f.enter()
	if !f.enter() {
		t.Fatal("a flight under way cannot be entered")
	}
	f.leave()
	f.leave()
	if f.ctx.Err() == nil {
		t.Error("a flight that nobody waits for goes on")
	}
	if f.enter() {
		t.Error("an abandoned flight was entered")
	}
}

func TestAWindowKeepsTheLastChunks(t *testing.T) {
	pool := newChunkPool()
	var w window
	for i := range 10 {
		if w.full() {
			w.shift()
		}
		c := pool.get()
		c.data[0] = byte(i)
		w.push(c)
		for off := range 10 {
			got := w.at(int64(off) * chunkSize)
			if want := off <= i && off > i-windowChunks; (got != nil) != want {
				t.Fatalf("with %d chunks number %d is there: %t, want %t", i+1, off, got != nil, want)
			}
			if got != nil {
				if got.data[0] != byte(off) {
					t.Errorf("chunk %d has the bytes of %d", off, got.data[0])
				}
				got.release()
			}
		}
	}
	held := w.at(9 * chunkSize)
	w.clear()
	if refs := held.refs.Load(); refs != 1 {
		t.Errorf("%d references to a chunk that one reader holds", refs)
	}
	held.release()
}
