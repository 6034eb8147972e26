package ring

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/buraksezer/consistent"
	"github.com/cespare/xxhash/v2"
)

// fastTable is the placement without the library, which makes tests with a
// hundred members possible.
func fastTable(owners []Member, key placementKey) *table {
	t := &table{key: key}
	var all []unit
	for i, m := range owners {
		t.ids, t.weights = append(t.ids, m.ID), append(t.weights, m.weight())
		for n := range m.weight() {
			all = append(all, unit{name: fmt.Sprintf("member %d/%s", n, m.ID), member: uint16(i)})
		}
	}
	c := &circle{hash: key.hash}
	c.ask(all)
	t.epoch = t.hash()
	t.circle, t.start = c.order()
	t.own()
	return t
}

// fastView is the view of these serving members by fastTable.
func fastView(t testing.TB, members []Member, key placementKey) *View {
	t.Helper()
	members = unique(members)
	return &View{members: members, owners: members, table: fastTable(members, key)}
}

// named returns serving members with these IDs.
func named(ids ...string) (members []Member) {
	for _, id := range ids {
		members = append(members, Member{ID: id, State: Serving})
	}
	return members
}

// names are the ways in which nodes are called: what they have in common must
// not show in their shares.
func names(n int) map[string][]string {
	random := rand.New(rand.NewPCG(3, 4))
	ids := map[string][]string{}
	for i := range n {
		ids["pods"] = append(ids["pods"], fmt.Sprintf("micelio-%d", i))
		ids["addresses"] = append(ids["addresses"], fmt.Sprintf("ip-10-0-%d-%d.eu-west-1.compute.internal", i%7, i))
		ids["random"] = append(ids["random"], fmt.Sprintf("%016x", random.Uint64()))
	}
	return ids
}

func TestTheCircleIsThatOfTheLibrary(t *testing.T) {
	weighted := serving(6)
	weighted[0].Weight, weighted[4].Weight = 3, 2
	for name, c := range map[string]struct {
		owners []Member
		secret string
	}{
		"one": {serving(1), ""}, "two": {serving(2), ""}, "as many as the library is asked for": {serving(libraryUnits), ""},
		"keyed":    {serving(4), "secret"},
		"weighted": {weighted, ""}, "points that are as long as a partition's number": {named("", "a", "ab", "abc", "abcd"), ""},
	} {
		got, err := newTable(c.owners, mustKey(t, c.secret, "cluster"))
		if err != nil {
			t.Fatal(err)
		}
		sameTable(t, name, got, fastTable(c.owners, mustKey(t, c.secret, "cluster")))
	}
}

// The library is asked for few of the partitions. It has no other owners for the
// rest.
func TestAllPartitionsAreWhereTheLibraryHasThem(t *testing.T) {
	owners := serving(5)
	var members []consistent.Member
	for i, m := range owners {
		members = append(members, unit{name: "member 0/" + m.ID, member: uint16(i)})
	}
	library := consistent.New(members, consistent.Config{
		Hasher: fineHasher{}, PartitionCount: partitionCount, ReplicationFactor: replicationFactor, Load: float64(len(members)),
	})
	for p, got := range mustView(t, owners).table.owner {
		if want := library.GetPartitionOwner(p).(unit).member; got != want {
			t.Fatalf("partition %d belongs to %d, want %d", p, got, want)
		}
	}
}

// fineHasher puts all partitions on the circle of the library.
type fineHasher struct{}

func (fineHasher) Sum64(b []byte) uint64 {
	if len(b) == 8 {
		return binary.LittleEndian.Uint64(b) * partitionSpacing
	}
	return xxhash.Sum64(b)
}

func sameTable(t *testing.T, name string, got, want *table) {
	t.Helper()
	if !slices.Equal(got.owner, want.owner) || !slices.Equal(got.circle, want.circle) || !slices.Equal(got.start, want.start) ||
		!slices.Equal(got.counts, want.counts) || got.epoch != want.epoch || !slices.Equal(got.ids, want.ids) || !slices.Equal(got.weights, want.weights) {
		t.Errorf("%s: another table than placing the members anew gives", name)
	}
}

