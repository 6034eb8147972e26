package policy

import (
	"container/heap"
	"container/list"
	"math"
)

// An lru evicts what was used longest ago.
type lru struct {
	capacity, used int64
	order          list.List // of item, most recently used first
	items          map[uint64]*list.Element
}

type item struct {
	key    uint64
	weight int64
}

func newLRU(capacity int64) *lru {
	return &lru{capacity: capacity, items: make(map[uint64]*list.Element)}
}

func (c *lru) Get(key uint64) bool {
	el, ok := c.items[key]
	if ok {
		c.order.MoveToFront(el)
	}
	return ok
}

func (c *lru) Set(key uint64, weight int64) {
	if el, ok := c.items[key]; ok {
		c.drop(el)
	}
	if weight > c.capacity {
		return
	}
	for c.used+weight > c.capacity {
		c.drop(c.order.Back())
	}
	c.items[key] = c.order.PushFront(item{key, weight})
	c.used += weight
}

func (c *lru) drop(el *list.Element) {
	it := c.order.Remove(el).(item)
	delete(c.items, it.key)
	c.used -= it.weight
}

func (c *lru) Close() {}

// Optimal returns how many hits nobody can exceed with this many keys: Belady's
// rule ("A study of replacement algorithms for a virtual-storage computer", 1966)
// with the freedom not to keep what comes in.
func Optimal(keys []uint64, capacity int64) (hits int64) {
	next := make([]int, len(keys)) // when a key is asked for again
	seen := make(map[uint64]int)
	for i := len(keys) - 1; i >= 0; i-- {
		next[i] = math.MaxInt
		if at, ok := seen[keys[i]]; ok {
			next[i] = at
		}
		seen[keys[i]] = i
	}
	held := make(map[uint64]int) // and what is held is wanted at
	var order farthest           // the same, and what was true before
	for i, key := range keys {
		if _, ok := held[key]; ok {
			hits++
		}
		held[key] = next[i]
		heap.Push(&order, use{next[i], key})
		for int64(len(held)) > capacity {
			u := heap.Pop(&order).(use)
			if at, ok := held[u.key]; ok && at == u.at {
				delete(held, u.key)
			}
		}
	}
	return hits
}

type use struct {
	at  int
	key uint64
}

// farthest is a heap, what is wanted last on top.
type farthest []use

func (f farthest) Len() int           { return len(f) }
func (f farthest) Less(i, j int) bool { return f[i].at > f[j].at }
func (f farthest) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *farthest) Push(x any)        { *f = append(*f, x.(use)) }
func (f *farthest) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}
