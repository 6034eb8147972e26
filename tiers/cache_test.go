package tiers_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/tiers"
)

// An authority is a memory Store that counts its reads and can be made to
// stall, break or lie.
type authority struct {
	objecttest.Memory
	gets, heads atomic.Int32
	down        atomic.Bool
	body        atomic.Pointer[func(*object.Object) io.ReadCloser] // wraps the next bodies
}

func (a *authority) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	a.gets.Add(1)
	if a.down.Load() {
		return nil, object.ErrUnavailable
	}
	obj, err := a.Memory.Get(ctx, key, opt)
	if err == nil {
		if wrap := a.body.Load(); wrap != nil {
			obj.Body = (*wrap)(obj)
		}
	}
	return obj, err
}

func (a *authority) Head(ctx context.Context, key object.Key, opt object.HeadOptions) (object.Info, error) {
	a.heads.Add(1)
	if a.down.Load() {
		return object.Info{}, object.ErrUnavailable
	}
	return a.Memory.Head(ctx, key, opt)
}

func (a *authority) wrapBodies(wrap func(*object.Object) io.ReadCloser) { a.body.Store(&wrap) }

// A rig is a Cache over an authority.
type rig struct {
	*testing.T
	origin *authority
	cache  *tiers.Cache
	ssd    tiers.SSD
	dir    string
	stop   func() // ends Run and waits for it
}

// newRig starts a cache with so many bytes of RAM and SSD; 0 turns a tier off.
func newRig(t *testing.T, ram, ssd int64) *rig {
	t.Helper()
	return newRigIn(t, new(authority), t.TempDir(), ram, ssd)
}

func newRigIn(t *testing.T, origin *authority, dir string, ram, ssd int64) *rig {
	t.Helper()
	r := &rig{T: t, origin: origin, dir: dir, ssd: tiers.Off{}}
	if ssd > 0 {
		files, err := tiers.OpenFiles(dir, ssd, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		r.ssd = files
	}
	classes, err := object.NewClasses(object.DefaultVerified, object.DefaultImmutable)
	if err != nil {
		t.Fatal(err)
	}
	r.cache = tiers.New(tiers.Config{Upstream: origin, Classes: classes, RAM: tiers.NewLRU(ram), SSD: r.ssd})
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { r.cache.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		run.Wait()
		r.ssd.Close()
	})
	t.Cleanup(r.stop)
	return r
}

func (r *rig) put(key object.Key, body []byte) object.Info {
	r.Helper()
	info, err := r.origin.Put(r.Context(), key, object.BytesSource(body), object.PutOptions{})
	if err != nil {
		r.Fatal(err)
	}
	return info
}

// get reads a whole object through the cache.
func (r *rig) get(key object.Key) (body []byte, tier object.Tier, err error) {
	obj, err := r.cache.Get(r.Context(), key, object.GetOptions{})
	if err != nil {
		return nil, "", err
	}
	defer obj.Body.Close()
	body, err = io.ReadAll(obj.Body)
	return body, obj.Tier, err
}

func (r *rig) want(key object.Key, want []byte, from object.Tier) {
	r.Helper()
	got, tier, err := r.get(key)
	if err != nil || !bytes.Equal(got, want) || (from != "" && tier != from) {
		r.Fatalf("%s: %d bytes from %q, %v; want %d from %q", key, len(got), tier, err, len(want), from)
	}
}

// settle waits until no flight is under way, so that what they brought is
// published.
func (r *rig) settle() {
	for r.cache.Stats().InFlight > 0 {
		yield()
	}
}

func (r *rig) wantGets(n int32) {
	r.Helper()
	if got := r.origin.gets.Swap(0); got != n {
		r.Errorf("%d reads of the authority, want %d", got, n)
	}
}

func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 2}).Read(b)
	return b
}

// blob returns a key of the verified class and its bytes.
func blob(seed uint64, n int) (object.Key, []byte) {
	b := random(seed, n)
	return object.Key(fmt.Sprintf("artifacts/sha256:%x", sha256.Sum256(b))), b
}

