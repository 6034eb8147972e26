package loadtest

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPacersSayWhenRequestsAreDue(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		spec string
		due  map[uint64]time.Duration
		rate map[time.Duration]float64
		last uint64 // the first that never is due, 0 if there is none
	}{
		{
			spec: "1000",
			due:  map[uint64]time.Duration{0: 0, 1: ms, 1000: time.Second, 3_600_000_000: 1000 * time.Hour},
			rate: map[time.Duration]float64{0: 1000, time.Hour: 1000},
		}, {
			spec: "0.5",
			due:  map[uint64]time.Duration{0: 0, 1: 2 * time.Second},
		}, {
			// 100 in the first second on average: the area of the triangle.
			spec: "ramp:0..200@1s",
			due:  map[uint64]time.Duration{0: 0, 25: 500 * ms, 100: time.Second, 300: 2 * time.Second},
			rate: map[time.Duration]float64{0: 0, 250 * ms: 50, time.Second: 200, time.Minute: 200},
		}, {
			spec: "ramp:200..0@1s",
			due:  map[uint64]time.Duration{0: 0, 75: 500 * ms},
			rate: map[time.Duration]float64{0: 200, 750 * ms: 50, time.Minute: 0},
			last: 100,
		}, {
			spec: "ramp:100..300@2s",
			due:  map[uint64]time.Duration{0: 0, 150: time.Second, 400: 2 * time.Second, 700: 3 * time.Second},
		}, {
			spec: "1s@50,2s@0,1s@200",
			due:  map[uint64]time.Duration{0: 0, 25: 500 * ms, 49: 980 * ms, 50: 3 * time.Second, 150: 3500 * ms},
			rate: map[time.Duration]float64{0: 50, time.Second: 0, 3 * time.Second: 200, 4 * time.Second: 0},
			last: 250,
		}, {
			// Over whole periods the swings cancel.
			spec: "sine:500~300@1s",
			due:  map[uint64]time.Duration{0: 0, 500: time.Second, 5000: 10 * time.Second},
			rate: map[time.Duration]float64{0: 500, 250 * ms: 800, 750 * ms: 200},
		}, {
			spec: "max",
			due:  map[uint64]time.Duration{0: 0, math.MaxUint64: 0},
			rate: map[time.Duration]float64{0: 0},
		},
	} {
		p, err := ParsePacer(test.spec, 1)
		if err != nil {
			t.Error(err)
			continue
		}
		for i, want := range test.due {
			got, stop := p.Pace(0, i)
			if off := got - want; stop || off < -time.Microsecond || off > time.Microsecond {
				t.Errorf("%s: request %d is due after %v (stop %t), want %v", test.spec, i, got, stop, want)
			}
			if later, _ := p.Pace(time.Hour, i); later != got-time.Hour {
				t.Errorf("%s: an hour later the wait is %v, want %v", test.spec, later, got-time.Hour)
			}
		}
		for at, want := range test.rate {
			if got := p.Rate(at); math.Abs(got-want) > 1e-6 {
				t.Errorf("%s: the rate after %v is %g, want %g", test.spec, at, got, want)
			}
		}
		if test.last > 0 {
			if _, stop := p.Pace(0, test.last-1); stop {
				t.Errorf("%s: request %d never is due", test.spec, test.last-1)
			}
			if due, stop := p.Pace(0, test.last); !stop {
				t.Errorf("%s: request %d is due after %v, want never", test.spec, test.last, due)
			}
		}
	}
}

func TestWhatIsNoRateIsRefused(t *testing.T) {
	for _, spec := range []string{
		"", "x", "-1", "0", "-0", "NaN", "Inf", "1e300", "1000/s", "1000 ", "1e-30", "10s", "10s@", "@5", "10s@5,", "10s@0", "10s@-5", "0s@5",
		"-1s@5", "ramp:", "ramp:1..2", "ramp:1@1s", "ramp:0..0@1s", "ramp:1..2@0s", "ramp:1..2@9999h", "sine:1@1s", "sine:1~2@1s",
		"sine:0~0@1s", "poisson:", "poisson:max", "poisson:poisson:5", "max:5", "nothing:5", "1ns@1e6",
	} {
		if p, err := ParsePacer(spec, 1); err == nil {
			t.Errorf("%q is %v", spec, p)
		}
	}
}

