package tiers

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/micelio/micelio/object"
)

const (
	// memoryBlock is the unit in which large objects are in memory, in bytes: as
	// much as a fast reader is sent at a time, so that those who read past a block
	// that is not there come to the beginning of the next one.
	memoryBlock = 1 << 20

	// blocksShare is the part of the RAM tier's capacity that blocks can have. With
	// the half that fills can have, it leaves a quarter to small objects.
	blocksShare = 4

	// recentTouches is how many blocks are remembered that were read once: 16 GiB
	// of large objects in 64 KiB.
	recentTouches = 1 << 14

	// blockPatience is how many blocks that would like to enter move the hand by
	// one. Where an object larger than all the memory is read in a loop, every block
	// is read once a round: those that are there stay if the hand goes round less
	// than once meanwhile, which is so up to objects five times as large as the
	// memory. Of larger ones little could be there anyway, and to let them enter
	// costs no more than to read them.
	blockPatience = 4
)

// blocks are pieces of large objects in memory: of copies on the disk that were
// read again lately, verified when they were read from there. They come out of the
// RAM tier's capacity. Which of them stay says a clock (Corbató, 1968) whose hand
// moves slowly.
//
// A block that somebody is sending is never taken from him nor counted as free,
// so that slow readers cannot make all of them be more than they may.
type blocks struct {
	ram  RAM
	most int // blocks

	pressing atomic.Int64 // bytes of small objects since small objects last pressed

	mu      sync.Mutex // guards the following, and what is in a block
	copies  map[object.Key]*copyBlocks
	ring    []*block // all, also those that are being filled
	hand    int      // in ring
	waiting int      // blocks that wanted to enter since the hand last moved
	evicted int64    // from RAM, when it was last looked at
	seed    maphash.Seed
	touched *[recentTouches]uint32 // hashes of blocks that were read; nil before the first
}

// copyBlocks are the blocks of one copy on the disk.
type copyBlocks struct {
	generation uint64
	at         map[int64]*block
}

// A blockID says which bytes a block has: those from offset at on of one copy of
// an object, which has no generation in common with another.
type blockID struct {
	key        object.Key
	generation uint64
	at         int64
}

// A block has immutable bytes from when it is filled until nobody can find it and
// nobody has it pinned.
type block struct {
	id     blockID
	data   []byte // memoryBlock bytes
	n      int    // of them are the object's; 0 while it is being filled
	pins   int    // of those who read or fill it
	read   bool   // since the hand last passed
	listed bool   // in copies
}

// newBlocks returns no blocks yet, of copies on ssd. A disk so small that its parts
// are smaller than blocks has none.
func newBlocks(ram RAM, ssd SSD) *blocks {
	m := &blocks{ram: ram, copies: make(map[object.Key]*copyBlocks), seed: maphash.MakeSeed()}
	if ssd.PartSize()%memoryBlock == 0 {
		m.most = int(ram.Stats().Capacity / blocksShare / memoryBlock)
	}
	return m
}

// pin returns a filled block, to be unpinned by the caller, nil if there is none.
func (m *blocks) pin(id blockID) *block {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.findLocked(id)
	if b == nil || b.n == 0 {
		return nil
	}
	b.pins++
	b.read = true
	return b
}

func (m *blocks) findLocked(id blockID) *block {
	if c := m.copies[id.key]; c != nil && c.generation == id.generation {
		return c.at[id.at]
	}
	return nil
}

// claim says that somebody is about to read all of a block that is not there. It
// returns nil the first time, where there is no place, and while somebody else is
// filling it, and otherwise a block to be filled and then given to keep or discard.
func (m *blocks) claim(id blockID) *block {
	if m.most == 0 {
		return nil
	}
	m.mu.Lock()
	again := m.touchLocked(id)
	c := m.copies[id.key]
	if !again || c != nil && (c.generation > id.generation || c.generation == id.generation && c.at[id.at] != nil) {
		m.mu.Unlock()
		return nil
	}
	var freed int
	if c != nil && c.generation < id.generation {
		freed = m.forgetLocked(id.key)
	}
	b := m.placeLocked()
	if b != nil {
		*b = block{id: id, data: b.data, pins: 1, listed: true}
		if c = m.copies[id.key]; c == nil {
			c = &copyBlocks{generation: id.generation, at: make(map[int64]*block)}
			m.copies[id.key] = c
		}
		c.at[id.at] = b
	}
	m.mu.Unlock()
	m.cede(-freed)
	if b != nil && b.data == nil {
		m.cede(1)
		b.data = make([]byte, memoryBlock)
	}
	return b
}

