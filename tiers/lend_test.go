package tiers_test

import (
	"fmt"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/tiers"
)

// What is lent, the RAM tier does without, and fills too.
func TestWhatIsLentComesOutOfTheTiersMemory(t *testing.T) {
	const capacity, fills = 4 << 20, 1 << 20
	cache := tiers.New(tiers.Config{
		Upstream: &objecttest.Memory{}, Classes: &object.Classes{}, RAM: tiers.NewRAM(capacity), FillMemory: fills,
	})
	for i := range 2 * capacity / (32 << 10) {
		key := object.Key(fmt.Sprint("sessions/", i))
		if _, err := cache.Put(t.Context(), key, object.BytesSource(make([]byte, 32<<10)), object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	full := cache.Stats().RAM.Bytes
	if full < capacity*9/10 {
		t.Fatalf("the tier holds %d of %d bytes: it is not full", full, capacity)
	}
	if !cache.Borrow(700<<10) || !cache.Borrow(300<<10) {
		t.Fatal("memory for fills that nobody uses was not lent")
	}
	if cache.Borrow(100 << 10) {
		t.Error("more was lent than fills may have")
	}
	if got := cache.Stats().RAM.Bytes; got > capacity-1000<<10 {
		t.Errorf("the tier holds %d bytes beside %d that are lent, of %d", got, 1000<<10, capacity)
	}
	cache.GiveBack(400 << 10)
	cache.GiveBack(600 << 10)
	if !cache.Borrow(fills) {
		t.Error("what was given back is not lent again")
	}
}
