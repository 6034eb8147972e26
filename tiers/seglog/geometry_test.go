package seglog

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"
)

// checkGeometry holds that a store of so many bytes can be: what it may take is
// not exceeded and nearly used, every number fits where it is kept, and the next
// start agrees: s, which is good for nothing else.
func checkGeometry(t *testing.T, s *Store, capacity int64) {
	t.Helper()
	segSize, chunkSize := geometry(capacity)
	count := (capacity - page) / segSize
	bad := func(what string) {
		t.Helper()
		t.Errorf("%d bytes: %s: %d segments of %d with chunks of %d", capacity, what, count, segSize, chunkSize)
	}
	if count < minSegments || count > maxSegments {
		bad("number of segments")
	}
	if used := count*segSize + page; used > capacity || (capacity > 64<<20 && used < capacity/100*98) {
		bad("use of the capacity")
	}
	if segSize < minSegment || segSize%page != 0 || (segSize-1)/unit > 1<<32-1 {
		bad("size of a segment")
	}
	if chunkSize < BlockSize || chunkSize > maxChunk || chunkSize&(chunkSize-1) != 0 || chunkSize > segSize/8 {
		bad("size of a chunk")
	}
	if headerSize+4*blocksOf(chunkSize) > page {
		bad("a chunk's checksums in its page")
	}
	if chunks := capacity / maxShare / chunkSize; chunks > 1<<32-1 || capacity/maxShare > maxObject {
		bad("the largest object")
	}
	if page+maxRecord+unit+footerLen(1) > segSize {
		bad("a record in a segment")
	}
	if int64(footerLen(int(segSize/headerSize))) < 0 || segSize/headerSize > 1<<31 {
		bad("a footer")
	}
	b := make([]byte, page)
	le := binary.LittleEndian
	copy(b, manifestMagic)
	le.PutUint64(b[16:], uint64(segSize))
	le.PutUint64(b[24:], uint64(chunkSize))
	le.PutUint32(b[32:], checksum(b[:32]))
	s.capacity = capacity
	if !s.parseManifest(b) || s.segSize != segSize || s.chunkSize != chunkSize {
		bad("not taken by the next start")
	}
}

func TestEveryCapacityHasItsGeometry(t *testing.T) {
	const tib = 1 << 40
	capacities := []int64{
		MinCapacity, MinCapacity + 1, 5<<20 - 1, usualSegments * minSegment, usualSegments*minSegment + 1, 1 << 30,
		usualSegments * maxSegment, usualSegments*maxSegment - 1, usualSegments*maxSegment + page,
		tib, maxSegments * maxSegment, maxSegments*maxSegment + 1, maxSegments*maxSegment + page, maxSegments * (maxSegment + page),
		100 * tib, 512 * tib, 512*tib - 1, maxCapacity - 1, maxCapacity,
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	for exp := 22; exp < 49; exp++ {
		for range 100 {
			capacities = append(capacities, 1<<exp+rnd.Int64N(1<<exp))
		}
	}
	s := new(Store)
	for _, c := range capacities {
		checkGeometry(t, s, c)
		if t.Failed() {
			return
		}
	}
}

// What does not fit the format is refused at once, with words that say so.
func TestACapacityThatDoesNotFitIsRefused(t *testing.T) {
	for _, c := range []int64{-1, 0, MinCapacity - 1, maxCapacity + 1, 1 << 50, 1<<63 - 1} {
		s, err := Open(newMemFS(), Options{Capacity: c})
		if err == nil {
			s.Close()
			t.Errorf("a store of %d bytes was opened", c)
		} else if !strings.Contains(err.Error(), "bytes are too ") {
			t.Errorf("%d bytes: %v", c, err)
		}
	}
	// Nor are the sizes taken from a manifest that no store would write.
	b := make([]byte, page)
	le := binary.LittleEndian
	copy(b, manifestMagic)
	le.PutUint64(b[16:], hugeSegment+page)
	le.PutUint64(b[24:], maxChunk)
	le.PutUint32(b[32:], checksum(b[:32]))
	if (&Store{capacity: maxCapacity}).parseManifest(b) {
		t.Error("segments beyond 32 bits of offset are taken")
	}
}

// A slot holds every place that can be, and says it back.
func TestASlotHoldsEveryPlace(t *testing.T) {
	tab := &table{seed: randomWord() | 1}
	at := func(l loc) {
		t.Helper()
		s := tab.slotOf(ID{}, l)
		if got := s.loc(); got != l || s.seg() != l.seg {
			t.Errorf("%+v is read back as %+v", l, got)
		}
	}
	at(loc{lsn: 1, off: page / unit, len: headerSize})
	at(loc{lsn: ^uint64(0), seg: slotSegments - 1, off: hugeSegment/unit - 1, len: maxRecord, flags: flagHit | flagProven})
	at(loc{seg: 2*maxSegments - 1, off: 1 << 31, len: maxRecord / 2 / unit * unit, flags: flagProven})
}

// However fast the budget, the bucket does not overflow.
func TestAHugeWriteRateIsNoLimit(t *testing.T) {
	s := openStore(t, newMemFS(), Options{Capacity: MinCapacity, WriteRate: 1<<63 - 1})
	for range 3 {
		if !put(s, "object", 1, 1000) {
			t.Error("declined")
		}
	}
}
