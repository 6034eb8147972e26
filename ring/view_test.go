package ring

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/google/go-cmp/cmp"
)

// serving returns n members that own keys: node-00, node-01, and so on.
func serving(n int) []Member {
	var members []Member
	for i := range n {
		members = append(members, Member{
			ID: fmt.Sprintf("node-%02d", i), Boot: 1, State: Serving,
			PeerAddr: fmt.Sprintf("10.0.0.%d:8081", i+1),
		})
	}
	return members
}

func mustView(t testing.TB, members []Member) *View {
	t.Helper()
	v, err := NewView(members)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A change of these figures moves keys in every running cluster: it must be a
// decision, and come with another libraryVersion.
func TestThePlacementIsTheOneOfEveryOtherNode(t *testing.T) {
	v := mustView(t, serving(5))
	var table []byte
	for _, o := range v.table.owner {
		table = binary.LittleEndian.AppendUint16(table, o)
	}
	if got, want := xxhash.Sum64(table), uint64(0x3ef240497654cf85); got != want {
		t.Errorf("hash of the table: %#x, want %#x", got, want)
	}
	if got, want := v.Epoch(), uint64(0x29c2e1b4ac52fbdc); got != want {
		t.Errorf("epoch: %#x, want %#x", got, want)
	}
	if m, _ := v.Owner("sessions/42/head"); m.ID != "node-01" {
		t.Errorf("owner: %s, want node-01", m.ID)
	}
}

func TestOrderAndDuplicatesDoNotMatter(t *testing.T) {
	members := serving(7)
	members[3].State = Draining
	want := mustView(t, members)
	old := members[2]
	old.Boot, old.PeerAddr = 0, "10.9.9.9:1"
	twin := members[4] // same start, another address: someone must win, the same everywhere
	twin.PeerAddr = "10.0.0.1:1"
	random := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		mixed := append(slices.Clone(members), old, twin, members[0], members[0])
		random.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		before := slices.Clone(mixed)
		got := mustView(t, mixed)
		if got.Epoch() != want.Epoch() || !slices.Equal(got.table.owner, want.table.owner) {
			t.Fatal("the placement depends on the order of the members")
		}
		if diff := cmp.Diff(want.Members(), got.Members()); diff != "" {
			t.Fatalf("members (-want +got):\n%s", diff)
		}
		if !slices.Equal(before, mixed) {
			t.Fatal("NewView changed its argument")
		}
	}
}

func TestOnlyTheServingMembersMakeTheEpoch(t *testing.T) {
	base := mustView(t, serving(3)).Epoch()
	for name, c := range map[string]struct {
		edit func([]Member) []Member
		same bool
	}{
		"another address":  {func(m []Member) []Member { m[1].PeerAddr = "10.1.1.1:1"; return m }, true},
		"another start":    {func(m []Member) []Member { m[1].Boot = 9; return m }, true},
		"a joining member": {func(m []Member) []Member { return append(m, Member{ID: "x", State: Joining}) }, true},
		"a draining one":   {func(m []Member) []Member { m[1].State = Draining; return m }, false},
		"one more":         {func(m []Member) []Member { return append(m, Member{ID: "x", State: Serving}) }, false},
		"one less":         {func(m []Member) []Member { return m[:2] }, false},
		"another id":       {func(m []Member) []Member { m[0].ID = "x"; return m }, false},
	} {
		if got := mustView(t, c.edit(serving(3))).Epoch(); (got == base) != c.same {
			t.Errorf("%s: same epoch %v, want %v", name, got == base, c.same)
		}
	}
	if epoch([]string{"a", "bc"}) == epoch([]string{"ab", "c"}) {
		t.Error("two lists of ids run together into one epoch")
	}
}

