package tiers_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/micelio/micelio/object"
)

// A library is many objects of all classes and sizes behind a cache.
type library struct {
	*rig
	keys   []object.Key
	bodies map[object.Key][]byte
}

const (
	libraryObjects  = 1000
	libraryCapacity = 96 * mib
)

// newLibrary fills a cache with objects of a byte to some MiB.
func newLibrary(t *testing.T) *library {
	l := &library{rig: newRig(t, 0, libraryCapacity), bodies: map[object.Key][]byte{}}
	rnd := rand.New(rand.NewPCG(4, 4))
	for i := range libraryObjects {
		var n int
		switch {
		case i%250 == 7:
			n = 1<<20 + rnd.IntN(3<<20)
		case i%25 == 3:
			n = 200_000 + rnd.IntN(200_000) // records and chunks
		default:
			n = 1 + rnd.IntN(1<<rnd.IntN(16))
		}
		var key object.Key
		body := random(uint64(i), n)
		switch i % 3 {
		case 0:
			key, body = blob(uint64(i), n)
		case 1:
			key, body = derived(uint64(i), n)
		default:
			key = object.Key(fmt.Sprint("sessions/", i))
		}
		if l.bodies[key] != nil { // of one byte
			continue
		}
		l.keys = append(l.keys, key)
		l.bodies[key] = body
		l.put(key, body)
	}
	l.mend("the first reads")
	return l
}

// readAll reads every object, four at a time, and returns how many came
// from the authority.
func (l *library) readAll() (fetched int) {
	l.Helper()
	var mu sync.Mutex
	var readers sync.WaitGroup
	for r := range 4 {
		readers.Go(func() {
			for i := r; i < len(l.keys); i += 4 {
				key := l.keys[i]
				body, tier, err := l.get(key)
				if err != nil || !bytes.Equal(body, l.bodies[key]) {
					l.Errorf("%s: %d bytes of %d, %v", key, len(body), len(l.bodies[key]), err)
				}
				if tier != object.TierSSD {
					mu.Lock()
					fetched++
					mu.Unlock()
				}
			}
		})
	}
	readers.Wait()
	return fetched
}

func (l *library) segments() []string {
	l.Helper()
	names, err := filepath.Glob(filepath.Join(l.dir, "segment-*"))
	if err != nil || len(names) == 0 {
		l.Fatalf("%d segments, %v", len(names), err)
	}
	return names
}

// A spoiler damages files of a disk tier. Most read and write them as the disk
// would: under the feet of a process that has them open.
type spoiler func(t testing.TB, dir string, segments []string, rnd *rand.Rand)

// spoilers that a process may notice at any time.
var spoilers = map[string]spoiler{
	"bits flipped": func(t testing.TB, _ string, segments []string, rnd *rand.Rand) {
		for range 30 {
			edit(t, segments[rnd.IntN(len(segments))], func(b []byte) {
				for range 10 {
					b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
				}
			})
		}
	},
	"ranges zeroed": func(t testing.TB, _ string, segments []string, rnd *rand.Rand) {
		for range 20 {
			edit(t, segments[rnd.IntN(len(segments))], func(b []byte) {
				for range 3 {
					at := rnd.IntN(len(b))
					clear(b[at:min(len(b), at+1+rnd.IntN(20_000))])
				}
			})
		}
	},
	"records swapped": func(t testing.TB, _ string, segments []string, rnd *rand.Rand) {
		for range 30 {
			edit(t, segments[rnd.IntN(len(segments))], func(b []byte) { swapRecords(b, b, rnd) })
		}
	},
	"records swapped between segments": func(t testing.TB, _ string, segments []string, rnd *rand.Rand) {
		for range 30 {
			edit(t, segments[rnd.IntN(len(segments))], func(b []byte) {
				edit(t, segments[rnd.IntN(len(segments))], func(other []byte) { swapRecords(b, other, rnd) })
			})
		}
	},
}

