package tiers_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// A viewer is what the bodies of large copies are, see package internal/bulk.
type viewer interface{ View(most int64) []byte }

// view reads a part of an object as a sender does: what is in memory where it is,
// and the rest through a buffer. It returns how many bytes were in memory.
func (r *rig) view(key object.Key, part object.Range, want []byte) (viewed int) {
	r.Helper()
	obj, err := r.cache.Get(r.Context(), key, object.GetOptions{Range: part})
	if err != nil {
		r.Errorf("%s: %v", key, err)
		return 0
	}
	defer obj.Body.Close()
	buf := make([]byte, mib)
	for at := 0; ; {
		var p []byte
		if v, ok := obj.Body.(viewer); ok {
			p = v.View(obj.Length - int64(at))
			viewed += len(p)
		}
		if p == nil {
			n, err := obj.Body.Read(buf)
			if err == io.EOF && at == len(want) {
				return viewed
			}
			if p = buf[:n]; err != nil && err != io.EOF {
				r.Errorf("%s at %d: %v", key, at, err)
				return viewed
			}
		}
		if !bytes.HasPrefix(want[at:], p) || len(p) == 0 {
			r.Errorf("%s: other bytes at %d from %s, %d of them in memory so far", key, at, obj.Tier, viewed)
			return viewed
		}
		at += len(p)
	}
}

// newBlocksRig returns a rig with memory for so many blocks.
func newBlocksRig(t testing.TB, blocks int64) *rig {
	t.Helper()
	return newRig(t, 4*blocks*tiers.MemoryBlock, partsOfAMiB)
}

// stored gets an object onto the disk.
func (r *rig) stored(key object.Key, body []byte) {
	r.Helper()
	r.keep(key, body)
	r.wantHeld(key, object.TierSSD)
	r.origin.gets.Store(0)
}

func (r *rig) wantBlocks(want int) {
	r.Helper()
	if held, most := r.cache.Blocks(); held != want {
		r.Errorf("%d blocks in memory, want %d of at most %d", held, want, most)
	}
}

const blocksSize = 4*mib + 3*mib/4 // of an object that has five blocks

func TestALargeObjectThatIsReadAgainIsSentFromMemory(t *testing.T) {
	t.Parallel()
	r := newBlocksRig(t, 8)
	key, body := blob(1, blocksSize)
	r.stored(key, body)
	if n := r.view(key, object.Range{}, body); n != 0 {
		t.Errorf("%d bytes from memory of what was read once", n)
	}
	r.wantBlocks(0)
	r.view(key, object.Range{}, body)
	r.wantBlocks(5)
	r.spoil(body[mib:mib+tiers.BlockSize], flipAt(7)) // nobody looks at the disk
	if n := r.view(key, object.Range{}, body); n != blocksSize {
		t.Errorf("%d of %d bytes from memory", n, blocksSize)
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		from, to := anyRange(blocksSize, rnd)
		if n := r.view(key, object.Bytes(int64(from), int64(to-from)), body[from:to]); n != to-from {
			t.Errorf("%d bytes from memory of those from %d to %d", n, from, to)
		}
	}
	r.wantGets(0)
}

func TestNothingDamagedComesIntoMemory(t *testing.T) {
	t.Parallel()
	r := newBlocksRig(t, 8)
	key, body := blob(2, blocksSize)
	r.stored(key, body)
	r.view(key, object.Range{}, body)
	r.spoil(body[mib:mib+tiers.BlockSize], flipAt(7))
	r.view(key, object.Range{}, body) // compares
	r.settle()
	if s := r.cache.Stats(); s.SSD.Damaged != 1 {
		t.Errorf("%d damaged, want 1", s.SSD.Damaged)
	}
	r.wantGets(1)
	for range 3 {
		r.view(key, object.Range{}, body)
		r.settle()
	}
	if n := r.view(key, object.Range{}, body); n != blocksSize {
		t.Errorf("%d of %d bytes from memory after it was mended", n, blocksSize)
	}
}