func TestNobodyServesNothingIsOwned(t *testing.T) {
	for name, members := range map[string][]Member{
		"no members": nil, "a joining one": {{ID: "a"}}, "a draining one": {{ID: "a", State: Draining}},
	} {
		v := mustView(t, members)
		if m, ok := v.Owner("k"); ok {
			t.Errorf("%s: %q owns a key", name, m.ID)
		}
		if c := v.Candidates("k", 3); len(c) != 0 {
			t.Errorf("%s: candidates %v", name, c)
		}
		if s := v.Share("a"); s != 0 {
			t.Errorf("%s: share %v", name, s)
		}
		if len(v.Members()) != len(members) {
			t.Errorf("%s: not all members are listed", name)
		}
	}
}

func TestUnfitMembersMakeNoView(t *testing.T) {
	for name, members := range map[string][]Member{
		"no id":         {{State: Serving}},
		"unknown state": {{ID: "a", State: 9}},
	} {
		if _, err := NewView(members); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := newTable(make([]string, maxMembers+1)); err == nil {
		t.Error("more members than a table can name: no error")
	}
}

// The bounds are the measured ones with a little room. Run with -v for the
// figures.
func TestAJoinMovesLittleAndSharesAreEven(t *testing.T) {
	const sizes = 30
	old := mustView(t, serving(1))
	for n := 2; n <= sizes; n++ {
		v := mustView(t, serving(n))
		newcomer := fmt.Sprintf("node-%02d", n-1)
		moved, between := 0, 0
		for p := range v.table.owner {
			was, is := old.owners[old.table.owner[p]].ID, v.owners[v.table.owner[p]].ID
			if was != is {
				moved++
				if is != newcomer {
					between++
				}
			}
		}
		least, most, sum := math.Inf(1), 0.0, 0.0
		for _, m := range v.Members() {
			s := v.Share(m.ID)
			least, most, sum = min(least, s), max(most, s), sum+s
		}
		ideal := partitionCount / float64(n)
		t.Logf("%2d members: a join moved %.2f x the ideal, %.2f %% between others; share of the mean %.2f to %.2f",
			n, float64(moved)/ideal, 100*float64(between)/partitionCount, least*float64(n), most*float64(n))
		if r := float64(moved) / ideal; r > 1.20 {
			t.Errorf("%d members: a join moved %.2f times the ideal", n, r)
		}
		if f := float64(between) / partitionCount; f > 0.005 {
			t.Errorf("%d members: a join moved %.2f %% between nodes that stayed", n, 100*f)
		}
		if most*float64(n) > 1.25 || least*float64(n) < 0.70 {
			t.Errorf("%d members: shares are %.2f to %.2f of the mean", n, least*float64(n), most*float64(n))
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Errorf("%d members: shares add up to %v", n, sum)
		}
		old = v
	}
}

func TestALookupAllocatesNothing(t *testing.T) {
	v := mustView(t, serving(10))
	key := "artifacts/sha256:" + strings.Repeat("9f", 32)
	if n := testing.AllocsPerRun(100, func() { v.Owner(key) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestACandidateIsTheOwnerWithoutThoseBeforeIt(t *testing.T) {
	const n = 5
	members := serving(n)
	v := mustView(t, members)
	fresh := map[string]*View{} // made by NewView alone, by the ids in it
	for i := range 200 {
		key := fmt.Sprintf("key-%d", i)
		got := v.Candidates(key, n+2)
		if len(got) != n {
			t.Fatalf("%d candidates of %d members", len(got), n)
		}
		rest := slices.Clone(members)
		for place, c := range got {
			ids := ""
			for _, m := range rest {
				ids += m.ID + " "
			}
			if fresh[ids] == nil {
				fresh[ids] = mustView(t, rest)
			}
			if want, _ := fresh[ids].Owner(key); c != want {
				t.Fatalf("%s: candidate %d is %s, want %s", key, place, c.ID, want.ID)
			}
			rest = slices.DeleteFunc(rest, func(m Member) bool { return m.ID == c.ID })
		}
	}
}

func TestWithoutIsComputedOnceForAll(t *testing.T) {
	v := mustView(t, serving(4))
	var views [8]*View
	var tasks sync.WaitGroup
	for i := range views {
		tasks.Go(func() { views[i] = v.Without("node-01") })
	}
	tasks.Wait()
	for _, w := range views {
		if w != views[0] {
			t.Fatal("callers got different views")
		}
	}
	if a, b := v.Without("node-01").Without("node-02"), v.Without("node-02").Without("node-01"); a != b {
		t.Error("the order of removal makes different views")
	}
	if v.Without("nobody") != v {
		t.Error("a view without a stranger is another view")
	}
	w := v.Without("node-01")
	if _, ok := w.Member("node-01"); ok || len(w.Members()) != 3 || w.Share("node-01") != 0 {
		t.Error("the removed member is still there")
	}
	if w.Epoch() != mustView(t, w.Members()).Epoch() {
		t.Error("the epoch is not that of the members that are left")
	}
	if len(v.Members()) != 4 {
		t.Error("the view itself changed")
	}
}

func TestDerivedViewsAreBounded(t *testing.T) {
	var d derived
	built := 0
	for i := range 2 * maxDerived {
		d.get(fmt.Sprint(i), func() *View { built++; return &View{} })
	}
	if len(d.views) != maxDerived || built != 2*maxDerived {
		t.Errorf("%d views kept of %d, want %d", len(d.views), built, maxDerived)
	}
}

// Members that own nothing come and go without a table being made.
func TestTheTableIsSharedWhileTheOwnersStay(t *testing.T) {
	v := mustView(t, serving(3))
	w, err := newView(append(serving(3), Member{ID: "x"}), v)
	if err != nil || w.table != v.table {
		t.Errorf("another table for the same owners, error %v", err)
	}
	if w.Without("x").table != v.table {
		t.Error("another table without a member that owns nothing")
	}
}

func FuzzNewView(f *testing.F) {
	f.Add([]byte("a,b,c"), "key")
	f.Add([]byte(",,"), "")
	f.Add([]byte("a,a,a,\x01b,\x02c,\x09d"), "\x00")
	f.Fuzz(func(t *testing.T, spec []byte, key string) {
		var members []Member
		for part := range strings.SplitSeq(string(spec), ",") {
			m := Member{ID: part, State: Serving, Boot: uint64(len(part))}
			if part != "" && part[0] < 16 {
				m.State = State(part[0])
			}
			if members = append(members, m); len(members) == 40 {
				break
			}
		}
		v, err := NewView(members)
		if err != nil {
			return
		}
		m, ok := v.Owner(key)
		if candidates := v.Candidates(key, 2); ok != (len(candidates) > 0) || (ok && candidates[0] != m) {
			t.Errorf("owner %v %v, candidates %v", m, ok, candidates)
		}
		if known, found := v.Member(m.ID); ok && (!found || known != m || m.State != Serving) {
			t.Errorf("the owner %v is no serving member", m)
		}
		slices.Reverse(members)
		if mustView(t, members).Epoch() != v.Epoch() {
			t.Error("the epoch depends on the order")
		}
	})
}

func BenchmarkNewView(b *testing.B) {
	for _, n := range []int{3, 10, 100} {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			members := serving(n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := NewView(members); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOwner(b *testing.B) {
	v := mustView(b, serving(10))
	key := "artifacts/sha256:" + strings.Repeat("9f", 24)
	b.ReportAllocs()
	for b.Loop() {
		v.Owner(key)
	}
}

// BenchmarkCandidates measures what a caller pays once the views are there.
func BenchmarkCandidates(b *testing.B) {
	for _, n := range []int{2, 3} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			v := mustView(b, serving(10))
			b.ReportAllocs()
			for b.Loop() {
				v.Candidates("sessions/42/head", n)
			}
		})
	}
}
