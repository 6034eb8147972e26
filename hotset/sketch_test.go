package hotset

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/micelio/micelio/object"
)

// A truth is what a sketch should know: the weight of every key at this moment,
// worked out the slow way.
type truth struct {
	weights map[uint64]float64
	total   float64
}

// sleep lets time pass for both.
func (u *truth) sleep(d time.Duration) {
	pass(d)
	fade := math.Exp2(-float64(d) / float64(halfLife))
	for hash := range u.weights {
		u.weights[hash] *= fade
	}
	u.total *= fade
}

func (u *truth) note(s *sketch, hash uint64) {
	s.note(hash, object.Key(fmt.Sprint(hash)), 1)
	u.weights[hash]++
	u.total++
}

// check holds a sketch against the truth.
func (u *truth) check(t *testing.T, s *sketch) {
	t.Helper()
	perSecond := math.Ln2 / halfLife.Seconds()
	near := u.total * perSecond * 1e-6
	for hash, weight := range u.weights {
		rate, e := weight*perSecond, s.of(hash)
		if e.rate == 0 && e.slack == 0 {
			if weight > u.total/counters {
				t.Fatalf("a key with %.3g of the reads is not known", weight/u.total)
			}
			continue
		}
		if rate < e.rate-near || rate > e.rate+e.slack+near {
			t.Fatalf("key %d is read %.4f times a second, the sketch says %.4f to %.4f", hash, rate, e.rate, e.rate+e.slack)
		}
		if most := u.total * perSecond / counters; e.slack > most+near {
			t.Fatalf("slack %.4f, at most %.4f is promised", e.slack, most)
		}
		if math.Abs(e.total-u.total*perSecond) > near {
			t.Fatalf("all reads together: %.4f a second, want %.4f", e.total, u.total*perSecond)
		}
	}
}

// Whatever the mix, counts are right within the slack, the slack within its bound,
// and no key that is read more often than that is missed.
func TestASketchIsRightWithinItsBounds(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			zipf := rand.NewZipf(rng, 1.05+rng.Float64(), 1, 50_000)
			s, u := newSketch(), truth{weights: map[uint64]float64{}}
			scan, hot := uint64(1<<40), rng.Float64()*0.02
			for range 10 {
				for range 1500 {
					switch lot := rng.Float64(); {
					case lot < hot:
						u.note(s, 7<<32)
					case lot < 0.4:
						u.note(s, zipf.Uint64())
					case lot < 0.7:
						scan++
						u.note(s, scan)
					default:
						u.note(s, 1<<50+rng.Uint64N(5000))
					}
				}
				u.sleep(time.Duration(rng.Int64N(int64(2 * time.Second))))
			}
			if s.mask.Load() != 0 {
				t.Fatal("reads were passed over, which is another test's subject")
			}
			u.check(t, s)
		})
	}
}

// Of a busy node's reads few are noted, and its rates are right all the same.
func TestABusyNodeNotesFewReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSketch()
		rng := rand.New(rand.NewPCG(1, 2))
		const perSecond, seconds, share = 100_000, 8, 0.1
		noted := 0
		for range seconds * 100 {
			for range perSecond / 100 {
				reads, ok := s.draw()
				if !ok {
					continue
				}
				noted++
				if rng.Float64() < share {
					s.note(1, "hot", reads)
				} else {
					s.note(rng.Uint64(), "cold", reads)
				}
			}
			pass(10 * time.Millisecond)
		}
		if most := 2 * maxNotes * seconds; noted > most {
			t.Errorf("%d of %d reads were noted, at most %d should be", noted, perSecond*seconds, most)
		}
		// Some 1000 notes count for the hot key: a fifth is six standard deviations.
		if e := s.of(1); e.rate+e.slack < 0.8*share*perSecond || e.rate > 1.2*share*perSecond {
			t.Errorf("the hot key: %.0f to %.0f reads a second, want %.0f", e.rate, e.rate+e.slack, share*perSecond)
		}
		if e := s.of(1); math.Abs(e.total-perSecond) > 0.1*perSecond {
			t.Errorf("all keys: %.0f reads a second, want %d", e.total, perSecond)
		}
		pass(30 * time.Second)
		s.pass(0)
		if mask := s.mask.Load(); mask != 0 {
			t.Errorf("after half a minute of rest one read of %d is noted, want all", mask+1)
		}
	})
}

func TestTimeDoesNotBreakASketch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSketch()
		for range 100 {
			s.note(1, "k", 1)
		}
		for _, rest := range []time.Duration{time.Hour, 10 * 365 * 24 * time.Hour} {
			pass(rest)
			if e := s.of(1); e.rate != 0 || e.total != 0 || math.IsNaN(e.slack) {
				t.Errorf("after %v of rest: %+v, want nothing", rest, e)
			}
			for range 100 {
				s.note(1, "k", 1)
				pass(10 * time.Millisecond)
			}
			if e, want := s.of(1), 100*(1-math.Exp2(-0.5)); math.Abs(e.rate-want) > 1 || math.Abs(e.total-want) > 1 {
				t.Errorf("100 reads a second for a second: %.1f of %.1f, want %.1f", e.rate, e.total, want)
			}
		}
	})
}

// The keys of requests are parts of them. A sketch keeps none, and makes a string
// of its own only for a key that comes again.
func TestASketchKeepsNoPartOfARequest(t *testing.T) {
	s := newSketch()
	keys := make([]object.Key, 4*counters)
	for i := range keys {
		keys[i] = object.Key(fmt.Sprint("key-", i))
	}
	i := uint64(0)
	once := func() { i++; s.note(i, keys[i%uint64(len(keys))], 1) }
	for range counters {
		once()
	}
	if n := testing.AllocsPerRun(2*counters, once); n != 0 {
		t.Errorf("a key that comes once allocates %v times", n)
	}
	if top, _ := s.top(counters); len(top) != 0 {
		t.Errorf("%d keys that came once are kept, such as %q", len(top), top[0].key)
	}
	request := "GET /micelio/cache/x HTTP/1.1"
	key := object.Key(request[len("GET /micelio/") : len(request)-len(" HTTP/1.1")])
	for range 3 {
		s.note(1<<40, key, 1)
	}
	top, _ := s.top(counters)
	if len(top) != 1 || top[0].key != key {
		t.Fatalf("%v are kept, want %s", top, key)
	}
	if unsafe.StringData(string(top[0].key)) == unsafe.StringData(string(key)) {
		t.Error("the key that is kept is a part of the request")
	}
}

func TestTheTopIsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSketch()
		for i := range uint64(20) {
			for range i {
				s.note(i, object.Key(fmt.Sprint("key-", i)), 1)
			}
		}
		top, total := s.top(3)
		for i, want := range []object.Key{"key-19", "key-18", "key-17"} {
			if top[i].key != want {
				t.Errorf("number %d is %s, want %s", i+1, top[i].key, want)
			}
		}
		if want := 190 * math.Ln2 / halfLife.Seconds(); len(top) != 3 || math.Abs(total-want) > 1e-6 {
			t.Errorf("%d keys of %.2f reads a second, want 3 of %.2f", len(top), total, want)
		}
	})
}
