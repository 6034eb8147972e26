package migrate

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

func someRecord(key string) record {
	return record{
		Key: object.Key(key), Size: 3, SHA256: object.Digest{1, 2}, Attrs: digestAttrs(object.Attrs{}),
		From: state{ETag: "e", Version: "v", Modified: 5, Size: 3}, To: state{Modified: -1, Size: 3}, Verified: true,
	}
}

func open(t *testing.T, path string, h header) *journal {
	t.Helper()
	j, err := openJournal(path, h)
	must(t, err)
	t.Cleanup(j.close)
	return j
}

func TestAJournalRemembersTheLastRecordOfAKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j")
	h := header{From: "a", To: "b\xff", Prefix: "p"}
	j := open(t, path, h)
	first, second := someRecord("k"), someRecord("k")
	second.Size = 4
	for _, rec := range []record{first, someRecord("ü <&> \u2028"), second} {
		must(t, j.add(rec))
	}
	for range 2 {
		if rec, found := j.find("k"); !found || rec != second {
			t.Errorf("got %+v, %v", rec, found)
		}
		if rec, found := j.find("ü <&> \u2028"); !found || rec != someRecord("ü <&> \u2028") {
			t.Errorf("got %+v, %v", rec, found)
		}
		if _, found := j.find("other"); found {
			t.Error("a key was found that is not there")
		}
		j.close()
		j = open(t, path, h)
	}
	if j.damaged != 0 {
		t.Errorf("%d damaged lines", j.damaged)
	}
}

func TestAJournalOfAnotherMigrationIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j")
	open(t, path, header{From: "a", To: "b"}).close()
	for _, h := range []header{{From: "x", To: "b"}, {From: "a", To: "x"}, {From: "a", To: "b", Prefix: "x"}} {
		_, err := Run(t.Context(), Config{From: new(objecttest.Memory), To: new(objecttest.Memory), FromName: h.From, ToName: h.To, Prefix: h.Prefix, Journal: path})
		if !errors.Is(err, errOtherPlace) || !strings.Contains(err.Error(), path) {
			t.Errorf("%+v: got %v", h, err)
		}
	}
	for _, text := range []string{"hello\n", "hello", "00000000 {}\n", "\n"} {
		must(t, os.WriteFile(path, []byte(text), 0o600))
		if _, err := openJournal(path, header{}); !errors.Is(err, errNoJournal) {
			t.Errorf("%q: got %v", text, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%q was changed to %q, %v", text, got, err)
		}
	}
}

func TestAJournalHasOneWriter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path, header{})
	if _, err := openJournal(path, header{}); !errors.Is(err, errBusy) {
		t.Errorf("got %v", err)
	}
	j.close()
	open(t, path, header{})
}

// However long the part is that reached the disk, the journal opens, has every
// record whose line is whole, and takes more.
func TestAJournalThatWasCutAnywhereGoesOn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j")
	h := header{From: "a", To: "b"}
	j := open(t, path, h)
	for i := range 3 {
		must(t, j.add(someRecord(fmt.Sprint(i))))
	}
	j.close()
	whole, err := os.ReadFile(path)
	must(t, err)
	for cut := range len(whole) + 1 {
		must(t, os.WriteFile(path, whole[:cut], 0o600))
		j, err := openJournal(path, h)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		must(t, j.add(someRecord("more")))
		j.close()
		j, err = openJournal(path, h)
		must(t, err)
		lines := bytes.Count(whole[:min(cut+1, len(whole))], []byte("\n")) // a missing end is added
		for i := range 3 {
			if _, found := j.find(object.Key(fmt.Sprint(i))); found != (i+1 < lines) {
				t.Errorf("cut at %d: record %d is there: %v", cut, i, found)
			}
		}
		if _, found := j.find("more"); !found {
			t.Errorf("cut at %d: the record after it is lost", cut)
		}
		j.close()
	}
}

func TestAFlippedBitCostsOneRecord(t *testing.T) {
	t.Parallel()
	line, err := someRecord("k").line()
	must(t, err)
	for i := range line {
		for bit := range 8 {
			bad := bytes.Clone(line)
			bad[i] ^= 1 << bit
			if _, err := parseRecord(bad); err == nil {
				t.Errorf("%q passes", bad)
			}
		}
	}
}

