package ring

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/buraksezer/consistent"
	"github.com/cespare/xxhash/v2"
)

var reportTo = flag.String("placement", "", "file whose section of measurements TestPlacementReport writes")

// A contender places partitions on members. It returns each partition's owner
// as an index into ids.
type contender struct {
	name  string
	place func(ids []string) []int
}

func contenders() []contender {
	return []contender{
		{fmt.Sprintf("**ours**: %d points, %d partitions evenly spaced, no bound", replicationFactor, partitionCount), func(ids []string) []int {
			return indexes(fastTable(named(ids...), placementKey{}).owner)
		}},
		{"buraksezer/consistent, 200 points, 16381 partitions, load 1.25", library(16381, 200, 1.25)},
		{"the same, load 1.05", library(16381, 200, 1.05)},
		{"the same, 20 points, load 1.25 (its defaults)", library(16381, 20, 1.25)},
		{fmt.Sprintf("rendezvous, %d partitions", partitionCount), rendezvous},
		{fmt.Sprintf("jump over the sorted names, %d partitions", partitionCount), jump},
	}
}

func indexes(owner []uint16) (out []int) {
	for _, o := range owner {
		out = append(out, int(o))
	}
	return out
}

type plainHasher struct{}

func (plainHasher) Sum64(b []byte) uint64 { return xxhash.Sum64(b) }

func library(partitions, points int, load float64) func(ids []string) []int {
	return func(ids []string) []int {
		var members []consistent.Member
		for i, id := range ids {
			members = append(members, unit{name: id, member: uint16(i)})
		}
		c := consistent.New(members, consistent.Config{Hasher: plainHasher{}, PartitionCount: partitions, ReplicationFactor: points, Load: load})
		owner := make([]int, partitions)
		for p := range owner {
			owner[p] = int(c.GetPartitionOwner(p).(unit).member)
		}
		return owner
	}
}

// rendezvous gives each partition to the member with the largest hash of both.
func rendezvous(ids []string) []int {
	owner := make([]int, partitionCount)
	for p := range owner {
		best := uint64(0)
		for i, id := range ids {
			b := binary.LittleEndian.AppendUint64(nil, uint64(p))
			if h := xxhash.Sum64(append(b, id...)); h >= best {
				best, owner[p] = h, i
			}
		}
	}
	return owner
}

// jump is the jump consistent hash of Lamping and Veach.
func jump(ids []string) []int {
	owner := make([]int, partitionCount)
	for p := range owner {
		key := xxhash.Sum64(binary.LittleEndian.AppendUint64(nil, uint64(p)))
		b, j := int64(-1), int64(0)
		for j < int64(len(ids)) {
			b = j
			key = key*2862933555777941757 + 1
			j = int64(float64(b+1) * (float64(int64(1)<<31) / float64((key>>33)+1)))
		}
		owner[p] = int(b)
	}
	return owner
}

