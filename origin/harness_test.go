package origin_test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
)

// The helpers say what a test wants of a Store.

func put(t testing.TB, s object.Store, key object.Key, body string, opt object.PutOptions) object.Info {
	t.Helper()
	info, err := s.Put(t.Context(), key, object.BytesSource([]byte(body)), opt)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func wantBody(t testing.TB, s object.Store, key object.Key, want string) object.Info {
	t.Helper()
	obj, err := s.Get(t.Context(), key, object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Body.Close()
	got, err := io.ReadAll(obj.Body)
	if err != nil || string(got) != want {
		t.Fatalf("%q has %.60q, %v; want %.60q", key, got, err, want)
	}
	if sum := md5.Sum(got); string(obj.ETag) != hex.EncodeToString(sum[:]) {
		t.Errorf("%q has ETag %q, its bytes have MD5 %x", key, obj.ETag, sum)
	}
	if obj.SHA256 != sha256.Sum256(got) {
		t.Errorf("%q has SHA256 %v, not that of its bytes", key, obj.SHA256)
	}
	if obj.Tier != object.TierOrigin || obj.Version == "" {
		t.Errorf("%q: tier %q, version %q", key, obj.Tier, obj.Version)
	}
	return obj.Info
}

func wantErr(t testing.TB, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("error %v, want %v", got, want)
	}
}

func wantMissing(t testing.TB, s object.Store, key object.Key) {
	t.Helper()
	_, err := s.Head(t.Context(), key, object.HeadOptions{})
	wantErr(t, err, object.ErrNotFound)
}

func names(t testing.TB, s object.Store, opt object.ListOptions) []string {
	t.Helper()
	got := []string{}
	for e, err := range s.List(t.Context(), opt) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Name())
	}
	return got
}

func wantNames(t testing.TB, s object.Store, opt object.ListOptions, want ...string) {
	t.Helper()
	if got := names(t, s, opt); !slices.Equal(got, want) {
		t.Errorf("List %+v is %q, want %q", opt, got, want)
	}
}

// files returns the paths of all files under dir/sub.
func files(t testing.TB, dir, sub string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(filepath.Join(dir, sub), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			found = append(found, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func wantNothingLeft(t testing.TB, dir string) {
	t.Helper()
	if left := files(t, dir, ".micelio/tmp"); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func wantNoEmptyDirs(t testing.TB, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		if path == filepath.Join(dir, ".micelio") {
			return fs.SkipDir
		}
		if inside, err := os.ReadDir(path); err != nil || len(inside) == 0 {
			t.Errorf("empty directory %s, %v", path, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// outside writes a file as another program would, with a time in the past that
// can be trusted.
func outside(t testing.TB, path, body string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(body), 0o644))
	old := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(path, old, old))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