// manifestGone is no damage: a log that cannot write its tombstones takes its
// manifest away itself.
const manifestGone = "manifest gone"

// spoilers of a tier that is not open.
var spoilersAtRest = map[string]spoiler{
	"truncated": func(t testing.TB, _ string, segments []string, rnd *rand.Rand) {
		for range 5 {
			if err := os.Truncate(segments[rnd.IntN(len(segments))], rnd.Int64N(mib)); err != nil {
				t.Fatal(err)
			}
		}
	},
	"longer": func(t testing.TB, _ string, segments []string, rnd *rand.Rand) {
		if err := os.Truncate(segments[rnd.IntN(len(segments))], 200*mib); err != nil {
			t.Fatal(err)
		}
	},
	"files swapped": func(t testing.TB, dir string, segments []string, rnd *rand.Rand) {
		for range 5 {
			a, b, c := segments[rnd.IntN(len(segments))], segments[rnd.IntN(len(segments))], filepath.Join(dir, "c")
			for _, move := range [][2]string{{a, c}, {b, a}, {c, b}} {
				if a != b {
					rename(t, move[0], move[1])
				}
			}
		}
	},
	"files renamed": func(t testing.TB, dir string, segments []string, rnd *rand.Rand) {
		for i := range 3 {
			rename(t, segments[rnd.IntN(len(segments)/3)*3+i], filepath.Join(dir, fmt.Sprintf("segment-%05d", 200+i)))
		}
	},
	"files duplicated": func(t testing.TB, dir string, segments []string, rnd *rand.Rand) {
		for i := range 3 {
			b, err := os.ReadFile(segments[rnd.IntN(len(segments))])
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{segments[rnd.IntN(len(segments))], filepath.Join(dir, fmt.Sprintf("segment-%05d", 300+i))} {
				if err := os.WriteFile(name, b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	},
	"a segment that is a directory": func(t testing.TB, _ string, segments []string, rnd *rand.Rand) {
		name := segments[rnd.IntN(len(segments))]
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(name, "below"), 0o755); err != nil {
			t.Fatal(err)
		}
	},
	"a segment that is a link to elsewhere": func(t testing.TB, dir string, segments []string, rnd *rand.Rand) {
		name := segments[rnd.IntN(len(segments))]
		rename(t, name, filepath.Join(t.TempDir(), "elsewhere"))
		if err := os.Symlink("/nowhere/at/all", name); err != nil {
			t.Fatal(err)
		}
	},
	"footers and headers": func(t testing.TB, _ string, segments []string, rnd *rand.Rand) {
		for i, name := range segments {
			edit(t, name, func(b []byte) {
				switch i % 6 {
				case 0:
					clear(b[len(b)-512:])
				case 1:
					b[len(b)-1-rnd.IntN(4096)] ^= 0x10
				case 2:
					b[rnd.IntN(64)] ^= 0x10
				}
			})
		}
	},
	"manifest flipped": func(t testing.TB, dir string, _ []string, rnd *rand.Rand) {
		edit(t, filepath.Join(dir, "manifest"), func(b []byte) { b[rnd.IntN(36)] ^= 1 << rnd.IntN(8) })
	},
	"manifest empty": func(t testing.TB, dir string, _ []string, _ *rand.Rand) {
		if err := os.Truncate(filepath.Join(dir, "manifest"), 0); err != nil {
			t.Fatal(err)
		}
	},
	manifestGone: func(t testing.TB, dir string, _ []string, _ *rand.Rand) {
		if err := os.Remove(filepath.Join(dir, "manifest")); err != nil {
			t.Fatal(err)
		}
	},
}

func rename(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// edit changes sectors of a file in place.
func edit(t testing.TB, name string, change func(b []byte)) {
	t.Helper()
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	after := bytes.Clone(before)
	change(after)
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const sector = 512
	for at := 0; at < len(after); at += sector {
		to := min(at+sector, len(after))
		if !bytes.Equal(before[at:to], after[at:to]) {
			if _, err := f.WriteAt(after[at:to], int64(at)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// recordStarts is what records begin with.
const recordStart = "SEGL"

// swapRecords exchanges what begins at two records.
func swapRecords(a, b []byte, rnd *rand.Rand) {
	i, j := findRecord(a, rnd), findRecord(b, rnd)
	n := 100 + rnd.IntN(8000)
	n = min(n, len(a)-i, len(b)-j)
	first := bytes.Clone(a[i : i+n])
	copy(a[i:], b[j:j+n])
	copy(b[j:], first)
}

func findRecord(b []byte, rnd *rand.Rand) int {
	at := rnd.IntN(len(b) / 2)
	return at + max(0, bytes.Index(b[at:], []byte(recordStart)))
}

// mend reads everything until nothing is missing any more: what was damaged is
// seen by nobody, fetched again, and kept again.
func (l *library) mend(what string) {
	l.Helper()
	// The first round finds damage in the middle of bodies, which go on from
	// elsewhere; the second fetches what that has cost. A tier may decline for a
	// while if its disk is slow, which takes more.
	const rounds = 50
	fetched := 1
	for round := 0; (fetched > 0 || l.missing() > 0) && round < rounds; round++ {
		l.readAll()
		l.settle()
		l.origin.gets.Store(0)
		fetched = l.readAll()
		l.settle()
	}
	if fetched != 0 {
		l.Errorf("%s: %d objects are not read from the tier after they were fetched again; %+v", what, fetched, l.ssd.Stats())
	}
	for _, key := range l.keys {
		if !l.ssd.Has(key) {
			l.Errorf("%s: %s is not kept", what, key)
		}
	}
}

// missing returns how many objects the tier has not all of. One of which it has the
// beginning is read from it, whatever has to be fetched of the rest.
func (l *library) missing() (n int) {
	for _, key := range l.keys {
		if !l.ssd.Has(key) {
			n++
		}
	}
	return n
}

// Whatever happens to the files of a tier of a thousand objects, while it is
// open or between two processes: no reader sees a wrong byte or an error, the
// tier starts, and all that was lost is fetched again and kept.
func TestAThousandObjectsOutliveTheDamageOfTheirDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("reads gigabytes")
	}
	t.Parallel()
	l := newLibrary(t)
	rnd := rand.New(rand.NewPCG(11, 12))
	for _, name := range slices.Sorted(maps.Keys(spoilers)) {
		spoil := spoilers[name]
		for _, open := range []bool{true, false} {
			what := fmt.Sprintf("%s, open %v", name, open)
			if open {
				before := l.ssd.Stats().Damaged
				ctx, stop := context.WithCancel(context.Background())
				var busy sync.WaitGroup
				busy.Go(func() {
					for ctx.Err() == nil {
						l.readAll()
					}
				})
				spoil(t, l.dir, l.segments(), rnd)
				stop()
				busy.Wait()
				l.mend(what)
				l.wantDamage(what, before)
			} else {
				l.damageAtRest(what, spoil, rnd)
			}
			if t.Failed() {
				t.Fatalf("after %s", what)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(spoilersAtRest)) {
		if l.damageAtRest(name, spoilersAtRest[name], rnd); t.Failed() {
			t.Fatalf("after %s", name)
		}
	}
}

func (l *library) damageAtRest(what string, spoil spoiler, rnd *rand.Rand) {
	l.Helper()
	l.stop()
	spoil(l, l.dir, l.segments(), rnd)
	l.restart(0, libraryCapacity)
	l.mend(what)
	l.wantDamage(what, 0)
}

func (l *library) wantDamage(what string, before int64) {
	l.Helper()
	if s := l.ssd.Stats(); s.Damaged == before && what != manifestGone {
		l.Errorf("%s: no damage was counted", what)
	} else {
		l.Logf("%s: %d damages counted", what, s.Damaged-before)
	}
}
