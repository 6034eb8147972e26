package history_test

import (
	"flag"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/history"
)

var saved = flag.String("history", "", "check this history.json as well, as TestSavedHistory")

// The shortest way to write histories down: times are nanoseconds.
func read(client int, call, ret int64, value string) history.Op {
	return history.Op{Client: client, Key: "k", Kind: history.Read, Value: value, Call: call, Return: ret, Outcome: history.OK}
}

func write(client int, call, ret int64, value string, outcome history.Outcome) history.Op {
	return history.Op{Client: client, Key: "k", Kind: history.Write, Value: value, Call: call, Return: ret, Outcome: outcome}
}

func cas(client int, call, ret int64, expect, value string, outcome history.Outcome) history.Op {
	return history.Op{Client: client, Key: "k", Kind: history.CAS, Expect: expect, Value: value, Call: call, Return: ret, Outcome: outcome}
}

func remove(client int, call, ret int64, outcome history.Outcome) history.Op {
	return history.Op{Client: client, Key: "k", Kind: history.Delete, Call: call, Return: ret, Outcome: outcome}
}

const (
	ok      = history.OK
	refused = history.Refused
	failed  = history.Failed
	unknown = history.Unknown
	absent  = history.Absent
)

// A sample is a history of the key "k" and the rules that it breaks.
type sample struct {
	name string
	ops  []history.Op
	want []history.Rule
}

func legal() []sample {
	return []sample{
		{name: "nothing at all"},
		{name: "a key begins without an object", ops: []history.Op{read(1, 0, 1, absent)}},
		{name: "a read during a write sees either", ops: []history.Op{
			write(1, 0, 10, "a", ok), write(1, 20, 40, "b", ok), read(2, 25, 26, "a"), read(3, 27, 28, "b"),
		}},
		{name: "concurrent writes have any order", ops: []history.Op{
			write(1, 0, 10, "a", ok), write(2, 0, 10, "b", ok), read(1, 11, 12, "a"), read(2, 13, 14, "a"),
		}},
		{name: "an unknown write is done", ops: []history.Op{
			write(1, 0, 1, "a", ok), write(1, 2, 3, "b", unknown), read(2, 50, 51, "b"), read(2, 60, 61, "b"),
		}},
		{name: "an unknown write is done after a while", ops: []history.Op{
			write(1, 0, 1, "a", ok), write(1, 2, 3, "b", unknown), read(2, 50, 51, "a"), read(2, 60, 61, "b"),
		}},
		{name: "an unknown write is never done", ops: []history.Op{
			write(1, 0, 1, "a", ok), write(1, 2, 3, "b", unknown), read(2, 50, 51, "a"), write(2, 60, 61, "c", ok), read(1, 70, 71, "c"),
		}},
		{name: "an unknown write that nobody read explains a refusal", ops: []history.Op{
			write(1, 0, 1, "a", ok), write(2, 2, 3, "b", unknown), cas(1, 4, 5, "a", "c", refused), write(1, 6, 7, "d", ok), read(1, 8, 9, "d"),
		}},
		{name: "an unknown delete explains a refusal and a creation", ops: []history.Op{
			write(1, 0, 1, "a", ok), remove(2, 2, 3, unknown), cas(1, 4, 5, history.Any, "c", refused), cas(1, 6, 7, absent, "d", ok), read(1, 8, 9, "d"),
		}},
		{name: "an unknown delete lets an older unknown creation in", ops: []history.Op{
			write(1, 0, 1, "a", ok), cas(1, 2, 3, absent, "b", unknown), remove(2, 4, 5, unknown), read(1, 6, 7, "b"),
		}},
		{name: "an unknown cas is done, or not", ops: []history.Op{
			write(1, 0, 1, "a", ok), cas(1, 2, 3, "a", "b", unknown), cas(2, 2, 3, "a", "c", unknown), read(2, 50, 51, "c"),
		}},
		{name: "what failed is as good as not there", ops: []history.Op{
			write(1, 0, 1, "a", ok), write(1, 2, 3, "b", failed), remove(1, 4, 5, failed), read(2, 50, 51, "a"),
		}},
		{name: "a cas has one winner", ops: []history.Op{
			write(1, 0, 1, "a", ok), cas(1, 2, 9, "a", "b", ok), cas(2, 2, 9, "a", "c", refused), read(1, 10, 11, "b"),
		}},
		{name: "conditions compare tags, reads all of a value", ops: []history.Op{
			write(1, 0, 1, "a;text", ok), write(1, 2, 3, "a;json", ok), cas(2, 4, 5, "a", "b;text", ok), read(1, 10, 11, "b;text"),
		}},
		{name: "a cas that deletes", ops: []history.Op{
			write(1, 0, 1, "a", ok), cas(2, 4, 5, "a", absent, ok), read(1, 10, 11, absent), cas(2, 12, 13, "a", absent, refused),
		}},
		{name: "a lost creation lands when the key is absent again", ops: []history.Op{
			write(1, 0, 1, "a", unknown), write(2, 2, 3, "b", ok), remove(2, 4, 5, ok), read(1, 6, 7, absent), read(1, 10, 11, "a"),
		}},
		{name: "a lost replacement lands when the same bytes are back", ops: []history.Op{
			write(1, 0, 1, "a;1", ok), write(1, 2, 3, "b", unknown), write(2, 4, 5, "c", ok), write(2, 6, 7, "a;2", ok), read(1, 10, 11, "b"),
		}},
		{name: "what a client that left had sent may be on its way for long", ops: []history.Op{
			write(1, 0, 1, "a", ok), left(write(1, 2, 3, "b", unknown)), write(2, 10, 11, "c", ok), read(1, 20, 21, "b"),
		}},
		{name: "keys are judged one by one", ops: []history.Op{
			write(1, 0, 1, "a", ok), write(1, 2, 3, "b", ok), {Client: 1, Key: "other", Kind: history.Read, Call: 4, Return: 5, Outcome: ok}, read(1, 6, 7, "b"),
		}},
	}
}

