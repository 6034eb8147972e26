package ring

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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
	if got, want := xxhash.Sum64(table), uint64(0x87e85052fb52199d); got != want {
		t.Errorf("hash of the table: %#x, want %#x", got, want)
	}
	if got, want := v.Epoch(), uint64(0xedc1e391de24824d); got != want {
		t.Errorf("epoch: %#x, want %#x", got, want)
	}
	if m, _ := v.Owner("sessions/42/head"); m.ID != "node-02" {
		t.Errorf("owner: %s, want node-02", m.ID)
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
	for range 3 {
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
	base := mustView(t, serving(3))
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
		"another weight":   {func(m []Member) []Member { m[0].Weight = 2; return m }, false},
		"weight 1, said":   {func(m []Member) []Member { m[0].Weight = 1; return m }, true},
		"another id":       {func(m []Member) []Member { m[0].ID = "x"; return m }, false},
	} {
		v, err := newView(c.edit(serving(3)), base)
		if err != nil {
			t.Fatal(err)
		}
		if same := v.Epoch() == base.Epoch(); same != c.same {
			t.Errorf("%s: same epoch %v, want %v", name, same, c.same)
		}
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
	if _, err := newTable(make([]Member, maxMembers+1), placementKey{}); err == nil {
		t.Error("more members than a table can name: no error")
	}
}

func TestALookupAllocatesNothing(t *testing.T) {
	v := mustView(t, serving(10))
	key := "artifacts/sha256:" + strings.Repeat("9f", 32)
	keyed, err := newView(serving(10), noView(placementKeys{mustKey(t, "secret", "cluster")}))
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]*View{"without a secret": v, "with one": keyed} {
		if n := testing.AllocsPerRun(100, func() { v.Owner(key); v.Successor(key) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
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

func BenchmarkNewView(b *testing.B) {
	for _, n := range []int{3, 10, 30, 100} {
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
	key := "artifacts/sha256:" + strings.Repeat("9f", 32)
	for _, n := range []int{3, 10, 100} {
		for _, secret := range []string{"", "secret"} {
			v := fastView(b, serving(n), mustKey(b, secret, "cluster"))
			b.Run(fmt.Sprintf("members=%d/secret=%v", n, secret != ""), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					v.Owner(key)
				}
			})
		}
	}
}

// BenchmarkWithout measures what a view takes when a member has gone.
func BenchmarkWithout(b *testing.B) {
	for _, n := range []int{3, 10, 100} {
		v := fastView(b, serving(n), placementKey{})
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v.Without("node-01")
			}
		})
	}
}

func BenchmarkSuccessor(b *testing.B) {
	v := fastView(b, serving(10), placementKey{})
	b.ReportAllocs()
	for b.Loop() {
		v.Successor("sessions/42/head")
	}
}

func BenchmarkCandidates(b *testing.B) {
	for _, n := range []int{2, 3} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			v := fastView(b, serving(10), placementKey{})
			b.ReportAllocs()
			for b.Loop() {
				v.Candidates("sessions/42/head", n)
			}
		})
	}
}