// touchLocked reports whether a block was touched before, lately.
func (m *blocks) touchLocked(id blockID) bool {
	if m.touched == nil {
		m.touched = new([recentTouches]uint32)
	}
	hash := maphash.Comparable(m.seed, id)
	slot, tag := &m.touched[hash%recentTouches], uint32(hash>>32)|1
	again := *slot == tag
	*slot = tag
	return again
}

// placeLocked returns a block for other bytes: a new one without memory as long as
// there may be more, or one whose turn it is to go; nil if none should.
func (m *blocks) placeLocked() *block {
	if len(m.ring) < m.most {
		b := new(block)
		m.ring = append(m.ring, b)
		return b
	}
	if m.waiting++; m.waiting < blockPatience {
		return nil
	}
	m.waiting = 0
	b := m.stepLocked()
	if b != nil {
		m.unlistLocked(b)
	}
	return b
}

// stepLocked moves the hand by one and returns the block there if it can go.
func (m *blocks) stepLocked() *block {
	if m.hand++; m.hand >= len(m.ring) {
		m.hand = 0
	}
	b := m.ring[m.hand]
	if b.pins > 0 {
		return nil
	}
	if b.read {
		b.read = false
		return nil
	}
	return b
}

// keep says that the caller, who has it pinned, has filled n bytes of a block.
func (m *blocks) keep(b *block, n int) {
	m.mu.Lock()
	b.n = n
	m.mu.Unlock()
}

// discard says that a claimed block could not be filled.
func (m *blocks) discard(b *block) {
	m.mu.Lock()
	m.unlistLocked(b)
	m.mu.Unlock()
	m.unpin(b)
}

// unpin ends the use of a block by the caller.
func (m *blocks) unpin(b *block) {
	m.mu.Lock()
	b.pins--
	gone := b.pins == 0 && !b.listed
	if gone {
		m.removeLocked(b)
	}
	m.mu.Unlock()
	if gone {
		m.cede(-1)
	}
}

// forget drops the blocks of an object.
func (m *blocks) forget(key object.Key) {
	m.mu.Lock()
	freed := m.forgetLocked(key)
	m.mu.Unlock()
	m.cede(-freed)
}

// forgetLocked is forget, and returns how many blocks the caller has to cede back.
func (m *blocks) forgetLocked(key object.Key) (freed int) {
	c := m.copies[key]
	if c == nil {
		return 0
	}
	for _, b := range c.at {
		b.listed = false
		if b.pins == 0 { // else whoever unpins it last
			m.removeLocked(b)
			freed++
		}
	}
	delete(m.copies, key)
	return freed
}

// unlistLocked makes a block one that nobody finds.
func (m *blocks) unlistLocked(b *block) {
	if !b.listed {
		return
	}
	b.listed = false
	c := m.copies[b.id.key]
	if delete(c.at, b.id.at); len(c.at) == 0 {
		delete(m.copies, b.id.key)
	}
}

// removeLocked takes a block that nobody has out of the ring.
func (m *blocks) removeLocked(b *block) {
	i := slices.Index(m.ring, b)
	m.ring = slices.Delete(m.ring, i, i+1)
	if m.hand >= i {
		m.hand--
	}
}

// press says that n bytes of small objects came into the RAM tier. If some had to
// go for them, the hand moves, and what is not read gives its place back.
func (m *blocks) press(n int) {
	if m.most == 0 || m.pressing.Add(int64(n)) < memoryBlock {
		return
	}
	m.pressing.Store(0)
	evicted := m.ram.Stats().Evictions
	m.mu.Lock()
	var b *block
	if evicted != m.evicted && len(m.ring) > 0 {
		if b = m.stepLocked(); b != nil {
			m.unlistLocked(b)
			m.removeLocked(b)
		}
	}
	m.evicted = evicted
	m.mu.Unlock()
	if b != nil {
		m.cede(-1)
	}
}

// cede takes n blocks off what the RAM tier has, or gives -n back.
func (m *blocks) cede(n int) {
	if n != 0 {
		m.ram.Cede(int64(n) * memoryBlock)
	}
}