func left(op history.Op) history.Op { op.Left = true; return op }

func illegal() []sample {
	order := []history.Rule{history.Order}
	return []sample{
		{"a stale read", []history.Op{write(1, 0, 1, "a", ok), write(1, 2, 3, "b", ok), read(2, 4, 5, "a")}, order},
		{"a read of absence after a write", []history.Op{write(1, 0, 1, "a", ok), read(2, 4, 5, absent)}, order},
		{"a lost update", []history.Op{write(1, 0, 1, "a", ok), cas(1, 2, 3, "a", "b", ok), write(2, 4, 5, "c", ok), read(1, 6, 7, "b")}, order},
		{"x, y, x", []history.Op{write(1, 0, 9, "x", ok), write(2, 0, 9, "y", ok), read(3, 10, 11, "x"), read(3, 12, 13, "y"), read(3, 14, 15, "x")}, order},
		{"x, y, x of an unknown write", []history.Op{write(1, 0, 1, "x", ok), write(2, 2, 3, "y", unknown), read(3, 10, 11, "x"), read(3, 12, 13, "y"), read(3, 14, 15, "x")}, order},
		{"two readers disagree about the order", []history.Op{
			write(1, 0, 100, "x", ok), write(2, 0, 100, "y", ok),
			read(3, 10, 11, "x"), read(3, 20, 21, "y"), read(4, 30, 31, "x"),
		}, order},
		{"a resurrection", []history.Op{write(1, 0, 1, "a", ok), remove(1, 2, 3, ok), read(2, 4, 5, absent), read(2, 6, 7, "a")}, order},
		{"a delete that was acknowledged and not done", []history.Op{write(1, 0, 1, "a", ok), remove(1, 2, 3, ok), read(2, 4, 5, "a")}, order},
		{"two winners of one cas", []history.Op{write(1, 0, 1, "a", ok), cas(1, 2, 9, "a", "b", ok), cas(2, 2, 9, "a", "c", ok)}, order},
		{"two creators", []history.Op{cas(1, 2, 9, absent, "b", ok), cas(2, 2, 9, absent, "c", ok)}, order},
		{"a refusal for no reason", []history.Op{write(1, 0, 1, "a", ok), cas(1, 2, 3, "a", "b", refused)}, order},
		{"a refusal by a write that came later", []history.Op{write(1, 0, 1, "a", ok), cas(1, 2, 3, "a", "b", refused), write(1, 4, 5, "c", unknown)}, order},
		{"a refusal that was done", []history.Op{write(1, 0, 1, "a", ok), cas(2, 2, 3, "x", "b", refused), read(1, 4, 5, "b")}, []history.Rule{history.Foreign}},
		{"a failure that was done", []history.Op{write(1, 0, 1, "a", ok), write(2, 2, 3, "b", failed), read(1, 4, 5, "b")}, []history.Rule{history.Foreign}},
		{"a torn read", []history.Op{write(1, 0, 1, "a", ok), write(1, 2, 3, "b", ok), read(2, 4, 5, "a+b")}, []history.Rule{history.Foreign}},
		{"a value of the wrong attributes", []history.Op{write(1, 0, 1, "a;text", ok), write(1, 2, 3, "b;json", ok), read(2, 4, 5, "b;text")}, []history.Rule{history.Foreign}},
		{"a read of what is to be written", []history.Op{read(2, 0, 1, "a"), write(1, 2, 3, "a", ok)}, []history.Rule{history.Foreign}},
		{"a lost write lands late", []history.Op{write(1, 0, 1, "a", ok), write(1, 2, 3, "b", unknown), write(2, 4, 5, "c", ok), read(1, 6, 7, "c"), read(1, 8, 9, "b")}, []history.Rule{history.Late}},
		{"a lost write lands in the middle of a later one", []history.Op{write(1, 0, 1, "a", ok), write(1, 2, 3, "b", unknown), write(2, 4, 50, "c", ok), read(1, 60, 61, "b")}, []history.Rule{history.Late}},
		{"a lost cas lands although its base never came back", []history.Op{
			write(1, 0, 1, "a", ok), cas(1, 2, 3, "a", "b", unknown), remove(2, 4, 5, ok), write(2, 6, 7, "c", ok), read(1, 8, 9, "b"),
		}, []history.Rule{history.Late, history.Order}},
		{"a lost delete lands late", []history.Op{write(1, 0, 1, "a", ok), remove(1, 2, 3, unknown), write(2, 4, 5, "c", ok), read(1, 6, 7, absent)}, []history.Rule{history.Late}},
		{"two writes of one value", []history.Op{write(1, 0, 1, "a", ok), write(2, 2, 3, "a", ok)}, []history.Rule{history.Malformed}},
		{"a write that ends before it begins", []history.Op{write(1, 5, 4, "a", ok)}, []history.Rule{history.Malformed}},
	}
}

