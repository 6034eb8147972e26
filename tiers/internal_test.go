package tiers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
)

func TestADescriptionThatCannotBeWrittenIsRefused(t *testing.T) {
	for name, meta := range map[string]copyMeta{
		"ETag":     {ETag: "\xff"},
		"type":     {Attrs: object.Attrs{ContentType: "text/\xe9"}},
		"metadata": {Attrs: object.Attrs{User: map[string]string{"a": "\xff"}}},
		"length":   {Version: strings.Repeat("x", maxCopyMeta)},
		"year":     {Modified: time.Date(12_000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if _, err := meta.encode(); err == nil {
			t.Errorf("%s: a description was written that nobody could read", name)
		}
	}
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
		b, err := meta.encode()
		if err != nil {
			return
		}
		got, err := decodeCopyMeta(b, 0)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(meta, got); diff != "" {
			t.Fatalf("%s comes back changed (-written +read):\n%s", b, diff)
		}
	})
}

// FuzzDecodeCopyMeta holds that any bytes are refused or read, and that what was
// read can be written again.
func FuzzDecodeCopyMeta(f *testing.F) {
	f.Add([]byte(`{"Key":"a","Size":3,"SHA256":"zz"}`), int64(3))
	f.Add([]byte(`{"Size":-1}`), int64(-1))
	f.Add([]byte(`[]`), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		m, err := decodeCopyMeta(b, size)
		if err != nil {
			return
		}
		if info := m.info(); info.Size != size {
			t.Fatalf("%q is of %d bytes, said to be of %d", b, info.Size, size)
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
