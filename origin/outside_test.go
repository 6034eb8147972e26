package origin_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/micelio/micelio/object"
	"golang.org/x/sys/unix"
)

func TestATreeThatWasCopiedInIsServed(t *testing.T) {
	dir := t.TempDir()
	tree := map[object.Key]string{
		"sessions/1/files/.env": "A=1", "sessions/1/files/a b.txt": "spaces", "README": "read me", ".hidden/x": "",
		"artifacts/sha256:abc": "colon", "ünïcödé/日本": "日本",
	}
	want := []string{}
	for key, body := range tree {
		outside(t, filepath.Join(dir, string(key)), body)
		want = append(want, string(key))
	}
	must(t, os.MkdirAll(dir+"/empty/dir", 0o755))
	slices.Sort(want)
	l := openLocal(t, dir)
	wantNames(t, l, object.ListOptions{}, want...)
	for key, body := range tree {
		first := wantBody(t, l, key, body)
		if diff := cmp.Diff(object.Attrs{}, first.Attrs); diff != "" {
			t.Errorf("%q has attributes: %s", key, diff)
		}
		if again := wantBody(t, l, key, body); again.Version != first.Version {
			t.Errorf("%q changed its version unchanged", key)
		}
	}
	wantNames(t, l, object.ListOptions{Delimiter: "/"}, ".hidden/", "README", "artifacts/", "sessions/", "ünïcödé/")
}

func TestAChangeFromOutsideIsSeen(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, path string) string{
		"same size in place": func(t *testing.T, path string) string {
			must(t, os.WriteFile(path, []byte("BODY"), 0o644))
			return "BODY"
		},
		"appended": func(t *testing.T, path string) string {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteString(" and more")
			must(t, errors.Join(err, f.Close()))
			return "body and more"
		},
		"truncated": func(t *testing.T, path string) string {
			must(t, os.Truncate(path, 2))
			return "bo"
		},
		"replaced, same size and time": func(t *testing.T, path string) string {
			fi, err := os.Stat(path)
			must(t, err)
			must(t, os.WriteFile(path+".new", []byte("BODY"), 0o644))
			must(t, os.Chtimes(path+".new", fi.ModTime(), fi.ModTime()))
			must(t, os.Rename(path+".new", path))
			return "BODY"
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := openLocal(t, dir)
			before := put(t, l, "a/key", "body", object.PutOptions{Attrs: object.Attrs{ContentType: "text/plain"}})
			body := change(t, dir+"/a/key")
			after := wantBody(t, l, "a/key", body)
			if after.Version == before.Version || after.ContentType != "" {
				t.Errorf("version %q was %q, content type %q", after.Version, before.Version, after.ContentType)
			}
			_, err := l.Put(t.Context(), "a/key", object.BytesSource(nil), object.PutOptions{IfMatch: object.MatchETag(before.ETag)})
			wantErr(t, err, object.ErrPrecondition)
			put(t, l, "a/key", "ours", object.PutOptions{IfMatch: object.MatchETag(after.ETag)})
			wantBody(t, l, "a/key", "ours")
			if records := files(t, dir, ".micelio/meta"); len(records) != 1 {
				t.Errorf("%d records of one object", len(records))
			}
		})
	}
}

func TestAFreshFileIsNotTrusted(t *testing.T) {
	dir := t.TempDir()
	l := openLocal(t, dir)
	now := time.Now()
	write := func(body string) {
		must(t, os.WriteFile(dir+"/fresh", []byte(body), 0o644))
		must(t, os.Chtimes(dir+"/fresh", now, now))
	}
	write("one")
	wantBody(t, l, "fresh", "one")
	write("two")
	wantBody(t, l, "fresh", "two")
	if kept := files(t, dir, ".micelio/meta"); len(kept) != 0 {
		t.Errorf("records %q are kept", kept)
	}
	outside(t, dir+"/fresh", "old")
	wantBody(t, l, "fresh", "old")
	if kept := files(t, dir, ".micelio/meta"); len(kept) != 1 {
		t.Errorf("records %q are kept, want one", kept)
	}
}