func rules(faults []history.Fault) (rules []history.Rule) {
	for _, f := range faults {
		rules = append(rules, f.Rule)
	}
	slices.Sort(rules)
	return slices.Compact(rules)
}

func TestLegalHistoriesAreAccepted(t *testing.T) {
	for _, s := range legal() {
		if faults := history.Check(s.ops, history.Options{}); len(faults) > 0 {
			t.Errorf("%s: %v", s.name, faults)
		}
	}
}

func TestIllegalHistoriesAreCaught(t *testing.T) {
	for _, s := range illegal() {
		got := rules(history.Check(s.ops, history.Options{}))
		if diff := cmp.Diff(s.want, got); diff != "" {
			t.Errorf("%s: the rules broken are (-want +got):\n%s", s.name, diff)
		}
	}
}

// What is stale by less than the bound is legal, and only that.
func TestStalenessIsBounded(t *testing.T) {
	ops := func(at int64) []history.Op {
		return []history.Op{
			write(1, 0, 1, "a", ok), remove(1, 5, 6, ok), write(1, 10, 20, "b", ok), read(3, 21, 22, "b"), read(2, at, at+1, "a"), read(2, at+2, at+3, "b"),
		}
	}
	for _, test := range []struct {
		at   int64
		by   time.Duration
		want []history.Rule
	}{
		{at: 30, by: 30, want: nil},
		{at: 36, by: 30, want: nil}, // the delete was acknowledged exactly then
		{at: 37, by: 30, want: []history.Rule{history.Stale}},
		{at: 30, by: 0, want: []history.Rule{history.Stale}},
		{at: 12, by: 6, want: nil},
	} {
		got := rules(history.Check(ops(test.at), history.Options{Bounded: true, Staleness: test.by}))
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("a read at %d, staleness %d: the rules broken are (-want +got):\n%s", test.at, test.by, diff)
		}
	}
}

