package tiers_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// rewrite replaces an immutable object the only way there is: by a DELETE and
// another PUT.
func (r *rig) rewrite(key object.Key, body []byte) {
	r.Helper()
	if err := r.cache.Delete(r.Context(), key, object.DeleteOptions{}); err != nil {
		r.Fatal(err)
	}
	if body == nil {
		return
	}
	if _, err := r.cache.Put(r.Context(), key, object.BytesSource(body), object.PutOptions{}); err != nil {
		r.Fatal(err)
	}
}

func TestAFillThatAWriteHasPassedIsNotPublished(t *testing.T) {
	t.Parallel()
	for _, length := range []int{1000, mib + 100_000} {
		for name, after := range map[string][]byte{"deleted": nil, "written again": []byte("new")} {
			r := newRig(t, 64*mib, 64*mib)
			key, body := derived(1, length)
			r.put(key, body)
			release := r.origin.holdBodies(500)
			old := r.open(t.Context(), key, object.Range{})
			r.wantNext(old, body[:500])
			r.rewrite(key, after)
			release()
			r.wantNext(old, body[500:]) // it arrived before, and reads on
			r.wantEnd(old)
			until(func() bool { return r.cache.Stats().Fills == 1 })
			got, _, err := r.get(key)
			if after == nil && !errors.Is(err, object.ErrNotFound) || after != nil && !bytes.Equal(got, after) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
	}
}

// A fill that begins during a DELETE may have read the object just before it
// went: it must not bring it back.
func TestADeletedObjectIsNotResurrected(t *testing.T) {
	t.Parallel()
	r := newRig(t, mib, mib)
	key, body := derived(2, 1000)
	r.put(key, body)
	found, answer := make(chan struct{}), make(chan struct{})
	r.origin.onAnswer(func(context.Context, object.GetOptions) { close(found); <-answer })
	var reader sync.WaitGroup
	reader.Go(func() { r.want(key, body, object.TierOrigin) })
	<-found
	r.origin.onAnswer(func(context.Context, object.GetOptions) {})
	r.rewrite(key, nil)
	close(answer)
	reader.Wait()
	r.wantHeld(key)
	if _, _, err := r.get(key); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("after the delete: %v, want not found", err)
	}
}

// The moment between the decision to publish and the publication belongs to no
// write: one that comes then is answered when nothing of it is left.
func TestAWriteDuringAPublicationLeavesNothingOfIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ram := &hookedRAM{RAM: tiers.NewRAM(mib)}
	ssd := &hookedSSD{SSD: openLog(t, dir, mib)}
	r := newRigWith(t, dir, tiers.Config{RAM: ram, SSD: ssd})
	key, body := derived(3, 1000)
	r.put(key, body)
	var deletes sync.WaitGroup
	var answered atomic.Bool
	ram.onSet = func() {
		deletes.Go(func() {
			r.rewrite(key, nil)
			answered.Store(true)
		})
		for range 10_000 { // long enough for a delete that does not wait
			runtime.Gosched()
		}
	}
	ssd.onCreate = func() {
		if answered.Load() && len(r.cache.Holds(key)) > 0 {
			t.Error("what was deleted can be read")
		}
	}
	r.want(key, body, object.TierOrigin)
	r.settle()
	deletes.Wait()
	r.wantHeld(key)
}

