package tiers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/tiers"
)

// A distant is a memory Store that takes a while: what it says was true in the
// middle of that time.
type distant struct {
	objecttest.Memory
	trip  atomic.Int64 // to it and back, in nanoseconds
	gets  atomic.Int32
	whole atomic.Int32 // of the gets, answered with the object
	busy  atomic.Int32 // gets under way
	crowd atomic.Int32 // most of them at a time
	puts  func()       // in the middle of a Put
}

func (d *distant) half(ctx context.Context) error {
	select {
	case <-time.After(time.Duration(d.trip.Load()) / 2):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *distant) Get(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, error) {
	d.gets.Add(1)
	busy := d.busy.Add(1)
	defer d.busy.Add(-1)
	for most := d.crowd.Load(); busy > most && !d.crowd.CompareAndSwap(most, busy); most = d.crowd.Load() {
	}
	if err := d.half(ctx); err != nil {
		return nil, err
	}
	obj, err := d.Memory.Get(ctx, key, opt)
	if err == nil {
		d.whole.Add(1)
	}
	return obj, errors.Join(err, d.half(ctx))
}

func (d *distant) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	b, err := readSource(src)
	if err != nil {
		return object.Info{}, err
	}
	if err := d.half(ctx); err != nil {
		return object.Info{}, err
	}
	info, err := d.Memory.Put(ctx, key, object.BytesSource(b), opt)
	if d.puts != nil {
		d.puts()
	}
	return info, errors.Join(err, d.half(ctx))
}

func readSource(src object.Source) ([]byte, error) {
	r, err := src.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// A distance is a cache in a bubble before an authority that is a trip of 20 ms
// away.
type distance struct {
	*testing.T
	origin *distant
	cache  *tiers.Cache
}

func fromAfar(t *testing.T, cfg tiers.Config, f func(d *distance)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &distance{T: t, origin: &distant{}}
		d.origin.trip.Store(int64(20 * time.Millisecond))
		cfg.Upstream, cfg.Classes = d.origin, &object.Classes{}
		if cfg.RAM == nil {
			cfg.RAM = tiers.NewRAM(64 * mib)
		}
		d.cache = tiers.New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { d.cache.Run(ctx) })
		f(d)
		synctest.Wait()
		if n := d.cache.Questions(); n != 0 {
			t.Errorf("%d keys are still being asked about", n)
		}
		cancel()
		running.Wait()
		if !d.cache.MemoryFree() || d.cache.WriteRecords() != 0 {
			t.Error("memory or a record of a write is left behind")
		}
	})
}

// at stores something at the authority, past the cache and at once.
func (d *distance) at(key object.Key, body string) object.Info {
	d.Helper()
	info, err := d.origin.Memory.Put(d.Context(), key, object.BytesSource([]byte(body)), object.PutOptions{})
	if err != nil {
		d.Fatal(err)
	}
	return info
}

func (d *distance) read(key object.Key, opt object.GetOptions) (string, *object.Object, error) {
	obj, err := d.cache.Get(d.Context(), key, opt)
	if err != nil {
		return "", nil, err
	}
	defer obj.Body.Close()
	b, err := io.ReadAll(obj.Body)
	return string(b), obj, err
}

func (d *distance) want(key object.Key, want string) *object.Object {
	d.Helper()
	got, obj, err := d.read(key, object.GetOptions{})
	if err != nil || got != want {
		d.Errorf("%s: read %q, %v; want %q", key, got, err, want)
	}
	return obj
}

