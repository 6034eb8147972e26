package loadtest

import (
	"encoding/binary"
	"math"
)

// golden is the odd number next to 2^64 over the golden ratio.
const golden = 0x9e3779b97f4a7c15

// mix64 is the finaliser of SplitMix64, a bijection whose output bits each
// depend on all input bits (Steele, Lea, Flood: Fast Splittable Pseudorandom
// Number Generators, OOPSLA 2014; the constants are Stafford's variant 13).
func mix64(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// A random is SplitMix64. What makes it fit here is that one costs nothing to
// begin: each request has its own, begun from the seed and the request's number,
// so that it does not matter which worker draws the request, and when.
type random struct{ state uint64 }

// seeded returns the sequence that the numbers determine, whatever their order
// of magnitude.
func seeded(numbers ...uint64) random {
	var state uint64
	for _, n := range numbers {
		state = mix64(state + golden + mix64(n+golden))
	}
	return random{state}
}

func (r *random) next() uint64 {
	r.state += golden
	return mix64(r.state)
}

// float returns a number in [0, 1).
func (r *random) float() float64 { return float64(r.next()>>11) / (1 << 53) }

// below returns a number in [0, n), n > 0. The bias of taking the remainder is n
// over 2^64: for a million keys, a part in 10^13.
func (r *random) below(n int64) int64 { return int64(r.next() % uint64(n)) }

// normal returns a number of the standard normal distribution, by the method of
// Box and Muller.
func (r *random) normal() float64 {
	radius := math.Sqrt(-2 * math.Log(1-r.float()))
	return radius * math.Cos(2*math.Pi*r.float())
}

// exponential returns a number of the exponential distribution with mean 1.
func (r *random) exponential() float64 { return -math.Log(1 - r.float()) }

// hashString makes a number of a name (FNV-1a).
func hashString(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// A stream is endless bytes that a seed determines and that can be read from any
// offset: what is stored under a key, without anyone having to keep it. It
// makes some gigabytes a second.
type stream uint64

// fill writes the bytes from offset on.
func (s stream) fill(b []byte, offset int64) {
	word := uint64(offset) / 8
	if skip := int(offset % 8); skip > 0 && len(b) > 0 {
		var whole [8]byte
		binary.LittleEndian.PutUint64(whole[:], s.word(word))
		n := copy(b, whole[skip:])
		b, word = b[n:], word+1
	}
	for ; len(b) >= 8; b, word = b[8:], word+1 {
		binary.LittleEndian.PutUint64(b, s.word(word))
	}
	if len(b) > 0 {
		var whole [8]byte
		binary.LittleEndian.PutUint64(whole[:], s.word(word))
		copy(b, whole[:])
	}
}

// equal reports whether b is what the stream has from offset on.
func (s stream) equal(b []byte, offset int64) bool {
	var want [512]byte
	for len(b) > 0 {
		n := min(len(b), len(want))
		s.fill(want[:n], offset)
		if string(b[:n]) != string(want[:n]) {
			return false
		}
		b, offset = b[n:], offset+int64(n)
	}
	return true
}

func (s stream) word(i uint64) uint64 { return mix64(uint64(s) + (i+1)*golden) }
