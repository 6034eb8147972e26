package tiers

import (
	"cmp"
	"slices"
	"sync"

	"github.com/micelio/micelio/object"
)

// A Held is an object that the tiers have.
type Held struct {
	Key  object.Key
	Size int64
}

// Hottest returns up to n objects that the tiers have, or had a moment ago, and
// whose bytes never change: first those in memory, the most asked for first,
// then the large ones that were read most from the disk. Small ones that only
// the disk has are not hot, or they would have moved up.
func (c *Cache) Hottest(n int) []Held {
	hottest := slices.DeleteFunc(c.ram.Hottest(n), func(h Held) bool { return !c.lasting(h.Key) })
	large := slices.DeleteFunc(c.largest.top(), func(h Held) bool { return !c.ssd.Has(h.Key) })
	return append(hottest, large[:min(len(large), n-len(hottest))]...)
}

// mostRead counts the reads of large objects, approximately and for few of them:
// the "space saving" summary of Metwally, Agrawal and El Abbadi (2005). One that
// is read more often than the mostReadKeys-th part of all reads is among them.
type mostRead struct {
	mu     sync.Mutex // guards the following
	counts map[object.Key]*readCount
	reads  int
}

type readCount struct {
	size  int64
	count int
}

const (
	// mostReadKeys bounds the objects that are counted. Large ones are read in
	// milliseconds at best, so that looking at all of them for one does not show.
	mostReadKeys = 256

	// mostReadAge is after how many reads all counts are halved: what was read
	// much yesterday gives way to what is read now.
	mostReadAge = 16 * mostReadKeys
)

// note counts a read.
func (m *mostRead) note(key object.Key, size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reads++; m.reads >= mostReadAge {
		m.reads = 0
		for _, c := range m.counts {
			c.count /= 2
		}
	}
	if c := m.counts[key]; c != nil {
		c.count++
		return
	}
	if m.counts == nil {
		m.counts = make(map[object.Key]*readCount)
	}
	next := &readCount{size: size, count: 1}
	if len(m.counts) >= mostReadKeys {
		least, rare := object.Key(""), (*readCount)(nil)
		for k, c := range m.counts {
			if rare == nil || c.count < rare.count {
				least, rare = k, c
			}
		}
		delete(m.counts, least)
		next.count += rare.count // it may have been read as often without being counted
	}
	m.counts[key] = next
}

// top returns what is counted, the most read first.
func (m *mostRead) top() []Held {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []object.Key
	for k := range m.counts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b object.Key) int {
		return cmp.Or(cmp.Compare(m.counts[b].count, m.counts[a].count), cmp.Compare(a, b))
	})
	var top []Held
	for _, k := range keys {
		top = append(top, Held{k, m.counts[k].size})
	}
	return top
}