// Ten thousand reads a second of a key that changes all the time: each reads
// what was current after it came, and the authority is asked once a round trip.
func TestAHotMutableKeyCostsOneQuestionARoundTrip(t *testing.T) {
	t.Parallel()
	fromAfar(t, tiers.Config{}, func(d *distance) {
		const readers = 2000
		var version atomic.Int64
		d.at("head", fmt.Sprintf("%08d", 0))
		var all sync.WaitGroup
		all.Go(func() {
			for range 20 {
				<-time.After(9 * time.Millisecond)
				d.at("head", fmt.Sprintf("%08d", version.Load()+1))
				version.Add(1)
			}
		})
		for range readers {
			<-time.After(100 * time.Microsecond)
			all.Go(func() {
				first := version.Load()
				got, _, err := d.read("head", object.GetOptions{})
				if last := fmt.Sprintf("%08d", version.Load()+1); err != nil || got < fmt.Sprintf("%08d", first) || got > last {
					d.Errorf("read %q, %v; current were %d to %s", got, err, first, last)
				}
			})
		}
		all.Wait()
		if asked := d.origin.gets.Load(); asked > 15 {
			d.Errorf("%d questions in 0.2 s, want about one in 20 ms", asked)
		}
		if most := d.origin.crowd.Load(); most > 1 {
			d.Errorf("%d questions at a time", most)
		}
	})
}

// The question that is under way may be older than a write that the reader knows
// about. It must wait for the next one.
func TestAReaderDoesNotJoinAQuestionOlderThanItself(t *testing.T) {
	t.Parallel()
	fromAfar(t, tiers.Config{}, func(d *distance) {
		d.at("head", "one")
		var early sync.WaitGroup
		early.Go(func() { d.want("head", "one") })
		<-time.After(15 * time.Millisecond) // its answer is on its way
		d.at("head", "two")
		d.want("head", "two")
		early.Wait()
	})
}

func TestReadersOfOneQuestionMayHaveDifferentConditions(t *testing.T) {
	t.Parallel()
	for _, cached := range []bool{true, false} {
		fromAfar(t, tiers.Config{}, func(d *distance) {
			info := d.at("head", "one")
			if cached {
				d.want("head", "one")
			}
			same := object.GetOptions{IfNoneMatch: object.MatchETag(info.ETag)}
			cases := []struct {
				opt  object.GetOptions
				body string
				err  error
			}{
				{object.GetOptions{}, "one", nil},
				{same, "", object.ErrNotModified},
				{same, "", object.ErrNotModified},
				{object.GetOptions{IfNoneMatch: object.MatchETag("another")}, "one", nil},
				{object.GetOptions{IfMatch: object.MatchETag("another")}, "", object.ErrPrecondition},
				{object.GetOptions{IfMatch: object.MatchETag(info.ETag)}, "one", nil},
				{object.GetOptions{Range: object.Bytes(1, 2)}, "ne", nil},
				{object.GetOptions{Range: object.Bytes(7, 2)}, "", object.ErrRange},
			}
			var all sync.WaitGroup
			all.Go(func() { d.want("head", "one") }) // so that the others wait together
			synctest.Wait()
			for _, c := range cases {
				all.Go(func() {
					got, _, err := d.read("head", c.opt)
					if got != c.body || !errors.Is(err, c.err) {
						d.Errorf("cached %v, %+v: %q, %v; want %q, %v", cached, c.opt, got, err, c.body, c.err)
					}
				})
			}
			all.Wait()
			if want := map[bool]int32{true: 3, false: 2}[cached]; d.origin.gets.Load() != want {
				d.Errorf("cached %v: %d questions, want %d", cached, d.origin.gets.Load(), want)
			}
		})
	}
}

// Clients that all have the current version cost the authority no body, even if
// the tiers have nothing.
func TestClientsWithACopyCostNoBody(t *testing.T) {
	t.Parallel()
	fromAfar(t, tiers.Config{}, func(d *distance) {
		info := d.at("head", "one")
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				_, _, err := d.read("head", object.GetOptions{IfNoneMatch: object.MatchETag(info.ETag)})
				var nm *object.NotModifiedError
				if !errors.As(err, &nm) || nm.Info.ETag != info.ETag {
					d.Errorf("%v, want not modified", err)
				}
			})
		}
		all.Wait()
		if d.origin.whole.Load() != 0 || d.origin.gets.Load() != 2 {
			d.Errorf("%d bodies in %d answers, want none in 2", d.origin.whole.Load(), d.origin.gets.Load())
		}
	})
}

