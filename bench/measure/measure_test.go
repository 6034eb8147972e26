package measure

import (
	"runtime"
	"testing"
	"time"
)

func TestWorkIsCharged(t *testing.T) {
	var kept [][]byte
	c := Of(100, 100<<10, func() {
		for range 100 {
			kept = append(kept, make([]byte, 1<<10))
		}
		for start, _ := used(); ; {
			if now, _ := used(); now-start >= 10*time.Millisecond {
				break
			}
		}
	})
	if c.CPU() < 10*time.Millisecond || c.AllocsPerOp() < 0.5 || c.Wall <= 0 {
		t.Errorf("the cost is %+v", c)
	}
	if want := c.CPU().Seconds() * (1 << 30) / (100 << 10); c.PerGiB() < 0.99*want || c.PerGiB() > 1.01*want {
		t.Errorf("%.1f s a GiB, want %.1f", c.PerGiB(), want)
	}
	runtime.KeepAlive(kept)
}

func TestTheMedianIsTheMiddle(t *testing.T) {
	ops := func(c Cost) float64 { return float64(c.Ops) }
	if m := Median([]Cost{{Ops: 9}, {Ops: 1}, {Ops: 2}}, ops); m != 2 {
		t.Errorf("the median is %v, want 2", m)
	}
	if m := Median([]Cost{{Ops: 4}, {Ops: 1}, {Ops: 2}, {Ops: 9}}, ops); m != 3 {
		t.Errorf("the median is %v, want 3", m)
	}
}

func TestHeldMemoryIsOnTheHeap(t *testing.T) {
	before := Heap()
	held := make([]byte, 8<<20)
	if grown := Heap() - before; grown < 7<<20 || grown > 10<<20 {
		t.Errorf("8 MiB made the heap grow by %d bytes", grown)
	}
	runtime.KeepAlive(held)
}

func TestACollectionPauses(t *testing.T) {
	if LongestPause(func() {}) < 0 || LongestPause(runtime.GC) <= 0 {
		t.Error("a collection of garbage is said to have taken no time")
	}
}
