package console

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The wanted values follow from bucketQuantile, worked out by hand.
func TestQuantilesAreThoseOfPromQL(t *testing.T) {
	bounds := []float64{.001, .01, .1, 1}
	for _, c := range []struct {
		name    string
		q       float64
		buckets []int64
		count   int64
		want    float64
	}{
		{"within a bucket", .5, []int64{0, 100, 100, 100}, 100, .0055},
		{"the first bucket begins at nought", .5, []int64{10, 10, 10, 10}, 10, .0005},
		{"at the end of a bucket", .5, []int64{50, 100, 100, 100}, 100, .001},
		{"past an empty bucket", .99, []int64{50, 50, 50, 100}, 100, .1 + .9*49/50},
		{"above the last bound", .99, []int64{10, 10, 10, 10}, 100, 1},
		{"only above the last bound", .5, []int64{0, 0, 0, 0}, 7, 1},
		{"one answer", .99, []int64{0, 0, 1, 1}, 1, .01 + .09*.99},
		{"no answers", .5, []int64{0, 0, 0, 0}, 0, math.NaN()},
		{"no buckets", .5, nil, 5, math.NaN()},
	} {
		if got := quantile(c.q, bounds, c.buckets, c.count); !cmp.Equal(got, c.want, cmpopts.EquateApprox(0, 1e-12), cmpopts.EquateNaNs()) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// counting makes counters that have counted for so many seconds since a start,
// a hundred requests a second.
func counting(start time.Time, seconds int64) Counters {
	n := 100 * seconds
	return Counters{
		At: start.Add(time.Duration(seconds) * time.Second), Requests: n, Failed: seconds, BytesIn: 10 * n, BytesOut: 1000 * n, Origin: 2 * seconds, CPU: float64(seconds) / 4,
		Tiers: []TierCount{{"ram", 60 * seconds, 40 * seconds, 3 * seconds}, {"ssd", 0, 0, 0}},
		Answers: []AnswerCount{
			{From: "ram", Bounds: []float64{.001, .01}, Buckets: []int64{30 * seconds, 60 * seconds}, Count: 60 * seconds},
			{From: "origin", Bounds: []float64{.001, .01}, Buckets: []int64{0, 0}, Count: 40 * seconds},
			{From: ""},
		},
	}
}

func TestRatesAreOfTheLastMinuteAndHour(t *testing.T) {
	start := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	h := NewHistory(nil)
	last := int64(2 * 3600)
	for s := int64(0); s <= last; s += 5 {
		c := counting(start, s)
		if s < last-60 { // until a minute ago there was half of it
			c = counting(start, s/2)
			c.At = start.Add(time.Duration(s) * time.Second)
		}
		h.sample(c)
	}
	s := Status{Answers: []Answer{{From: "ram", Count: 1}, {From: "origin"}, {From: ""}, {From: "cdn"}}}
	h.Complete(&s, counting(start, last))

	hour := Rate{Seconds: 3600, Requests: 150, Failed: 1.5, BytesIn: 1500, BytesOut: 150_000, Origin: 3, CPU: .375, Hits: .6,
		Tiers: map[string]float64{"ram": .6}, Evicted: map[string]float64{"ram": 4.5, "ssd": 0}}
	minute := Rate{Seconds: 60, Requests: 100, Failed: 1, BytesIn: 1000, BytesOut: 100_000, Origin: 2, CPU: .25, Hits: .6,
		Tiers: map[string]float64{"ram": .6}, Evicted: map[string]float64{"ram": 3, "ssd": 0}}
	if diff := cmp.Diff(Rates{Minute: minute, Hour: hour}, s.Rates, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Errorf("rates (-want +got):\n%s", diff)
	}
	want := []Answer{{From: "ram", Count: 1, Rate: 60, P50: .001, P99: .001 + .009*.98}, {From: "origin", Rate: 40, P50: .01, P99: .01}, {From: ""}, {From: "cdn"}}
	if diff := cmp.Diff(want, s.Answers, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

func TestThereAreNoRatesOverNoTime(t *testing.T) {
	start := time.Now()
	h := NewHistory(nil)
	none := Rate{Tiers: map[string]float64{}, Evicted: map[string]float64{}}
	check := func(when string) {
		t.Helper()
		s := Status{Answers: []Answer{{From: "ram", Count: 9}}}
		h.Complete(&s, counting(start, 0))
		if diff := cmp.Diff(Rates{none, none}, s.Rates); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		if s.Answers[0] != (Answer{From: "ram", Count: 9}) {
			t.Errorf("%s: %+v", when, s.Answers[0])
		}
		if _, err := json.Marshal(s); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	check("without samples")
	h.sample(counting(start, 0))
	h.sample(counting(start, 0))
	check("at the first sample")
	if n := len(h.Series(time.Time{}).At); n != 0 {
		t.Errorf("%d intervals between two samples of one moment", n)
	}
}

// They cannot go back; but a page with rates below nought would be believed less
// than one with a moment missing.
func TestCountersThatGoBackGiveNoNegativeRates(t *testing.T) {
	start := time.Now()
	h := NewHistory(nil)
	h.sample(counting(start, 1000))
	back := counting(start, 0)
	back.At = start.Add(1005 * time.Second)
	h.sample(back)
	s := Status{Answers: []Answer{{From: "ram"}, {From: "origin"}}}
	h.Complete(&s, back)
	series := h.Series(time.Time{})
	values := []float64{s.Answers[0].Rate, s.Answers[1].Rate, s.Answers[0].P50, s.Answers[0].P99, series.Answers["ram"].Rate[0]}
	for _, r := range []Rate{s.Rates.Minute, s.Rates.Hour} {
		values = append(values, r.Requests, r.Failed, r.BytesIn, r.BytesOut, r.Origin, r.CPU, r.Hits, r.Evicted["ram"], r.Tiers["ram"])
	}
	for _, v := range []Values{series.Requests, series.Failed, series.BytesIn, series.BytesOut, series.Origin, series.CPU} {
		values = append(values, v...)
	}
	if slices.ContainsFunc(values, func(v float64) bool { return v != 0 }) {
		t.Errorf("rates of counters that went back: %v", values)
	}
}

func TestAHistoryKeepsAnHour(t *testing.T) {
	start := time.Now()
	h := NewHistory(nil)
	for s := int64(0); s < 3*3600; s += 5 {
		h.sample(counting(start, s))
	}
	series := h.Series(time.Time{})
	if n := len(series.At); n != 720 {
		t.Fatalf("%d intervals, want 720", n)
	}
	newest := start.Add((3*3600 - 5) * time.Second).UnixMilli()
	if series.At[719] != newest || series.At[0] != newest-719*5000 {
		t.Errorf("from %d to %d, want to %d", series.At[0], series.At[719], newest)
	}
	for i, v := range series.Requests {
		if math.Abs(v-100) > 1e-9 || math.Abs(series.Tiers["ram"][i]-.6) > 1e-9 || math.Abs(series.Answers["ram"].P50[i]-.001) > 1e-9 {
			t.Fatalf("interval %d: %v requests a second, hit ratio %v, median %v", i, v, series.Tiers["ram"][i], series.Answers["ram"].P50[i])
		}
		if !math.IsNaN(series.Tiers["ssd"][i]) || !math.IsNaN(series.Answers[""].P99[i]) {
			t.Fatalf("interval %d: a ratio of nothing", i)
		}
	}
	after := h.Series(time.UnixMilli(newest - 10_000))
	if want := series.At[718:]; !slices.Equal(after.At, want) || len(after.Answers["ram"].Rate) != 2 {
		t.Errorf("after the last but two: %v, want %v", after.At, want)
	}
	if n := len(h.Series(time.UnixMilli(newest)).At); n != 0 {
		t.Errorf("%d intervals after the last", n)
	}
	if bytes := len(h.rows) * int(unsafe.Sizeof(h.rows[0])); bytes > 400_000 {
		t.Errorf("an hour takes %d bytes", bytes)
	}
}

func TestNamesDoNotDecideHowMuchAHistoryTakes(t *testing.T) {
	h := NewHistory(nil)
	start := time.Now()
	for s := range int64(100) {
		c := counting(start, s)
		c.Answers = append(c.Answers, AnswerCount{From: string(rune('a' + s%26)), Buckets: make([]int64, 1000), Bounds: make([]float64, 1000)})
		c.Tiers = append(c.Tiers, TierCount{Name: string(rune('a' + s%26))})
		h.sample(c)
	}
	if len(h.places) != maxPlaces || len(h.tiers) != maxTiers || len(h.recent) != maxRecent {
		t.Errorf("%d places, %d tiers, %d counters", len(h.places), len(h.tiers), len(h.recent))
	}
	for _, c := range h.recent {
		if len(c.Answers[3].Buckets) > maxBounds {
			t.Errorf("%d buckets are kept", len(c.Answers[3].Buckets))
		}
	}
}

// A source may write its next counters into the same slices.
func TestAHistoryKeepsItsOwnCounters(t *testing.T) {
	h, start := NewHistory(nil), time.Now()
	c := counting(start, 10)
	h.sample(c)
	for i := range c.Answers[0].Buckets {
		c.Answers[0].Buckets[i] += 600
	}
	c.Answers[0].Count += 600
	c.At = start.Add(70 * time.Second)
	s := Status{Answers: []Answer{{From: "ram"}}}
	h.Complete(&s, c)
	if got, want := s.Answers[0], (Answer{From: "ram", Rate: 10, P50: .0005, P99: .00099}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAHistorySamplesEveryFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHistory(newScript(time.Now().Add(-time.Hour)))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { h.Run(ctx); close(done) }()
		began := time.Now()
		time.Sleep(61 * time.Second)
		cancel()
		<-done
		var want []int64
		for i := range int64(12) {
			want = append(want, began.UnixMilli()+5000*(i+1))
		}
		if got := h.Series(time.Time{}).At; !slices.Equal(got, want) {
			t.Errorf("intervals ended at %v, want %v", got, want)
		}
	})
}

func TestASeriesIsTheSameAfterJSON(t *testing.T) {
	want := Series{At: []int64{1, 2}, Requests: Values{1.5, math.NaN()}, Tiers: map[string]Values{"ram": {.25, 12340}}, Answers: map[string]AnswerSeries{"": {Rate: Values{0, 1e-5}}}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Series
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", text, diff)
	}
}
