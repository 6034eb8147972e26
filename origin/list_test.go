package origin_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/micelio/micelio/object"
)

// listModel is what a listing is of a plain set of keys.
func listModel(keys map[object.Key]bool, opt object.ListOptions) []string {
	seen := map[string]bool{}
	for key := range keys {
		rest, ok := strings.CutPrefix(string(key), opt.Prefix)
		if !ok || string(key) <= opt.After {
			continue
		}
		name := string(key)
		if opt.Delimiter != "" {
			if before, _, found := strings.Cut(rest, opt.Delimiter); found {
				name = opt.Prefix + before + opt.Delimiter
				if name == opt.After {
					continue
				}
			}
		}
		seen[name] = true
	}
	want := []string{}
	for name := range seen {
		want = append(want, name)
	}
	slices.Sort(want)
	if opt.Limit > 0 && len(want) > opt.Limit {
		want = want[:opt.Limit]
	}
	return want
}

// listSegments collide, nest, sort around "/" and cannot all be file names.
var listSegments = []string{"a", "b", "a-", "a.", "ab", "a0", "é", "~", "%2F", ".micelio", strings.Repeat("l", 300)}

func randomKey(r *rand.Rand) object.Key {
	segments := make([]string, 1+r.IntN(4))
	for i := range segments {
		segments[i] = listSegments[min(r.IntN(len(listSegments)), r.IntN(2*len(listSegments)))]
	}
	return object.Key(strings.Join(segments, "/"))
}

// randomName is a key, a part of one, or something near it.
func randomName(r *rand.Rand) string {
	name := string(randomKey(r))
	switch r.IntN(5) {
	case 0:
		return ""
	case 1:
		return name[:r.IntN(len(name)+1)]
	case 2:
		return name + "/"
	case 3:
		return name + "!"
	}
	return name
}

func TestAListingIsThatOfASortedSet(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			dir := t.TempDir()
			l := openLocal(t, dir)
			keys := map[object.Key]bool{}
			for range 90 {
				key := randomKey(r)
				if r.IntN(3) == 0 {
					must(t, l.Delete(t.Context(), key, object.DeleteOptions{}))
					delete(keys, key)
				} else {
					put(t, l, key, string(key), object.PutOptions{})
					keys[key] = true
				}
			}
			addNoise(t, dir)
			for range 150 {
				opt := object.ListOptions{
					Prefix: randomName(r), After: randomName(r), Limit: r.IntN(2) * r.IntN(12),
					Delimiter: []string{"", "/", "/", "-", "a", "a/", "/a", "//"}[r.IntN(8)],
				}
				if r.IntN(2) == 0 {
					opt.After = ""
				}
				if r.IntN(2) == 0 {
					opt.Prefix = ""
				}
				if got, want := names(t, l, opt), listModel(keys, opt); !slices.Equal(got, want) {
					t.Fatalf("List %+v:\n got %q\nwant %q", opt, got, want)
				}
			}
			for key := range keys {
				wantBody(t, l, key, string(key))
				must(t, l.Delete(t.Context(), key, object.DeleteOptions{}))
			}
			wantNames(t, l, object.ListOptions{})
		})
	}
}

// addNoise puts things into a directory that are no objects, where they are not
// in the way of any.
func addNoise(t *testing.T, dir string) {
	t.Helper()
	for _, empty := range []string{"empty/empty", "aa/b/c", ".micelio/odd/a~/b~"} {
		must(t, os.MkdirAll(filepath.Join(dir, empty), 0o755))
	}
	must(t, os.Symlink("/etc", filepath.Join(dir, "etc")))
	must(t, os.Symlink("passwd", filepath.Join(dir, "aa/link")))
	for _, name := range []string{"bad\xff", "new\nline", "back\\slash", ".micelio/odd/%2f", ".micelio/odd/...", ".micelio/odd/zz~x"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644))
	}
	must(t, os.MkdirAll(filepath.Join(dir, "bad\xfe"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "bad\xfe/file"), []byte("x"), 0o644))
}

func TestAListingReadsNoBodies(t *testing.T) {
	dir := t.TempDir()
	l := openLocal(t, dir)
	known := put(t, l, "put", "body", object.PutOptions{Attrs: object.Attrs{ContentType: "text/plain"}})
	outside(t, dir+"/copied", "body")
	found := map[object.Key]object.Info{}
	for e, err := range l.List(t.Context(), object.ListOptions{}) {
		must(t, err)
		found[e.Key] = e.Info
	}
	if got := found["put"]; got.ETag != known.ETag || got.SHA256 != known.SHA256 || got.Version != known.Version || got.Size != 4 {
		t.Errorf("listed as %+v, put as %+v", got, known)
	}
	if got := found["copied"]; got.ETag != "" || got.Size != 4 || got.Modified.IsZero() {
		t.Errorf("listed as %+v", got)
	}
	read := wantBody(t, l, "copied", "body")
	for e, err := range l.List(t.Context(), object.ListOptions{Prefix: "copied"}) {
		if err != nil || e.ETag != read.ETag || e.Version != read.Version {
			t.Errorf("listed as %+v, %v; read as %+v", e.Info, err, read)
		}
	}
}
