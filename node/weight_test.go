package node

import "testing"

func TestAWeightIsShownToTheRing(t *testing.T) {
	plain := startNode(t, t.TempDir())
	heavy := startNode(t, t.TempDir(), func(c *Config) { c.Weight = 3 })
	for n, want := range map[*running]int{plain: 1, heavy: 3} {
		if m, ok := n.ring.View().Member(n.ID()); !ok || m.Weight != want {
			t.Errorf("the ring has a weight of %d, want %d", m.Weight, want)
		}
	}
}
