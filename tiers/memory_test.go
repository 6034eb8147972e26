package tiers_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
	"runtime"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// A generator is an authority whose one object is made while it is read.
type generator struct {
	authority
	size int64
}

func (g *generator) Get(_ context.Context, key object.Key, _ object.GetOptions) (*object.Object, error) {
	info := object.Info{Key: key, Size: g.size, ETag: "generated", Version: "1", Tier: object.TierOrigin}
	body := io.NopCloser(io.LimitReader(new(counting), g.size))
	return &object.Object{Info: info, Length: g.size, Body: body}, nil
}

// counting yields its own offsets, eight bytes each.
type counting struct{ n uint64 }

func (c *counting) Read(p []byte) (int, error) {
	n := len(p) / 8 * 8
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(p[i:], c.n)
		c.n++
	}
	return n, nil
}

// No object is ever whole in memory: one far larger than what a cache may use
// passes through it, is kept on the disk and read again, and the heap stays
// small.
func TestALargeObjectIsNeverWholeInMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's own memory is in the figure")
	}
	const limit = 32 * mib
	size := int64(1 << 30)
	if testing.Short() {
		size = 128 * mib
	}
	dir := t.TempDir()
	g := &generator{size: size}
	r := idleRigOver(t, g, &g.authority, dir, tiers.Config{RAM: tiers.NewRAM(mib), SSD: openLog(t, dir, 3*size)})
	r.run()
	key, _ := derived(1, 0)
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	seed := maphash.MakeSeed()
	want := hashOf(seed)
	io.Copy(want, io.LimitReader(new(counting), size))
	for _, tier := range []object.Tier{object.TierOrigin, object.TierSSD} {
		obj := r.open(t.Context(), key, object.Range{})
		got := hashOf(seed)
		watched := &heapWatcher{Writer: got}
		if n, err := io.Copy(watched, obj.Body); n != size || err != nil || got.Sum64() != want.Sum64() {
			t.Fatalf("from %s: %d bytes, %v, or wrong ones", obj.Tier, n, err)
		}
		obj.Body.Close()
		r.settle()
		if obj.Tier != tier {
			t.Errorf("read from %s, want %s", obj.Tier, tier)
		}
		if grown := int64(watched.most) - int64(before.HeapAlloc); grown > limit {
			t.Errorf("from %s: the heap grew by %d MiB while %d MiB passed", tier, grown/mib, size/mib)
		}
	}
}

func hashOf(seed maphash.Seed) hash.Hash64 {
	h := new(maphash.Hash)
	h.SetSeed(seed)
	return h
}

// A heapWatcher looks at the heap after every few megabytes.
type heapWatcher struct {
	io.Writer
	passed int
	most   uint64
}

func (w *heapWatcher) Write(p []byte) (int, error) {
	const every = 8 * mib
	if w.passed += len(p); w.passed >= every {
		w.passed = 0
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		w.most = max(w.most, m.HeapAlloc)
	}
	return w.Writer.Write(p)
}

// What an entry of the memory tier costs besides its bytes is what the tier
// counts, or less.
func TestTheOverheadOfAnEntryIsCounted(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's own memory is in the figure")
	}
	const entries = 100_000
	ram := tiers.NewRAM(1 << 30)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range entries {
		ram.Set(entry(object.Key(fmt.Sprintf("artifacts/sha256:%064d", i)), 1))
	}
	used, counted := heap()-before, ram.Stats().Bytes
	if ram.Stats().Entries != entries || int64(used) > counted {
		t.Errorf("%d entries take %d bytes of heap and count as %d", ram.Stats().Entries, used, counted)
	}
	t.Logf("%d bytes an entry, counted as %d", used/entries, counted/entries)
}