func TestAStateIsRecognisedByWhatTheListingSays(t *testing.T) {
	t.Parallel()
	at := time.Unix(1000, 5)
	s := stateOf(&object.Info{ETag: "e", Version: "v", Modified: at, Size: 3})
	for _, tt := range []struct {
		listed object.Info
		bytes  bool // they are the same
		want   bool // so are the attributes
	}{
		{object.Info{ETag: "e", Version: "v", Modified: at, Size: 3}, true, true},
		{object.Info{ETag: "e", Version: "v", Modified: at.Add(time.Hour), Size: 3}, true, true},
		{object.Info{ETag: "e", Modified: at.Add(999 * time.Millisecond), Size: 3}, true, true}, // S3 lists no version
		{object.Info{ETag: "e", Modified: at.Add(-999 * time.Millisecond), Size: 3}, true, true},
		{object.Info{ETag: "e", Modified: at.Add(time.Second), Size: 3}, true, false},
		{object.Info{ETag: "e", Modified: at.Add(-time.Second), Size: 3}, true, false},
		{object.Info{ETag: "e", Size: 3}, true, true},                  // a listing without times
		{object.Info{Version: "v", Modified: at, Size: 3}, true, true}, // a folder without digests
		{object.Info{Modified: at, Size: 3}, true, true},
		{object.Info{ETag: "e", Version: "w", Modified: at, Size: 3}, false, false},
		{object.Info{ETag: "f", Version: "v", Modified: at, Size: 3}, false, false},
		{object.Info{ETag: "e", Version: "v", Modified: at, Size: 4}, false, false},
		{object.Info{Version: "v", Modified: at.Add(1), Size: 3}, false, false},
		{object.Info{Modified: at.Add(1), Size: 3}, false, false},
	} {
		if got := s.is(&tt.listed); got != tt.bytes {
			t.Errorf("%+v: the same bytes: got %v", tt.listed, got)
		}
		if got := s.isRead(&tt.listed); got != tt.want {
			t.Errorf("%+v: the same: got %v", tt.listed, got)
		}
	}
}

// The fuzzer cannot guess checksums, so it gets them for nothing: what is left
// to find is a text that is read as something else than it says.
func FuzzRecord(f *testing.F) {
	for _, rec := range []record{someRecord("a/b"), someRecord("ü \"x\""), {Key: "k", SHA256: object.Digest{9}}} {
		line, err := rec.line()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.TrimSuffix(line[len("00000000 "):], []byte("\n")))
	}
	f.Add([]byte(`{"key":"a//b","size":-1}`))
	f.Add([]byte(`{} {}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		sealed := fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(text, castagnoli), text)
		if _, err := parseRecord(text); err == nil {
			t.Fatalf("%q is read without a checksum", text)
		}
		rec, err := parseRecord(sealed)
		if err != nil {
			return
		}
		if _, err := object.ParseKey(string(rec.Key)); err != nil || rec.Size < 0 || rec.SHA256.IsZero() {
			t.Fatalf("got %+v", rec)
		}
		line, err := rec.line()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseRecord(line)
		if err != nil || again != rec {
			t.Fatalf("%q is %+v, which is written as %q and is then %+v, %v", text, rec, line, again, err)
		}
		if _, err := parseRecord(line[:len(line)-1]); err == nil {
			t.Fatal("a line without its end is read")
		}
	})
}

// Whatever is in the file, opening it ends, and keeps it or leaves it alone.
func FuzzJournal(f *testing.F) {
	first, err := seal(header{Format: formatVersion})
	if err != nil {
		f.Fatal(err)
	}
	line, err := someRecord("k").line()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Join([][]byte{first, line, line}, nil))
	f.Add(bytes.Join([][]byte{first, line[:9], line}, nil))
	f.Add(append(bytes.Clone(first), bytes.Repeat([]byte("x"), maxLine+10)...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "j")
		must(t, os.WriteFile(path, data, 0o600))
		j, err := openJournal(path, header{})
		if err != nil {
			if got, e := os.ReadFile(path); e != nil || !bytes.Equal(got, data) {
				t.Fatalf("it was refused and changed: %v", err)
			}
			return
		}
		must(t, j.add(someRecord("added")))
		keys := len(j.index)
		j.close()
		j, err = openJournal(path, header{})
		must(t, err)
		defer j.close()
		if _, found := j.find("added"); !found || len(j.index) != keys {
			t.Fatalf("got %d keys after %d", len(j.index), keys)
		}
	})
}
