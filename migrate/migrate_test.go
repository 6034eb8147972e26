package migrate

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/origin"
)

func openLocal(t *testing.T, dir string) *origin.Local {
	t.Helper()
	l, err := origin.OpenLocal(dir)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func TestATreeSurvivesTheWayToAnotherStoreAndBack(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		first, between, last := openLocal(t, t.TempDir()), new(objecttest.Memory), openLocal(t, t.TempDir())
		randomTree(t, first, seed, 60)
		n := count(t, first)
		r := migrateAll(t, Config{From: first, To: between, Parallel: 3})
		if r.Objects != n || r.Copied != n || r.Verified != n || r.Skipped != 0 || !r.Done {
			t.Errorf("got %+v for %d objects", r.Progress, n)
		}
		if r.CopiedBytes != r.Bytes || r.VerifiedBytes != r.Bytes {
			t.Errorf("got %+v", r.Progress)
		}
		migrateAll(t, Config{From: between, To: last})
		wantSame(t, last, first)
	}
}

func TestASecondRunCopiesNothing(t *testing.T) {
	t.Parallel()
	from, to := openLocal(t, t.TempDir()), &spy{Store: openLocal(t, t.TempDir())}
	randomTree(t, from, 7, 40)
	n := count(t, from)
	journal := filepath.Join(t.TempDir(), "journal")
	for _, tt := range []struct {
		journal    string
		puts, gets int64
	}{
		{journal, n, n}, // copied and read back
		{journal, 0, 0}, // the journal knows
		{"", 0, n},      // compared
	} {
		to.puts.Store(0)
		to.gets.Store(0)
		r := migrateAll(t, Config{From: from, To: to, Journal: tt.journal})
		if to.puts.Load() != tt.puts || to.gets.Load() != tt.gets || r.Verified != n || r.Skipped != n-tt.puts {
			t.Errorf("got %d puts, %d gets and %+v, want %d and %d", to.puts.Load(), to.gets.Load(), r.Progress, tt.puts, tt.gets)
		}
	}
}

func TestADifferentObjectIsLeftAloneUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	from := memory(t, map[string]string{"bytes": "one", "size": "one", "same": "same", "meta": "m"})
	put(t, from, "meta", "m", object.Attrs{User: map[string]string{"a": "b"}})
	to := memory(t, map[string]string{"bytes": "two", "size": "three", "same": "same", "meta": "m"})
	before := contents(t, to)
	r, err := Run(t.Context(), Config{From: from, To: to})
	must(t, err)
	want := map[string]Kind{"bytes": Different, "size": Different, "meta": Different}
	if !maps.Equal(kinds(r), want) || r.Counts[Different] != 3 || r.Identical(true) {
		t.Errorf("got %v", r.Differences)
	}
	if !maps.Equal(contents(t, to), before) {
		t.Error("the destination was changed")
	}
	r = migrateAll(t, Config{From: from, To: to, Overwrite: true})
	if r.Copied != 3 || r.Skipped != 1 || r.Verified != 4 {
		t.Errorf("got %+v", r.Progress)
	}
	wantSame(t, to, from)
}

func TestAnOverwriteReplacesOnlyWhatItSaw(t *testing.T) {
	t.Parallel()
	from, inner := memory(t, map[string]string{"k": "new"}), memory(t, map[string]string{"k": "old"})
	to := &spy{Store: inner}
	to.beforePut = func(n int64, _ object.Key) error {
		if n == 1 {
			put(t, inner, "k", "newer", object.Attrs{}) // between the look and the write
		}
		return nil
	}
	migrateAll(t, Config{From: from, To: to, Overwrite: true})
	if to.puts.Load() != 2 {
		t.Errorf("got %d puts: the first must fail by its condition", to.puts.Load())
	}
	wantSame(t, to, from)
}

func TestAnObjectThatAppearsMeanwhileIsNotReplaced(t *testing.T) {
	t.Parallel()
	from, inner := memory(t, map[string]string{"k": "ours"}), new(objecttest.Memory)
	to := &spy{Store: inner, beforePut: func(int64, object.Key) error {
		put(t, inner, "k", "theirs", object.Attrs{})
		return nil
	}}
	r, err := Run(t.Context(), Config{From: from, To: to})
	must(t, err)
	if kinds(r)["k"] != Different || contents(t, inner)["k"].body != "theirs" {
		t.Errorf("got %v, %v", r.Differences, contents(t, inner))
	}
}

func TestExtraObjectsAreReportedAndKept(t *testing.T) {
	t.Parallel()
	from := memory(t, map[string]string{"p/a": "1", "q": "outside of the prefix"})
	to := memory(t, map[string]string{"p/b": "2", "r": "outside of the prefix"})
	r, err := Run(t.Context(), Config{From: from, To: to, Prefix: "p/"})
	must(t, err)
	if !maps.Equal(kinds(r), map[string]Kind{"p/b": Extra}) || r.Identical(false) || !r.Identical(true) {
		t.Errorf("got %v", r.Differences)
	}
	if got := contents(t, to); len(got) != 3 || got["p/a"].body != "1" {
		t.Errorf("the destination has %v", got)
	}
}

func TestADestinationThatCorruptsIsCaught(t *testing.T) {
	t.Parallel()
	from := memory(t, map[string]string{"a": "good", "b": "some bytes that matter", "c": "", "d": "x"})
	to := &spy{Store: new(objecttest.Memory), onBody: func(key object.Key, r io.Reader) io.Reader {
		b, err := io.ReadAll(r)
		must(t, err)
		if key == "b" {
			b[7] ^= 1
		}
		return bytes.NewReader(b)
	}}
	r, err := Run(t.Context(), Config{From: from, To: to})
	must(t, err)
	if !maps.Equal(kinds(r), map[string]Kind{"b": Different}) || r.Verified != 3 || !strings.Contains(r.Differences[0].Why, "hash to") {
		t.Errorf("got %v, %+v", r.Differences, r.Progress)
	}
}

