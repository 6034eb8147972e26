package report

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/loadtesttest"
)

// The page is one file: nothing in it makes a browser ask for another, and its
// policy forbids it to.
func TestThePageAsksForNothing(t *testing.T) {
	page := write(t, "html", loadtesttest.Run(loadtesttest.Shape{}))
	for _, m := range regexp.MustCompile(`(?i)\b(?:src|href|action|srcset|poster|data)\s*=\s*["']?([^"'\s>]*)`).FindAllStringSubmatch(page, -1) {
		if m[1] != "data:," {
			t.Errorf("the page refers to %q", m[1])
		}
	}
	for _, forbidden := range []string{"url(", "@import", "fetch(", "XMLHttpRequest", "import(", "<iframe", "<link rel=\"stylesheet"} {
		if strings.Contains(page, forbidden) {
			t.Errorf("the page has %s", forbidden)
		}
	}
	if !strings.Contains(page, `content="default-src 'none'`) {
		t.Error("the page has no policy that forbids to ask for anything")
	}
}

func TestNamesAreNoMarkup(t *testing.T) {
	r := spoilt()
	r.Config.Name = `</title><script>alert(1)</script>`
	r.Series[0].Cache = `<img onerror=x>`
	r.Intervals[0].Caches = map[string]int64{`"><b>`: 1}
	page := write(t, "html", r)
	if n := strings.Count(page, "<script"); n != 1 {
		t.Errorf("the page has %d scripts, want its own alone", n)
	}
	for _, markup := range []string{"<img", "<b>"} {
		if strings.Contains(page, markup) {
			t.Errorf("the page has %s of a name", markup)
		}
	}
	// html/template writes this for what it does not trust.
	if strings.Contains(page, "ZgotmplZ") {
		t.Error("something of the page was filtered out")
	}
}

// Each plot has its numbers as a table, one row to each place of the cursor.
func TestThePlotsHaveTables(t *testing.T) {
	r := loadtesttest.Run(loadtesttest.Shape{})
	charts, err := chartsOf(r)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, c := range charts {
		ids = append(ids, c.ID)
		if len(c.Rows()) != len(c.Places()) || len(c.Rows()) == 0 {
			t.Errorf("%s: %d rows, %d places", c.ID, len(c.Rows()), len(c.Places()))
		}
		for _, row := range c.Rows() {
			if len(row) != 1+len(c.Series) {
				t.Errorf("%s: the row %q, %d curves", c.ID, row, len(c.Series))
			}
		}
	}
	if got, want := fmt.Sprint(ids), "[rate times bad tiers cpu distribution]"; got != want {
		t.Errorf("the plots are %s, want %s", got, want)
	}
}

// Whatever is drawn lies on the plane: a value outside of its scale would be
// drawn over the words of the axes.
func TestCurvesStayOnThePlane(t *testing.T) {
	number := regexp.MustCompile(`[MLh]([\d.e+-]+)(?: ([\d.e+-]+))?`)
	for _, r := range []*loadtest.Result{loadtesttest.Run(loadtesttest.Shape{}), loadtesttest.Run(loadtesttest.Shape{Seconds: 1, Rate: 3}), spoilt(), {}} {
		charts, err := chartsOf(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range charts {
			for _, curve := range c.Curves() {
				for _, m := range number.FindAllStringSubmatch(curve.Path, -1) {
					x, err := strconv.ParseFloat(m[1], 64)
					if err != nil || x < 0 || x > planeWidth {
						t.Fatalf("%s, %s: x is %s (%v)", c.ID, curve.Name, m[1], err)
					}
					if m[2] == "" {
						continue
					}
					if y, err := strconv.ParseFloat(m[2], 64); err != nil || y < 0 || y > planeHeight {
						t.Fatalf("%s, %s: y is %s (%v)", c.ID, curve.Name, m[2], err)
					}
				}
			}
		}
	}
}

// A long run has more seconds than a plot has places. A single bad second
// must be seen all the same, and nothing be counted twice or lost.
func TestALongRunKeepsItsWorstSecond(t *testing.T) {
	r := &loadtest.Result{Loop: loadtest.LoopOpen}
	usual, bad := &loadtest.Histogram{}, &loadtest.Histogram{}
	for range 100 {
		usual.Record(time.Millisecond)
	}
	bad.Merge(usual)
	bad.Record(5 * time.Second)
	const minutes, worst = 25, 1111
	for i := range minutes * 60 {
		h := usual
		if i == worst {
			h = bad
		}
		encoded, err := h.Encode()
		if err != nil {
			t.Fatal(err)
		}
		r.Intervals = append(r.Intervals, loadtest.Interval{
			Offset: time.Duration(i) * time.Second, Length: time.Second, Asked: 100,
			Totals: loadtest.Totals{Done: h.Count()}, Response: encoded, Max: h.Max(),
		})
	}
	all, err := moments(r)
	if err != nil {
		t.Fatal(err)
	}
	total, longest := int64(0), time.Duration(0)
	for _, m := range all {
		total += m.response.Count()
		longest = max(longest, m.response.Max())
		if m.Asked != 100 || math.Abs(rateOf(&m, m.Done)-100) > 1 {
			t.Fatalf("at %v: asked %v, done %v, want 100 a second", m.Offset, m.Asked, rateOf(&m, m.Done))
		}
	}
	if len(all) > maxPoints || total != minutes*60*100+1 || longest < 4900*time.Millisecond {
		t.Errorf("%d places, %d requests, the longest %v", len(all), total, longest)
	}
}

func TestADamagedIntervalIsAnError(t *testing.T) {
	r := loadtesttest.Run(loadtesttest.Shape{})
	r.Intervals[3].Response = "damaged"
	if err := Page(&strings.Builder{}, r); err == nil || !strings.Contains(err.Error(), "interval at 3s") {
		t.Errorf("the error is %v, want it to name the interval", err)
	}
}

func TestScales(t *testing.T) {
	name := func(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }
	labels := func(s scale) (text string) {
		for _, tick := range s.ticks {
			text += fmt.Sprintf("%s@%.2f ", tick.Label, tick.At)
		}
		return strings.TrimSpace(text)
	}
	for _, c := range []struct {
		scale scale
		want  string
	}{
		{linear(0, name), "0@0.00 0.5@0.50 1@1.00"},
		{linear(1, name), "0@0.00 0.5@0.50 1@1.00"},
		{linear(490, name), "0@0.00 200@0.33 400@0.67 600@1.00"},
		{linear(1000, name), "0@0.00 500@0.50 1000@1.00"},
		{linear(math.Inf(1), name), "0@0.00 0.5@0.50 1@1.00"},
		{logarithmic(0.002, 0.3, name), "0.001@0.00 0.01@0.33 0.1@0.67 1@1.00"},
		{logarithmic(1, 1, name), "1@0.00 10@1.00"},
		{logarithmic(math.Inf(1), 0, name), "1e-06@0.00 1e-05@1.00"},
		{seconds(20), "0s@0.00 5s@0.25 10s@0.50 15s@0.75 20s@1.00"},
		{seconds(0.5), "0s@0.00"},
		{seconds(3 * 3600), "0s@0.00 30:00@0.17 1:00:00@0.33 1:30:00@0.50 2:00:00@0.67 2:30:00@0.83 3:00:00@1.00"},
		{nines(0), "0@0.00 90%@1.00"},
		{nines(4000), "0@0.00 90%@0.25 99%@0.50 99.9%@0.75 99.99%@1.00"},
	} {
		if got := labels(c.scale); got != c.want {
			t.Errorf("ticks %q, want %q", got, c.want)
		}
	}
}
