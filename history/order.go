package history

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// findOrder returns an order that explains what the operations of one key
// returned, in which some of unknown outcome may be missing. sure says whether
// there is no order if none was found, or whether the search was given up.
//
// It knows what the general checker cannot, that a value has one writer:
//
//   - what a read returned was written before the read returned, and the read
//     took effect after that write was called: which narrows both;
//   - a read or a refusal comes as soon as it can: if any order goes on from here,
//     one goes on with that;
//   - a value that is still to be read must not be overwritten: it does not come
//     back.
//
// So there is a choice only among changes that ran at the same time and that
// nobody read, and it takes about as many steps as there are operations, where
// the general checker can take a number that is exponential in the writes of
// unknown outcome. And an order is proof: see explains.
func findOrder(ops []Op, steps int) (order []Op, sure bool) {
	s := newSearch(ops, steps)
	if !s.goOn() {
		return nil, s.steps > 0
	}
	order = make([]Op, 0, len(s.order))
	for _, i := range s.order {
		order = append(order, s.ops[i])
	}
	return order, true
}

// orderSteps bounds the search in one key: a second or two.
const orderSteps = 1 << 20

// explains reports whether the operations, done one after the other in this
// order, return what they did, and whether none comes after one that was called
// only when it had returned; and whether no operation that must be done is
// missing, of all.
func explains(order, all []Op) bool {
	state, latest := Absent, int64(math.MinInt64)
	missing := make(map[Op]int)
	for _, op := range all {
		missing[op]++
	}
	for _, op := range order {
		ok, next := step(state, op)
		if latest = max(latest, op.Call); !ok || op.until() < latest || missing[op] == 0 {
			return false
		}
		state = next
		missing[op]--
	}
	for op, n := range missing {
		if n > 0 && op.Outcome != Unknown {
			return false
		}
	}
	return true
}

// A search is one for an order. Operations are indices into ops.
type search struct {
	ops   []Op    // sorted by from
	from  []int64 // done after this,
	until []int64 // and before this; math.MaxInt64: it need not be done
	names [][2]uint64

	optional map[int]int // those that need not be done, counted

	// What is pending, as a list whose head is len(ops), and of it the number
	// that must be done, that of reads of each value, and that of conditions on
	// each tag.
	next, prev []int
	due        int
	awaited    map[string]int
	expected   map[string]int

	state  string
	order  []int
	done   [2]uint64 // names of what is in order and must be, added up
	spent  []bool    // what is in order and need not be
	failed map[tried][][]bool
	steps  int // that are left
}

// tried is a set of operations that must be done, and were, and what came of
// them. Two sets of one name, if there ever were such, would cost an order, but
// invent none.
type tried struct {
	done  [2]uint64
	state string
}

func (s *search) here() tried {
	if s.alike(s.state) {
		return tried{s.done, Any}
	}
	return tried{s.done, s.state}
}

// alike reports whether a value is like any other: it is not to be read, and no
// condition asks for it.
func (s *search) alike(value string) bool {
	return value != Absent && s.awaited[value] == 0 && s.expected[Tag(value)] == 0
}

// hopeless reports whether the search failed from here before, with no more
// spent than now of what need not be done: what is left over does no harm. Each
// failure that it looks at is a step, or there would be no bound on those.
func (s *search) hopeless() bool {
	return slices.ContainsFunc(s.failed[s.here()], func(less []bool) bool {
		s.steps--
		for i, spent := range less {
			if spent && !s.spent[i] {
				return false
			}
		}
		return true
	})
}

func newSearch(ops []Op, steps int) *search {
	s := &search{
		ops: slices.Clone(ops), awaited: make(map[string]int), expected: make(map[string]int), state: Absent, optional: make(map[int]int), failed: make(map[tried][][]bool), steps: steps,
	}
	called, read := make(map[string]int64), make(map[string]int64)
	for _, op := range ops {
		if op.changes() && op.written() != Absent {
			called[op.Value] = op.Call
		}
		if op.Kind == CAS {
			s.expected[op.Expect]++
		}
		if op.Kind == Read && op.Value != Absent {
			s.awaited[op.Value]++
			if first, ok := read[op.Value]; !ok || op.Return < first {
				read[op.Value] = op.Return
			}
		}
	}
	from := func(op Op) int64 {
		if op.Kind == Read && op.Value != Absent {
			return max(op.Call, called[op.Value])
		}
		return op.Call
	}
	slices.SortStableFunc(s.ops, func(a, b Op) int { return cmp.Compare(from(a), from(b)) })
	n := len(s.ops)
	random := rand.New(rand.NewPCG(1, 2))
	s.next, s.prev = make([]int, n+1), make([]int, n+1)
	for i := range n + 1 {
		s.next[i], s.prev[i] = (i+1)%(n+1), (i+n)%(n+1)
	}
	for _, op := range s.ops {
		until := op.until()
		if first, ok := read[op.Value]; ok && op.changes() {
			until = min(until, first)
		}
		if until != math.MaxInt64 {
			s.due++
		} else {
			s.optional[len(s.until)] = len(s.optional)
		}
		s.from, s.until = append(s.from, from(op)), append(s.until, until)
		s.names = append(s.names, [2]uint64{random.Uint64(), random.Uint64()})
	}
	s.spent = make([]bool, len(s.optional))
	return s
}