// TestPlacementReport measures the placement and others beside it and writes
// what it saw. See "make placement".
func TestPlacementReport(t *testing.T) {
	if *reportTo == "" {
		t.Skip("no -placement")
	}
	var text strings.Builder
	for _, part := range []func(*strings.Builder){reportContenders, reportSizes, reportWeights, reportBuilds, reportLookups} {
		part(&text)
	}
	old, err := os.ReadFile(*reportTo)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- measured: begin -->\n", "<!-- measured: end -->"
	before, rest, ok := bytes.Cut(old, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", *reportTo, begin, end)
	}
	if err := os.WriteFile(*reportTo, fmt.Appendf(nil, "%s%s%s\n%s%s", before, begin, text.String(), end, after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func row(w *strings.Builder, cells ...any) {
	for _, c := range cells {
		fmt.Fprint(w, "| ", c, " ")
	}
	w.WriteString("|\n")
}

func head(w *strings.Builder, title string, columns ...any) {
	fmt.Fprintf(w, "\n%s\n\n", title)
	row(w, columns...)
	w.WriteString(strings.Repeat("|---", len(columns)) + "|\n")
}

// steps measures joins of one member each to n-1 others, under several names of
// the members: the most that moved and that moved between others, as multiples
// of the ideal and as parts of all keys, and the extreme shares in multiples of
// the mean.
func steps(place func([]string) []int, n int) (move, between, least, most float64) {
	least = math.Inf(1)
	for _, ids := range names(n) {
		for _, newcomer := range []int{0, n / 2, n - 1} {
			with := slices.Sorted(slices.Values(ids))
			without := slices.DeleteFunc(slices.Clone(with), func(id string) bool { return id == ids[newcomer] })
			now, before := place(with), place(without)
			count := make([]float64, n)
			moved, other := 0.0, 0.0
			for p, o := range now {
				count[o]++
				if with[o] != without[before[p]] {
					moved++
					other += float64(b2i(with[o] != ids[newcomer]))
				}
			}
			all := float64(len(now))
			move, between = max(move, moved*float64(n)/all), max(between, other/all)
			least, most = min(least, slices.Min(count)*float64(n)/all), max(most, slices.Max(count)*float64(n)/all)
		}
	}
	return move, between, least, most
}

func reportContenders(w *strings.Builder) {
	sizes := []int{3, 10, 30, 100}
	columns := []any{"placement"}
	for _, n := range sizes {
		columns = append(columns, fmt.Sprintf("%d members: moved · between others · shares", n))
	}
	head(w, "One member joins a cluster, the worst of nine joins under three kinds of names. *Moved* is in multiples of the ideal "+
		"(one n-th of the keys), *between others* is the part of all keys that moved between members that stayed, *shares* are the "+
		"least and the largest in multiples of the mean.", columns...)
	for _, c := range contenders() {
		cells := []any{c.name}
		for _, n := range sizes {
			move, between, least, most := steps(c.place, n)
			cells = append(cells, fmt.Sprintf("%.2f · %.2f %% · %.2f to %.2f", move, 100*between, least, most))
		}
		row(w, cells...)
	}
}

func reportSizes(w *strings.Builder) {
	head(w, "Ours, as the cluster grows. A leave is a join read backwards: it moves the same keys.",
		"members", "moved by the last join", "between others", "least share", "largest share")
	for _, n := range []int{2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 75, 100} {
		move, between, least, most := steps(contenders()[0].place, n)
		row(w, n, fmt.Sprintf("%.2f", move), fmt.Sprintf("%.2f %%", 100*between), fmt.Sprintf("%.2f", least), fmt.Sprintf("%.2f", most))
	}
}

func reportWeights(w *strings.Builder) {
	head(w, "Shares of members with weights, in multiples of what the weight asks for: the extremes over three kinds of names.",
		"weights", "3 members", "10 members", "30 members", "100 members")
	for _, shape := range []struct {
		name   string
		weight func(i int) int
	}{
		{"1", func(int) int { return 1 }}, {"1, 2", func(i int) int { return 1 + i%2 }},
		{"1, 2, 3, 4", func(i int) int { return 1 + i%4 }}, {"one of 10, the others 1", func(i int) int { return 1 + 9*b2i(i == 1) }},
	} {
		cells := []any{shape.name}
		for _, n := range []int{3, 10, 30, 100} {
			least, most := math.Inf(1), 0.0
			for _, ids := range names(n) {
				members := named(ids...)
				for i := range members {
					members[i].Weight = shape.weight(i)
				}
				members = unique(members)
				low, high := spread(&View{members: members, owners: members, table: fastTable(members, placementKey{})})
				least, most = min(least, low), max(most, high)
			}
			cells = append(cells, fmt.Sprintf("%.2f to %.2f", least, most))
		}
		row(w, cells...)
	}
}

// cpuOf returns the least CPU time that one call took, of several.
func cpuOf(calls int, f func()) time.Duration {
	best := time.Duration(math.MaxInt64)
	for range calls {
		runtime.GC()
		before := cpu()
		f()
		best = min(best, cpu()-before)
	}
	return best
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no way to fail
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func reportBuilds(w *strings.Builder) {
	head(w, "CPU time for a view, in the background, the least of seven; and the memory that it keeps.",
		"members", "a member joins", "the same, 200 points, 16381 partitions, load 1.25", "a member leaves", "memory")
	for _, n := range []int{1, 3, 5, 8, 9, 30, 100, 300} {
		members := serving(n)
		view, err := NewView(members)
		if err != nil {
			panic(err)
		}
		join := cpuOf(7, func() { _, _ = NewView(members) })
		before := "-"
		if n <= 100 {
			d := cpuOf(3, func() { library(16381, 200, 1.25)(idsOf(members)) })
			before = fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
		}
		const leaves = 20
		leave := cpuOf(7, func() {
			for range leaves {
				view.Without(members[0].ID)
			}
		}) / leaves
		t := view.table
		row(w, n, fmt.Sprintf("%.1f ms", float64(join.Microseconds())/1000), before,
			fmt.Sprintf("%.2f ms", float64(leave.Microseconds())/1000),
			fmt.Sprintf("%d KiB", (2*len(t.owner)+4*len(t.start)+2*len(t.circle))>>10))
	}
}

func reportLookups(w *strings.Builder) {
	head(w, "CPU time to look a key of 81 bytes up, of the least of seven runs. Nothing allocates.",
		"members", "owner", "owner, with a secret", "successor")
	keys := make([]string, 4096)
	for i := range keys {
		keys[i] = fmt.Sprintf("artifacts/sha256:%064x", xxhash.Sum64String(fmt.Sprint(i)))
	}
	const rounds = 200
	per := func(f func(key string)) string {
		d := cpuOf(7, func() {
			for range rounds {
				for _, k := range keys {
					f(k)
				}
			}
		})
		return fmt.Sprintf("%.0f ns", float64(d.Nanoseconds())/float64(rounds*len(keys)))
	}
	secret, err := newPlacementKey([]byte("secret"), "cluster")
	if err != nil {
		panic(err)
	}
	for _, n := range []int{3, 10, 100} {
		members := serving(n)
		plain := &View{members: members, owners: members, table: fastTable(members, placementKey{})}
		keyed := &View{members: members, owners: members, table: fastTable(members, secret)}
		row(w, n, per(func(k string) { plain.Owner(k) }), per(func(k string) { keyed.Owner(k) }), per(func(k string) { plain.Successor(k) }))
	}
}