const mib = 1 << 20

func TestCacheConforms(t *testing.T) {
	for name, size := range map[string][2]int64{
		"RAM and SSD": {64 * mib, 256 * mib}, "RAM": {64 * mib, 0}, "SSD": {0, 256 * mib}, "no tier": {0, 0},
		"tiny tiers": {4096, 300_000},
	} {
		t.Run(name, func(t *testing.T) {
			objecttest.Test(t, func(t *testing.T) object.Store { return newRig(t, size[0], size[1]).cache })
		})
	}
}

func TestAnImmutableObjectIsReadFromTheAuthorityOnce(t *testing.T) {
	for _, size := range []int{0, 1, 5000, 300_000, 3*mib + 17} {
		r := newRig(t, 64*mib, 64*mib)
		key, body := blob(1, size)
		r.put(key, body)
		r.want(key, body, object.TierOrigin)
		r.settle()
		second := object.TierRAM
		if size > 1_000_000 {
			second = object.TierSSD
		}
		r.want(key, body, second)
		r.origin.down.Store(true)
		r.want(key, body, second)
		r.wantGets(1)
		if info, err := r.cache.Head(t.Context(), key, object.HeadOptions{}); err != nil || info.Size != int64(size) {
			t.Errorf("Head without the authority: %+v, %v", info, err)
		}
	}
}

func TestASmallCopyMovesFromTheSSDIntoRAM(t *testing.T) {
	r := newRig(t, 0, 64*mib)
	key, body := blob(2, 7000)
	r.put(key, body)
	r.want(key, body, object.TierOrigin)
	r.settle()
	r.stop()
	r = newRigIn(t, r.origin, r.dir, mib, 64*mib)
	r.want(key, body, object.TierSSD)
	r.want(key, body, object.TierRAM)
	r.wantGets(1)
}

func TestAMutableObjectIsValidatedOnEveryRead(t *testing.T) {
	r := newRig(t, 64*mib, 64*mib)
	one, two := random(1, 5000), random(2, 6000)
	r.put("sessions/1/head", one)
	r.want("sessions/1/head", one, object.TierOrigin)
	r.settle()
	r.want("sessions/1/head", one, object.TierRAM)
	r.wantGets(2)
	r.put("sessions/1/head", two) // past the cache
	r.want("sessions/1/head", two, object.TierOrigin)
	r.settle()
	r.origin.down.Store(true)
	if _, _, err := r.get("sessions/1/head"); !errors.Is(err, object.ErrUnavailable) {
		t.Errorf("with the authority away: %v, want unavailable", err)
	}
	r.origin.down.Store(false)
	if err := r.origin.Delete(t.Context(), "sessions/1/head", object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.get("sessions/1/head"); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("after a delete: %v, want not found", err)
	}
	if s := r.cache.Stats(); s.Revalidated != 1 {
		t.Errorf("%d reads were revalidated, want 1", s.Revalidated)
	}
}

func TestTheSameBytesWrittenAgainBringTheirNewAttributes(t *testing.T) {
	r := newRig(t, 64*mib, 64*mib)
	for _, contentType := range []string{"text/one", "text/two"} {
		_, err := r.origin.Put(t.Context(), "doc", object.BytesSource([]byte("same")), object.PutOptions{Attrs: object.Attrs{ContentType: contentType}})
		if err != nil {
			t.Fatal(err)
		}
		obj, err := r.cache.Get(t.Context(), "doc", object.GetOptions{})
		if err != nil || obj.ContentType != contentType {
			t.Fatalf("%+v, %v; want %s", obj, err, contentType)
		}
		obj.Body.Close()
		r.settle()
	}
}

func TestMissingObjectsAreAskedForEveryTime(t *testing.T) {
	r := newRig(t, mib, mib)
	key, body := blob(3, 100)
	for range 2 {
		if _, _, err := r.get(key); !errors.Is(err, object.ErrNotFound) {
			t.Fatalf("%v, want not found", err)
		}
	}
	r.put(key, body)
	r.want(key, body, object.TierOrigin)
	r.wantGets(3)
}

