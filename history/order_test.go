package history

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/anishathalye/porcupine"
)

// randomOps returns operations of a few clients on one register, as they can
// have run, and with damage something that most likely cannot.
func randomOps(random *rand.Rand, n, clients, window, unknown int, damage bool) (ops []Op) {
	state := Absent
	values := []string{Absent}
	free := make([]int64, clients) // when each client is done with its last
	now := int64(10)
	for i := range n {
		now += int64(random.IntN(6))
		c := random.IntN(len(free))
		now = max(now, free[c]+1) // the moment at which it takes effect
		op := Op{Client: c, Key: "k", Call: max(free[c]+1, now-int64(random.IntN(window))), Return: now + int64(random.IntN(window)), Outcome: OK}
		op.Value = fmt.Sprintf("%c%d;%d", 'a'+random.IntN(3), i, i)
		switch random.IntN(6) {
		case 0, 1:
			op.Kind, op.Value = Read, state
		case 2:
			op.Kind = Write
		case 3:
			op.Kind, op.Value = Delete, Absent
		default:
			op.Kind, op.Expect = CAS, Tag(values[random.IntN(len(values))])
			if random.IntN(3) > 0 {
				op.Expect = Tag(state)
			}
			if random.IntN(5) == 0 {
				op.Expect = Any
			}
			if !matches(op.Expect, state) {
				op.Outcome = Refused
			}
		}
		effect := op.changes() && op.Outcome == OK
		if op.changes() && random.IntN(100) < unknown {
			effect, op.Outcome = effect && random.IntN(2) == 0, Unknown
		}
		if effect {
			state = op.written()
			values = append(values, state)
		}
		free[c] = op.Return
		ops = append(ops, op)
	}
	if damage && len(ops) > 0 {
		if op := &ops[random.IntN(len(ops))]; op.Kind == Read {
			op.Value = values[random.IntN(len(values))]
		} else if op.Kind == CAS && op.Outcome != Unknown {
			op.Outcome = []Outcome{OK, Refused}[random.IntN(2)]
		}
	}
	return ops
}

// The quick search and the general checker say the same of every history, and
// what the quick one finds is an order.
func TestTheSearchAgreesWithTheGeneralChecker(t *testing.T) {
	verdicts := make(map[bool]int)
	for seed := range uint64(20_000) {
		random := rand.New(rand.NewPCG(seed, 0))
		ops := randomOps(random, 1+random.IntN(14), 1+random.IntN(5), 12, 25, seed%2 == 0)
		if len(malformed("k", ops))+len(foreign("k", ops)) > 0 {
			continue
		}
		list := needed(ops, Options{})
		order, sure := findOrder(list, orderSteps)
		legal := porcupine.CheckOperations(model(), operations(list))
		if !sure || (order != nil) != legal {
			t.Fatalf("seed %d: an order was found: %v (sure: %v), the checker says %v:\n%v", seed, order != nil, sure, legal, list)
		}
		if legal && !explains(order, list) {
			t.Fatalf("seed %d: %v\nis no order of\n%v", seed, order, list)
		}
		verdicts[legal]++
	}
	t.Logf("legal and not: %v", verdicts)
	if verdicts[true] < 1000 || verdicts[false] < 1000 {
		t.Errorf("the histories are too much alike: %v", verdicts)
	}
}

// An order that breaks any of the rules is none.
func TestOnlyAnOrderExplains(t *testing.T) {
	a := Op{Kind: Write, Value: "a", Call: 0, Return: 5, Outcome: OK}
	b := Op{Kind: Write, Value: "b", Call: 6, Return: 9, Outcome: OK}
	r := Op{Kind: Read, Value: "a", Call: 4, Return: 8, Outcome: OK}
	u := Op{Kind: Delete, Call: 1, Return: 2, Outcome: Unknown}
	all := []Op{a, b, r, u}
	for _, order := range [][]Op{{a, r, b}, {a, r, u, b}, {a, r, b, u}, {u, a, r, b}} {
		if !explains(order, all) {
			t.Errorf("%v is an order", order)
		}
	}
	for what, order := range map[string][]Op{
		"one is missing":       {a, b},
		"one is there twice":   {a, r, r, b},
		"one is not of them":   {a, r, b, {Kind: Write, Value: "c", Call: 7, Return: 8, Outcome: OK}},
		"a read is wrong":      {a, b, r},
		"one comes before":     {b, a, r},
		"an unknown one early": {u, a, b, r},
	} {
		if explains(order, all) {
			t.Errorf("%s: %v is taken for an order", what, order)
		}
	}
}

// Forty users of one key whose operations all overlap, as they do while a node
// stands still, and some that were never heard of again: the general checker was
// given a minute for such a key in a run of five processes, and had no verdict.
func TestManyAtOnceAreDecided(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 7))
		ops := randomOps(random, 400, 40, 400, 2, false)
		list := needed(ops, Options{})
		if order, sure := findOrder(list, orderSteps); order == nil || !explains(order, list) {
			t.Errorf("seed %d: no order of %d operations, sure: %v", seed, len(list), sure)
		}
	}
}