// Of a mutable key too, whose new version nobody here has written.
func TestBlocksAreOfOneVersion(t *testing.T) {
	t.Parallel()
	immutable, _ := derived(3, 0)
	for _, key := range []object.Key{immutable, "sessions/3"} {
		r := newBlocksRig(t, 16)
		for i := range uint64(4) {
			body := random(i, blocksSize)
			if key != immutable && i%2 == 1 {
				r.put(key, body)
			} else {
				if err := r.cache.Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
				r.wantBlocks(0)
				if _, err := r.cache.Put(t.Context(), key, object.BytesSource(body), object.PutOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			viewed := 0
			for range 4 {
				viewed = r.view(key, object.Range{}, body)
				r.settle()
			}
			if viewed != blocksSize {
				t.Errorf("version %d of %s: %d of %d bytes from memory", i, key, viewed, blocksSize)
			}
			r.wantBlocks(5)
		}
	}
}

func TestWhatIsSentStaysAsItIs(t *testing.T) {
	t.Parallel()
	r := newBlocksRig(t, 2)
	key, body := derived(4, 2*mib)
	r.stored(key, body)
	for range 2 {
		r.view(key, object.Range{}, body)
	}
	obj, err := r.cache.Get(t.Context(), key, object.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	slow := obj.Body.(viewer).View(obj.Length)
	if err := r.cache.Delete(t.Context(), key, object.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.wantBlocks(1) // the one that is being sent
	other, bytesOfIt := derived(5, 8*mib)
	r.stored(other, bytesOfIt)
	for range 50 {
		r.view(other, object.Range{}, bytesOfIt)
	}
	if !bytes.Equal(slow, body[:mib]) {
		t.Error("what a slow reader is being sent has changed")
	}
	obj.Body.Close()
	r.view(other, object.Range{}, bytesOfIt)
	r.wantBlocks(2)
}

// Before the whole object is proven again, nothing of it is kept.
func TestAnUnprovenCopyHasNoBlocks(t *testing.T) {
	t.Parallel()
	dir, origin := t.TempDir(), new(authority)
	key, body := blob(6, blocksSize)
	before := newRigIn(t, origin, dir, 0, partsOfAMiB)
	before.stored(key, body)
	before.stop()
	r := newRigIn(t, origin, dir, 64*mib, partsOfAMiB)
	for range 3 { // by one who proves what he gets himself
		obj, ok := r.cache.GetCached(t.Context(), key, object.GetOptions{})
		if !ok || obj.Body.(viewer).View(obj.Length) != nil {
			t.Error("there is no copy, or it has blocks")
		}
		obj.Body.Close()
	}
	r.view(key, object.Range{}, body)
	for range 2 {
		r.wantBlocks(0)
		r.view(key, object.Range{}, body)
	}
	if n := r.view(key, object.Range{}, body); n != blocksSize {
		t.Errorf("%d of %d bytes from memory", n, blocksSize)
	}
	r.wantGets(0)
}

func TestAScanTakesNoMemoryForBlocks(t *testing.T) {
	t.Parallel()
	r := newBlocksRig(t, 8)
	for i := range uint64(20) {
		key, body := derived(100+i, blocksSize)
		r.stored(key, body)
		if n := r.view(key, object.Range{}, body); n != 0 {
			t.Errorf("%d bytes from memory of what was read once", n)
		}
	}
	r.wantBlocks(0)
}

func TestALoopLargerThanTheMemoryKeepsItsShare(t *testing.T) {
	t.Parallel()
	const most, size = 3, 15 * mib
	r := newBlocksRig(t, most)
	key, body := derived(7, size)
	r.stored(key, body)
	for range 4 {
		r.view(key, object.Range{}, body)
	}
	for round := range 20 {
		if n := r.view(key, object.Range{}, body); n < (most-1)*mib {
			t.Errorf("round %d: %d bytes from memory, which holds %d", round, n, most*mib)
		}
	}
	r.wantBlocks(most)
}

// And others come in when they are read instead.
func TestBlocksThatAreNotReadGoForOthers(t *testing.T) {
	t.Parallel()
	r := newBlocksRig(t, 4)
	for i := range uint64(3) {
		key, body := derived(200+i, 4*mib)
		r.stored(key, body)
		viewed := 0
		for range 2 + 8*4 + 2 {
			viewed = r.view(key, object.Range{}, body)
		}
		if viewed != 4*mib {
			t.Errorf("object %d: %d bytes from memory", i, viewed)
		}
	}
	r.wantBlocks(4)
}

func TestSmallObjectsGetTheMemoryOfBlocksBack(t *testing.T) {
	t.Parallel()
	r := newBlocksRig(t, 8)
	large, body := derived(8, 8*mib)
	r.stored(large, body)
	for range 5 {
		r.view(large, object.Range{}, body)
	}
	r.wantBlocks(8)
	small := func(i int) {
		key, body := derived(uint64(1000+i), 256<<10)
		r.put(key, body)
		r.want(key, body, "")
		r.settle()
	}
	for i := range 60 { // 15 MiB, for which there is room
		small(i)
	}
	r.wantBlocks(8)
	for i := range 400 {
		small(100 + i)
	}
	r.wantBlocks(0)
	if s := r.cache.Stats().RAM; s.Bytes < s.Capacity*9/10 {
		t.Errorf("small objects take %d bytes of %d that they could have again", s.Bytes, s.Capacity)
	}
}

// Whatever readers do, slow ones among them, blocks and small objects together are
// no more than the RAM tier may have.
func TestBlocksAndSmallObjectsShareOneBudget(t *testing.T) {
	t.Parallel()
	const most, objects = 6, 6
	r := newBlocksRig(t, most)
	for i := range uint64(objects) {
		key, body := derived(300+i, blocksSize)
		r.stored(key, body)
	}
	var readers sync.WaitGroup
	for n := range uint64(8) {
		readers.Go(func() {
			rnd := rand.New(rand.NewPCG(n, n))
			for i := range 60 {
				seed := 300 + rnd.Uint64N(objects)*rnd.Uint64N(2)
				key, body := derived(seed, blocksSize)
				from, to := anyRange(blocksSize, rnd)
				if i%3 > 0 {
					from, to = 0, blocksSize
				}
				r.view(key, object.Bytes(int64(from), int64(to-from)), body[from:to])
				small := object.Key(fmt.Sprint("sessions/", rnd.IntN(200)))
				if _, err := r.cache.Put(t.Context(), small, object.BytesSource(random(1, 200<<10)), object.PutOptions{}); err != nil {
					t.Error(err)
				}
				held, _ := r.cache.Blocks()
				if held > most {
					t.Errorf("%d blocks, at most %d may be", held, most)
				}
				runtime.Gosched()
			}
		})
	}
	readers.Wait()
	held, _ := r.cache.Blocks()
	if s := r.cache.Stats().RAM; s.Bytes+int64(held)*tiers.MemoryBlock > s.Capacity {
		t.Errorf("%d bytes of small objects and %d blocks, of %d bytes", s.Bytes, held, s.Capacity)
	}
}

// While an object is written again and again, each reader gets one version of it.
func TestAReaderOfBlocksGetsOneVersion(t *testing.T) {
	t.Parallel()
	const versions, size = 3, 3 * mib
	r := newBlocksRig(t, 8)
	key := object.Key("sessions/9")
	write := func(i int) {
		if _, err := r.cache.Put(t.Context(), key, object.BytesSource(random(uint64(400+i%versions), size)), object.PutOptions{}); err != nil {
			t.Error(err)
		}
	}
	write(0)
	var readers sync.WaitGroup
	viewed := make([]int, 4)
	for n := range viewed {
		readers.Go(func() {
			for i := range 120 {
				if n == 0 && i%10 == 9 {
					write(i)
				}
				got, inPlace := r.viewAny(key, size)
				viewed[n] += inPlace
				known := got == nil // its version went away meanwhile
				for v := range uint64(versions) {
					known = known || bytes.Equal(got, random(400+v, size))
				}
				if !known {
					t.Error("what was read is no version")
				}
			}
		})
	}
	readers.Wait()
	if viewed[0]+viewed[1]+viewed[2]+viewed[3] == 0 {
		t.Error("nothing was in memory")
	}
	r.settle()
}

// viewAny reads all of an object, nil if it was replaced meanwhile.
func (r *rig) viewAny(key object.Key, size int) (got []byte, viewed int) {
	obj, err := r.cache.Get(r.Context(), key, object.GetOptions{})
	if err != nil {
		r.Error(err)
		return nil, 0
	}
	defer obj.Body.Close()
	buf := make([]byte, mib)
	for len(got) < size {
		if v, ok := obj.Body.(viewer); ok {
			if p := v.View(int64(size - len(got))); p != nil {
				runtime.Gosched()
				got, viewed = append(got, p...), viewed+len(p)
				continue
			}
		}
		n, err := obj.Body.Read(buf)
		if got = append(got, buf[:n]...); err != nil && err != io.EOF {
			return nil, viewed
		}
	}
	return got, viewed
}