// A body takes as long as it takes. The next question is sent when the headers
// are there, and its readers follow the same body if it is still current.
func TestALongAnswerDoesNotHoldTheNextQuestion(t *testing.T) {
	t.Parallel()
	r := newRig(t, 64*mib, 64*mib)
	body := random(5, 3*mib)
	r.put("sessions/1/big", body)
	release := r.origin.holdBodies(mib)
	first := r.open(t.Context(), "sessions/1/big", object.Range{})
	second := r.open(t.Context(), "sessions/1/big", object.Range{}) // would hang
	if second.Tier != object.TierFill {
		t.Errorf("the second reader is served from %q, want from the fill", second.Tier)
	}
	r.wantGets(2)
	release()
	for _, obj := range []*object.Object{first, second} {
		if got, err := io.ReadAll(obj.Body); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		obj.Body.Close()
	}
}

// Readers leave at any moment, all of them or some. Those who stay get what is
// current, and nothing is left behind.
func TestReadersLeaveWhileTheyWaitForAnAnswer(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		fromAfar(t, tiers.Config{}, func(d *distance) {
			d.at("head", "one")
			var all sync.WaitGroup
			for range 100 {
				<-time.After(time.Duration(rnd.Int64N(int64(2 * time.Millisecond))))
				patience := time.Duration(rnd.Int64N(int64(60 * time.Millisecond)))
				if rnd.IntN(3) == 0 {
					patience = time.Hour
				}
				all.Go(func() {
					ctx, cancel := context.WithTimeout(d.Context(), patience)
					defer cancel()
					obj, err := d.cache.Get(ctx, "head", object.GetOptions{})
					if err != nil {
						if ctx.Err() == nil || !errors.Is(err, context.DeadlineExceeded) {
							d.Errorf("seed %d: %v", seed, err)
						}
						return
					}
					defer obj.Body.Close()
					if got, err := io.ReadAll(obj.Body); string(got) != "one" && ctx.Err() == nil {
						d.Errorf("seed %d: %q, %v", seed, got, err)
					}
				})
			}
			all.Wait()
			d.want("head", "one")
		})
	}
}

// An answer that is an error is everybody's who waited for it, and the next
// question is sent all the same.
func TestAFailedQuestionIsAnsweredToItsReadersOnly(t *testing.T) {
	t.Parallel()
	fromAfar(t, tiers.Config{}, func(d *distance) {
		var got []error
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				_, _, err := d.read("head", object.GetOptions{})
				mu.Lock()
				got = append(got, err)
				mu.Unlock()
			})
			if i == 2 {
				<-time.After(15 * time.Millisecond)
				d.at("head", "now")
			}
		}
		all.Wait()
		missed := slices.DeleteFunc(slices.Clone(got), func(err error) bool { return !errors.Is(err, object.ErrNotFound) })
		served := slices.DeleteFunc(got, func(err error) bool { return err != nil })
		if len(missed) != 1 || len(served) != 5 {
			d.Errorf("%d read nothing and %d the object, want 1 and 5", len(missed), len(served))
		}
	})
}

// The memory of a fill that has been replaced is not held by the question that
// found that out, and that needs memory itself.
func TestAQuestionDoesNotHoldWhatItsAnswerWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 200_000
		old, replaced := random(1, size), random(2, size)
		r := newRigWith(t, t.TempDir(), tiers.Config{FillMemory: size * 3 / 2})
		defer r.stop()
		r.put("session", old)
		release := r.origin.holdBodies(1000)
		first := r.open(t.Context(), "session", object.Range{})
		r.wantNext(first, old[:1000])
		asked := make(chan struct{})
		var once sync.Once
		r.origin.onAnswer(func(context.Context, object.GetOptions) { once.Do(func() { close(asked) }) })
		r.put("session", replaced)
		var second sync.WaitGroup
		second.Go(func() { r.want("session", replaced, object.TierOrigin) })
		<-asked
		release()
		r.wantNext(first, old[1000:])
		first.Body.Close()
		second.Wait()
	})
}
