package ring

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// grown returns the views of a cluster that had so many members one after the
// other.
func grown(t testing.TB, sizes ...int) []*View {
	t.Helper()
	var views []*View
	for i, n := range sizes {
		v := mustView(t, serving(n))
		if i > 0 {
			v = v.After(views[i-1], time.Now())
		}
		views = append(views, v)
	}
	return views
}

func ids(members []Member) (ids []string) {
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	return ids
}

// What Previous says is compared with what the views before it said when they
// were in force.
func TestPreviousOwnersAreThoseOfTheViewsBefore(t *testing.T) {
	views := grown(t, 3, 4, 6)
	moved := 0
	for i := range 20_000 {
		key := fmt.Sprint("key-", i)
		var want []string
		owner, _ := views[2].Owner(key)
		for _, v := range []*View{views[1], views[0]} {
			if m, _ := v.Owner(key); m.ID != owner.ID && !slices.Contains(want, m.ID) {
				want = append(want, m.ID)
			}
		}
		if got := ids(views[2].Previous(key)); !slices.Equal(got, want) {
			t.Fatalf("%s of %s: %q, want %q", key, owner.ID, got, want)
		}
		if len(want) > 0 {
			moved++
		}
	}
	if moved < 8_000 {
		t.Errorf("%d of 20,000 keys have moved: half of them should", moved)
	}
}

func TestAMemberThatLeftIsNoPreviousOwnerAndADrainingOneIs(t *testing.T) {
	members := serving(4)
	before := mustView(t, members)
	members[3].State = Draining
	draining := mustView(t, members).After(before, time.Now())
	gone := mustView(t, members[:3]).After(draining, time.Now())
	asked := 0
	for i := range 1000 {
		key := fmt.Sprint("key-", i)
		if m, _ := before.Owner(key); m.ID != "node-03" {
			continue
		}
		asked++
		if got := draining.Previous(key); len(got) != 1 || got[0] != members[3] {
			t.Errorf("%s, while its owner drains: %v", key, got)
		}
		if got := gone.Previous(key); len(got) != 0 {
			t.Errorf("%s, when its owner has gone: %v", key, got)
		}
	}
	if asked == 0 {
		t.Error("node-03 owned nothing")
	}
}

func TestAViewForgetsPlacements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		views := grown(t, 2, 3)
		key := ""
		for i := 0; key == "" || len(views[1].Previous(key)) == 0; i++ {
			key = fmt.Sprint("key-", i)
		}
		if at, ok := views[1].Moved(); !ok || !at.Equal(began) {
			t.Errorf("keys moved at %v, %v; want %v", at, ok, began)
		}
		time.Sleep(formerMemory + time.Second)
		if got := views[1].Previous(key); got != nil {
			t.Errorf("after more than %v: %v", formerMemory, got)
		}
		if _, ok := views[1].Moved(); ok {
			t.Errorf("keys have moved lately, after more than %v", formerMemory)
		}
		if v := views[0].After(views[1], time.Now()); len(v.past) != 1 {
			t.Errorf("%d placements are remembered: what is over is carried on", len(v.past))
		}
	})
}

func TestAViewRemembersFewPlacementsAndEachOnce(t *testing.T) {
	sizes := make([]int, 2*maxFormer)
	for i := range sizes {
		sizes[i] = i + 2
	}
	views := grown(t, sizes...)
	last := views[len(views)-1]
	if len(last.past) != maxFormer || last.past[0].table.epoch != views[len(views)-2].Epoch() {
		t.Errorf("%d placements, want the last %d", len(last.past), maxFormer)
	}
	for i := range 2000 {
		if got := last.Previous(fmt.Sprint("key-", i)); len(got) > maxPrevious {
			t.Fatalf("%d members to ask for one key", len(got))
		}
	}
	flapping := grown(t, 3, 4, 3, 4, 3)
	if past := flapping[4].past; len(past) != 1 || past[0].table.epoch != flapping[1].Epoch() {
		t.Errorf("a member that comes and goes leaves %d placements", len(past))
	}
	if v := mustView(t, serving(2)).After(mustView(t, nil), time.Now()); len(v.past) != 0 {
		t.Error("a view remembers when nobody served")
	}
}

