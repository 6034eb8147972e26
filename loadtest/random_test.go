package loadtest

import (
	"bytes"
	"math"
	"testing"
)

func TestAStreamIsTheSameFromEveryOffset(t *testing.T) {
	s := stream(12345)
	whole := make([]byte, 2000)
	s.fill(whole, 0)
	for offset := range 40 {
		for _, length := range []int{0, 1, 7, 8, 9, 100, 1500} {
			part := make([]byte, length)
			s.fill(part, int64(offset))
			if !bytes.Equal(part, whole[offset:offset+length]) {
				t.Fatalf("%d bytes from %d on are others than in the whole", length, offset)
			}
			if !s.equal(part, int64(offset)) {
				t.Fatalf("%d bytes from %d on are not equal to themselves", length, offset)
			}
			if length == 0 {
				continue
			}
			for _, at := range []int{0, length / 2, length - 1} {
				part[at] ^= 1
				if s.equal(part, int64(offset)) {
					t.Fatalf("%d bytes from %d on: a changed bit at %d is not seen", length, offset, at)
				}
				part[at] ^= 1
			}
		}
	}
	if stream(12346).equal(whole[:8], 0) {
		t.Error("two streams begin alike")
	}
}

func TestMomentsOfWhatIsDrawn(t *testing.T) {
	const n = 200_000
	r := seeded(1, 2, 3)
	var uniform, normal, square, exponential float64
	for range n {
		uniform += r.float() / n
		x := r.normal()
		normal += x / n
		square += x * x / n
		exponential += r.exponential() / n
	}
	for _, c := range []struct {
		name            string
		got, want, span float64
	}{
		{"mean of uniform", uniform, 0.5, 0.29}, {"mean of normal", normal, 0, 1},
		{"variance of normal", square, 1, 1.42}, {"mean of exponential", exponential, 1, 1},
	} {
		if math.Abs(c.got-c.want) > 5*c.span/math.Sqrt(n) {
			t.Errorf("%s is %g, want %g", c.name, c.got, c.want)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	p := make([]byte, 1<<20)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		stream(1).fill(p, 0)
	}
}
