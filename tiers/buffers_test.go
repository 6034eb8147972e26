package tiers_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/tiers"
)

// bufferSizes are those of readers, the sizes of blocks and chunks among them,
// and some that end within a block.
var bufferSizes = []int{1, 4 << 10, tiers.BlockSize - 1, tiers.BlockSize, tiers.BlockSize + 1, 100_000, 4 * tiers.BlockSize, mib, mib + 1}

// throughAny reads a body to its end through buffers whose size changes from one
// read to the next. What lies behind a buffer must stay as it is.
func throughAny(t *testing.T, body io.Reader, rnd *rand.Rand) ([]byte, error) {
	t.Helper()
	var got []byte
	buf := make([]byte, mib+2)
	sizes := bufferSizes
	if rnd.IntN(2) == 0 {
		sizes = sizes[2:] // or most of it is read byte by byte
	}
	for {
		size := sizes[rnd.IntN(len(sizes))]
		buf[size] = 0xa5
		n, err := body.Read(buf[:size])
		if buf[size] != 0xa5 {
			t.Errorf("a read into %d bytes wrote behind them", size)
		}
		got = append(got, buf[:n]...)
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
	}
}

// anyRange returns a range of an object whose ends are often those of blocks.
func anyRange(size int, rnd *rand.Rand) (from, to int) {
	end := func() int {
		at := rnd.IntN(size + 1)
		switch rnd.IntN(3) {
		case 0:
			at = at / tiers.BlockSize * tiers.BlockSize
		case 1:
			at = min(at/tiers.BlockSize*tiers.BlockSize+rnd.IntN(3), size)
		}
		return at
	}
	from, to = end(), end()
	if from > to {
		from, to = to, from
	}
	if from == to {
		return 0, size
	}
	return from, to
}

// partsOfAMiB is a capacity with chunks that the largest buffer just holds.
const partsOfAMiB = 512 * mib

func TestARangeOfACopyIsTheSameThroughAnyBuffers(t *testing.T) {
	t.Parallel()
	const size = 5*mib + 12_345
	r := newRig(t, 0, partsOfAMiB)
	key, body := blob(31, size)
	r.put(key, body)
	r.want(key, body, object.TierOrigin)
	r.settle()
	rnd := rand.New(rand.NewPCG(31, 31))
	for range 300 {
		from, to := anyRange(size, rnd)
		obj := r.open(t.Context(), key, object.Bytes(int64(from), int64(to-from)))
		if obj.Tier != object.TierSSD {
			t.Fatalf("it comes from %s", obj.Tier)
		}
		if got, err := throughAny(t, obj.Body, rnd); err != nil || !bytes.Equal(got, body[from:to]) {
			t.Fatalf("bytes %d to %d: %d bytes, %v", from, to, len(got), err)
		}
	}
	r.wantGets(1)
}

func TestDamageIsMendedWhateverBufferMeetsIt(t *testing.T) {
	t.Parallel()
	const size = 3*mib + 12_345
	rnd := rand.New(rand.NewPCG(32, 32))
	for i := range 8 {
		r := newRig(t, 0, partsOfAMiB)
		key, body := blob(uint64(100+i), size)
		r.put(key, body)
		r.want(key, body, object.TierOrigin)
		r.settle()
		from, to := anyRange(size, rnd)
		at := from + rnd.IntN(to-from)
		block := at / tiers.BlockSize * tiers.BlockSize
		r.spoil(body[block:min(block+tiers.BlockSize, size)], flipAt(at-block))
		obj := r.open(t.Context(), key, object.Bytes(int64(from), int64(to-from)))
		if got, err := throughAny(t, obj.Body, rnd); err != nil || !bytes.Equal(got, body[from:to]) {
			t.Errorf("bytes %d to %d: %d bytes, %v", from, to, len(got), err)
		}
		if s := r.cache.Stats(); s.SSD.Damaged != 1 {
			t.Errorf("%d damaged, want 1", s.SSD.Damaged)
		}
	}
}
