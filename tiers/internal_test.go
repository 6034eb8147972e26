package tiers

import (
	"strconv"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
)

// A flight that has been abandoned is about to be cancelled: nobody may follow
// it any more, however they came to know it.
func TestAnAbandonedFlightCannotBeEntered(t *testing.T) {
	c := New(Config{Classes: &object.Classes{}})
	f := c.newFlight(t.Context(), "key", object.GetOptions{})
	f.enter()
	if !f.enter() {
		t.Fatal("a flight under way cannot be entered")
	}
	f.leave()
	f.leave()
	if f.ctx.Err() == nil {
		t.Error("a flight that nobody waits for goes on")
	}
	if f.enter() {
		t.Error("an abandoned flight was entered")
	}
}

func TestAWindowKeepsTheLastChunks(t *testing.T) {
	pool := newChunkPool()
	var w window
	for i := range 10 {
		if w.full() {
			w.shift()
		}
		c := pool.get()
		c.data[0] = byte(i)
		w.push(c)
		for off := range 10 {
			got := w.at(int64(off) * chunkSize)
			if want := off <= i && off > i-windowChunks; (got != nil) != want {
				t.Fatalf("with %d chunks number %d is there: %t, want %t", i+1, off, got != nil, want)
			}
			if got != nil {
				if got.data[0] != byte(off) {
					t.Errorf("chunk %d has the bytes of %d", off, got.data[0])
				}
				got.release()
			}
		}
	}
	held := w.at(9 * chunkSize)
	w.clear()
	if refs := held.refs.Load(); refs != 1 {
		t.Errorf("%d references to a chunk that one reader holds", refs)
	}
	held.release()
}

// More keys than are remembered cost a question, and no memory.
func TestSightingsAreBounded(t *testing.T) {
	f := newFreshness(0)
	now := time.Now()
	for i := range 100_000 {
		key := object.Key(strconv.Itoa(i))
		f.learn(key, f.now(key), sighting{at: now})
		if _, ok := f.last(key); !ok {
			t.Fatalf("%s was just seen", key)
		}
	}
	for i := range f.groups {
		if n := len(f.groups[i].known); n > maxFresh {
			t.Errorf("a group remembers %d keys, at most %d", n, maxFresh)
		}
	}
}