func TestWrongBytesNeverEndCleanlyAndAreNotKept(t *testing.T) {
	for _, size := range []int{1, 100, 300_000, 3 * mib} {
		for name, lie := range map[string]func(*object.Object) io.ReadCloser{
			"flipped": func(o *object.Object) io.ReadCloser {
				b, _ := io.ReadAll(o.Body)
				b[len(b)/2] ^= 1
				return io.NopCloser(bytes.NewReader(b))
			},
			"short":  func(o *object.Object) io.ReadCloser { return io.NopCloser(io.LimitReader(o.Body, o.Length-1)) },
			"longer": func(o *object.Object) io.ReadCloser { return io.NopCloser(io.MultiReader(o.Body, strings.NewReader("x"))) },
			"broken": func(o *object.Object) io.ReadCloser {
				return io.NopCloser(io.MultiReader(io.LimitReader(o.Body, o.Length/2), errReader{}))
			},
		} {
			r := newRig(t, 64*mib, 64*mib)
			key, body := blob(uint64(size), size)
			r.put(key, body)
			r.origin.wrapBodies(lie)
			if got, _, err := r.get(key); err == nil && name != "longer" || err == nil && !bytes.Equal(got, body) {
				t.Errorf("%s, %d bytes: read %d bytes and a clean end", name, size, len(got))
			}
			r.settle()
			if held := r.cache.Holds(key); len(held) != 0 && name != "longer" {
				t.Errorf("%s, %d bytes: kept in %v", name, size, held)
			}
			r.origin.body.Store(nil)
			r.want(key, body, "")
		}
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestAnAuthorityThatSaysAnotherDigestIsNotBelieved(t *testing.T) {
	r := newRig(t, mib, 64*mib)
	key, _ := blob(5, 100)
	r.put(key, []byte("something else"))
	if _, _, err := r.get(key); !errors.Is(err, object.ErrDigest) {
		t.Errorf("%v, want a digest mismatch", err)
	}
}

func TestWritesReachTheAuthorityFirstAndThenTheTiers(t *testing.T) {
	for _, size := range []int{0, 10, 300_000, 3*mib + 1} {
		r := newRig(t, 64*mib, 64*mib)
		key, body := blob(6, size)
		for _, src := range []object.Source{object.BytesSource(body), object.ReaderSource(bytes.NewReader(body), int64(size))} {
			if _, err := r.cache.Put(t.Context(), key, src, object.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			if got, err := r.origin.Memory.Head(t.Context(), key, object.HeadOptions{}); err != nil || got.Size != int64(size) {
				t.Fatalf("the authority has %+v, %v", got, err)
			}
			want := object.TierRAM
			if size > 1_000_000 {
				want = object.TierSSD
			}
			r.want(key, body, want)
			r.wantGets(0)
		}
		if err := r.cache.Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if held := r.cache.Holds(key); len(held) != 0 {
			t.Errorf("after a delete it is kept in %v", held)
		}
		if _, _, err := r.get(key); !errors.Is(err, object.ErrNotFound) {
			t.Errorf("after a delete: %v", err)
		}
	}
}

func TestAFailedWriteLeavesNothingInTheTiers(t *testing.T) {
	r := newRig(t, 64*mib, 64*mib)
	create := object.PutOptions{IfNoneMatch: object.MatchAny()}
	r.put("sessions/x", []byte("old"))
	for _, opt := range []object.PutOptions{create, {IfMatch: object.MatchETag("123")}, {SHA256: object.Digest{1}}} {
		if _, err := r.cache.Put(t.Context(), "sessions/x", object.BytesSource(random(1, 3*mib)), opt); err == nil {
			t.Fatalf("%+v succeeded", opt)
		}
		if held := r.cache.Holds("sessions/x"); len(held) != 0 {
			t.Errorf("%+v left something in %v", opt, held)
		}
	}
	r.want("sessions/x", []byte("old"), object.TierOrigin)
	if used := r.ssd.Stats().Bytes; used > 8192 {
		t.Errorf("%d bytes of the SSD are still taken", used)
	}
}
