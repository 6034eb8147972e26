package origin_test

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
	"golang.org/x/sys/unix"
)

func TestOpenLocalSaysWhatIsWrong(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, dir string) string{
		"not a directory": func(t *testing.T, dir string) string {
			outside(t, dir+"/file", "x")
			return dir + "/file"
		},
		".micelio is a file": func(t *testing.T, dir string) string {
			outside(t, dir+"/.micelio", "x")
			return dir
		},
		".micelio is a link": func(t *testing.T, dir string) string {
			must(t, os.Symlink(t.TempDir(), dir+"/.micelio"))
			return dir
		},
		"read-only": func(t *testing.T, dir string) string {
			mountTmpfs(t, dir, unix.MS_RDONLY, "")
			return dir
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := prepare(t, t.TempDir())
			l, err := origin.OpenLocal(dir)
			if err == nil {
				l.Close()
				t.Fatal("it opened")
			}
			if !strings.Contains(err.Error(), dir) {
				t.Errorf("the error does not name %s: %v", dir, err)
			}
		})
	}
}

func TestAClosedLocalIsUnavailable(t *testing.T) {
	l := openLocal(t, t.TempDir())
	put(t, l, "k", "body", object.PutOptions{})
	must(t, l.Close())
	must(t, l.Close())
	_, err := l.Get(t.Context(), "k", object.GetOptions{})
	wantErr(t, err, object.ErrUnavailable)
	_, err = l.Put(t.Context(), "k", object.BytesSource(nil), object.PutOptions{})
	wantErr(t, err, object.ErrUnavailable)
	wantErr(t, l.Delete(t.Context(), "k", object.DeleteOptions{}), object.ErrUnavailable)
	for _, err := range l.List(t.Context(), object.ListOptions{}) {
		wantErr(t, err, object.ErrUnavailable)
	}
}

func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	const nobody = 65534
	runtime.LockOSThread() // the file system's user belongs to the thread
	defer runtime.UnlockOSThread()
	must(t, unix.Setfsuid(nobody))
	defer unix.Setfsuid(0)
	f()
}

func TestWhatCannotBeReadIsUnavailableNotMissing(t *testing.T) {
	dir := t.TempDir()
	l := openLocal(t, dir)
	put(t, l, "file", "x", object.PutOptions{})
	put(t, l, "dir/file", "x", object.PutOptions{})
	must(t, os.Chmod(dir+"/file", 0))
	must(t, os.Chmod(dir+"/dir", 0))
	defer os.Chmod(dir+"/dir", 0o755)
	ctx := t.Context()
	asNobody(t, func() {
		for _, key := range []object.Key{"file", "dir/file", "dir/missing"} {
			_, err := l.Head(ctx, key, object.HeadOptions{})
			wantErr(t, err, object.ErrUnavailable)
			_, err = l.Get(ctx, key, object.GetOptions{})
			wantErr(t, err, object.ErrUnavailable)
			_, err = l.Put(ctx, key, object.BytesSource(nil), object.PutOptions{IfMatch: object.MatchETag("x")})
			wantErr(t, err, object.ErrUnavailable)
			wantErr(t, l.Delete(ctx, key, object.DeleteOptions{}), object.ErrUnavailable)
		}
		var last error
		for _, err := range l.List(ctx, object.ListOptions{Prefix: "dir/"}) {
			last = err
		}
		wantErr(t, last, object.ErrUnavailable)
	})
	wantBody(t, l, "file", "x")
}

func mountTmpfs(t *testing.T, dir string, flags uintptr, data string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, data); err != nil {
		t.Skipf("no tmpfs here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err) // EBUSY: somebody still has a file open
		}
	})
}

func TestAFullDiskIsUnavailableAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	mountTmpfs(t, dir, 0, "size=1m,nr_inodes=100")
	l := openLocal(t, dir)
	put(t, l, "kept", "kept", object.PutOptions{Attrs: object.Attrs{ContentType: "text/plain"}})
	full := object.BytesSource(make([]byte, 4<<20))
	for _, key := range []object.Key{"kept", "new/dir/object", "kept/below"} {
		_, err := l.Put(t.Context(), key, full, object.PutOptions{})
		wantErr(t, err, object.ErrUnavailable)
		wantErr(t, err, unix.ENOSPC)
	}
	wantNothingLeft(t, dir)
	if info := wantBody(t, l, "kept", "kept"); info.ContentType != "text/plain" {
		t.Errorf("content type %q", info.ContentType)
	}

	var err error
	stored := 0
	for ; err == nil && stored < 100; stored++ { // until there is no inode left, at whatever step that is
		_, err = l.Put(t.Context(), object.Key(strings.Repeat("d/", stored%7)+"o"+strings.Repeat("o", stored)), object.BytesSource([]byte("x")), object.PutOptions{})
	}
	wantErr(t, err, object.ErrUnavailable)
	wantNothingLeft(t, dir)
	if got := len(names(t, l, object.ListOptions{})); got != stored { // with "kept", without the last
		t.Errorf("%d objects, %d were stored", got, stored)
	}
	wantNoEmptyDirs(t, dir)

	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	_, err = l.Put(t.Context(), "kept", object.BytesSource(nil), object.PutOptions{})
	wantErr(t, err, object.ErrUnavailable)
	wantErr(t, l.Delete(t.Context(), "kept", object.DeleteOptions{}), object.ErrUnavailable)
	wantBody(t, l, "kept", "kept")
}

// A folder that is removed under a running process has no names in it. That is
// no answer: to a forge a false "not found" is data loss.
func TestAnOriginThatIsGoneIsUnavailableNotEmpty(t *testing.T) {
	dir := t.TempDir() + "/origin"
	l := openLocal(t, dir)
	put(t, l, "a/b", "x", object.PutOptions{})
	must(t, os.RemoveAll(dir))
	for _, key := range []object.Key{"a/b", "never"} {
		_, err := l.Get(t.Context(), key, object.GetOptions{})
		wantErr(t, err, object.ErrUnavailable)
		_, err = l.Head(t.Context(), key, object.HeadOptions{})
		wantErr(t, err, object.ErrUnavailable)
		_, err = l.Put(t.Context(), key, object.BytesSource(nil), object.PutOptions{IfMatch: object.MatchAny()})
		wantErr(t, err, object.ErrUnavailable)
		wantErr(t, l.Delete(t.Context(), key, object.DeleteOptions{}), object.ErrUnavailable)
	}
	var last error
	for _, err := range l.List(t.Context(), object.ListOptions{}) {
		last = err
	}
	wantErr(t, last, object.ErrUnavailable)
}
