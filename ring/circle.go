package ring

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
)

// A circle is where the placement library gets its hashes from. It spreads the
// partitions evenly, and remembers the members' points: the library says who
// owns a partition but not who comes after, or, where it does, something else.
//
// Even spacing takes some of what chance adds out of the shares of a large cluster.
// Partitions at random places are not needed: keys are spread over partitions
// by their hash, and members have their points at random.
type circle struct {
	hash   func(s string) uint64
	points []point // in the order in which the library asked for them
}

type point struct {
	at     uint64
	member uint16
}

// The distances between two partitions on the circle of 2^64, and between two of
// those that the library knows.
const (
	partitionSpacing = (1 << 63) / (partitionCount / 2)
	librarySpacing   = (1 << 63) / (libraryPartitions / 2)
)

// Sum64 is called by the library with a partition's number, of 8 bytes, or with
// a name of a point, which is longer: see unit.
func (c *circle) Sum64(b []byte) uint64 {
	if len(b) == 8 {
		return binary.LittleEndian.Uint64(b) * librarySpacing
	}
	at := c.hash(string(b))
	c.points = append(c.points, point{at: at})
	return at
}

// ask makes the points that the library asks for to place these units.
func (c *circle) ask(all []unit) {
	var name []byte
	for _, u := range all {
		for i := range replicationFactor {
			name = append(append(strconv.AppendInt(name[:0], int64(i), 10), ':'), u.name...)
			c.points = append(c.points, point{at: c.hash(string(name)), member: u.member})
		}
	}
}

// attribute gives the points that the library asked for to the units that they
// are of, in this order.
func (c *circle) attribute(all []unit) error {
	if want := len(all) * replicationFactor; len(c.points) != want {
		return fmt.Errorf("the placement library asked for %d points, want %d", len(c.points), want)
	}
	for i := range c.points {
		c.points[i].member = all[i/replicationFactor].member
	}
	return nil
}

// order returns the members in the order of their points, and for each partition
// the index of the first point at or after it: whoever is there owns it, the
// next one along the circle who is not that member owns it without that member,
// and so on. Where two members have a point at the same place the later member
// counts, as in the library.
func (c *circle) order() (members []uint16, start []uint32) {
	slices.SortFunc(c.points, func(a, b point) int {
		if a.at != b.at {
			return cmp.Compare(a.at, b.at)
		}
		return cmp.Compare(b.member, a.member)
	})
	members = make([]uint16, len(c.points))
	for i, p := range c.points {
		members[i] = p.member
	}
	start = make([]uint32, partitionCount)
	i := 0
	for p := range start {
		for i < len(c.points) && c.points[i].at < uint64(p)*partitionSpacing {
			i++
		}
		start[p] = uint32(i % len(c.points))
	}
	return members, start
}
