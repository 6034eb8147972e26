package origin_test

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
)

const immutableKey = object.Key("derivations/sha256:abc")

// verifiedKey is the key that body must be put under.
func verifiedKey(body string) object.Key {
	return object.Key("artifacts/sha256:" + object.Digest(sha256.Sum256([]byte(body))).String())
}

func guarded(t *testing.T) (object.Store, string) {
	t.Helper()
	dir := t.TempDir()
	return origin.Guard(openLocal(t, dir), defaultClasses(t), true), dir
}

func once(body string) object.Source {
	return object.ReaderSource(strings.NewReader(body), int64(len(body)))
}

func TestAVerifiedKeyTakesOnlyItsBytes(t *testing.T) {
	g, dir := guarded(t)
	key := verifiedKey("right")
	_, err := g.Put(t.Context(), key, once("wrong"), object.PutOptions{})
	wantErr(t, err, object.ErrDigest)
	_, err = g.Put(t.Context(), key, once("right"), object.PutOptions{SHA256: sha256.Sum256([]byte("other"))})
	wantErr(t, err, object.ErrDigest)
	wantMissing(t, g, key)
	wantNothingLeft(t, dir)

	first, err := g.Put(t.Context(), key, once("right"), object.PutOptions{})
	must(t, err)
	wantBody(t, g, key, "right")
	again, err := g.Put(t.Context(), key, once("right"), object.PutOptions{})
	if err != nil || again.Version != first.Version || again.ETag != first.ETag {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	for _, wrong := range []string{"wrong", "of another length"} {
		_, err = g.Put(t.Context(), key, once(wrong), object.PutOptions{})
		wantErr(t, err, object.ErrDigest)
	}
	wantBody(t, g, key, "right")
}

func TestTheFirstWriteOfAnImmutableKeyWins(t *testing.T) {
	g, dir := guarded(t)
	first, err := g.Put(t.Context(), immutableKey, once("first"), object.PutOptions{})
	must(t, err)
	sum := md5.Sum([]byte("first"))
	long := strings.Repeat("long", 100_000)
	etag := object.MatchETag(first.ETag)
	other := object.MatchETag("0123")
	for name, c := range map[string]struct {
		src  object.Source
		opt  object.PutOptions
		want error
	}{
		"the same":                    {once("first"), object.PutOptions{}, nil},
		"the same, size unknown":      {object.ReaderSource(strings.NewReader("first"), -1), object.PutOptions{}, nil},
		"the same, with its MD5":      {once("first"), object.PutOptions{MD5: sum[:]}, nil},
		"other bytes":                 {once("other"), object.PutOptions{}, object.ErrConflict},
		"other length":                {once("another"), object.PutOptions{}, object.ErrConflict},
		"other length, unknown":       {object.ReaderSource(strings.NewReader(long), -1), object.PutOptions{}, object.ErrConflict},
		"a wrong MD5":                 {once("first"), object.PutOptions{MD5: make([]byte, md5.Size)}, object.ErrDigest},
		"a wrong SHA256":              {once("first"), object.PutOptions{SHA256: sha256.Sum256([]byte("x"))}, object.ErrDigest},
		"a cut upload":                {object.ReaderSource(strings.NewReader("fir"), 5), object.PutOptions{}, io.ErrUnexpectedEOF},
		"create":                      {once("first"), object.PutOptions{IfNoneMatch: object.MatchAny()}, object.ErrPrecondition},
		"unless it is this":           {once("first"), object.PutOptions{IfNoneMatch: etag}, object.ErrPrecondition},
		"unless it is another":        {once("first"), object.PutOptions{IfNoneMatch: other}, nil},
		"replace by the same":         {once("first"), object.PutOptions{IfMatch: etag}, nil},
		"replace":                     {once("other"), object.PutOptions{IfMatch: etag}, object.ErrConflict},
		"replace what is not current": {once("first"), object.PutOptions{IfMatch: other}, object.ErrPrecondition},
	} {
		info, err := g.Put(t.Context(), immutableKey, c.src, c.opt)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
		}
		if err == nil && (info.Version != first.Version || info.Key != immutableKey || info.SHA256 != first.SHA256) {
			t.Errorf("%s: %+v, want %+v", name, info, first)
		}
		wantBody(t, g, immutableKey, "first")
	}
	wantNothingLeft(t, dir)

	_, err = g.Put(t.Context(), "derivations/sha256:new", once("x"), object.PutOptions{IfMatch: etag})
	wantErr(t, err, object.ErrNotFound)
	wantMissing(t, g, "derivations/sha256:new")

	must(t, g.Delete(t.Context(), immutableKey, object.DeleteOptions{}))
	_, err = g.Put(t.Context(), immutableKey, once("second life"), object.PutOptions{IfNoneMatch: object.MatchAny()})
	must(t, err)
	wantBody(t, g, immutableKey, "second life")
}

func TestMutableKeysPassTheGuard(t *testing.T) {
	g, _ := guarded(t)
	put(t, g, "sessions/1/head", "one", object.PutOptions{})
	put(t, g, "sessions/1/head", "two", object.PutOptions{})
	wantBody(t, g, "sessions/1/head", "two")
}

func TestManyWritersOfAnImmutableKey(t *testing.T) {
	g, _ := guarded(t)
	var won, lost atomic.Int32
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			_, err := g.Put(t.Context(), immutableKey, once(strconv.Itoa(i%3)), object.PutOptions{})
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, object.ErrConflict):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 4 || lost.Load() != 8 {
		t.Errorf("%d agreed and %d did not, want 4 and 8", won.Load(), lost.Load())
	}
}

