package origin_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/micelio/micelio/object"
)

func TestAnObjectIsAPlainFile(t *testing.T) {
	dir := t.TempDir()
	l := openLocal(t, dir)
	put(t, l, "sessions/1/files/main.ex", "IO.puts 1", object.PutOptions{})
	got, err := os.ReadFile(dir + "/sessions/1/files/main.ex")
	if err != nil || string(got) != "IO.puts 1" {
		t.Errorf("the file has %q, %v", got, err)
	}
	fi, err := os.Stat(dir + "/sessions/1/files/main.ex")
	if err != nil || fi.Mode().Perm()&0o444 == 0 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	wantNothingLeft(t, dir)

	must(t, l.Delete(t.Context(), "sessions/1/files/main.ex", object.DeleteOptions{}))
	if _, err := os.Stat(dir + "/sessions"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty directories stay: %v", err)
	}
	if left := files(t, dir, ".micelio/meta"); len(left) != 0 {
		t.Errorf("records of nothing: %q", left)
	}
}

// A file may be written twice within one tick of the clock, so what is learnt
// about a fresh one must not be kept.
// asNobody runs f with the file permissions of another user.
func TestAttributesMustFitARecord(t *testing.T) {
	l := openLocal(t, t.TempDir())
	src := object.ReaderSource(strings.NewReader("x"), 1)
	_, err := l.Put(t.Context(), "k", src, object.PutOptions{Attrs: object.Attrs{CacheControl: strings.Repeat("c", 1<<20)}})
	wantErr(t, err, object.ErrTooLarge)
	odd := object.Attrs{ContentType: "\xff\x00 not UTF-8", CacheControl: strings.Repeat("c", 50_000), User: map[string]string{"": "empty", "n\xfe": ""}}
	put(t, l, "k", "x", object.PutOptions{Attrs: odd})
	if diff := cmp.Diff(odd, wantBody(t, l, "k", "x").Attrs); diff != "" {
		t.Error(diff)
	}
}

// An opened source of a Put that fails early would be a body received in vain.
func TestAWriteThatCannotSucceedReadsNothing(t *testing.T) {
	l := openLocal(t, t.TempDir())
	put(t, l, "k", "body", object.PutOptions{})
	for key, opt := range map[object.Key]object.PutOptions{
		"k":       {IfNoneMatch: object.MatchAny()},
		"missing": {IfMatch: object.MatchAny()},
	} {
		src := object.ReaderSource(strings.NewReader("x"), 1)
		if _, err := l.Put(t.Context(), key, src, opt); err == nil {
			t.Errorf("%q was written", key)
		}
		if _, err := src.Open(); err != nil {
			t.Errorf("%q: the source was opened", key)
		}
	}
}

// The bytes and what is said about them switch together, also for readers that
// meet an overwrite or a delete at its worst moment.
func TestAReaderSeesTheBytesAndAttributesOfOneWrite(t *testing.T) {
	l := openLocal(t, t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for ctx.Err() == nil {
				obj, err := l.Get(t.Context(), "k", object.GetOptions{})
				if errors.Is(err, object.ErrNotFound) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(obj.Body)
				obj.Body.Close()
				if err != nil || string(body) != obj.ContentType || obj.Version != obj.ContentType {
					t.Errorf("%q of type %q, version %q, %v", body, obj.ContentType, obj.Version, err)
				}
			}
		})
	}
	for i := range 100 {
		write := strconv.Itoa(i)
		put(t, l, "k", write, object.PutOptions{Version: write, Attrs: object.Attrs{ContentType: write}})
		if i%10 == 9 {
			must(t, l.Delete(t.Context(), "k", object.DeleteOptions{}))
		}
	}
	stop()
	readers.Wait()
}

func TestAnOddObjectThatBecomesPlainIsNeverMissing(t *testing.T) {
	dir := t.TempDir()
	l := openLocal(t, dir)
	for i := range 15 {
		key := object.Key("x" + strconv.Itoa(i))
		put(t, l, key+"/below", "below", object.PutOptions{})
		put(t, l, key, "odd", object.PutOptions{})
		ctx, stop := context.WithCancel(t.Context())
		var readers sync.WaitGroup
		readers.Go(func() {
			for ctx.Err() == nil {
				if _, err := l.Head(t.Context(), key, object.HeadOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
		readers.Go(func() {
			for ctx.Err() == nil {
				seen := 0
				for e, err := range l.List(t.Context(), object.ListOptions{Prefix: string(key)}) {
					if err != nil {
						t.Error(err)
					}
					if e.Key == key {
						seen++
					}
				}
				if seen != 1 {
					t.Errorf("%q is listed %d times", key, seen)
				}
			}
		})
		must(t, l.Delete(t.Context(), key+"/below", object.DeleteOptions{}))
		put(t, l, key, "plain", object.PutOptions{})
		put(t, l, key+"/below", "odd now", object.PutOptions{})
		stop()
		readers.Wait()
		if got, err := os.ReadFile(dir + "/" + string(key)); err != nil || string(got) != "plain" {
			t.Errorf("the plain file has %q, %v", got, err)
		}
		must(t, l.Delete(t.Context(), key, object.DeleteOptions{}))
		wantBody(t, l, key+"/below", "odd now")
		must(t, l.Delete(t.Context(), key+"/below", object.DeleteOptions{}))
	}
}

func TestReadersOfACopiedFileAgree(t *testing.T) {
	dir := t.TempDir()
	l := openLocal(t, dir)
	outside(t, dir+"/copied", strings.Repeat("x", 8<<20))
	var all sync.WaitGroup
	versions := make([]string, 8)
	for i := range versions {
		all.Go(func() {
			info, err := l.Head(t.Context(), "copied", object.HeadOptions{})
			if err != nil {
				t.Error(err)
			}
			versions[i] = info.Version
		})
	}
	all.Wait()
	if versions = slices.Compact(versions); len(versions) != 1 || versions[0] == "" {
		t.Errorf("versions %q of one file", versions)
	}
	if kept := files(t, dir, ".micelio/meta"); len(kept) != 1 {
		t.Errorf("%d records", len(kept))
	}
}
