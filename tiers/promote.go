package tiers

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/micelio/micelio/object"
)

// promotions are the small objects on their way from the disk to memory. Readers
// who come while one is read wait for it, so that thousands of readers of an
// object that only the disk has cost one read and one copy in memory.
type promotions struct {
	slots *semaphore.Weighted

	mu    sync.Mutex // guards the following
	under map[object.Key]*promotion
}

// promotionSlots bounds the objects that are read from the disk into memory at
// once, each with its bytes and a buffer of the disk tier: 48 MiB at most, and
// enough reads to keep a disk busy. They wait for nothing but the disk, and so
// have no part in Cache.memory, which fills may hold for minutes.
const promotionSlots = 32

func newPromotions() *promotions {
	return &promotions{
		slots: semaphore.NewWeighted(promotionSlots), under: make(map[object.Key]*promotion),
	}
}

// A promotion is one object being read.
type promotion struct {
	fence uint64        // from before the copy was looked for
	done  chan struct{} // closed when the following are set
	entry *Entry        // nil if there was no such copy, or it is too large
	left  bool          // its reader has left before it was read
}

// begin returns the promotion of key that readers who find this fence may join,
// or a new one that the caller must end. One from before a write is not for
// those who came after it.
func (p *promotions) begin(key object.Key, fence uint64) (it *promotion, joined bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if it = p.under[key]; it != nil && it.fence == fence {
		return it, true
	}
	it = &promotion{fence: fence, done: make(chan struct{})}
	p.under[key] = it
	return it, false
}

func (p *promotions) end(key object.Key, it *promotion) {
	p.mu.Lock()
	if p.under[key] == it {
		delete(p.under, key)
	}
	p.mu.Unlock()
	close(it.done)
}

// lift returns what the SSD has of key, which was not in RAM: a small object in
// memory, where it then stays, a large one to be read from the disk. It counts as one
// use of the SSD's copy, unless that has been counted: a read counts once.
func (c *Cache) lift(ctx context.Context, key object.Key, counted bool) (holding, error) {
	if c.ram.MaxObject() < 0 || !c.ssd.Has(key) {
		return c.findStored(key, counted), nil
	}
	for {
		it, joined := c.promoting.begin(key, c.fences.of(key).Load())
		if !joined {
			return c.promote(ctx, key, it, counted)
		}
		select {
		case <-it.done:
		case <-ctx.Done():
			return holding{}, ctx.Err()
		}
		switch {
		case it.entry != nil:
			return holding{entry: it.entry, lifted: true}, nil
		case !it.left:
			return c.findStored(key, counted), nil
		}
	}
}

// promote is the reader's part who began a promotion.
func (c *Cache) promote(ctx context.Context, key object.Key, it *promotion, counted bool) (h holding, err error) {
	defer func() {
		it.entry, it.left = h.entry, err != nil
		c.promoting.end(key, it)
	}()
	if c.ram.Has(key) { // another promotion has just ended
		if e, ok := c.ram.Get(key); ok {
			return holdEntry(e), nil
		}
	}
	if err := c.promoting.slots.Acquire(ctx, 1); err != nil {
		return holding{}, err
	}
	defer c.promoting.slots.Release(1)
	s, ok := c.lookStored(key, counted)
	if !ok {
		return holding{}, nil
	}
	if s.Info().Size > c.ram.MaxObject() || !s.Complete() {
		return holding{stored: s, fence: it.fence}, nil
	}
	defer s.Close()
	e, err := c.readSmall(ctx, s)
	if lost(err) {
		return holding{}, nil
	}
	if err != nil {
		return holding{}, err
	}
	c.remember(e, it.fence)
	c.blocks.press(len(e.Bytes))
	return holding{entry: e, lifted: true}, nil
}

// readSmall reads a small copy into memory and proves it. What it takes, the RAM
// tier does without meanwhile.
func (c *Cache) readSmall(ctx context.Context, s Stored) (*Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	info := s.Info()
	if info.Size > BlockSize { // less is no matter, and is read too quickly
		c.ram.Reserve(info.Size)
		defer c.ram.Reserve(-info.Size)
	}
	whole := make([]byte, info.Size)
	for at := int64(0); at < info.Size; {
		n, err := s.ReadAt(whole[at:], at)
		if err != nil {
			return nil, err
		}
		at += int64(n)
	}
	if want := c.digestOf(info); !want.IsZero() && !s.Proven() {
		if object.Digest(sha256.Sum256(whole)) != want {
			return nil, c.disproved(s, object.ErrDigest)
		}
		s.Prove()
	}
	return &Entry{Info: info, Bytes: whole, Born: time.Now().Add(-info.Age)}, nil
}
