package tiers_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

func entry(key object.Key, n int) *tiers.Entry {
	return &tiers.Entry{Info: object.Info{Key: key, Size: int64(n)}, Bytes: make([]byte, n), Born: time.Now()}
}

// With a limit of ten bytes and two objects of six the first has to go, and is
// missing then if the authority has lost it.
func TestTheMemoryTierEvictsToItsLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, 10, 0)
	one, oneBody := derived(1, 6)
	two, twoBody := derived(2, 6)
	r.put(one, oneBody)
	r.put(two, twoBody)
	r.want(one, oneBody, object.TierOrigin)
	r.settle()
	r.wantHeld(one, object.TierRAM)
	r.want(two, twoBody, object.TierOrigin)
	r.settle()
	for _, key := range []object.Key{one, two} {
		if err := r.origin.Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := r.get(one); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("the first object: %v, want not found", err)
	}
	r.want(two, twoBody, object.TierRAM)
}

func TestOverwritingAtTheLimitEvictsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 10, 0)
	key, _ := derived(1, 0)
	for _, body := range []string{"0123456789", "9876543210"} {
		if _, err := r.cache.Put(t.Context(), key, object.BytesSource([]byte(body)), object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		r.want(key, []byte(body), object.TierRAM)
	}
	if s := r.cache.Stats().RAM; s.Entries != 1 || s.Evictions != 0 || s.Bytes != 10 {
		t.Errorf("%+v", s)
	}
	r.wantGets(0)
}

func TestTheMemoryTierNeverExceedsItsBudget(t *testing.T) {
	t.Parallel()
	for _, capacity := range []int64{0, 1, 10, 1000, 64<<10 - 1, 64 << 10, mib, 8 * mib} {
		ram := tiers.NewRAM(capacity)
		for i := range 3000 {
			ram.Set(entry(object.Key(fmt.Sprint("k", i%700)), i*i%5000*(i%3)))
			if i%7 == 0 {
				ram.Delete(object.Key(fmt.Sprint("k", i%500)))
			}
			if s := ram.Stats(); s.Bytes > capacity || s.Bytes < 0 || s.Entries > max(capacity, 0) {
				t.Fatalf("%d entries take %d bytes of %d", s.Entries, s.Bytes, capacity)
			}
		}
		for i := range 700 {
			ram.Delete(object.Key(fmt.Sprint("k", i)))
		}
		if s := ram.Stats(); s.Bytes != 0 || s.Entries != 0 {
			t.Errorf("emptied, it counts %+v", s)
		}
	}
}

func TestEmptyObjectsCannotFillATinyTierForEver(t *testing.T) {
	t.Parallel()
	ram := tiers.NewRAM(10)
	for i := range 1000 {
		ram.Set(entry(object.Key(fmt.Sprint(i)), 0))
	}
	if n := ram.Stats().Entries; n != 10 {
		t.Errorf("%d empty objects in 10 bytes", n)
	}
}

func TestAnEntryTooLargeFlushesNothingButItsOwnKey(t *testing.T) {
	t.Parallel()
	ram := tiers.NewRAM(mib)
	ram.Set(entry("small", 100))
	ram.Set(entry("grows", 100))
	ram.Set(entry("grows", mib))
	if !ram.Has("small") || ram.Has("grows") {
		t.Errorf("small: %t, grows: %t; want only small", ram.Has("small"), ram.Has("grows"))
	}
	if n := tiers.NewRAM(0).MaxObject(); n != -1 {
		t.Errorf("a tier that holds nothing wants objects of %d bytes", n)
	}
}

// A body in memory may be read in any way that readers know.
func TestABodyInMemoryIsReadAndWritten(t *testing.T) {
	t.Parallel()
	r := newRig(t, 64*mib, 0)
	key, body := blob(3, 5000)
	r.put(key, body)
	r.want(key, body, object.TierOrigin)
	r.settle()
	for _, part := range []object.Range{{}, object.Bytes(100, 1000), object.Suffix(1)} {
		offset, length, _ := part.Resolve(5000)
		want := body[offset : offset+length]
		if got, tier, err := r.getPart(key, part); err != nil || tier != object.TierRAM || !bytes.Equal(got, want) {
			t.Errorf("%v: %d bytes from %s, %v", part, len(got), tier, err)
		}
		var written bytes.Buffer
		if n, err := r.open(t.Context(), key, part).Body.(*closeOnce).ReadCloser.(io.WriterTo).WriteTo(&written); n != length || err != nil || !bytes.Equal(written.Bytes(), want) {
			t.Errorf("%v: %d bytes written, %v", part, n, err)
		}
	}
}

// A copy says how long ago its bytes came from the authority, through whatever
// tiers they went, and no longer which node had them then.
func TestACopyKnowsItsAge(t *testing.T) {
	t.Parallel()
	const age = time.Hour
	for _, length := range []int{1000, 3 * mib} {
		r := newRig(t, 64*mib, 64*mib)
		key, body := blob(4, length)
		r.put(key, body)
		r.origin.aged.Store(int64(age))
		r.want(key, body, object.TierPeer)
		r.settle()
		for range 2 {
			for what, read := range map[string]func() (object.Info, error){
				"Get": func() (object.Info, error) {
					obj, err := r.cache.Get(t.Context(), key, object.GetOptions{})
					if err == nil {
						obj.Body.Close()
					}
					return obj.Info, err
				},
				"Head": func() (object.Info, error) { return r.cache.Head(t.Context(), key, object.HeadOptions{}) },
			} {
				if info, err := read(); err != nil || info.Age < age || info.Age > age+time.Hour || info.Node != "" {
					t.Errorf("%s of %d bytes: age %v, node %q, %v", what, length, info.Age, info.Node, err)
				}
			}
			r.restart(64*mib, 64*mib)
		}
	}
}