func TestABodyThatChangesDoesNotEndCleanly(t *testing.T) {
	const size = 300_000
	for name, change := range map[string]func(path string) error{
		"truncated":   func(path string) error { return os.Truncate(path, size/2) },
		"emptied":     func(path string) error { return os.Truncate(path, 0) },
		"overwritten": func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte("y"), size), 0o644) },
		"grown":       func(path string) error { return os.Truncate(path, 2*size) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := openLocal(t, dir)
			put(t, l, "k", strings.Repeat("x", size), object.PutOptions{})
			obj, err := l.Get(t.Context(), "k", object.GetOptions{})
			must(t, err)
			defer obj.Body.Close()
			_, err = io.ReadFull(obj.Body, make([]byte, size/4))
			must(t, err)
			must(t, change(dir+"/k"))
			n, err := io.Copy(io.Discard, obj.Body)
			wantErr(t, err, io.ErrUnexpectedEOF)
			if n >= size-size/4 {
				t.Errorf("all %d bytes were handed out", n)
			}
		})
	}
	t.Run("deleted and replaced by an object", func(t *testing.T) {
		l := openLocal(t, t.TempDir())
		put(t, l, "k", strings.Repeat("x", size), object.PutOptions{})
		obj, err := l.Get(t.Context(), "k", object.GetOptions{})
		must(t, err)
		defer obj.Body.Close()
		must(t, l.Delete(t.Context(), "k", object.DeleteOptions{}))
		put(t, l, "k", "new", object.PutOptions{})
		if got, err := io.ReadAll(obj.Body); err != nil || string(got) != strings.Repeat("x", size) {
			t.Errorf("%d bytes, %v: a reader keeps its version", len(got), err)
		}
	})
}

func TestLinksAndPipesAreNoObjects(t *testing.T) {
	secret := t.TempDir()
	outside(t, secret+"/file", "secret")
	dir := t.TempDir()
	l := openLocal(t, dir)
	put(t, l, "real/file", "real", object.PutOptions{})
	for name, target := range map[string]string{
		"out": secret + "/file", "outdir": secret, "in": "real/file", "indir": "real", "dangling": "nowhere", "loop": "loop",
		"relative": "../" + filepath.Base(secret) + "/file",
	} {
		must(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	must(t, unix.Mkfifo(dir+"/pipe", 0o644))
	must(t, os.Mkdir(dir+"/only-a-link", 0o755))
	must(t, os.Symlink(secret, dir+"/only-a-link/x"))

	keys := []object.Key{"out", "outdir/file", "in", "indir/file", "indir", "dangling", "loop", "loop/x", "relative", "pipe", "pipe/x"}
	for _, key := range keys {
		wantMissing(t, l, key)
		must(t, l.Delete(t.Context(), key, object.DeleteOptions{}))
	}
	wantNames(t, l, object.ListOptions{}, "real/file")
	wantNames(t, l, object.ListOptions{Delimiter: "/"}, "real/")
	wantNames(t, l, object.ListOptions{Prefix: "outdir/"})
	wantNames(t, l, object.ListOptions{Prefix: "indir/"})

	for _, key := range keys {
		put(t, l, key, "at "+string(key), object.PutOptions{IfNoneMatch: object.MatchAny()})
		wantBody(t, l, key, "at "+string(key))
	}
	wantBody(t, l, "real/file", "real")
	for _, key := range keys {
		must(t, l.Delete(t.Context(), key, object.DeleteOptions{}))
		wantMissing(t, l, key)
	}
	if got, err := os.ReadFile(secret + "/file"); err != nil || string(got) != "secret" {
		t.Errorf("the file outside has %q, %v", got, err)
	}
	if fi, err := os.Lstat(dir + "/pipe"); err != nil || fi.Mode().Type() != fs.ModeNamedPipe {
		t.Errorf("the pipe is %v, %v", fi, err)
	}
}
