package tiers

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/micelio/micelio/object"
)

// Among thousands of objects that are read now and then, those that are read
// often are found, and what was read often once is forgotten.
func TestWhatIsReadMostIsCountedAmongMuchElse(t *testing.T) {
	var m mostRead
	rng := rand.New(rand.NewPCG(1, 2))
	name := func(kind string, i int) object.Key { return object.Key(fmt.Sprint(kind, "/", i)) }
	for _, era := range []string{"old", "new"} {
		for range 20_000 {
			if rng.IntN(4) == 0 {
				m.note(name(era, rng.IntN(20)), 1)
			} else {
				m.note(name("any", rng.IntN(1_000_000)), 1)
			}
		}
		top := m.top()
		if len(top) != mostReadKeys {
			t.Fatalf("%d objects are counted", len(top))
		}
		found := map[object.Key]bool{}
		for _, h := range top[:20] {
			found[h.Key] = true
		}
		for i := range 20 {
			if !found[name(era, i)] {
				t.Errorf("%s is not among the first 20 of %v", name(era, i), era)
			}
		}
	}
}