// checkPacer says what no Pacer may do: let requests be due out of order, or
// let them be due when the area under the rate says otherwise. The area is added
// up here in small pieces, which knows nothing of formulas.
func checkPacer(t *testing.T, p Pacer, over time.Duration) {
	t.Helper()
	const pieces = 20_000
	area, i := 0.0, uint64(0)
	step := over / pieces
	if step <= 0 {
		return
	}
	most := 0.0
	last := time.Duration(-1)
	for piece := range pieces {
		from := time.Duration(piece) * step
		rate := p.Rate(from + step/2)
		most = max(most, rate)
		area += rate * step.Seconds()
		i = uint64(area)
		due, stop := p.Pace(0, i)
		if stop {
			return
		}
		if due < last {
			t.Fatalf("%v: request %d is due after %v, one before it after %v", p, i, due, last)
		}
		last = due
		// How many are due is known as exactly as the pieces are fine, and by one.
		if behind := area - float64(i); from+step < due-step && (due-from-step).Seconds()*rate > 2+behind+most*step.Seconds()*3 {
			t.Fatalf("%v: request %d is due after %v, but %g were due after %v", p, i, due, area, from+step)
		}
	}
}

func FuzzParsePacer(f *testing.F) {
	for _, spec := range []string{"1000", "30s@50,1m@200", "1m30s@1.5,1h@0,2h0m1s@7", "ramp:100..2000@30s", "ramp:5..0@1s", "sine:500~300@1m",
		"sine:500~500@1m", "poisson:1000", "poisson:ramp:0..10@1m", "max", "1e3", "poisson:10s@1000,10s@0,10s@1"} {
		f.Add(spec)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		p, err := ParsePacer(spec, 1)
		if err != nil {
			return
		}
		again, err := ParsePacer(fmt.Sprint(p), 1)
		if err != nil {
			t.Fatalf("%q is %v, which is refused: %v", spec, p, err)
		}
		if fmt.Sprint(again) != fmt.Sprint(p) {
			t.Fatalf("%q is %v, and that is %v", spec, p, again)
		}
		if _, random := p.(*Poisson); random {
			last := time.Duration(0)
			for i := range uint64(3000) {
				due, stop := p.Pace(0, i)
				if stop {
					break
				}
				if due < last {
					t.Fatalf("%v: request %d is due after %v, the one before it after %v", p, i, due, last)
				}
				last = due
			}
			return
		}
		if d := cmp.Diff(again, p); d != "" {
			t.Fatal(d)
		}
		checkPacer(t, p, time.Minute)
	})
}

// Seven bins of the unit interval in which 1-exp(-gap) must be even, chi-square
// with 6 degrees of freedom: more than 22.5 happens once in a thousand times, and
// the seed is fixed.
func TestPoissonArrivalsAreIndependent(t *testing.T) {
	const n, rate, bins = 100_000, 1000, 7
	p, err := ParsePacer("poisson:1000", 7)
	if err != nil {
		t.Fatal(err)
	}
	var counts [bins]float64
	perSecond := map[int]float64{}
	last := time.Duration(0)
	for i := range uint64(n) {
		due, _ := p.Pace(0, i)
		gap := (due - last).Seconds() * rate
		counts[min(int(bins*(1-math.Exp(-gap))), bins-1)]++
		perSecond[int(due.Seconds())]++
		last = due
	}
	square := 0.0
	for _, got := range counts {
		want := float64(n) / bins
		square += (got - want) * (got - want) / want
	}
	if square > 22.5 {
		t.Errorf("the gaps are not exponential: chi-square %.1f, counts %v", square, counts)
	}
	if mean := n / last.Seconds(); math.Abs(mean-rate) > 4*rate/math.Sqrt(n) {
		t.Errorf("a rate of %.1f on average, want %d", mean, rate)
	}
	variance := 0.0
	for second := range int(last.Seconds()) {
		d := perSecond[second] - rate
		variance += d * d / math.Floor(last.Seconds())
	}
	if variance < rate/2 || variance > rate*2 {
		t.Errorf("counts of seconds vary by %.0f, want about %d as Poisson's do", variance, rate)
	}
}

// What was remembered must not show: asked backwards, and by a Pacer that never
// was asked before, the answers are the same.
func TestPoissonArrivalsDoNotDependOnWhoAsks(t *testing.T) {
	one, other := NewPoisson(Constant(1000), 3), NewPoisson(Constant(1000), 3)
	var forwards, backwards []time.Duration
	for i := range uint64(10_000) {
		due, _ := one.Pace(0, i)
		forwards = append(forwards, due)
		due, _ = other.Pace(0, 9_999-i)
		backwards = append(backwards, due)
	}
	slices.Reverse(backwards)
	if !slices.Equal(forwards, backwards) {
		t.Error("asked backwards, arrivals are others")
	}
	third := NewPoisson(Constant(1000), 4)
	if due, _ := third.Pace(0, 9_999); due == forwards[9_999] {
		t.Error("another seed has the same arrivals")
	}
}
