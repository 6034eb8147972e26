package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/buraksezer/consistent"
	"github.com/cespare/xxhash/v2"
)

// The parameters of the placement. With them a node that joins up to 29 others
// moves 0.89 to 1.11 times the mean share and no key between those, and the
// largest share is 1.05 to 1.24 times the mean. Many replicas and a loose bound
// give both; a tight bound balances better and pays with keys that move between
// nodes that stayed.
const (
	// partitionCount is prime, and large enough that one partition is a small
	// part of a node's share in a cluster of 100. The table takes 32 KiB.
	partitionCount = 16381

	// replicationFactor is the number of points each member has on the circle.
	replicationFactor = 200

	// loadFactor bounds a member's partitions to this multiple of the mean.
	loadFactor = 1.25

	// libraryVersion is part of what nodes must agree on: other versions of
	// the library place the same members differently.
	libraryVersion = "buraksezer/consistent v1.0.0"

	// maxMembers is what a table entry can count.
	maxMembers = math.MaxUint16
)

// parameters is a hash of everything besides the members that decides the
// placement. Nodes that differ in it refuse each other.
func parameters() uint64 {
	return xxhash.Sum64String(fmt.Sprintf("%s xxhash64 P=%d R=%d L=%v",
		libraryVersion, partitionCount, replicationFactor, loadFactor))
}

// partition returns the partition of a key.
func partition(key string) uint64 { return xxhash.Sum64String(key) % partitionCount }

// A table says which of a sorted list of members owns each partition. It is
// immutable.
type table struct {
	ids    []string // sorted, unique
	owner  []uint16 // by partition: an index into ids; nil if there are none
	counts []int    // partitions by member
	epoch  uint64
}

// newTable places the partitions on the members with these sorted, unique IDs.
// The library is thrown away afterwards: a lookup in the copy is twice as fast
// and takes no lock. Whatever the library panics on is returned as an error.
func newTable(ids []string) (t *table, err error) {
	if len(ids) > maxMembers {
		return nil, fmt.Errorf("%d members, at most %d can be placed", len(ids), maxMembers)
	}
	t = &table{ids: ids, counts: make([]int, len(ids)), epoch: epoch(ids)}
	if len(ids) == 0 {
		return t, nil
	}
	defer func() {
		if p := recover(); p != nil {
			t, err = nil, fmt.Errorf("placing %d members: %v", len(ids), p)
		}
	}()
	members := make([]consistent.Member, len(ids))
	for i, id := range ids {
		members[i] = placed{id: id, index: uint16(i)}
	}
	library := consistent.New(members, consistent.Config{
		Hasher:            hasher{},
		PartitionCount:    partitionCount,
		ReplicationFactor: replicationFactor,
		Load:              loadFactor,
	})
	t.owner = make([]uint16, partitionCount)
	for p := range t.owner {
		m, ok := library.GetPartitionOwner(p).(placed)
		if !ok {
			return nil, fmt.Errorf("placing %d members: partition %d has no owner", len(ids), p)
		}
		t.owner[p] = m.index
		t.counts[m.index]++
	}
	bound := int(math.Ceil(partitionCount / float64(len(ids)) * loadFactor))
	if slices.Max(t.counts) > bound {
		return nil, errors.New("placement exceeds its load bound")
	}
	return t, nil
}

// epoch names the placement of ids. Lengths are part of the hash so that no two
// lists run together into the same bytes.
func epoch(ids []string) uint64 {
	buf := binary.LittleEndian.AppendUint64(nil, parameters())
	for _, id := range ids {
		buf = binary.LittleEndian.AppendUint32(buf, uint32(len(id)))
		buf = append(buf, id...)
	}
	return xxhash.Sum64(buf)
}

// placed is a member as the library wants it.
type placed struct {
	id    string
	index uint16
}

func (p placed) String() string { return p.id }

type hasher struct{}

func (hasher) Sum64(b []byte) uint64 { return xxhash.Sum64(b) }