func TestADamagedVerifiedObjectIsNotServedAndCanBeReplaced(t *testing.T) {
	g, dir := guarded(t)
	body := strings.Repeat("right", 50_000)
	key := verifiedKey(body)
	outside(t, dir+"/"+string(key), strings.Repeat("wrong", 50_000))
	obj, err := g.Get(t.Context(), key, object.GetOptions{})
	must(t, err)
	n, err := io.Copy(io.Discard, obj.Body)
	obj.Body.Close()
	wantErr(t, err, object.ErrDigest)
	if n == obj.Size {
		t.Error("all of it was handed out")
	}
	_, err = g.Put(t.Context(), key, once("wrong again"), object.PutOptions{})
	wantErr(t, err, object.ErrDigest)
	_, err = g.Put(t.Context(), key, once(body), object.PutOptions{IfMatch: object.MatchETag(obj.ETag)})
	wantErr(t, err, object.ErrPrecondition)
	_, err = g.Put(t.Context(), key, once(body), object.PutOptions{})
	must(t, err)
	wantBody(t, g, key, body)
}

func TestAGuardThatDoesNotVerifyReadsPassesThemOn(t *testing.T) {
	dir := t.TempDir()
	g := origin.Guard(openLocal(t, dir), defaultClasses(t), false)
	outside(t, dir+"/"+string(verifiedKey("right")), "wrong")
	wantBody(t, g, verifiedKey("right"), "wrong")
}

// A forgetful store reads uploads before it looks at conditions, knows no
// SHA-256 and stops reading early, as stores across a network do.
type forgetful struct {
	object.Store
	read int64
}

func (f forgetful) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	if _, err := f.Store.Head(ctx, key, object.HeadOptions{}); err == nil && opt.IfNoneMatch.IsAny() {
		r, err := src.Open()
		if err != nil {
			return object.Info{}, err
		}
		io.CopyN(io.Discard, r, f.read)
		r.Close()
		return object.Info{}, object.ErrPrecondition
	}
	return f.Store.Put(ctx, key, src, opt)
}

func (f forgetful) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	info, err := f.Store.Head(ctx, key, opt)
	info.SHA256 = object.Digest{}
	return info, err
}

func TestASourceIsReadOnceWhereverTheStoreStops(t *testing.T) {
	body := strings.Repeat("x", 300_000)
	for _, read := range []int64{0, 1, 299_999, 300_000, 300_001} {
		g := origin.Guard(forgetful{openLocal(t, t.TempDir()), read}, defaultClasses(t), true)
		for _, key := range []object.Key{immutableKey, verifiedKey(body)} {
			_, err := g.Put(t.Context(), key, once(body), object.PutOptions{})
			must(t, err)
			_, err = g.Put(t.Context(), key, once(body), object.PutOptions{})
			must(t, err)
			_, err = g.Put(t.Context(), key, once(body[1:]+"y"), object.PutOptions{})
			if err == nil {
				t.Error("other bytes were taken")
			}
			wantBody(t, g, key, body)
		}
	}
}

// A source closes what it opened exactly once, whatever became of the Put.
func TestAGuardClosesTheSource(t *testing.T) {
	g, _ := guarded(t)
	for range 3 {
		src := &closeCounter{Source: once("body")}
		if _, err := g.Put(t.Context(), immutableKey, src, object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if src.opened != 1 || src.closed != 1 {
			t.Errorf("opened %d and closed %d times", src.opened, src.closed)
		}
	}
}

type closeCounter struct {
	object.Source
	opened, closed int
}

func (c *closeCounter) Open() (io.ReadCloser, error) {
	r, err := c.Source.Open()
	c.opened++
	return countedCloser{r, c}, err
}

type countedCloser struct {
	io.Reader
	c *closeCounter
}

func (r countedCloser) Close() error {
	r.c.closed++
	return nil
}

func TestAGuardRefusesInvalidKeysLikeItsStore(t *testing.T) {
	g, dir := guarded(t)
	for _, key := range []object.Key{"artifacts/sha256:x/../../y", "../cas/x"} {
		_, err := g.Put(t.Context(), key, once("x"), object.PutOptions{})
		wantErr(t, err, object.ErrInvalidKey)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

// A recorder notes what a Store is asked for, and answers that it cannot.
type recorder struct {
	object.Store
	bases []object.ETag
}

func (r *recorder) Put(_ context.Context, _ object.Key, _ object.Source, opt object.PutOptions) (object.Info, error) {
	r.bases = append(r.bases, opt.Base)
	return object.Info{}, object.ErrUnavailable
}

func (r *recorder) Delete(_ context.Context, _ object.Key, opt object.DeleteOptions) error {
	r.bases = append(r.bases, opt.Base)
	return object.ErrUnavailable
}

func TestOnlyMutableKeysHaveABase(t *testing.T) {
	for key, want := range map[object.Key]object.ETag{"mutable": "b", immutableKey: "", verifiedKey("x"): ""} {
		r := &recorder{}
		g := origin.Guard(r, defaultClasses(t), true)
		_, err := g.Put(t.Context(), key, once("x"), object.PutOptions{Base: "b"})
		wantErr(t, err, object.ErrUnavailable)
		wantErr(t, g.Delete(t.Context(), key, object.DeleteOptions{Base: "b"}), object.ErrUnavailable)
		if len(r.bases) != 2 || r.bases[0] != want || r.bases[1] != want {
			t.Errorf("%q: bases %q, want %q", key, r.bases, want)
		}
	}
}