// Writes are not bounded but ordered, whatever reads may do.
func TestWritesAreOrderedInBoundedHistories(t *testing.T) {
	ops := []history.Op{write(1, 0, 1, "a", ok), cas(1, 2, 9, "a", "b", ok), cas(2, 2, 9, "a", "c", ok)}
	if got := rules(history.Check(ops, history.Options{Bounded: true, Staleness: time.Hour})); !slices.Equal(got, []history.Rule{history.Order}) {
		t.Errorf("two winners of one cas break %v", got)
	}
}

// A stale read of a write of unknown outcome does not show that it was done late.
func TestAStaleReadIsNotALateWrite(t *testing.T) {
	ops := []history.Op{write(1, 0, 1, "a", unknown), cas(2, 10, 11, "a", "b", ok), read(3, 20, 21, "a")}
	if faults := history.Check(ops, history.Options{Bounded: true, Staleness: 10}); len(faults) > 0 {
		t.Errorf("stale by 9 of 10: %v", faults)
	}
	ops[1] = write(2, 10, 11, "b", ok)
	want := []history.Rule{history.Late}
	if got := rules(history.Check(ops, history.Options{Bounded: true, Staleness: 8})); !slices.Equal(got, want) {
		t.Errorf("stale by 9 of 8 breaks %v", got)
	}
}

// A search that does not end is a failure: forty writes of which nobody knows
// whether they were done, and a refusal that any of them explains.
func TestAnUndecidedHistoryIsAFailure(t *testing.T) {
	ops := []history.Op{write(0, 0, 1, "v", ok)}
	for i := range 40 {
		name := string(rune('A' + i))
		ops = append(ops, cas(i, 2, 3, "v", name, unknown), cas(i, 4, 5, name, "r"+name, refused), read(i, 6, 7, "v"))
	}
	ops = append(ops, read(0, 8, 9, "v"), cas(0, 10, 11, "v", "last", refused), read(0, 12, 13, "v"))
	got := rules(history.Check(ops, history.Options{Timeout: time.Millisecond}))
	if !slices.Equal(got, []history.Rule{history.Undecided}) {
		t.Errorf("the rules broken are %v", got)
	}
}

func TestAFailureIsSavedAndReadAgain(t *testing.T) {
	ops := illegal()[0].ops
	ops[0].Note, ops[1].Left = "node-1 ram", true
	ops = append(ops, history.Op{Client: 1, Key: "dir/other", Kind: history.Read, Call: 4, Return: 5, Outcome: ok})
	faults := history.Check(ops, history.Options{})
	dir := filepath.Join(t.TempDir(), "made")
	names, err := history.Save(dir, ops, faults, history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(names, func(s string) bool { return strings.HasSuffix(s, "k.html") }) || len(names) != 3 {
		t.Errorf("saved as %v", names)
	}
	got, err := history.Load(filepath.Join(dir, "history.json"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ops, got); diff != "" {
		t.Errorf("what was saved differs (-want +got):\n%s", diff)
	}
}

func TestRecorderNotesTheTimesOfTheBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := history.NewRecorder()
		time.Sleep(time.Second)
		w := r.Begin(history.Op{Client: 1, Key: "k", Kind: history.Write, Value: "a"})
		open := r.Begin(history.Op{Client: 2, Key: "k", Kind: history.Read})
		time.Sleep(time.Second)
		w.End(history.OK, "node-1")
		_ = open
		time.Sleep(time.Second)
		c := r.Begin(history.Op{Client: 1, Key: "k", Kind: history.Read})
		c.Read("a", "")
		want := []history.Op{
			{Client: 1, Key: "k", Kind: history.Write, Value: "a", Call: 1e9, Return: 2e9, Outcome: ok, Note: "node-1"},
			{Client: 2, Key: "k", Kind: history.Read, Call: 1e9, Return: 3e9, Outcome: unknown},
			{Client: 1, Key: "k", Kind: history.Read, Value: "a", Call: 3e9, Return: 3e9, Outcome: ok},
		}
		if diff := cmp.Diff(want, r.Ops()); diff != "" {
			t.Errorf("recorded (-want +got):\n%s", diff)
		}
	})
}

// TestSavedHistory judges a history that another test saved:
// go test ./history -run SavedHistory -history FILE.
func TestSavedHistory(t *testing.T) {
	if *saved == "" {
		t.Skip("-history names no file")
	}
	ops, err := history.Load(*saved)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range history.Check(ops, history.Options{}) {
		t.Error(f)
	}
}
