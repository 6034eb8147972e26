package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVar); dir != "" {
		os.Exit(child(dir))
	}
	goleak.VerifyTestMain(m)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, s object.Store, key, body string, attrs object.Attrs) {
	t.Helper()
	_, err := s.Put(t.Context(), object.Key(key), object.BytesSource([]byte(body)), object.PutOptions{Attrs: attrs})
	must(t, err)
}

// A content is all of an object that a migration has to carry.
type content struct {
	body  string
	attrs string
}

func contents(t *testing.T, s object.Store) map[object.Key]content {
	t.Helper()
	all := map[object.Key]content{}
	for e, err := range s.List(t.Context(), object.ListOptions{}) {
		must(t, err)
		obj, err := s.Get(t.Context(), e.Key, object.GetOptions{})
		must(t, err)
		body, err := io.ReadAll(obj.Body)
		must(t, err)
		must(t, obj.Body.Close())
		all[e.Key] = content{string(body), fmt.Sprintf("%+v", obj.Attrs)}
	}
	return all
}

func wantSame(t *testing.T, to, from object.Store) {
	t.Helper()
	if got, want := contents(t, to), contents(t, from); !maps.Equal(got, want) {
		t.Errorf("the destination has %d objects, not the %d of the source", len(got), len(want))
		for key, c := range want {
			if got[key] != c {
				t.Errorf("%q: got %q, want %q", key, got[key], c)
			}
		}
	}
}

// migrateAll runs a migration that must find no difference.
func migrateAll(t *testing.T, cfg Config) Result {
	t.Helper()
	result, err := Run(t.Context(), cfg)
	must(t, err)
	if !result.Identical(false) {
		t.Fatalf("differences: %v", result.Differences)
	}
	return result
}

// kinds returns what was found, by name.
func kinds(r Result) map[string]Kind {
	found := map[string]Kind{}
	for _, d := range r.Differences {
		found[d.Name] = d.Kind
	}
	return found
}

// A spy is a Store that counts what it is asked for, and may do something else
// than the Store behind it.
type spy struct {
	object.Store
	gets, puts, lists atomic.Int64
	beforePut         func(n int64, key object.Key) error // an error keeps the Put from happening
	afterPut          func(n int64, key object.Key) error // an error is answered instead
	beforeGet         func(n int64, key object.Key) error
	beforeList        func(n int64) error
	onBody            func(key object.Key, r io.Reader) io.Reader // what a Put stores
}

func (s *spy) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	if n := s.gets.Add(1); s.beforeGet != nil {
		if err := s.beforeGet(n, key); err != nil {
			return nil, err
		}
	}
	return s.Store.Get(ctx, key, opt)
}

func (s *spy) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	n := s.puts.Add(1)
	if s.beforePut != nil {
		if err := s.beforePut(n, key); err != nil {
			return object.Info{}, err
		}
	}
	if s.onBody != nil {
		r, err := src.Open()
		if err != nil {
			return object.Info{}, err
		}
		defer r.Close()
		src, opt.SHA256 = object.ReaderSource(s.onBody(key, r), src.Size()), object.Digest{}
	}
	info, err := s.Store.Put(ctx, key, src, opt)
	if err == nil && s.afterPut != nil {
		if err := s.afterPut(n, key); err != nil {
			return object.Info{}, err
		}
	}
	return info, err
}

func (s *spy) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return func(yield func(object.Entry, error) bool) {
		if n := s.lists.Add(1); s.beforeList != nil {
			if err := s.beforeList(n); err != nil {
				yield(object.Entry{}, err)
				return
			}
		}
		s.Store.List(ctx, opt)(yield)
	}
}

// randomTree fills a Store with n objects at most.
func randomTree(t *testing.T, s object.Store, seed uint64, n int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	segments := []string{"a", "b", "a.b", "a b", "ü", "metadata.json", "0", "x+y%", "files", "z-z"}
	for range n {
		key := segments[r.IntN(len(segments))]
		for range r.IntN(4) {
			key += "/" + segments[r.IntN(len(segments))]
		}
		body := make([]byte, r.IntN(3)*r.IntN(70_000))
		for i := range body {
			body[i] = byte(r.Uint32())
		}
		attrs := object.Attrs{}
		if r.IntN(2) == 0 {
			attrs = object.Attrs{ContentType: "text/plain", CacheControl: "no-cache", User: map[string]string{"by": key}}
		}
		put(t, s, key, string(body), attrs)
	}
}

// count returns how many objects a Store has.
func count(t *testing.T, s object.Store) (n int64) {
	t.Helper()
	for _, err := range s.List(t.Context(), object.ListOptions{}) {
		must(t, err)
		n++
	}
	return n
}

var errBroken = errors.New("broken")

// reports collects what a Run reports.
type reports struct {
	mu  sync.Mutex
	all []Progress
}

func (r *reports) add(p Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, p)
}

func memory(t *testing.T, objects map[string]string) *objecttest.Memory {
	t.Helper()
	m := new(objecttest.Memory)
	for key, body := range objects {
		put(t, m, key, body, object.Attrs{})
	}
	return m
}

func itoa(i int) string { return fmt.Sprintf("%06d", i) }

// forgetful is a Store that loses attributes.
type forgetful struct{ object.Store }

func (f forgetful) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	opt.Attrs = object.Attrs{}
	return f.Store.Put(ctx, key, src, opt)
}

// versionless is a Store whose listings say no more than those of S3: no version
// and no attributes.
type versionless struct{ object.Store }

func (v versionless) List(ctx context.Context, opt object.ListOptions) iter.Seq2[object.Entry, error] {
	return func(yield func(object.Entry, error) bool) {
		for e, err := range v.Store.List(ctx, opt) {
			e.Version, e.Attrs = "", object.Attrs{}
			if !yield(e, err) {
				return
			}
		}
	}
}