// Addresses and members without keys make new views of an old placement.
func TestAViewOfTheSamePlacementRemembersWhatTheOneBeforeDid(t *testing.T) {
	views := grown(t, 3, 4)
	members := serving(4)
	members[0].PeerAddr = "10.0.1.1:8081"
	v := mustView(t, members).After(views[1], time.Now())
	for i := range 1000 {
		key := fmt.Sprint("key-", i)
		if got, want := ids(v.Previous(key)), ids(views[1].Previous(key)); !slices.Equal(got, want) {
			t.Fatalf("%s: %q, before that %q", key, got, want)
		}
	}
}

func TestAskingForPreviousOwnersOfAKeyThatStayedAllocatesNothing(t *testing.T) {
	views := grown(t, 3, 4)
	key := ""
	for i := 0; key == "" || len(views[1].Previous(key)) > 0; i++ {
		key = fmt.Sprint("key-", i)
	}
	if n := testing.AllocsPerRun(1000, func() { views[1].Previous(key) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A node that joins is told of its cluster and begins to serve within the same
// moment. It has to know all the same whose keys it takes.
func TestAJoiningNodeKnowsWhoseKeysItTakes(t *testing.T) {
	rings := startThree(t)
	cfg := quickConfig("d", rings[0].Addr())
	cfg.Self.State = Joining
	cfg.Timing.JoinQuiet, cfg.Timing.JoinWait = time.Hour, time.Hour // it has no view of them when it begins
	joining := start(t, cfg)
	await(t, rings[0], "the new node is seen", func(v *View) bool { return len(v.Members()) == 4 })
	if n := len(joining.View().Members()); n != 1 {
		t.Fatalf("it sees %d members already", n)
	}
	if err := joining.SetState(t.Context(), Serving); err != nil {
		t.Fatal(err)
	}
	before := await(t, rings[0], "four serve", func(v *View) bool { return v.Share("d") > 0 })
	taken := 0
	for i := range 1000 {
		key := fmt.Sprint("key-", i)
		if m, _ := before.Owner(key); m.ID != "d" {
			continue
		}
		taken++
		want, _ := before.Without("d").Owner(key)
		for name, v := range map[string]*View{"the new node": joining.View(), "an old one": before} {
			if got := v.Previous(key); len(got) == 0 || got[0].ID != want.ID {
				t.Fatalf("%s: %s takes it from %q, want %s", key, name, ids(got), want.ID)
			}
		}
	}
	if taken == 0 {
		t.Error("it took nothing")
	}
}

func BenchmarkPrevious(b *testing.B) {
	views := grown(b, 3, 4)
	for _, moved := range []bool{false, true} {
		key := ""
		for i := 0; key == "" || len(views[1].Previous(key)) > 0 != moved; i++ {
			key = fmt.Sprint("key-", i)
		}
		b.Run(fmt.Sprint("moved=", moved), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				views[1].Previous(key)
			}
		})
	}
	b.Run("no change", func(b *testing.B) {
		for b.Loop() {
			views[0].Previous("key")
		}
	})
}

func TestAViewKnowsWhetherItRemembersOneWithoutAMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		view := func(ids ...string) *View {
			var members []Member
			for _, id := range ids {
				members = append(members, Member{ID: id, State: Serving})
			}
			v, err := NewView(members)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		joined := view("a", "b", "c").After(view("a", "b"), time.Now())
		together := view("a", "b", "c").After(view("c"), time.Now())
		if !joined.RemembersWithout("c") || joined.RemembersWithout("a") || together.RemembersWithout("c") || view("a").RemembersWithout("b") {
			t.Error("who came later is not told from who was there before")
		}
		time.Sleep(formerMemory + time.Second)
		if joined.RemembersWithout("c") {
			t.Error("it is remembered for ever")
		}
	})
}
