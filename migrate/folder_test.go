package migrate

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

// tree makes files, whose names may be anything, and returns their folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		full := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(full), 0o755))
		must(t, os.WriteFile(full, []byte(body), 0o644))
	}
	return dir
}

func openFolder(t *testing.T, dir string) *Folder {
	t.Helper()
	f, err := OpenFolder(dir)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// names returns what a listing yields.
func names(t *testing.T, s object.Store, opt object.ListOptions) (all []string) {
	t.Helper()
	for e, err := range s.List(t.Context(), opt) {
		must(t, err)
		all = append(all, e.Name())
	}
	return all
}

func TestAFolderListsAsAnOriginDoes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		dir := t.TempDir()
		local := openLocal(t, dir)
		m := new(objecttest.Memory)
		randomTree(t, m, seed, 60)
		for key := range contents(t, m) { // an "a" beside "a/b" would be hidden in .micelio
			full := filepath.Join(dir, string(key))
			if os.MkdirAll(filepath.Dir(full), 0o755) == nil {
				_ = os.WriteFile(full, nil, 0o644)
			}
		}
		f := openFolder(t, dir)
		for _, prefix := range []string{"", "a", "a/", "a b/", "files/z", "none/"} {
			for _, after := range []string{"", "a/b", "a.b", "files/", "zzz"} {
				for _, delimiter := range []string{"", "/"} {
					for _, limit := range []int{0, 3} {
						opt := object.ListOptions{Prefix: prefix, After: after, Delimiter: delimiter, Limit: limit}
						if got, want := names(t, f, opt), names(t, local, opt); !slices.Equal(got, want) {
							t.Errorf("%+v: got %q, want %q", opt, got, want)
						}
					}
				}
			}
		}
	}
}

func TestAFolderIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"sessions/1/metadata.json": "{}", "sessions/1/files/a": strings.Repeat("x", 300_000), "empty": ""})
	look := func() (all []string) {
		must(t, filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			must(t, err)
			info, err := e.Info()
			must(t, err)
			all = append(all, name+info.Mode().String()+info.ModTime().String())
			return nil
		}))
		return all
	}
	before := look()
	f, to := openFolder(t, dir), new(objecttest.Memory)
	migrateAll(t, Config{From: f, To: to, Unlisted: Unkept(dir, "")})
	wantSame(t, to, f)
	if _, err := f.Put(t.Context(), "k", object.BytesSource(nil), object.PutOptions{}); err == nil {
		t.Error("it was written to")
	}
	if err := f.Delete(t.Context(), "empty", object.DeleteOptions{}); err == nil {
		t.Error("an object was deleted")
	}
	if after := look(); !slices.Equal(after, before) {
		t.Errorf("got %q, want %q", after, before)
	}
}

func TestAFolderAnswersReads(t *testing.T) {
	t.Parallel()
	f := openFolder(t, tree(t, map[string]string{"a/b": "0123456789"}))
	info, err := f.Head(t.Context(), "a/b", object.HeadOptions{})
	must(t, err)
	obj, err := f.Get(t.Context(), "a/b", object.GetOptions{Range: object.Bytes(2, 3), IfMatch: object.MatchETag(info.ETag)})
	must(t, err)
	defer obj.Body.Close()
	if body, err := io.ReadAll(obj.Body); err != nil || string(body) != "234" || obj.Size != 10 {
		t.Errorf("got %q, %v, %+v", body, err, obj.Info)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		ctx  context.Context
		key  object.Key
		opt  object.GetOptions
		want error
	}{
		{t.Context(), "a", object.GetOptions{}, object.ErrNotFound},
		{t.Context(), "x", object.GetOptions{}, object.ErrNotFound},
		{t.Context(), "a/b/c", object.GetOptions{}, object.ErrNotFound},
		{t.Context(), "../a", object.GetOptions{}, object.ErrInvalidKey},
		{t.Context(), "a/b", object.GetOptions{IfMatch: object.MatchETag("other")}, object.ErrPrecondition},
		{t.Context(), "a/b", object.GetOptions{IfNoneMatch: object.MatchAny()}, object.ErrNotModified},
		{t.Context(), "a/b", object.GetOptions{Range: object.From(10)}, object.ErrRange},
		{canceled, "a/b", object.GetOptions{}, context.Canceled},
	} {
		if _, err := f.Get(tt.ctx, tt.key, tt.opt); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.key, err, tt.want)
		}
	}
}

func TestAFolderThatIsGoneIsNotEmpty(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	must(t, os.Mkdir(dir, 0o755))
	if _, err := OpenFolder(dir + "/missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	f := openFolder(t, dir)
	must(t, f.Close())
	if _, err := f.Head(t.Context(), "k", object.HeadOptions{}); !errors.Is(err, object.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	for _, err := range f.List(t.Context(), object.ListOptions{}) {
		if !errors.Is(err, object.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	}
}

func TestAFileThatChangesWhileItIsReadIsNotTakenForWhole(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, path string){
		"shorter": func(t *testing.T, path string) { must(t, os.Truncate(path, 5)) },
		"longer":  func(t *testing.T, path string) { must(t, os.WriteFile(path, make([]byte, 20), 0o644)) },
		"touched": func(t *testing.T, path string) { must(t, os.Chtimes(path, time.Time{}, time.Unix(1, 0))) },
	} {
		dir := tree(t, map[string]string{"k": "0123456789"})
		obj, err := openFolder(t, dir).Get(t.Context(), "k", object.GetOptions{})
		must(t, err)
		change(t, filepath.Join(dir, "k"))
		if body, err := io.ReadAll(obj.Body); !errors.Is(err, io.ErrUnexpectedEOF) || len(body) == 10 {
			t.Errorf("%s: got %q, %v", name, body, err)
		}
		must(t, obj.Body.Close())
	}
}

func TestWhatIsNoObjectIsNamedAndNotFollowed(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		"fine": "1", "back\\slash": "2", "new\nline/x": "3", "new\nline/y": "4", "bad\xff": "5", "p/ok": "6", "p/b\\": "7",
		".micelio/meta/x\\y": "own", "p/.micelio/kept": "8",
	})
	must(t, os.Symlink(dir, filepath.Join(dir, "link")))
	must(t, os.Symlink("fine", filepath.Join(dir, "p/link")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644))
	found := func(prefix string) map[string]bool {
		all := map[string]bool{}
		for name, err := range Unkept(dir, prefix) {
			if name == "" || err == nil {
				t.Fatalf("got %q, %v", name, err)
			}
			all[name] = true
		}
		return all
	}
	want := map[string]bool{"back\\slash": true, "new\nline": true, "bad\xff": true, "p/b\\": true, "link": true, "p/link": true, "pipe": true}
	if got := found(""); !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if got := found("p/"); !maps.Equal(got, map[string]bool{"p/b\\": true, "p/link": true}) {
		t.Errorf("got %v", got)
	}
	f := openFolder(t, dir)
	if got := names(t, f, object.ListOptions{}); !slices.Equal(got, []string{"fine", "p/.micelio/kept", "p/ok"}) {
		t.Errorf("got %q", got)
	}
	for _, key := range []object.Key{"p/link", "pipe", "link"} {
		if _, err := f.Get(t.Context(), key, object.GetOptions{}); !errors.Is(err, object.ErrNotFound) {
			t.Errorf("%s: got %v", key, err)
		}
	}
	for name, err := range Unkept(dir+"/missing", "") {
		if name != "" || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %q, %v", name, err)
		}
	}
}
