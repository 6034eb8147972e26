package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/buraksezer/consistent"
	"github.com/cespare/xxhash/v2"
)

// The parameters of the placement; docs/placement.md has the figures that chose
// them. With many points for each member shares are even without a bound on
// them. A bound that takes effect moves keys between members that stayed, and
// makes the successor of a member another one than the next along the circle.
const (
	// partitionCount is large enough that one partition is a small part of the
	// share of a light member in a cluster of 100. The owners take 256 KiB.
	partitionCount = 1 << 17

	// replicationFactor is the number of points on the circle for each unit of
	// a member's weight.
	replicationFactor = 2000

	// libraryPartitions is how many of the partitions the library places, at
	// even distances: it takes a quarter of a microsecond for each. Those
	// between follow from the same points.
	libraryPartitions = 1 << 10

	// libraryUnits is for how many units of weight the library is asked. It
	// sorts all points again for each, which takes seconds for some hundreds.
	// More are placed by the same circle without it; a test holds both to be
	// the same.
	libraryUnits = 8

	// libraryVersion is part of what nodes must agree on: other versions of
	// the library place the same members differently.
	libraryVersion = "buraksezer/consistent v1.0.0"

	// maxMembers is what a table entry can count.
	maxMembers = math.MaxUint16
)

// parameters is a hash of everything besides the members and the secret that
// decides the placement. Nodes that differ in it refuse each other.
func parameters() uint64 {
	return xxhash.Sum64String(fmt.Sprintf("%s, xxhash64 or siphash-2-4, P=%d evenly spaced, R=%d a unit of weight",
		libraryVersion, partitionCount, replicationFactor))
}

// A table says which of a sorted list of members owns each partition. It is
// immutable.
type table struct {
	ids     []string // sorted, unique
	weights []uint8  // by member
	key     placementKey
	epoch   uint64

	owner  []uint16 // by partition: an index into ids; nil if there are none
	counts []int    // partitions by member

	// circle has the members in the order of their points, start the index in
	// it at which each partition begins: see circle.order.
	circle []uint16
	start  []uint32
}

// partition returns the partition of a key.
func (t *table) partition(key string) uint64 { return t.key.hash(key) % partitionCount }

// newTable places the partitions on these members, sorted by ID and unique. The
// library panics on what it does not like.
func newTable(owners []Member, key placementKey) (*table, error) {
	if len(owners) > maxMembers {
		return nil, fmt.Errorf("%d members, at most %d can be placed", len(owners), maxMembers)
	}
	t := &table{key: key, counts: make([]int, len(owners))}
	var all []unit
	for i, m := range owners {
		t.ids, t.weights = append(t.ids, m.ID), append(t.weights, m.weight())
		for n := range m.weight() {
			all = append(all, unit{name: fmt.Sprintf("member %d/%s", n, m.ID), member: uint16(i)})
		}
	}
	t.epoch = t.hash()
	if len(owners) == 0 {
		return t, nil
	}
	c := &circle{hash: key.hash}
	if len(all) > libraryUnits {
		c.ask(all)
		t.circle, t.start = c.order()
		t.own()
		return t, nil
	}
	return t, t.place(all, c)
}

// place fills the table in as the library does.
func (t *table) place(all []unit, c *circle) error {
	members := make([]consistent.Member, len(all))
	for i, u := range all {
		members[i] = u
	}
	library := consistent.New(members, consistent.Config{
		Hasher:            c,
		PartitionCount:    libraryPartitions,
		ReplicationFactor: replicationFactor,
		Load:              float64(len(all)), // no bound: all partitions fit on one
	})
	if err := c.attribute(all); err != nil {
		return err
	}
	t.circle, t.start = c.order()
	t.own()
	for p := range libraryPartitions {
		u, ok := library.GetPartitionOwner(p).(unit)
		if !ok || u.member != t.owner[p*(partitionCount/libraryPartitions)] {
			return errors.New("the placement library has other owners than the circle of its points")
		}
	}
	return nil
}

// own fills in the owners that the circle says.
func (t *table) own() {
	t.owner = make([]uint16, partitionCount)
	t.counts = make([]int, len(t.ids))
	for p, at := range t.start {
		t.owner[p] = t.circle[at]
		t.counts[t.owner[p]]++
	}
}

// keeps reports whether the table's members, with the same weights and key,
// include all of these, sorted by ID.
func (t *table) keeps(owners []Member, key placementKey) bool {
	if t.key != key {
		return false
	}
	for _, m := range owners {
		i, ok := slices.BinarySearch(t.ids, m.ID)
		if !ok || t.weights[i] != m.weight() {
			return false
		}
	}
	return true
}

// without returns the table of the members that stay: the same as newTable would
// make, from the circle at hand.
func (t *table) without(gone func(id string) bool) *table {
	next := &table{key: t.key}
	index := make([]int, len(t.ids)) // by former index, the new one or -1
	for i, id := range t.ids {
		if index[i] = -1; !gone(id) {
			index[i] = len(next.ids)
			next.ids, next.weights = append(next.ids, id), append(next.weights, t.weights[i])
		}
	}
	next.epoch = next.hash()
	if len(next.ids) == 0 {
		return next
	}
	before := make([]uint32, len(t.circle)) // how many of those that stay are before this point
	for i, m := range t.circle {
		before[i] = uint32(len(next.circle))
		if index[m] >= 0 {
			next.circle = append(next.circle, uint16(index[m]))
		}
	}
	next.start = make([]uint32, partitionCount)
	for p, at := range t.start {
		next.start[p] = before[at] % uint32(len(next.circle))
	}
	next.own()
	return next
}

// hash names the placement. Lengths are part of it so that no two lists run
// together into the same bytes.
func (t *table) hash() uint64 {
	buf := binary.LittleEndian.AppendUint64(nil, parameters())
	buf = binary.LittleEndian.AppendUint64(buf, t.key.name)
	for i, id := range t.ids {
		buf = binary.LittleEndian.AppendUint32(buf, uint32(len(id)))
		buf = append(append(buf, id...), t.weights[i])
	}
	return xxhash.Sum64(buf)
}

// A unit of a member's weight is what the library knows as a member. Its points
// are called 0:name, 1:name and so on there, and name is so long that none of
// them is mistaken for a partition.
type unit struct {
	name   string
	member uint16
}

func (u unit) String() string { return u.name }

// along yields the members' indexes from the partition's place on along the
// circle, once round: the owner first, and each again and again.
func (t *table) along(partition uint64) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		at := int(t.start[partition])
		for _, half := range [...][]uint16{t.circle[at:], t.circle[:at]} {
			for _, i := range half {
				if !yield(i) {
					return
				}
			}
		}
	}
}
