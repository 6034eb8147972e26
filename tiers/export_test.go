package tiers

import (
	"log/slog"
	"time"

	"github.com/micelio/micelio/tiers/seglog"
)

// Sizes that tests are cut to.
const (
	ChunkSize   = chunkSize
	WindowSize  = windowChunks * chunkSize
	FinishSmall = finishSmall
	FarAhead    = farAhead
	MinPart     = minPart

	PromotionSlots = promotionSlots
)

// OpenLogOn opens a Log on a disk of the test's own.
func OpenLogOn(disk seglog.FS, dir string, capacity int64) (*Log, error) {
	return openLogOn(disk, dir, LogOptions{Capacity: capacity, Log: slog.New(slog.DiscardHandler), Patience: time.Minute})
}

// MemoryFree reports whether no fill and no write holds memory.
func (c *Cache) MemoryFree() bool {
	if !c.memory.TryAcquire(c.memorySize) {
		return false
	}
	c.memory.Release(c.memorySize)
	return true
}

// WriteRecords returns how many keys are being written.
func (c *Cache) WriteRecords() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.writes)
}

// Questions returns how many keys are being asked about.
func (c *Cache) Questions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.questions)
}

// Blocks returns how many blocks of large objects are in memory, and how many can
// be.
func (c *Cache) Blocks() (held, most int) {
	c.blocks.mu.Lock()
	defer c.blocks.mu.Unlock()
	return len(c.blocks.ring), c.blocks.most
}

// MemoryBlock is the size of one.
const MemoryBlock = memoryBlock