// goOn completes the order, or leaves it as it was.
func (s *search) goOn() bool {
	began := len(s.order)
	for s.observe() {
	}
	if s.due == 0 {
		return true
	}
	if (s.state == Absent || s.awaited[s.state] == 0) && !s.hopeless() {
		for _, i := range s.changes() {
			if s.steps--; s.steps <= 0 {
				break
			}
			was := s.state
			s.state = s.ops[i].written()
			s.take(i)
			if s.goOn() {
				return true
			}
			s.untake(i)
			s.state = was
		}
		here := s.here()
		s.failed[here] = append(s.failed[here], slices.Clone(s.spent))
	}
	for len(s.order) > began {
		s.untake(s.order[len(s.order)-1])
	}
	return false
}

// observes reports whether an operation never changes anything.
func observes(op Op) bool { return op.Kind == Read || op.Outcome == Refused }

// observe takes the reads and refusals that may come now, and reports whether
// there were any: others may then have come into reach.
func (s *search) observe() (any bool) {
	for _, i := range s.callable() {
		if ok, _ := step(s.state, s.ops[i]); ok && observes(s.ops[i]) {
			s.take(i)
			any = true
		}
	}
	return any
}

// A role is what one change of unknown outcome can be of use for, if its value
// is like any other.
type role struct {
	kind    Kind
	expect  string
	removes bool
}

// changes returns the changes that may come now, the most urgent first. Of those
// that need not be done, one that makes no difference is left out, and so are
// all but the first of those that would make the same.
func (s *search) changes() (list []int) {
	played := make(map[role]bool)
	for _, i := range s.callable() {
		op := s.ops[i]
		ok, next := step(s.state, op)
		if !ok || observes(op) || op.Outcome == Unknown && next == s.state {
			continue
		}
		if r := (role{op.Kind, op.Expect, next == Absent}); s.until[i] == math.MaxInt64 && (next == Absent || s.alike(next)) {
			if played[r] {
				continue
			}
			played[r] = true
		}
		list = append(list, i)
	}
	slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(s.until[a], s.until[b]) })
	return list
}

// callable returns the pending operations that nothing pending must precede.
func (s *search) callable() (list []int) {
	limit := int64(math.MaxInt64)
	for i := s.next[len(s.ops)]; i < len(s.ops) && s.from[i] <= limit; i = s.next[i] {
		limit = min(limit, s.until[i])
		list = append(list, i)
	}
	// The last ones may end before the first ones begin, but not the other way
	// round: the list is sorted by the beginnings.
	return slices.DeleteFunc(list, func(i int) bool { return s.from[i] > limit })
}

func (s *search) take(i int) {
	s.next[s.prev[i]], s.prev[s.next[i]] = s.next[i], s.prev[i]
	s.order = append(s.order, i)
	s.count(i, true)
}

// untake takes back the latest operation of the order.
func (s *search) untake(i int) {
	s.next[s.prev[i]], s.prev[s.next[i]] = i, i
	s.order = s.order[:len(s.order)-1]
	s.count(i, false)
}

func (s *search) count(i int, done bool) {
	one := 1
	if done {
		one = -1
	}
	if s.ops[i].Kind == CAS {
		s.expected[s.ops[i].Expect] += one
	}
	if s.until[i] == math.MaxInt64 {
		s.spent[s.optional[i]] = done
		return
	}
	s.due += one
	s.done[0] -= uint64(one) * s.names[i][0]
	s.done[1] -= uint64(one) * s.names[i][1]
	if s.ops[i].Kind == Read && s.ops[i].Value != Absent {
		s.awaited[s.ops[i].Value] += one
	}
}
