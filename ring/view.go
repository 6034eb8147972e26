package ring

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// A View is one state of the cluster: its members and who of them owns which
// key. It never changes and is safe for concurrent use.
type View struct {
	members []Member // all, sorted by ID
	owners  []Member // the serving ones, sorted by ID: what table's entries index
	table   *table
	past    []former // the placements before, latest first: see After

	// removed are the members that Without took out of the view it all began
	// with, sorted; derived is shared by all views that came of that one.
	removed []string
	derived *derived
}

// NewView returns the view of these members. Only Serving members own keys. Of
// several entries with one ID the one with the largest Boot counts, whatever
// their order. It fails for an empty ID, an unknown state, and for a set that
// cannot be placed.
//
// It costs about 5 ms of CPU time for 3 members, 16 for 30 and 170 for 100.
func NewView(members []Member) (*View, error) { return newView(members, nil) }

// newView is NewView that takes over the table of prev, if not nil, when the
// same members own keys in both.
func newView(members []Member, prev *View) (*View, error) {
	var errs []error
	for _, m := range members {
		if m.ID == "" {
			errs = append(errs, errors.New("a member has no id"))
		}
		if !m.State.valid() {
			errs = append(errs, fmt.Errorf("member %q has unknown state %d", m.ID, m.State))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("ring: new view: %w", err)
	}
	v := &View{members: unique(members), derived: &derived{}}
	var ids []string
	for _, m := range v.members {
		if m.State == Serving {
			v.owners = append(v.owners, m)
			ids = append(ids, m.ID)
		}
	}
	if prev != nil && slices.Equal(prev.table.ids, ids) {
		v.table = prev.table
		return v, nil
	}
	t, err := newTable(ids)
	if err != nil {
		return nil, fmt.Errorf("ring: new view: %w", err)
	}
	v.table = t
	return v, nil
}

// Epoch names the placement: a hash of the library's version, its parameters
// and the sorted IDs of the members that own keys. Views with equal epochs give
// every key the same owner.
//
// Addresses, boots and members that own nothing are not part of it. They do not
// move keys, and nodes learn of them at different moments; so nodes agree on
// the epoch as soon as they agree on the owners.
func (v *View) Epoch() uint64 { return v.table.epoch }

// Members returns all known members, also those that own nothing, sorted by
// ID. Callers must not modify the slice.
func (v *View) Members() []Member { return v.members }

// Member returns the member with this ID.
func (v *View) Member(id string) (Member, bool) {
	i, ok := find(v.members, id)
	if !ok {
		return Member{}, false
	}
	return v.members[i], true
}

// Owner returns the member that owns the key, false if nobody serves. It does
// not allocate.
func (v *View) Owner(key string) (Member, bool) {
	if len(v.owners) == 0 {
		return Member{}, false
	}
	return v.owners[v.table.owner[partition(key)]], true
}

// Share returns which part of the key space the member owns, 0 to 1. It is 0
// for a member that is not known or not serving.
func (v *View) Share(id string) float64 {
	i, ok := find(v.owners, id)
	if !ok {
		return 0
	}
	return float64(v.table.counts[i]) / partitionCount
}

// Candidates returns up to n different members to ask for the key: its owner,
// then the one that would own it if the owner were gone, then the one that
// would if both were, and so on. It is shorter than n when fewer serve.
//
// The successors are exact, which no walk along the circle gives: the load
// bound moves partitions, and each of an owner's partitions may have another
// successor. So each needs the view Without those before it, computed when first
// asked for and then kept. Ask for Owner first, and for Candidates when it
// failed.
func (v *View) Candidates(key string, n int) []Member {
	n = min(n, len(v.owners))
	if n <= 0 {
		return nil
	}
	out := make([]Member, 0, n)
	for at := v; ; {
		m, ok := at.Owner(key)
		if !ok {
			return out
		}
		if out = append(out, m); len(out) == n {
			return out
		}
		at = at.Without(m.ID)
	}
}

// Without returns the view without this member; v itself if it is not known.
// The first call for an owner costs as much as NewView, later ones a map
// lookup. Callers that ask at the same time wait for one computation. Should a
// set of members have no placement, the result has no owners.
func (v *View) Without(id string) *View {
	gone, ok := find(v.members, id)
	if !ok {
		return v
	}
	at, _ := slices.BinarySearch(v.removed, id)
	removed := slices.Insert(slices.Clone(v.removed), at, id)
	return v.derived.get(strings.Join(removed, "\x00"), func() *View {
		rest := slices.Delete(slices.Clone(v.members), gone, gone+1)
		w, err := newView(rest, v)
		if err != nil {
			w = &View{members: rest, table: &table{}}
		}
		w.removed, w.derived = removed, v.derived
		return w
	})
}

// find returns the index of the member with this ID in a list sorted by ID.
func find(members []Member, id string) (int, bool) {
	return slices.BinarySearchFunc(members, id, func(m Member, id string) int {
		return strings.Compare(m.ID, id)
	})
}

// maxDerived bounds the derived views kept for one view: 256 tables of 32 KiB
// are 8 MiB. That holds every owner's successors twice over in a cluster of 100.
const maxDerived = 256

// derived holds the views that came of one by Without, by what was removed.
type derived struct {
	mu    sync.Mutex // guards views, not their computation
	views map[string]func() *View
}

// get returns the view for this set of removed members, which build makes at
// most once while it is kept. A full cache drops any one: which does not matter
// to the result, only to how often it is computed.
func (d *derived) get(removed string, build func() *View) *View {
	d.mu.Lock()
	view, ok := d.views[removed]
	if !ok {
		if len(d.views) >= maxDerived {
			for old := range d.views {
				delete(d.views, old)
				break
			}
		}
		if d.views == nil {
			d.views = make(map[string]func() *View)
		}
		view = sync.OnceValue(build)
		d.views[removed] = view
	}
	d.mu.Unlock()
	return view()
}
