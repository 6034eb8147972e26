package s3fifo

import "testing"

func TestTheHottestAreThoseAskedForMost(t *testing.T) {
	c := newCache(1000, 4)
	for key := range 400 {
		c.Set(item{key, 0}, 1)
	}
	for key := range 100 {
		for range key % 4 {
			c.Get(key)
		}
	}
	before := c.Stats()
	hottest := c.Hottest(60)
	if len(hottest) != 60 {
		t.Fatalf("%d values, want 60", len(hottest))
	}
	for i, v := range hottest {
		want := 3
		if i >= 25 {
			want = 2
		}
		if i >= 50 {
			want = 1
		}
		if v.key >= 100 || v.key%4 != want {
			t.Errorf("number %d is %d, which was asked for %d times: want %d", i, v.key, v.key%4, want)
		}
	}
	if got := c.Hottest(1000); len(got) != 400 {
		t.Errorf("of 400 values %d are named", len(got))
	}
	if after := c.Stats(); after != before {
		t.Errorf("stats %+v, before that %+v", after, before)
	}
	check(t, c)
}
