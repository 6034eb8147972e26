package figure_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/figure"
	"github.com/micelio/micelio/loadtest/loadtesttest"
)

func parse(t *testing.T, name string) figure.Figure {
	t.Helper()
	f, err := figure.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFiguresAreThoseOfTheRun(t *testing.T) {
	r := loadtesttest.Run(loadtesttest.Shape{})
	ram := r.Group(func(s *loadtest.Series) string { return s.Cache })[2]
	if ram.Name != "ram" {
		t.Fatalf("the third tier is %s", ram.Name)
	}
	status200 := r.Group(func(s *loadtest.Series) string {
		if s.Status == 200 {
			return "200"
		}
		return ""
	})[0]
	for _, c := range []struct {
		name string
		want float64
	}{
		{"p50", r.Response.Quantile(.5).Seconds()},
		{"p99.9", r.Response.Quantile(.999).Seconds()},
		{"p100", r.Response.Max().Seconds()},
		{"min", r.Response.Min().Seconds()},
		{"mean", r.Response.Mean().Seconds()},
		{"max", r.Response.Max().Seconds()},
		{"service.p99", r.Service.Quantile(.99).Seconds()},
		{"lateness.p99.99", r.Lateness.Quantile(.9999).Seconds()},
		{"tier.ram.p99", ram.Response.Quantile(.99).Seconds()},
		{"tier.ram.p99.9", ram.Response.Quantile(.999).Seconds()},
		{"tier.ram.max", ram.Response.Max().Seconds()},
		{"status.200.p50", status200.Response.Quantile(.5).Seconds()},
		{"cpu", r.Server.CPUPerRequest.Seconds()},
		{"errors", float64(r.Totals.Failed) / float64(r.Totals.Sent)},
		{"unsent", float64(r.Totals.Unsent) / float64(r.Totals.Scheduled)},
		{"rate", float64(r.Totals.Done) / r.Took.Seconds()},
		{"hit", r.Server.HitRatio},
	} {
		if got, known := parse(t, c.name).Of(r); !known || math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s is %v (known: %v), want %v", c.name, got, known, c.want)
		}
	}
}

func TestWhatARunDoesNotKnowIsNotNought(t *testing.T) {
	r := loadtesttest.Run(loadtesttest.Shape{})
	r.Server = nil
	r.Totals = loadtest.Totals{}
	for _, name := range []string{"cpu", "hit", "errors", "unsent", "tier.cdn.p99"} {
		if v, known := parse(t, name).Of(r); known {
			t.Errorf("%s is %v, want it unknown", name, v)
		}
	}
}

// Nodes that had not answered used no CPU time and hit nothing, and the rest were taken for all.
func TestWhatSomeNodesSayIsNotKnownOfAll(t *testing.T) {
	for name, server := range map[string]*loadtest.Server{
		"nobody answered":   {Missing: []string{"a"}},
		"one did not":       {Nodes: 2, Requests: 5, Missing: []string{"a"}},
		"one was restarted": {Nodes: 3, Requests: 5, Restarted: []string{"a"}},
	} {
		r := loadtesttest.Run(loadtesttest.Shape{})
		r.Server = server
		for _, f := range []string{"cpu", "hit", "origin_gets_per_key", "allocs", "alloc_bytes"} {
			if v, known := parse(t, f).Of(r); known || !parse(t, f).OfServers() {
				t.Errorf("%s: %s is %v, want it unknown", name, f, v)
			}
		}
		if v, known := parse(t, "p99").Of(r); !known || parse(t, "p99").OfServers() {
			t.Errorf("%s: p99 is %v, want it known", name, v)
		}
	}
}

func TestNamesThatAreNone(t *testing.T) {
	for _, name := range []string{"", "p", "p101", "p1.2.3", "99", "p-1", "speed", "service", "service.", "service.cpu", "tier", "tier.p99", "tier..p99", "tier.ram", "node.a.p99", "cpu.p99", "P99"} {
		if f, err := figure.Parse(name); err == nil {
			t.Errorf("%q is taken for %s", name, f.Name)
		}
	}
}

func TestBoundsHoldOrNot(t *testing.T) {
	values := map[string]float64{"p99": 0.005, "errors": 0.0001, "unsent": 0, "rate": 1000}
	lookup := func(f figure.Figure) (float64, bool) { v, known := values[f.Name]; return v, known }
	for _, c := range []struct {
		bounds string
		broken []string
	}{
		{"p99<=5ms,errors<0.02%,unsent=0,rate>999", nil},
		{"p99<5ms", []string{"p99 is 5ms"}},
		{" p99 < 5001us , errors <= 0.0001 ", nil},
		{"errors<0.01%,unsent=0,p99<4ms", []string{"errors is 0.01%", "p99 is 5ms"}},
		{"rate>=1000.5", []string{"rate is 1k/s"}},
		{"p50<1s", []string{"p50 is not known"}},
	} {
		bounds, err := figure.ParseBounds(c.bounds)
		if err != nil {
			t.Fatal(err)
		}
		if got := figure.Broken(bounds, lookup); !slices.Equal(got, c.broken) {
			t.Errorf("%s: %q, want %q", c.bounds, got, c.broken)
		}
	}
}

