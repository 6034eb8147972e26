package loadtest

import (
	"math/bits"
	"sync/atomic"
)

// A bitset is a set of numbers below a bound that only grows. Any number of
// goroutines may use it at once.
type bitset []atomic.Uint64

func newBitset(n int64) bitset { return make(bitset, (n+63)/64) }

// add puts n into the set. It mostly is there already, which costs no write.
func (s bitset) add(n int64) {
	if word, bit := &s[n/64], uint64(1)<<(n%64); word.Load()&bit == 0 {
		word.Or(bit)
	}
}

// count returns how many numbers are in the set.
func (s bitset) count() int64 {
	n := 0
	for i := range s {
		n += bits.OnesCount64(s[i].Load())
	}
	return int64(n)
}
