package tiers_test

// What users of a tiered store may rely on, and where it is tested:
//
//	a read fills both tiers                          TestAnImmutableObjectIsReadFromTheAuthorityOnce
//	the SSD answers when RAM is empty and the        TestTheTiersServeWhatTheAuthorityHasLost
//	  authority has lost the object, RAM when the
//	  SSD has lost it too, each with its ETag
//	a damaged copy or description is a miss          TestADamagedCopyIsAMissAndFetchedAgain
//	two caches share nothing                         TestTwoCachesShareNothing
//	Head answers from RAM and from the SSD           TestTheTiersServeWhatTheAuthorityHasLost
//	ten bytes hold one object of six, not two        TestTheMemoryTierEvictsToItsLimit
//	overwriting at the limit evicts nothing          TestOverwritingAtTheLimitEvictsNothing
//	a conditional write that fails keeps nothing     TestAConditionalWriteThatFailsKeepsNothing
//	one that succeeds is kept                        TestASuccessfulConditionalWriteIsServedWithoutTheAuthority
//	a delete empties both tiers                      TestWritesReachTheAuthorityFirstAndThenTheTiers
//	a listing is the authority's, and what is        TestAListingIsTheAuthoritys
//	  cached under a lasting key exists
//	an upload that is cut leaves nothing             TestCacheConforms, TestASourceThatIsReadOddlyIsNotKept
//	eviction is not noticed by readers               TestEvictionIsNotNoticedByReaders
//	an object over the budget flushes nothing        TestAnObjectLargerThanTheBudgetFlushesNothing
//	mutable keys are validated on every read         TestAMutableObjectIsValidatedOnEveryRead

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

func TestCacheConforms(t *testing.T) {
	for name, size := range map[string][2]int64{
		"RAM and SSD": {64 * mib, 256 * mib}, "SSD": {0, 256 * mib}, "tiny tiers": {4096, 300_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objecttest.Test(t, func(t *testing.T) object.Store { return newRig(t, size[0], size[1]).cache })
		})
	}
}

func TestAnImmutableObjectIsReadFromTheAuthorityOnce(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 5000, 300_000, mib + 17} {
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

func TestTheTiersServeWhatTheAuthorityHasLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ram  int64
		lose func(*rig)
		from object.Tier
	}{
		"SSD, RAM off":     {0, func(*rig) {}, object.TierSSD},
		"SSD, RAM empty":   {mib, func(r *rig) { r.restart(mib, mib) }, object.TierSSD},
		"RAM, SSD emptied": {mib, func(r *rig) { key, _ := blob(1, 1000); r.ssd.Delete(key) }, object.TierRAM},
	} {
		r := newRig(t, c.ram, mib)
		key, body := blob(1, 1000)
		info := r.put(key, body)
		r.want(key, body, object.TierOrigin)
		r.settle()
		if err := r.origin.Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		c.lose(r)
		head, err := r.cache.Head(t.Context(), key, object.HeadOptions{})
		if err != nil || head.ETag != info.ETag || head.Size != info.Size || head.Tier != c.from {
			t.Errorf("%s: Head %+v, %v", name, head, err)
		}
		obj := r.open(t.Context(), key, object.Range{})
		if obj.ETag != info.ETag || obj.Tier != c.from {
			t.Errorf("%s: ETag %s from %s", name, obj.ETag, obj.Tier)
		}
		r.wantNext(obj, body)
	}
}

func TestASmallCopyMovesFromTheSSDIntoRAM(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
	for _, size := range []int{1, 100, mib + 100_000} {
		for name, lie := range map[string]wrapper{
			"flipped": func(_ context.Context, o *object.Object) io.ReadCloser {
				b, _ := io.ReadAll(o.Body)
				b[len(b)/2] ^= 1
				return io.NopCloser(bytes.NewReader(b))
			},
			"short": func(_ context.Context, o *object.Object) io.ReadCloser {
				return io.NopCloser(io.LimitReader(o.Body, o.Length-1))
			},
			"longer": func(_ context.Context, o *object.Object) io.ReadCloser {
				return io.NopCloser(io.MultiReader(o.Body, strings.NewReader("x")))
			},
			"broken": func(_ context.Context, o *object.Object) io.ReadCloser {
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

func TestAnAuthorityThatSaysAnotherDigestIsNotBelieved(t *testing.T) {
	t.Parallel()
	r := newRig(t, mib, 64*mib)
	key, _ := blob(5, 100)
	r.put(key, []byte("something else"))
	if _, _, err := r.get(key); !errors.Is(err, object.ErrDigest) {
		t.Errorf("%v, want a digest mismatch", err)
	}
}

func TestWritesReachTheAuthorityFirstAndThenTheTiers(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
	r := newRig(t, 64*mib, 64*mib)
	create := object.PutOptions{IfNoneMatch: object.MatchAny()}
	r.put("sessions/x", []byte("old"))
	for _, opt := range []object.PutOptions{create, {IfMatch: object.MatchETag("123")}, {SHA256: object.Digest{1}}} {
		if _, err := r.cache.Put(t.Context(), "sessions/x", object.BytesSource(random(1, mib+100_000)), opt); err == nil {
			t.Fatalf("%+v succeeded", opt)
		}
		if held := r.cache.Holds("sessions/x"); len(held) != 0 {
			t.Errorf("%+v left something in %v", opt, held)
		}
	}
	r.want("sessions/x", []byte("old"), object.TierOrigin)
	r.settle() // the copy is published behind the reader's back
	if n := r.ssd.Stats().Entries; n != 1 {
		t.Errorf("%d copies are on the SSD", n)
	}
}
