package seglog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// FuzzParseHeader holds that a header that is believed could have been written,
// for this life of the segment, and that no bit of it may change.
func FuzzParseHeader(f *testing.F) {
	b := make([]byte, headerSize)
	for _, h := range []header{
		{kind: kindInline, nonce: 7, lsn: 3, size: 5, dataLen: 5, metaLen: 9},
		{kind: kindChunk, nonce: 7, gen: 2, size: 1 << 30, chunk: 4, dataLen: maxChunk},
		{kind: kindDesc, nonce: 7, gen: 2, size: 1 << 40, metaLen: MaxMeta},
		{kind: kindTombstone, nonce: 7, lsn: ^uint64(0)},
	} {
		h.put(b)
		f.Add(bytes.Clone(b), uint16(100))
	}
	f.Add([]byte("LGES"), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, bit uint16) {
		h, err := parseHeader(b, 7)
		if err != nil {
			return
		}
		if n := h.recordLen(); n < headerSize || n > maxChunk+page || n%unit != 0 {
			t.Fatalf("a record of %d bytes is believed: %+v", n, h)
		}
		again := make([]byte, headerSize)
		h.put(again)
		if parsed, err := parseHeader(again, 7); err != nil || parsed != h {
			t.Fatalf("%+v is read back as %+v, %v", h, parsed, err)
		}
		if _, err := parseHeader(again, 8); err == nil {
			t.Fatal("a record of another life is believed")
		}
		again[bit/8%72] ^= 1 << (bit % 8)
		if _, err := parseHeader(again, 7); err == nil {
			t.Fatalf("bit %d is changed and nobody notices", bit)
		}
	})
}

// FuzzFooter holds that a footer that is believed names records within its
// segment, whatever the bytes are.
func FuzzFooter(f *testing.F) {
	const segSize = 64 << 10
	foot := encodeFooter(7, []entry{
		{kind: kindInline, lsn: 1, off: page / unit, len: headerSize},
		{kind: kindTombstone, lsn: 2, off: 2 * page / unit, len: headerSize},
	})
	f.Add(foot)
	f.Add(foot[entrySize:])
	f.Add(encodeFooter(8, nil))
	f.Fuzz(func(t *testing.T, foot []byte) {
		file := make([]byte, segSize)
		foot = foot[:min(len(foot), segSize)]
		copy(file[segSize-len(foot):], foot)
		entries, err := readFooter(&memFile{fs: newMemFS(), now: file}, 7, segSize)
		if err != nil {
			return
		}
		for _, e := range entries {
			if int64(e.off)*unit < page || int64(e.off)*unit+int64(e.len) > segSize {
				t.Fatalf("%+v lies outside of its segment", e)
			}
		}
	})
}

// FuzzStart puts any bytes where a segment's records and footer are. A store
// starts over them, and serves nothing that fails a check.
func FuzzStart(f *testing.F) {
	f.Add([]byte("anything"), uint32(page), true)
	f.Add(bytes.Repeat([]byte("LGES\x01\x00\x00\x00"), 100), uint32(page+16), false)
	f.Fuzz(func(t *testing.T, junk []byte, at uint32, atEnd bool) {
		disk := newMemFS()
		s := openStore(t, disk, Options{Capacity: MinCapacity})
		for i, size := range []int{100, 5000, 300_000} {
			put(s, string(rune('a'+i)), 1, size)
		}
		s.Close()
		for name, file := range disk.files {
			if name == manifestName {
				continue
			}
			from := int(at) % len(file.now)
			if atEnd {
				from = max(len(file.now)-len(junk)-int(at)%1000, 0)
			}
			copy(file.now[max(from, page):], junk)
		}
		s = openStore(t, disk, Options{Capacity: MinCapacity})
		for i := range 3 {
			if _, _, err := fetch(s, string(rune('a'+i))); err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrAbsent) {
				t.Fatal(err)
			}
		}
		if !put(s, "after", 1, 1000) {
			t.Fatal("the store takes nothing more")
		}
		mustHave(t, s, "after", 1)
	})
}

// FuzzSegmentHeader: what is believed of a segment's first page is what was
// written there.
func FuzzSegmentHeader(f *testing.F) {
	h := segmentHeader{store: 1, number: 2, seq: 3, nonce: 4, size: minSegment}
	f.Add(h.encode())
	f.Add(h.encode()[:60])
	f.Add([]byte(segmentMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseSegmentHeader(b)
		if err != nil {
			return
		}
		if again, err := parseSegmentHeader(h.encode()); err != nil || again != h {
			t.Fatalf("%+v is read back as %+v, %v", h, again, err)
		}
	})
}

// FuzzManifest starts a store on any manifest: it is one that this store can
// live with, or the store begins anew, and it works.
func FuzzManifest(f *testing.F) {
	disk := newMemFS()
	openStore(f, disk, Options{Capacity: MinCapacity}).Close()
	f.Add(bytes.Clone(disk.files[manifestName].now), true)
	f.Add(bytes.Clone(disk.files[manifestName].now), false)
	f.Add([]byte(manifestMagic), false)
	f.Fuzz(func(t *testing.T, manifest []byte, sum bool) {
		if sum && len(manifest) >= 36 { // so that the fuzzer gets past the checksum
			binary.LittleEndian.PutUint32(manifest[32:], checksum(manifest[:32]))
		}
		disk := newMemFS()
		file, err := disk.Open(manifestName)
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Allocate(int64(len(manifest))); err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(manifest, 0); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			s := openStore(t, disk, Options{Capacity: MinCapacity})
			put(s, "a", 1, 5000)
			if _, _, err := fetch(s, "a"); err != nil {
				t.Fatal(err)
			}
			if st := s.Stats(); st.Bytes > st.Capacity {
				t.Fatalf("%d bytes of %d", st.Bytes, st.Capacity)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