func TestBoundsThatAreNone(t *testing.T) {
	for _, text := range []string{"", "p99", "p99<", "p99<5", "p99<-5ms", "<5ms", "errors<2", "errors<200%", "errors<x", "rate>NaN", "rate>+Inf", "p99<5ms,,", "p99==5ms"} {
		if bounds, err := figure.ParseBounds(text); err == nil {
			t.Errorf("%q is taken for %v", text, bounds)
		}
	}
}

func TestChangesAreExceeded(t *testing.T) {
	for _, c := range []struct {
		change   string
		old, new float64
		want     bool
	}{
		{"p99>+5%", 100, 105, false}, {"p99>5%", 100, 105.1, true}, {"p99>+5%", 100, 50, false},
		{"rate<-5%", 100, 96, false}, {"rate<-5%", 100, 94, true},
		{"p99>+2ms", 0.010, 0.0115, false}, {"p99>+2ms", 0.010, 0.013, true},
		{"errors>+0.001", 0, 0.0005, false}, {"errors>+0.001", 0, 0.002, true},
		{"errors>+0%", 0, 0, false}, {"errors>+0%", 0, 0.0001, true},
		{"hit<-0.01", 0.95, 0.93, true}, {"hit<-0.01", 0.95, 0.945, false},
	} {
		changes, err := figure.ParseChanges(c.change)
		if err != nil {
			t.Fatal(err)
		}
		if got := changes[0].Exceeded(c.old, c.new); got != c.want {
			t.Errorf("%s from %v to %v: exceeded is %v, want %v", c.change, c.old, c.new, got, c.want)
		}
	}
	for _, text := range []string{"", "p99>", "p99=+5%", "p99>+-5%", "p99>5", "speed>5%", "p99>+5%,"} {
		if changes, err := figure.ParseChanges(text); err == nil {
			t.Errorf("%q is taken for %v", text, changes)
		}
	}
}

// Whatever is accepted holds for one of two values around its limit and not for
// the other, and is written as it was read.
func FuzzBounds(f *testing.F) {
	for _, seed := range []string{"p99<5ms", "errors<0.01%,unsent=0", "tier.ram.p99.9>=1us", "rate>1e3", "p99<9223372036854775807ns"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		bounds, err := figure.ParseBounds(text)
		if err != nil {
			return
		}
		for i, part := range strings.Split(text, ",") {
			b := bounds[i]
			if b.String() != strings.TrimSpace(part) {
				t.Fatalf("%q became %q", part, b)
			}
			if b.Limit < 0 || math.IsNaN(b.Limit) || math.IsInf(b.Limit, 0) {
				t.Fatalf("%q has the limit %v", part, b.Limit)
			}
			holds := 0
			for _, v := range []float64{-1, b.Limit, math.MaxFloat64} {
				if len(figure.Broken(bounds[i:i+1], func(figure.Figure) (float64, bool) { return v, true })) == 0 {
					holds++
				}
			}
			if want := map[string]int{"<": 1, "<=": 2, "=": 1, ">=": 2, ">": 1}[b.Op]; holds != want && b.Limit < math.MaxFloat64 {
				t.Fatalf("%q holds for %d of three values, want %d", part, holds, want)
			}
		}
	})
}

func TestFiguresAreWrittenForPeople(t *testing.T) {
	for _, c := range []struct {
		unit figure.Unit
		v    float64
		want string
	}{
		{figure.Seconds, 0, "0s"}, {figure.Seconds, 12e-9, "12ns"}, {figure.Seconds, 1.234e-6, "1.23µs"}, {figure.Seconds, 999.9e-6, "1ms"},
		{figure.Seconds, 0.0123, "12.3ms"}, {figure.Seconds, 1.5, "1.5s"}, {figure.Seconds, 3723, "1h2m3s"}, {figure.Seconds, -0.0025, "-2.5ms"},
		{figure.Share, 0.5, "50%"}, {figure.Share, 0.000123, "0.0123%"}, {figure.Share, 1, "100%"},
		{figure.PerSecond, 950, "950/s"}, {figure.PerSecond, 12345, "12.3k/s"}, {figure.PerSecond, 999_900, "1M/s"},
		{figure.Bytes, 1536, "1.5 KiB"}, {figure.Count, 1234567, "1234567"}, {figure.Count, 1.25, "1.25"}, {figure.Count, math.Inf(1), "–"},
	} {
		if got := c.unit.Format(c.v); got != c.want {
			t.Errorf("%v is written %q, want %q", c.v, got, c.want)
		}
	}
}

func TestTheHeadlineIsWhatARequestCosts(t *testing.T) {
	one, two := loadtesttest.Run(loadtesttest.Shape{}), loadtesttest.Run(loadtesttest.Shape{})
	two.Series = slices.DeleteFunc(two.Series, func(s loadtest.Series) bool { return s.Cache == "peer" })
	var names []string
	for _, f := range figure.Usual([]*loadtest.Result{one, two}) {
		names = append(names, f.Name)
	}
	if names[0] != "cpu" || slices.Contains(names, "tier.peer.p99") || !slices.Contains(names, "tier.ram.p99") {
		t.Errorf("the figures are %v, want cpu first and only tiers that both runs have", names)
	}
}