// A reader may have found a copy on the disk just before a write removed it. It
// gets its bytes, and they stay out of memory.
func TestACopyFoundBeforeAWriteIsNotPromotedAfterIt(t *testing.T) {
	t.Parallel()
	for name, after := range map[string][]byte{"deleted": nil, "written again": []byte("new")} {
		dir := t.TempDir()
		ssd := &hookedSSD{SSD: openLog(t, dir, mib)}
		r := newRigWith(t, dir, tiers.Config{RAM: tiers.NewRAM(mib), SSD: ssd})
		key, body := derived(4, 1000)
		craftThrough(r, key, body)
		ssd.onRead = sync.OnceFunc(func() { r.rewrite(key, after) })
		r.want(key, body, object.TierSSD)
		got, _, err := r.get(key)
		if after == nil && !errors.Is(err, object.ErrNotFound) || after != nil && !bytes.Equal(got, after) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// craftThrough leaves an object at the authority and on the disk, not in memory.
func craftThrough(r *rig, key object.Key, body []byte) {
	r.Helper()
	info := r.put(key, body)
	if !r.ssd.Put(&tiers.Entry{Info: info, Bytes: body, Born: time.Now()}) {
		r.Fatal("the disk tier declines")
	}
}

func TestOverlappingWritesLeaveTheLastOneReadable(t *testing.T) {
	t.Parallel()
	r := newRig(t, mib, mib)
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			for range 20 {
				body := object.BytesSource(random(uint64(i), 1000+i))
				if _, err := r.cache.Put(t.Context(), "session", body, object.PutOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	obj, err := r.origin.Memory.Get(t.Context(), "session", object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	last, _ := io.ReadAll(obj.Body)
	r.want("session", last, "")
}

func TestBytesThatAreNotWhatTheirKeySaysAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, mib, mib)
	key, body := blob(5, 1000)
	wrong := bytes.Clone(body)
	wrong[0] ^= 1
	for name, opt := range map[string]object.PutOptions{"without a digest": {}, "with its own digest": {SHA256: sum(wrong)}} {
		if _, err := r.cache.Put(t.Context(), key, object.BytesSource(wrong), opt); !errors.Is(err, object.ErrDigest) {
			t.Errorf("%s: %v, want a digest mismatch", name, err)
		}
		r.wantHeld(key)
	}
	if _, err := r.cache.Put(t.Context(), key, object.BytesSource(body), object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	r.want(key, body, object.TierRAM)
}

func TestAConditionalWriteThatFailsKeepsNothing(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]object.PutOptions{
		"if none match": {IfNoneMatch: object.MatchAny()}, "if match": {IfMatch: object.MatchETag("another")},
	} {
		r := newRig(t, mib, 64*mib)
		key, body := derived(6, 300_000)
		r.put(key, body)
		if _, err := r.cache.Put(t.Context(), key, object.BytesSource([]byte("rejected")), opt); !errors.Is(err, object.ErrPrecondition) {
			t.Errorf("%s: %v, want precondition failed", name, err)
		}
		r.wantHeld(key)
		r.want(key, body, object.TierOrigin)
	}
}

func TestASuccessfulConditionalWriteIsServedWithoutTheAuthority(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0, mib)
	key, _ := derived(7, 0)
	old := r.put(key, []byte("old"))
	body := random(7, 1000)
	if _, err := r.cache.Put(t.Context(), key, object.BytesSource(body), object.PutOptions{IfMatch: object.MatchETag(old.ETag)}); err != nil {
		t.Fatal(err)
	}
	if err := r.origin.Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.want(key, body, object.TierSSD)
}

// An authority that misbehaves in one way: it answers before it has read the
// source, or reads it when it has answered, or twice.
type oddWriter struct {
	*authority
	put func(object.Source) error
}

func (o oddWriter) Put(ctx context.Context, key object.Key, src object.Source, opt object.PutOptions) (object.Info, error) {
	if err := o.put(src); err != nil {
		return object.Info{}, err
	}
	return o.authority.Put(ctx, key, object.BytesSource([]byte("what was stored")), opt)
}

func TestASourceThatIsReadOddlyIsNotKept(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	read := func(src object.Source, n int64) error {
		r, err := src.Open()
		if err == nil {
			io.CopyN(io.Discard, r, n)
			r.Close()
		}
		return err
	}
	for name, put := range map[string]func(src object.Source, late *[]func()) error{
		"not at all":          func(object.Source, *[]func()) error { return nil },
		"half":                func(src object.Source, _ *[]func()) error { return read(src, 500) },
		"whole, then refused": func(src object.Source, _ *[]func()) error { return errors.Join(read(src, 5*mib), boom) },
		"half, then refused":  func(src object.Source, _ *[]func()) error { return errors.Join(read(src, 500), boom) },
		"twice":               func(src object.Source, _ *[]func()) error { return errors.Join(read(src, 500), read(src, 5*mib)) },
		"too late": func(src object.Source, late *[]func()) error {
			*late = append(*late, func() { read(src, 5*mib) })
			return nil
		},
		"too late, refused": func(src object.Source, late *[]func()) error {
			*late = append(*late, func() { read(src, 5*mib) })
			return boom
		},
		"on and on": func(src object.Source, late *[]func()) error {
			r, err := src.Open()
			*late = append(*late, func() { io.Copy(io.Discard, r) })
			return err
		},
	} {
		for _, size := range []int{1000, mib + 100_000} {
			for _, announced := range []int64{int64(size), -1} {
				dir := t.TempDir()
				var late []func()
				origin := new(authority)
				r := idleRigOver(t, oddWriter{origin, func(src object.Source) error { return put(src, &late) }}, origin, dir,
					tiers.Config{RAM: tiers.NewRAM(64 * mib), SSD: openLog(t, dir, 64*mib)})
				r.run()
				key, body := derived(8, size)
				src := &replayable{bytes: body, size: announced}
				r.cache.Put(t.Context(), key, src, object.PutOptions{})
				for _, f := range late {
					f()
				}
				if held := r.cache.Holds(key); len(held) != 0 {
					t.Errorf("%s, %d of %d bytes: kept in %v", name, size, announced, held)
				}
				r.stop()
			}
		}
	}
}

// replayable is a source of bytes that may not say how many.
type replayable struct {
	bytes []byte
	size  int64
}

func (s *replayable) Size() int64 { return s.size }
func (s *replayable) Open() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(s.bytes)), nil
}

func TestADeletedMutableObjectGivesItsPlaceFree(t *testing.T) {
	t.Parallel()
	r := newRig(t, mib, mib)
	r.put("session", []byte("body"))
	r.want("session", []byte("body"), object.TierOrigin)
	r.settle()
	if err := r.origin.Delete(t.Context(), "session", object.DeleteOptions{}); err != nil { // through another node
		t.Fatal(err)
	}
	if _, _, err := r.get("session"); !errors.Is(err, object.ErrNotFound) {
		t.Fatal(err)
	}
	r.wantHeld("session")
}

func TestAListingIsTheAuthoritys(t *testing.T) {
	t.Parallel()
	r := newRig(t, mib, mib)
	key, body := blob(9, 100)
	r.put(key, body)
	r.want(key, body, "")
	if err := r.origin.Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for e, err := range r.cache.List(t.Context(), object.ListOptions{}) {
		t.Errorf("%v, %v", e, err)
	}
	if info, err := r.cache.Head(t.Context(), key, object.HeadOptions{}); err != nil || !strings.HasSuffix(string(key), info.SHA256.String()) {
		t.Errorf("a cached object of a class that never changes: %+v, %v; want it while it is cached", info, err)
	}
}
