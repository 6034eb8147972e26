package seglog

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// check holds that a table is what its comment says: every entry at its home or
// as little behind as those with smaller hashes allow, and as many as it says.
func (t *table) check() error {
	sum := 0
	for i := range t.parts {
		p, next, n := &t.parts[i], 0, 0
		var last uint64
		for at := range p.slots {
			s := &p.slots[at]
			if s.where == 0 {
				if *s != (slot{}) {
					return fmt.Errorf("part %d: something is left in the empty slot %d", i, at)
				}
				continue
			}
			if t.part(s.hash) != p {
				return fmt.Errorf("part %d: an entry of another part in slot %d", i, at)
			}
			if s.hash < last {
				return fmt.Errorf("part %d: slot %d is out of order", i, at)
			}
			if want := max(next, p.home(s.hash)); at != want {
				return fmt.Errorf("part %d: an entry in slot %d belongs to %d", i, at, want)
			}
			last, next, n = s.hash, at+1, n+1
		}
		if n != int(p.len) {
			return fmt.Errorf("part %d: %d entries, but it says %d", i, n, p.len)
		}
		if p.len*8 > p.homes*fullEighths {
			return fmt.Errorf("part %d: %d entries on %d homes", i, n, p.homes)
		}
		sum += n
	}
	if sum != t.len {
		return fmt.Errorf("%d entries, but the table says %d", sum, t.len)
	}
	return nil
}

// bytes returns the memory of all slots.
func (t *table) bytes() (sum int) {
	for i := range t.parts {
		sum += cap(t.parts[i].slots) * 32
	}
	return sum
}

// A tableModel is a table and the map that it must be.
type tableModel struct {
	t *table
	m map[ID]loc
}

func newTableModel() *tableModel { return &tableModel{&table{seed: 1}, make(map[ID]loc)} }

// randomLoc returns one that can be: any that fits the format.
func randomLoc(rnd *rand.Rand) loc {
	return loc{
		lsn: rnd.Uint64(), seg: rnd.Uint32N(6), off: max(rnd.Uint32(), page/unit),
		len: headerSize + rnd.Uint32N((maxRecord-headerSize)/unit+1)*unit, flags: rnd.Uint32N(4),
	}
}

func (tm *tableModel) set(id ID, l loc) {
	tm.t.set(id, l)
	tm.m[id] = l
}

func (tm *tableModel) remove(id ID) error {
	_, want := tm.m[id]
	delete(tm.m, id)
	if got := tm.t.remove(id); got != want {
		return fmt.Errorf("remove of %x: %v, want %v", id, got, want)
	}
	return nil
}

func (tm *tableModel) get(id ID) error {
	want, there := tm.m[id]
	if got, ok := tm.t.get(id); ok != there || got != want {
		return fmt.Errorf("get of %x: %+v, %v; want %+v, %v", id, got, ok, want, there)
	}
	return nil
}

func (tm *tableModel) sweep(seg uint32) error {
	want, got := 0, 0
	for id, l := range tm.m {
		if l.seg == seg {
			delete(tm.m, id)
			want++
		}
	}
	for i := range tm.t.parts {
		got += tm.t.sweep(i, seg)
	}
	if got != want {
		return fmt.Errorf("sweep of %d: %d removed, want %d", seg, got, want)
	}
	return nil
}

func (tm *tableModel) check() error {
	if err := tm.t.check(); err != nil {
		return err
	}
	if tm.t.len != len(tm.m) {
		return fmt.Errorf("%d entries, want %d", tm.t.len, len(tm.m))
	}
	for id := range tm.m {
		if err := tm.get(id); err != nil {
			return err
		}
	}
	return nil
}

// A poorID has one of so many hashes, all of one shard.
func poorID(rnd *rand.Rand, kinds uint64) (id ID) {
	hash := ^uint64(0) / kinds * rnd.Uint64N(kinds+1) >> shardBits
	binary.LittleEndian.PutUint64(id[:], hash) // the seed is 1
	binary.LittleEndian.PutUint64(id[8:], rnd.Uint64N(300))
	return id
}