// The bounds are the measured ones with a little room: docs/placement.md. Run
// with -v for the figures.
func TestOneMemberMoreOrLessMovesOnlyItsOwnKeys(t *testing.T) {
	for name, ids := range names(100) {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(5, 6))
			random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
			with := fastView(t, named(ids...), placementKey{})
			worst, least, most := 0.0, 1.0, 1.0
			for n := len(ids); n > 1; {
				step := moved(t, with, with.Without(ids[n-1]), ids[n-1]) * float64(n)
				low, high := spread(with)
				worst, least, most = max(worst, step), min(least, low), max(most, high)
				if step > 1.10 {
					t.Errorf("%d members: a join moves %.2f times the ideal", n, step)
				}
				if high > 1.10 || low < 0.90 {
					t.Errorf("%d members: shares are %.2f to %.2f of the ideal", n, low, high)
				}
				if n--; n > 10 {
					n = n * 3 / 4
				}
				with = of(t, with, ids[:n]...)
			}
			t.Logf("a join moves up to %.2f times the ideal, nothing between others; shares are %.2f to %.2f of it", worst, least, most)
		})
	}
}

// of returns the view of these members of v.
func of(t testing.TB, v *View, ids ...string) *View {
	t.Helper()
	var members []Member
	for _, id := range ids {
		m, ok := v.Member(id)
		if !ok {
			t.Fatalf("no member %s", id)
		}
		members = append(members, m)
	}
	w, err := newView(members, v)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// moved returns which part of the keys have another owner without a member, all
// of which must have been its own.
func moved(t testing.TB, with, without *View, id string) float64 {
	t.Helper()
	n := 0
	for p := range with.table.owner {
		had, has := with.table.ids[with.table.owner[p]], without.table.ids[without.table.owner[p]]
		if had != id && has != had {
			t.Fatalf("%d members: partition %d goes from %s to %s when %s joins", len(with.table.ids), p, has, had, id)
		}
		if has != had {
			n++
		}
	}
	return float64(n) / partitionCount
}

// spread returns the least and the largest share, as multiples of what the
// member's weight asks for.
func spread(v *View) (least, most float64) {
	total := 0
	for _, m := range v.owners {
		total += int(m.weight())
	}
	least = math.Inf(1)
	for _, m := range v.owners {
		share := v.Share(m.ID) * float64(total) / float64(m.weight())
		least, most = min(least, share), max(most, share)
	}
	return least, most
}

func TestSharesFollowTheWeights(t *testing.T) {
	for name, ids := range names(100) {
		if name != "random" {
			ids = ids[:20] // a hundred take long, and are in docs/placement.md
		}
		for shape, weight := range map[string]func(i int) int{
			"one of ten":  func(i int) int { return 1 + 9*b2i(i == 1) },
			"one to four": func(i int) int { return 1 + i%4 },
		} {
			members := named(ids...)
			for i := range members {
				members[i].Weight = weight(i)
			}
			v := fastView(t, members, placementKey{})
			for _, n := range []int{100, 30, 20, 10, 5, 3, 2} {
				if n > len(ids) {
					continue
				}
				v = of(t, v, ids[:n]...)
				least, most := spread(v)
				t.Logf("%s, %s, %d members: %.2f to %.2f", name, shape, n, least, most)
				if least < 0.90 || most > 1.10 {
					t.Errorf("%s, %s: the shares of %d members are %.2f to %.2f of what their weights ask for", name, shape, n, least, most)
				}
			}
		}
	}
}

// b2i is 1 for true.
func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestAnotherWeightMovesKeysOnlyToOrFromThatMember(t *testing.T) {
	members := serving(9)
	members[4].Weight = 2
	light := fastView(t, members, placementKey{})
	for weight := 3; weight <= MaxWeight; weight++ {
		members[4].Weight = weight
		heavy := fastView(t, members, placementKey{})
		for p, had := range light.table.owner {
			if has := heavy.table.owner[p]; has != had && has != 4 {
				t.Fatalf("weight %d: partition %d goes from %d to %d", weight, p, had, has)
			}
		}
		if heavy.Share("node-04") <= light.Share("node-04") {
			t.Errorf("weight %d owns %v, less than before", weight, heavy.Share("node-04"))
		}
		light = heavy
	}
}

// Each step makes its view of the one before, as a ring does. None may show.
func TestAViewDoesNotDependOnTheViewsBefore(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	key := mustKey(t, "secret", "cluster")
	keys := placementKeys{key}
	view := noView(keys)
	all := serving(6)
	for step := range 30 {
		for i := range all {
			switch random.IntN(6) {
			case 0:
				all[i].State = State(random.IntN(3))
			case 1:
				all[i].State = Draining
			case 2:
				all[i].Weight = random.IntN(3)
			}
		}
		var present, owners []Member
		for _, m := range all {
			if random.IntN(5) > 0 {
				if present = append(present, m); m.State == Serving {
					owners = append(owners, m)
				}
			}
		}
		next, err := newView(present, view)
		if err != nil {
			t.Fatal(err)
		}
		if len(owners) > 0 {
			sameTable(t, fmt.Sprint("step ", step), next.table, fastTable(owners, key))
		} else if next.table.epoch != noView(keys).table.epoch {
			t.Errorf("step %d: nobody serves, in another epoch than before anybody did", step)
		}
		view = next
	}
}

func TestACandidateIsTheOwnerWithoutThoseBeforeIt(t *testing.T) {
	members := serving(5)
	members[3].Weight, members[4].Weight = 4, 2
	v := fastView(t, members, mustKey(t, "secret", "cluster"))
	fresh := map[string]*View{} // placed anew, by the ids in it
	for i := range 60 {
		key := fmt.Sprintf("key-%d", i)
		got := v.Candidates(key, len(members)+2)
		if len(got) != len(members) {
			t.Fatalf("%d candidates of %d members", len(got), len(members))
		}
		if next, ok := v.Successor(key); !ok || next != got[1] {
			t.Errorf("%s: the successor is %s, the second candidate %s", key, next.ID, got[1].ID)
		}
		rest := slices.Clone(members)
		for place, c := range got[:len(got)-1] {
			at := strings.Join(idsOf(rest), " ")
			if fresh[at] == nil {
				fresh[at] = fastView(t, rest, v.table.key)
			}
			if want, _ := fresh[at].Owner(key); c != want {
				t.Fatalf("%s: candidate %d is %s, want %s", key, place, c.ID, want.ID)
			}
			rest = slices.DeleteFunc(rest, func(m Member) bool { return m.ID == c.ID })
		}
	}
	if m, ok := mustView(t, serving(1)).Successor("k"); ok {
		t.Errorf("%s succeeds the only member", m.ID)
	}
	if m, ok := mustView(t, nil).Successor("k"); ok {
		t.Errorf("%s succeeds nobody", m.ID)
	}
}

func idsOf(members []Member) (ids []string) {
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	return ids
}

func TestAViewWithoutAMemberIsTheOneOfTheOthers(t *testing.T) {
	members := serving(5)
	members[2].Weight = 3
	members[4].State = Draining
	v := mustView(t, members)
	for i, gone := range members {
		w := v.Without(gone.ID)
		rest := slices.Delete(slices.Clone(members), i, i+1)
		want := mustView(t, rest)
		sameTable(t, gone.ID, w.table, want.table)
		if !slices.Equal(w.Members(), want.Members()) || !slices.Equal(w.owners, want.owners) || w.Share(gone.ID) != 0 {
			t.Errorf("without %s: members %v", gone.ID, w.Members())
		}
	}
	none := v
	for _, m := range members {
		none = none.Without(m.ID)
	}
	if _, ok := none.Owner("k"); ok || none.Epoch() != mustView(t, nil).Epoch() {
		t.Error("a view without anybody has an owner, or an epoch of its own")
	}
	if v.Without("nobody") != v || len(v.Members()) != len(members) {
		t.Error("a view without a stranger is another view, or the view itself changed")
	}
}

// While a secret is changed node by node, all have one placement at any time.
func TestAllPlaceByTheSecretOfOneMember(t *testing.T) {
	old, next := mustKey(t, "old", "c"), mustKey(t, "new", "c")
	for changed := range 4 {
		members := serving(3)
		for i := range members {
			members[i].PlacementKey = old.name
			if i < changed {
				members[i].PlacementKey = next.name
			}
		}
		want := old
		if changed > 0 {
			want = next
		}
		for _, keys := range []placementKeys{{old, next}, {next, old}} {
			v, err := newView(members, noView(keys))
			if err != nil {
				t.Fatal(err)
			}
			if v.table.key != want {
				t.Errorf("%d of 3 have the new secret: a node with %x first places by %x, want %x",
					changed, keys.own(), v.table.key.name, want.name)
			}
		}
	}
}

func TestTheSecretIsPartOfPlacementAndEpoch(t *testing.T) {
	members := serving(5)
	views := []*View{fastView(t, members, placementKey{})}
	for _, secret := range []string{"one", "two"} {
		views = append(views, fastView(t, members, mustKey(t, secret, "c")))
	}
	for i, v := range views {
		w := views[(i+1)%len(views)]
		same := 0
		for k := range 1000 {
			a, _ := v.Owner(fmt.Sprint(k))
			b, _ := w.Owner(fmt.Sprint(k))
			same += b2i(a == b)
		}
		if v.Epoch() == w.Epoch() || same > 300 { // a fifth by chance
			t.Errorf("secrets %d and %d: same epoch %v, %d of 1000 keys have the same owner", i, i+1, v.Epoch() == w.Epoch(), same)
		}
	}
}

func FuzzPlacement(f *testing.F) {
	f.Add([]byte("a\x00\x01\x01 b\x00\x01\x02 c\x00\x01\x00"), "key", "")
	f.Add([]byte("\x00\x01\x01"), "", "secret")
	f.Add([]byte("a\x00\x01\x01 a\x00\x01\x03 a\x01\x02\x03 b\x00\x00\x01 c\x00\x02\x01 d\x00\x09\x01"), "\x00", "s")
	f.Add([]byte("a\x00\x01\xff b\x00\x01\x0b"), "k", "")
	f.Fuzz(func(t *testing.T, spec []byte, key, secret string) {
		var members []Member
		for part := range strings.SplitSeq(string(spec), " ") {
			if len(part) < 3 || len(members) == 12 {
				continue
			}
			tail := part[len(part)-3:]
			members = append(members, Member{ID: part[:len(part)-3], Boot: uint64(tail[0]), State: State(tail[1]), Weight: int(int8(tail[2]))})
		}
		keys := placementKeys{mustKey(t, secret, "c")}
		v, err := newView(members, noView(keys))
		fit := !slices.ContainsFunc(members, func(m Member) bool { return m.ID == "" || !m.State.valid() })
		if fit != (err == nil) {
			t.Fatalf("%v: error %v", members, err)
		}
		if err != nil {
			return
		}
		owner, ok := v.Owner(key)
		candidates := v.Candidates(key, len(members)+1)
		if len(candidates) != len(v.owners) || ok != (len(v.owners) > 0) || ok && candidates[0] != owner {
			t.Fatalf("owner %v %v, candidates %v, %d serve", owner, ok, candidates, len(v.owners))
		}
		if known, found := v.Member(owner.ID); ok && (!found || known != owner || owner.State != Serving) {
			t.Errorf("the owner %v is no serving member", owner)
		}
		sum := 0.0
		for _, m := range v.Members() {
			sum += v.Share(m.ID)
		}
		if math.Abs(sum-float64(b2i(ok))) > 1e-9 {
			t.Errorf("shares add up to %v", sum)
		}
		slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(b.Boot, a.Boot) })
		again, err := newView(members, v.Without(owner.ID))
		if err != nil || again.Epoch() != v.Epoch() || !slices.Equal(again.table.owner, v.table.owner) {
			t.Errorf("another view after one without %q, error %v", owner.ID, err)
		}
	})
}
