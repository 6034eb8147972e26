package origin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"golang.org/x/sys/unix"
)

// These tests stop a write between two of its steps, as a crash would, and look
// at what the next process finds.

func open(t testing.TB, dir string) *Local {
	t.Helper()
	l, err := OpenLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func typed(s string) object.PutOptions {
	return object.PutOptions{Attrs: object.Attrs{ContentType: s}}
}

func store(t testing.TB, l *Local, key object.Key, body string, opt object.PutOptions) object.Info {
	t.Helper()
	info, err := l.Put(t.Context(), key, object.BytesSource([]byte(body)), opt)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func want(t testing.TB, l *Local, key object.Key, body, contentType string) {
	t.Helper()
	obj, err := l.Get(t.Context(), key, object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Body.Close()
	got, err := io.ReadAll(obj.Body)
	if err != nil || string(got) != body || obj.ContentType != contentType {
		t.Errorf("%q has %q of type %q, %v; want %q of type %q", key, got, obj.ContentType, err, body, contentType)
	}
}

func missing(t testing.TB, l *Local, key object.Key) {
	t.Helper()
	if _, err := l.Head(t.Context(), key, object.HeadOptions{}); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("%q: %v, want not found", key, err)
	}
}

func TestACrashBetweenTheStepsOfAPut(t *testing.T) {
	steps := map[string]func(t *testing.T, l *Local, u *upload){
		"received": func(*testing.T, *Local, *upload) {},
		"record placed": func(t *testing.T, l *Local, u *upload) {
			slot, err := l.freeSlot(u.key)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.placeRecord(u.meta, u.key, slot, true); err != nil {
				t.Fatal(err)
			}
		},
		"directories made": func(t *testing.T, _ *Local, u *upload) {
			if _, err := u.choosePlace(); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, crash := range steps {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, key := range []object.Key{"old", "new/in/dir"} {
				l := open(t, dir)
				store(t, l, "old", "old body", typed("text/old"))
				u, err := l.receive(t.Context(), key, object.BytesSource([]byte("new body")), typed("text/new"))
				if err != nil {
					t.Fatal(err)
				}
				crash(t, l, u)
				l.Close()

				l = open(t, dir)
				want(t, l, "old", "old body", "text/old")
				missing(t, l, "new/in/dir")
				for e, err := range l.List(t.Context(), object.ListOptions{Delimiter: "/"}) {
					if err != nil || e.Name() != "old" {
						t.Errorf("listed %q, %v", e.Name(), err)
					}
				}
				store(t, l, key, "newer body", typed("text/newer"))
				want(t, l, key, "newer body", "text/newer")
				l.Close()
				if err := os.RemoveAll(filepath.Join(dir, "new")); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestACrashAfterTheLinkOfACreate(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	u, err := l.receive(t.Context(), "k", object.BytesSource([]byte("body")), typed("text/plain"))
	if err != nil {
		t.Fatal(err)
	}
	if err := u.publish(true); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * staleAfter)
	tmp := filepath.Join(dir, u.file) // still linked: discard was never reached
	if _, err := os.Lstat(tmp); err != nil {
		t.Fatal(err)
	}
	want(t, l, "k", "body", "text/plain")
	if err := os.Chtimes(tmp, old, old); err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = open(t, dir)
	if _, err := os.Lstat(tmp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was not swept: %v", err)
	}
	want(t, l, "k", "body", "") // the time is part of the identity
}

func TestOnlyWhatIsOldIsSwept(t *testing.T) {
	dir := t.TempDir()
	open(t, dir).Close()
	for name, age := range map[string]time.Duration{"old": staleAfter + time.Minute, "receiving": staleAfter / 2} {
		path := filepath.Join(dir, tmpDir, name)
		at := time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	open(t, dir)
	left, err := filepath.Glob(filepath.Join(dir, tmpDir, "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "receiving" {
		t.Errorf("left: %q, %v", left, err)
	}
}

// A crash may leave the odd file of an object that has become plain.
func TestAnOddTwinStaysCoveredAndNeverComesBack(t *testing.T) {
	dir := t.TempDir()
	twin := filepath.Join(dir, oddPlace("a").path)
	l := open(t, dir)
	store(t, l, "a/b", "b", object.PutOptions{})
	store(t, l, "a", "odd", object.PutOptions{})
	if _, err := os.Stat(twin); err != nil {
		t.Fatal(err)
	}
	if err := l.Delete(t.Context(), "a/b", object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	want(t, l, "a", "odd", "")
	store(t, l, "a", "plain", object.PutOptions{})
	if _, err := os.Stat(twin); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the twin stays: %v", err)
	}

	if err := os.WriteFile(twin, []byte("odd"), 0o644); err != nil {
		t.Fatal(err)
	}
	want(t, l, "a", "plain", "")
	listed := 0
	for e := range l.List(t.Context(), object.ListOptions{}) {
		if listed++; e.Size != int64(len("plain")) {
			t.Errorf("listed with %d bytes", e.Size)
		}
	}
	if listed != 1 {
		t.Errorf("listed %d times", listed)
	}
	if err := l.Delete(t.Context(), "a", object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	missing(t, l, "a")
}

func TestADamagedRecordIsRecomputed(t *testing.T) {
	l := open(t, t.TempDir())
	info := store(t, l, "k", "body", typed("text/plain"))
	var path string
	for slot := range slots {
		if p := filepath.Join(l.root.Name(), recordPath("k", slot)); exists(p) {
			path = p
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damage := map[string][]byte{"empty": nil, "zeros": make([]byte, len(whole)), "doubled": append(whole[:len(whole):len(whole)], whole...), "huge": make([]byte, 4*maxRecord)}
	for i := range whole {
		damage["cut "+string(rune('0'+i))] = whole[:i]
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0x10
		damage["flip "+string(rune('0'+i))] = flipped
	}
	for name, b := range damage {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := l.Head(t.Context(), "k", object.HeadOptions{})
		if err != nil || got.ETag != info.ETag || got.SHA256 != info.SHA256 || got.ContentType != "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	// Another key's record is no record either, even if it sits in this slot.
	other, _, err := decodeRecord(whole)
	if err != nil || other != "k" {
		t.Fatal(other, err)
	}
	_, r, _ := decodeRecord(whole)
	if err := os.WriteFile(path, r.encode("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	want(t, l, "k", "body", "")
}

// A record that has nothing but a version is not synced: a loss of power takes
// it, and then the object has another version.
func TestAVersionThatIsLostIsReplaced(t *testing.T) {
	l := open(t, t.TempDir())
	info := store(t, l, "k", "body", object.PutOptions{Version: "mine"})
	for slot := range slots {
		l.dropRecord("k", slot)
	}
	want(t, l, "k", "body", "")
	one, err := l.Head(t.Context(), "k", object.HeadOptions{})
	if err != nil || one.ETag != info.ETag || one.Version == "mine" || one.Version == "" {
		t.Errorf("%+v, %v", one, err)
	}
	if two, err := l.Head(t.Context(), "k", object.HeadOptions{}); err != nil || two.Version != one.Version {
		t.Errorf("asked again: %+v, %v", two, err)
	}
	store(t, l, "k", "next", object.PutOptions{IfMatch: object.MatchETag(one.ETag)})
	want(t, l, "k", "next", "")
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// What cannot be read at the moment must not be taken for missing: the
// attributes would be forgotten for ever.
func TestARecordThatCannotBeReadMakesTheObjectUnavailable(t *testing.T) {
	l := open(t, t.TempDir())
	store(t, l, "k", "body", typed("text/plain"))
	path := filepath.Join(l.root.Name(), recordPath("k", 0))
	if err := errors.Join(os.Rename(path, path+".kept"), os.Mkdir(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Head(t.Context(), "k", object.HeadOptions{}); !errors.Is(err, object.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	if _, err := l.Put(t.Context(), "k", object.BytesSource(nil), object.PutOptions{}); !errors.Is(err, object.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	if err := errors.Join(os.Remove(path), os.Rename(path+".kept", path)); err != nil {
		t.Fatal(err)
	}
	want(t, l, "k", "body", "text/plain")
}

func TestAWriterGivesUpWaitingForAnotherProcess(t *testing.T) {
	l := open(t, t.TempDir())
	store(t, l, "k", "body", object.PutOptions{})
	// Another open file is what another process has.
	f, err := os.Open(filepath.Join(l.root.Name(), lockDir, lockName(stripeOf("k"))))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	// The source ends the context as soon as it is read to its end.
	src := object.ReaderSource(io.MultiReader(strings.NewReader("x"), cancelReader{cancel}), -1)
	if _, err := l.Put(ctx, "k", src, object.PutOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	want(t, l, "k", "body", "") // readers do not wait
	f.Close()
	store(t, l, "k", "next", object.PutOptions{})
	want(t, l, "k", "next", "")
}

type cancelReader struct{ cancel func() }

func (r cancelReader) Read([]byte) (int, error) {
	r.cancel()
	return 0, io.EOF
}
