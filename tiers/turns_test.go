package tiers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/tiers"
)

// A registrar is a memory Store that notices writes which overlap.
type registrar struct {
	objecttest.Memory
	busy, most atomic.Int32
	refuse     error

	mu    sync.Mutex
	order []string    // guarded by mu while writes run, as is
	base  object.ETag // that the last one named
}

func (r *registrar) decided(what string, base object.ETag) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.order, r.base = append(r.order, what), base
}

func (r *registrar) decide(ctx context.Context) error {
	if busy := r.busy.Add(1); busy > r.most.Load() {
		r.most.Store(busy)
	}
	defer r.busy.Add(-1)
	select {
	case <-time.After(10 * time.Millisecond):
		return r.refuse
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *registrar) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	b, err := readSource(src)
	if err == nil {
		err = r.decide(ctx)
	}
	if err != nil {
		return object.Info{}, err
	}
	r.decided(string(b), opt.Base)
	return r.Memory.Put(ctx, key, object.BytesSource(b), opt)
}

func (r *registrar) Delete(ctx context.Context, key object.Key, opt object.DeleteOptions) error {
	if err := r.decide(ctx); err != nil {
		return err
	}
	r.decided("deleted", opt.Base)
	return r.Memory.Delete(ctx, key, opt)
}

// inTurns runs f in a bubble with a cache before a registrar.
func inTurns(t *testing.T, f func(t *testing.T, cache *tiers.Cache, origin *registrar)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		origin := &registrar{}
		cache := tiers.New(tiers.Config{Upstream: origin, Classes: &object.Classes{}, RAM: tiers.NewRAM(mib)})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { cache.Run(ctx) })
		f(t, cache, origin)
		cancel()
		running.Wait()
		if !cache.MemoryFree() || cache.WriteRecords() != 0 {
			t.Error("memory or a record of a write is left behind")
		}
	})
}

// trickle is a source whose bytes come one after the other.
func trickle(s string, pause time.Duration) object.Source {
	return pacedSource{s, pause}
}

type pacedSource struct {
	s     string
	pause time.Duration
}

func (p pacedSource) Size() int64 { return int64(len(p.s)) }

func (p pacedSource) Open() (io.ReadCloser, error) {
	return &pacedReader{strings.NewReader(p.s), p.pause}, nil
}

type pacedReader struct {
	*strings.Reader
	pause time.Duration
}

func (p *pacedReader) Read(b []byte) (int, error) {
	<-time.After(p.pause)
	return p.Reader.Read(b[:min(len(b), 1)])
}

func (p *pacedReader) Close() error { return nil }

func TestWritesOfAKeyAreDecidedInTurn(t *testing.T) {
	t.Parallel()
	inTurns(t, func(t *testing.T, cache *tiers.Cache, origin *registrar) {
		var all sync.WaitGroup
		var want []string
		for i := range 20 {
			name := fmt.Sprintf("write %02d", i)
			if i == 10 {
				name = "deleted"
			}
			want = append(want, name)
			all.Go(func() {
				var err error
				if name == "deleted" {
					err = cache.Delete(t.Context(), "doc", object.DeleteOptions{})
				} else {
					_, err = cache.Put(t.Context(), "doc", object.BytesSource([]byte(name)), object.PutOptions{})
				}
				if err != nil {
					t.Error(err)
				}
			})
			all.Go(func() { // another key's waits for nobody
				if _, err := cache.Put(t.Context(), object.Key(fmt.Sprint("doc/", i)), object.BytesSource(nil), object.PutOptions{}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		began := time.Now()
		all.Wait()
		if took := time.Since(began); took != 200*time.Millisecond {
			t.Errorf("twenty writes of 10 ms took %v", took)
		}
		var got []string
		for _, s := range origin.order {
			if s != "" {
				got = append(got, s)
			}
		}
		if strings.Join(got, ",") != strings.Join(want, ",") {
			t.Errorf("decided in the order %v, want that of arrival", got)
		}
	})
}

// The copy that is kept of writes that came at the same time is the last one's.
func TestTheLastOfManyWritesIsKept(t *testing.T) {
	t.Parallel()
	inTurns(t, func(t *testing.T, cache *tiers.Cache, origin *registrar) {
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				body := strings.Repeat("x", i)
				if _, err := cache.Put(t.Context(), "doc", object.BytesSource([]byte(body)), object.PutOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		obj, err := cache.Get(t.Context(), "doc", object.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer obj.Body.Close()
		if got, err := io.ReadAll(obj.Body); err != nil || string(got) != origin.order[19] || obj.Tier != object.TierRAM {
			t.Errorf("read %q from %q, %v; want the last write %q from RAM", got, obj.Tier, err, origin.order[19])
		}
		if origin.most.Load() != 1 {
			t.Errorf("%d writes were decided at a time", origin.most.Load())
		}
	})
}

// A client on a slow line holds nobody up: its write is decided when its bytes
// are there.
func TestASlowBodyHoldsNoOtherWrite(t *testing.T) {
	t.Parallel()
	inTurns(t, func(t *testing.T, cache *tiers.Cache, origin *registrar) {
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := cache.Put(t.Context(), "doc", trickle("slow", time.Minute), object.PutOptions{}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		began := time.Now()
		if _, err := cache.Put(t.Context(), "doc", object.BytesSource([]byte("fast")), object.PutOptions{}); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("a write waited %v for one whose body had not come", took)
		}
		all.Wait()
		if got := strings.Join(origin.order, ","); got != "fast,slow" {
			t.Errorf("decided in the order %s", got)
		}
	})
}

// A writer who leaves while others are decided has written nothing, and keeps
// nobody's turn; nor does one who was refused.
func TestAWriterMayLeaveBeforeItsTurn(t *testing.T) {
	t.Parallel()
	inTurns(t, func(t *testing.T, cache *tiers.Cache, origin *registrar) {
		var all sync.WaitGroup
		for i := range 10 {
			patience := time.Hour
			if i%2 == 1 {
				patience = 5 * time.Millisecond
			}
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				_, err := cache.Put(ctx, "doc", object.BytesSource([]byte{byte('0' + i)}), object.PutOptions{})
				if left := patience < time.Hour; left != errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("writer %d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if got := strings.Join(origin.order, ""); got != "02468" {
			t.Errorf("decided were %s", got)
		}
		origin.refuse = object.ErrPrecondition
		for range 2 {
			if _, err := cache.Put(t.Context(), "doc", object.BytesSource(nil), object.PutOptions{}); !errors.Is(err, object.ErrPrecondition) {
				t.Errorf("%v, want the refusal", err)
			}
		}
	})
}

// An authority that has to name what a write replaces need not ask for it if the
// tiers have it.
func TestAWriteSaysWhatItIsBelievedToReplace(t *testing.T) {
	t.Parallel()
	inTurns(t, func(t *testing.T, cache *tiers.Cache, origin *registrar) {
		put := func(body string) object.ETag {
			info, err := cache.Put(t.Context(), "doc", object.BytesSource([]byte(body)), object.PutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return info.ETag
		}
		one := put("one")
		if origin.base != "" {
			t.Errorf("the first write is said to replace %q", origin.base)
		}
		two := put("two")
		if origin.base != one {
			t.Errorf("the second is said to replace %q, want %q", origin.base, one)
		}
		if err := cache.Delete(t.Context(), "doc", object.DeleteOptions{}); err != nil || origin.base != two {
			t.Errorf("the delete: %v, said to take %q, want %q", err, origin.base, two)
		}
		if misses := cache.Stats().RAM.Misses; misses != 0 {
			t.Errorf("%d misses without a read", misses)
		}
	})
}