// However the hashes lie, a table does what a map does, while it grows and
// shrinks.
func TestATableIsAMap(t *testing.T) {
	for _, kinds := range []uint64{1, 2, 7, 100, 5000, 1 << 20} {
		t.Run(fmt.Sprint(kinds, " hashes"), func(t *testing.T) {
			tm, rnd := newTableModel(), rand.New(rand.NewPCG(kinds, 5))
			if kinds == 5000 {
				tm.t.reserve(2000)
			}
			do := func(step int) error {
				id := poorID(rnd, kinds)
				removals := 3 + step/2000%4*4 // of 20: it grows and shrinks in turn
				switch n := rnd.IntN(20); {
				case n < removals:
					for known := range tm.m { // any
						id = known
						break
					}
					return tm.remove(id)
				case n < 17:
					tm.set(id, randomLoc(rnd))
				case n < 18:
					return tm.remove(id)
				case rnd.IntN(300) == 0:
					return tm.sweep(rnd.Uint32N(6))
				}
				return tm.get(id)
			}
			for step := range 20_000 {
				err := do(step)
				if err == nil && step%500 == 0 {
					err = tm.check()
				}
				if err != nil {
					t.Fatalf("step %d: %v", step, err)
				}
			}
			for id := range tm.m {
				if err := tm.remove(id); err != nil {
					t.Fatal(err)
				}
			}
			if n := tm.t.bytes(); n != 0 || tm.t.len != 0 {
				t.Errorf("an empty table has %d bytes and %d entries", n, tm.t.len)
			}
		})
	}
}

// FuzzTable does to a table and a map what the bytes say, with hashes that
// collide, or nearly do, as the bytes choose.
func FuzzTable(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x00\x01\x00\x02\x01\x00\x00\x01"))
	f.Add([]byte("\x00\xff\xff\x01\x00\xff\xff\x02\x00\xff\xff\x03\x02\x00\x00\x01\x01\xff\xff\x03"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		tm := newTableModel()
		for len(ops) >= 4 {
			op, id := ops[0], ID{}
			id[7], id[6] = 0xff, ops[1]|0xf0 // the same part for most
			id[5], id[8] = ops[2], ops[3]
			l := loc{lsn: uint64(len(ops)), seg: uint32(op>>4) % 4, off: page/unit + uint32(ops[3]), len: headerSize, flags: uint32(op>>2) % 4}
			ops = ops[4:]
			var err error
			switch op % 8 {
			case 0, 1, 2, 3:
				tm.set(id, l)
			case 4, 5:
				err = tm.remove(id)
			case 6:
				err = tm.sweep(l.seg)
			default:
				err = tm.get(id)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := tm.check(); err != nil {
			t.Fatal(err)
		}
	})
}

// An entry takes 32 bytes and the share of the gaps, at every size beyond a few,
// while an index grows, when it was given its size, and when it has shrunk. And
// no part has much more than its share, so that none takes long to grow.
func TestAnEntryTakesAtMostSixtyBytes(t *testing.T) {
	const n = 20_000 // of one shard of 64: an index of a million and more
	table := &table{seed: randomWord() | 1}
	check := func(when string) {
		t.Helper()
		if each := table.bytes() / table.len; each > 60 {
			t.Errorf("%s: %d entries of %d bytes each, want 60 at most", when, table.len, each)
		}
		for i := range table.parts {
			if got, most := int(table.parts[i].len), 2*table.len/partCount; got > most {
				t.Errorf("%s: part %d has %d entries, want at most %d", when, i, got, most)
			}
		}
	}
	where := loc{off: page / unit}
	// Those of one shard, which share the upper bits of their hashes.
	var ids []ID
	for i := 0; len(ids) < n; i++ {
		if id := numbered(i); scramble(id, table.seed)>>(64-shardBits) == 5 {
			ids = append(ids, id)
		}
	}
	for i, id := range ids {
		table.set(id, where)
		if i >= n/10 && i%(n/100) == 0 {
			check("growing")
		}
	}
	for i, id := range ids[:n*9/10] {
		table.remove(id)
		if i%(n/100) == 0 && table.bytes()/table.len > 100 {
			t.Errorf("shrinking: %d entries of %d bytes each, want 100 at most", table.len, table.bytes()/table.len)
		}
	}
	*table = newSized(table.seed, n)
	for _, id := range ids {
		table.set(id, where)
	}
	check("given its size")
	for _, id := range ids[:n*9/10] {
		table.remove(id)
	}
	if err := table.check(); err != nil {
		t.Error(err)
	}
}

func newSized(seed uint64, n int) table {
	t := table{seed: seed}
	t.reserve(n)
	return t
}
