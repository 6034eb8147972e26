package node

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
)

// An interleaving is one row of the table of what may be read when: how it is
// played with a mutable key, in one or more ways, and with an immutable one, nil
// where it has no such case.
type interleaving struct {
	name      string
	mutable   []func(*rowRig)
	immutable []func(*rowRig)
	fenced    bool // holds for a cache that never asks, too, where all agree on the ring
	ssd       bool
	front     func(object.Store) object.Store // what stands before the authority, nil: nothing
}

type plays = []func(*rowRig)

// interleavings is the table. One row is elsewhere, and two are not only here:
//
//   - 25: TestInterleavingsBehindACDN.
//   - 23, with parts that are real requests of origin.S3: in package origin, the
//     test TestACacheFillsALargeObjectInPartsOfOneVersion and its neighbours.
//   - 26, through HTTP: in package gateway, the tests of uploads.
//
// In row 22 no clock goes backwards, which a bubble cannot do: that of the
// authority and the times on the disks are a day off instead.
func interleavings() []interleaving {
	const day = 24 * time.Hour
	return []interleaving{
		{name: "01 a read begins before a write and ends before the write ends", mutable: plays{row01Cold, row01Warm}, fenced: true},
		{name: "02 a read after the acknowledgement, through the same node", mutable: plays{row02}, immutable: plays{rowBytes}, fenced: true},
		{name: "03 a read after the acknowledgement, through a node with another view", mutable: plays{row03}, immutable: plays{rowBytes}, fenced: true},
		{name: "04 a fill from before a write is answered after it", mutable: plays{row04(after), row04(midway)}, fenced: true},
		{name: "05 a read arrives after the acknowledgement while an old fill still streams", mutable: plays{row05}, immutable: plays{row05Immutable}, fenced: true},
		{name: "06 a validation is in flight when a read arrives", mutable: plays{row06(false), row06(true)}},
		{name: "07 two puts at two owners at once", mutable: plays{row07(false), row07(true)}, immutable: plays{row07Immutable}},
		{name: "08 two puts on the same base at two nodes", mutable: plays{row08}, fenced: true},
		{name: "09 a put that was given up lands after a later one", mutable: plays{row09(false), row09(true)}, immutable: plays{row09Immutable}},
		{name: "10 a put of unknown outcome landed", mutable: plays{row10, row10Void, row10Settled}, immutable: plays{row10Immutable}},
		{name: "11 the owner is killed between the authority's answer and its own", mutable: plays{row11}, immutable: plays{row11}},
		{name: "12 the owner is killed in the middle of an upload", mutable: plays{row12}, immutable: plays{row12}},
		{name: "13 the owner's answer gets lost", mutable: plays{row13(true), row13(false), row13Delete}, immutable: plays{row13(true), row13(false)}},
		{name: "14 reads after a delete", mutable: plays{row14}, immutable: plays{row14Immutable}, fenced: true},
		{name: "15 a delete is acknowledged while a fill runs", mutable: plays{row15(after), row15(midway)}, immutable: plays{row15Immutable}, fenced: true},
		{name: "16 a partition, and all reach the authority", mutable: plays{row16}, immutable: plays{row16}},
		{name: "17 the owner is cut off from the authority", mutable: plays{row17}, immutable: plays{row17}},
		{name: "18 nobody reaches the authority", mutable: plays{row18}, immutable: plays{row18}},
		{name: "19 the ring changes while a body streams", mutable: plays{row19(false), row19(true)}, immutable: plays{row19(false), row19(true)}},
		{name: "20 the owner stands still across an acknowledgement by another", mutable: plays{row20, row20Asking}, immutable: plays{row20}},
		{name: "21 a node starts again with an old copy on its disk", mutable: plays{row21}, immutable: plays{row21Immutable}, ssd: true},
		{name: "22 clocks are a day off", mutable: plays{row22(day), row22(-day)}, immutable: plays{row22(day), row22(-day)}, ssd: true},
		{name: "23 an object is replaced while it comes in parts", mutable: plays{row23, row23Ranges}},
		{name: "24 the same bytes are written as something else", mutable: plays{row24(false), row24(true)}, fenced: true},
		{name: "26 a put is damaged on its way", immutable: plays{row26}, ssd: true},
		{name: "27 two nodes take each other for the owner", mutable: plays{row27}, immutable: plays{row27}},
		{name: "28 a creation that was given up lands when the key is absent again", mutable: plays{row28, row28Before}},
	}
}

// runs returns all ways to play a row.
func (row *interleaving) runs() (all []rowRun) {
	for _, p := range pairs() {
		for _, c := range []column{strict, bounded, immutable, fenced} {
			ways := row.mutable
			if c == immutable {
				ways = row.immutable
			}
			if c == fenced && (!row.fenced || p.owner != p.others) {
				continue
			}
			for _, play := range ways {
				all = append(all, rowRun{row: row, play: play, column: c, pair: p})
			}
		}
	}
	return all
}

// TestInterleavings plays every row of the table for every pair of an entry node
// and whom it, and the others, take for the owner.
func TestInterleavings(t *testing.T) {
	s := newSimulator(t)
	for _, row := range interleavings() {
		t.Run(row.name, func(t *testing.T) {
			runs := row.runs()
			for len(runs) > 0 {
				p := runs[0].pair
				n := slices.IndexFunc(runs, func(x rowRun) bool { return x.pair != p })
				if n < 0 {
					n = len(runs)
				}
				now := runs[:n]
				runs = runs[n:]
				t.Run(p.String(), func(t *testing.T) {
					for i, x := range now {
						synctest.Test(t, func(t *testing.T) {
							for _, fault := range s.runRow(x) {
								t.Errorf("%s, way %d: %s", x.column, i, fault)
							}
						})
					}
				})
			}
		})
	}
}
