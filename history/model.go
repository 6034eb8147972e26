package history

import (
	"hash/maphash"
	"math"
	"slices"

	"github.com/anishathalye/porcupine"
)

// model is the register of one key: its state is a value.
//
// An operation of unknown outcome has no end, so there is an order in which it
// comes after everything that anybody saw, which is as good as never. That is
// why one that could be done when its turn comes always is: the model needs no
// second branch for "not done".
func model() porcupine.Model {
	seed := maphash.MakeSeed()
	return porcupine.Model{
		Init: func() any { return Absent },
		Step: func(state, input, _ any) (bool, any) {
			ok, next := step(state.(string), input.(Op))
			return ok, next
		},
		Hash:              func(state any) uint64 { return maphash.String(seed, state.(string)) },
		DescribeOperation: func(input, _ any) string { return input.(Op).String() },
		DescribeState:     func(state any) string { return shown(state.(string)) },
	}
}

// step reports whether an operation can return what it did in a state, and what
// the state is afterwards.
func step(state string, op Op) (bool, string) {
	switch op.Kind {
	case Read:
		return op.Value == state, state
	case CAS:
		done := matches(op.Expect, state)
		switch {
		case op.Outcome == Refused:
			return !done, state
		case op.Outcome == Unknown && !done:
			return true, state
		}
		return done, op.Value
	}
	return true, op.written()
}

// needed returns what is to be put in an order: everything that says something
// about the key.
func needed(ops []Op, opt Options) (list []Op) {
	for _, op := range ops {
		if judged(op, ops, opt) {
			list = append(list, op)
		}
	}
	return list
}

// operations returns the operations as the general checker wants them.
func operations(ops []Op) (list []porcupine.Operation) {
	for _, op := range ops {
		list = append(list, porcupine.Operation{ClientId: op.Client, Input: op, Call: op.Call, Output: op.Outcome, Return: op.until()})
	}
	return list
}

// judged reports whether an operation needs a place in the order of ops. What
// failed did nothing. An unknown write that nobody can have noticed needs none
// either: it might as well not have been done, and each of them would double the
// work.
func judged(op Op, ops []Op, opt Options) bool {
	switch {
	case op.Outcome == Failed:
		return false
	case op.Kind == Read:
		return op.Outcome == OK && !opt.Bounded
	case op.Outcome != Unknown:
		return true
	}
	return slices.ContainsFunc(ops, func(other Op) bool {
		return other.Outcome != Failed && other.until() >= op.Call && noticed(op, other, opt)
	})
}

// noticed reports whether other may have returned what it did because of the
// unknown write op. A refusal says that there was something else than was
// expected: any write could be that.
func noticed(op, other Op, opt Options) bool {
	switch {
	case other.Kind == Read:
		return !opt.Bounded && other.Outcome == OK && other.Value == op.written()
	case other.Kind != CAS || other == op:
		return false
	case other.Outcome == Refused:
		return !matches(other.Expect, op.written())
	}
	return matches(other.Expect, op.written())
}

// forever is the time before everything.
const forever = math.MinInt64