func TestADestinationThatForgetsAttributesIsCaught(t *testing.T) {
	t.Parallel()
	from := new(objecttest.Memory)
	put(t, from, "a", "x", object.Attrs{ContentType: "text/html"})
	put(t, from, "b", "x", object.Attrs{ContentType: "binary/octet-stream"})
	r, err := Run(t.Context(), Config{From: from, To: forgetful{new(objecttest.Memory)}})
	must(t, err)
	if !maps.Equal(kinds(r), map[string]Kind{"a": Different}) {
		t.Errorf("got %v", r.Differences)
	}
}

func TestASourceThatChangesMeanwhileIsCaught(t *testing.T) {
	t.Parallel()
	inner := memory(t, map[string]string{"changed": "before", "touched": "same", "gone": "x", "kept": "y"})
	from := &spy{Store: inner, beforeList: func(n int64) error {
		if n == 3 { // that of the verification
			put(t, inner, "changed", "after!", object.Attrs{})
			put(t, inner, "touched", "same", object.Attrs{})
			put(t, inner, "new", "z", object.Attrs{})
			return inner.Delete(t.Context(), "gone", object.DeleteOptions{})
		}
		return nil
	}}
	r, err := Run(t.Context(), Config{From: from, To: new(objecttest.Memory)})
	must(t, err)
	want := map[string]Kind{"changed": Changed, "gone": Extra, "new": Missing}
	if !maps.Equal(kinds(r), want) || r.Verified != 2 {
		t.Errorf("got %v, %+v", r.Differences, r.Progress)
	}
}

func TestAnObjectDeletedBeforeItsTurnIsNoDifference(t *testing.T) {
	t.Parallel()
	inner := memory(t, map[string]string{"a": "1", "b": "2"})
	from := &spy{Store: inner, beforeGet: func(_ int64, key object.Key) error {
		if key == "a" {
			return inner.Delete(t.Context(), "a", object.DeleteOptions{})
		}
		return nil
	}}
	if r := migrateAll(t, Config{From: from, To: new(objecttest.Memory)}); r.Copied != 1 || r.Verified != 1 {
		t.Errorf("got %+v", r.Progress)
	}
}

func TestWhatTheDestinationCannotHoldDoesNotStopTheRest(t *testing.T) {
	t.Parallel()
	from := memory(t, map[string]string{"bad": "1", "broken": "2", "fine": "3", "large": "4"})
	to := &spy{Store: new(objecttest.Memory), beforePut: func(_ int64, key object.Key) error {
		return map[object.Key]error{"bad": object.ErrInvalidKey, "large": object.ErrTooLarge, "broken": errBroken}[key]
	}}
	r, err := Run(t.Context(), Config{From: from, To: to})
	must(t, err)
	want := map[string]Kind{"bad": Refused, "large": Refused, "broken": Failed}
	if !maps.Equal(kinds(r), want) || r.Verified != 1 || r.Progress.Differences != 3 || to.puts.Load() != 4 {
		t.Errorf("got %v, %+v, %d puts", r.Differences, r.Progress, to.puts.Load())
	}
}

func TestADryRunWritesNothing(t *testing.T) {
	t.Parallel()
	from := memory(t, map[string]string{"a": "1", "b": "22", "c": "333", "d": "4444"})
	to := &spy{Store: memory(t, map[string]string{"b": "xx", "c": "x", "e": "x"})}
	before := contents(t, to.Store)
	journal := filepath.Join(t.TempDir(), "journal")
	r, err := Run(t.Context(), Config{From: from, To: to, DryRun: true, Journal: journal})
	must(t, err)
	if r.Copied != 2 || r.CopiedBytes != 5 || r.Skipped != 1 || !maps.Equal(kinds(r), map[string]Kind{"c": Different, "e": Extra}) {
		t.Errorf("got %+v, %v", r.Progress, r.Differences)
	}
	if !maps.Equal(contents(t, to.Store), before) || to.puts.Load()+to.gets.Load() != 0 {
		t.Error("the destination was touched")
	}
	if found, _ := filepath.Glob(journal); found != nil {
		t.Error("a journal was made")
	}
}

func TestNamesThatAreNoKeysAreDifferences(t *testing.T) {
	t.Parallel()
	names := func(last string) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			_ = yield("a\\b", object.ErrInvalidKey) && yield(last, errBroken)
		}
	}
	r, err := Run(t.Context(), Config{From: new(objecttest.Memory), To: new(objecttest.Memory), Unlisted: names("l")})
	must(t, err)
	if r.Counts[Unnamed] != 2 || r.Identical(true) {
		t.Errorf("got %v", r.Differences)
	}
	_, err = Run(t.Context(), Config{From: new(objecttest.Memory), To: new(objecttest.Memory), Unlisted: names("")})
	if !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

func TestDifferencesBeyondTheBoundAreCounted(t *testing.T) {
	t.Parallel()
	to := new(objecttest.Memory)
	const n = MaxDifferences + 5
	for i := range n {
		put(t, to, "k"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+"/"+itoa(i), "", object.Attrs{})
	}
	r, err := Run(t.Context(), Config{From: new(objecttest.Memory), To: to})
	must(t, err)
	if len(r.Differences) != MaxDifferences || r.Counts[Extra] != n || r.Progress.Differences != n {
		t.Errorf("got %d differences, %v", len(r.Differences), r.Counts)
	}
}
