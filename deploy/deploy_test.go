package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Where the files are that are held against one another here.
const (
	rulesFile     = "compose/prometheus/rules.yml"
	rulesTestFile = "compose/prometheus/rules_test.yml"
	dashboardFile = "compose/grafana/dashboards/micelio.json"
	goldenFile    = "../node/testdata/metrics.golden"
	runbookFile   = "../docs/operations.md"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A family is a metric as the golden file of the node has it.
type family struct {
	labels    []string
	histogram bool
}

// families returns what a node has to say, by name.
func families(t *testing.T) map[string]family {
	t.Helper()
	all := map[string]family{}
	for _, m := range regexp.MustCompile(`(?m)^(micelio_\w+)\{(.*)\} (\w+)$`).FindAllStringSubmatch(read(t, goldenFile), -1) {
		all[m[1]] = family{labels: strings.Split(m[2], ","), histogram: m[3] == "histogram"}
	}
	if len(all) < 50 {
		t.Fatalf("the golden file has only %d metrics", len(all))
	}
	return all
}

// find returns the family of a series' name.
func find(all map[string]family, name string) (family, bool) {
	if f, ok := all[name]; ok {
		return f, true
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, cut := strings.CutSuffix(name, suffix); cut && all[base].histogram {
			return all[base], true
		}
	}
	return family{}, false
}

var (
	recorded = regexp.MustCompile(`[a-z_]+:micelio_\w+:\w+`)
	series   = regexp.MustCompile(`\b(micelio_\w+)\b(\*?)(?:\{([^{}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	grouped  = regexp.MustCompile(`\b(?:by|on|without|ignoring)\s*\(([^()]*)\)`)
	shown    = regexp.MustCompile(`\{\{\s*(?:\$labels\.|\$)?(\w+)`)
)

// outside are labels that no node gives a series: those of the scrape, and of histograms.
var outside = []string{"cluster", "instance", "job", "le"}

// groups returns the labels that an expression groups or joins by.
func groups(expr string) (labels []string) {
	for _, m := range grouped.FindAllStringSubmatch(expr, -1) {
		labels = append(labels, strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })...)
	}
	return labels
}

// strangers names labels that no series has.
func strangers(labels []string, all map[string]family) (faults []string) {
	for _, l := range labels {
		known := slices.Contains(outside, l)
		for _, f := range all {
			known = known || slices.Contains(f.labels, l)
		}
		if !known {
			faults = append(faults, "nothing has a label "+l)
		}
	}
	return faults
}

// illegible names labels in a legend that an expression's series do not have: none
// has them, or they are summed away.
func illegible(legend, expr string, all map[string]family) (faults []string) {
	kept := groups(expr)
	for _, m := range shown.FindAllStringSubmatch(legend, -1) {
		if len(kept) > 0 && !slices.Contains(kept, m[1]) {
			faults = append(faults, fmt.Sprintf("the legend says %s, which is summed away", m[1]))
		}
		faults = append(faults, strangers([]string{m[1]}, all)...)
	}
	return faults
}

// faults names what a text says of metrics that no node has, or of labels that they
// do not have. A name that ends with an underscore stands for all that begin so.
func faults(text string, all map[string]family, records []string) (faults []string) {
	for _, name := range recorded.FindAllString(text, -1) {
		if !slices.Contains(records, name) {
			faults = append(faults, name+" is not recorded")
		}
	}
	for _, m := range series.FindAllStringSubmatch(recorded.ReplaceAllString(text, ""), -1) {
		name, labels := m[1], m[3]
		switch {
		case strings.HasPrefix(name, "micelio_load_"): // of the load test
			continue
		case m[2] == "*" || strings.HasSuffix(name, "_"):
			found := false
			for known := range all {
				found = found || strings.HasPrefix(known, name)
			}
			if !found {
				faults = append(faults, "no metric begins with "+name)
			}
			continue
		}
		f, ok := find(all, name)
		if !ok {
			faults = append(faults, "no node has "+name)
			continue
		}
		for _, l := range matcher.FindAllStringSubmatch(labels, -1) {
			if !slices.Contains(outside, l[1]) && !slices.Contains(f.labels, l[1]) {
				faults = append(faults, fmt.Sprintf("%s has no label %s", name, l[1]))
			}
		}
	}
	slices.Sort(faults)
	return slices.Compact(faults)
}

// records returns the names that rules record.
func records(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^\s*- record: (\S+)$`).FindAllStringSubmatch(read(t, rulesFile), -1) {
		names = append(names, m[1])
	}
	if len(names) == 0 {
		t.Fatal("nothing is recorded")
	}
	return names
}

// A metric that was renamed leaves alerts that never fire and panels that stay empty.
func TestWhatIsSaidOfMetricsIsTrue(t *testing.T) {
	all := families(t)
	files := []string{rulesFile, rulesTestFile, "../README.md", "../CHANGELOG.md"}
	docs, err := filepath.Glob("../docs/*.md")
	if err != nil || len(docs) == 0 {
		t.Fatal("no docs", err)
	}
	for _, name := range append(files, docs...) {
		for _, fault := range faults(read(t, name), all, records(t)) {
			t.Errorf("%s: %s", name, fault)
		}
	}
	for _, p := range dashboard(t).Panels {
		for _, target := range p.Targets {
			wrong := slices.Concat(faults(target.Expr, all, records(t)), strangers(groups(target.Expr), all), illegible(target.LegendFormat, target.Expr, all))
			for _, fault := range wrong {
				t.Errorf("%s: panel %d, %q: %s", dashboardFile, p.ID, p.Title, fault)
			}
		}
	}
}

// Of a label that nothing has, a sum by it is one sum, and an annotation is empty.
func TestRulesGroupAndSayByLabelsThatThereAre(t *testing.T) {
	all, rules := families(t), read(t, rulesFile)
	labels := groups(rules)
	for _, m := range shown.FindAllStringSubmatch(rules, -1) {
		if m[1] != "value" {
			labels = append(labels, m[1])
		}
	}
	if len(labels) < 50 {
		t.Errorf("only %d labels were found", len(labels))
	}
	for _, fault := range strangers(labels, all) {
		t.Errorf("%s: %s", rulesFile, fault)
	}
}

func TestAWrongLabelIsSeen(t *testing.T) {
	all := map[string]family{"micelio_a": {labels: []string{"op", "tier"}}}
	for _, c := range []struct{ expr, legend, want string }{
		{"sum by (cluster, op) (micelio_a)", "{{op}} of {{ cluster }}", ""},
		{"micelio_a", "{{instance}} {{tier}}", ""},
		{"count by (op) (sum without (le, tire) (micelio_a))", "", "nothing has a label tire"},
		{"a unless on(instnace) b", "", "nothing has a label instnace"},
		{"sum by (op) (micelio_a)", "{{tier}}", "the legend says tier, which is summed away"},
		{"micelio_a", "{{ opp }}", "nothing has a label opp"},
	} {
		got := strings.Join(slices.Concat(strangers(groups(c.expr), all), illegible(c.legend, c.expr, all)), ";")
		if got != c.want {
			t.Errorf("%s, %s: %q, want %q", c.expr, c.legend, got, c.want)
		}
	}
}

func TestAWrongNameIsSeen(t *testing.T) {
	all := map[string]family{"micelio_a_seconds": {labels: []string{"op"}, histogram: true}, "micelio_b_total": {labels: []string{""}}}
	for text, want := range map[string]string{
		`rate(micelio_a_seconds_bucket{op="get", le="1", cluster="c"}[5m])`: "",
		"micelio_b_total, micelio_b_, and `micelio_a_*`":                    "",
		`micelio_load_x`:                           "",
		`micelio_b_total_count`:                    "no node has micelio_b_total_count",
		`micelio_c_total > 0`:                      "no node has micelio_c_total",
		`micelio_a_seconds_sum{tier=~"ram"}`:       "micelio_a_seconds_sum has no label tier",
		"`micelio_d_*`":                            "no metric begins with micelio_d_",
		`cluster:micelio_b:rate5m > x:micelio_b:y`: "x:micelio_b:y is not recorded",
	} {
		if got := strings.Join(faults(text, all, []string{"cluster:micelio_b:rate5m"}), ";"); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ H, W, X, Y int }
	Targets     []struct{ RefID, Expr, LegendFormat string }
	FieldConfig struct {
		Defaults struct{ Unit, NoValue string }
	}
}

type board struct {
	UID, Title    string
	SchemaVersion int
	Panels        []panel
}

func dashboard(t *testing.T) board {
	t.Helper()
	var b board
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheDashboardIsWellFormed(t *testing.T) {
	const columns = 24
	b := dashboard(t)
	if b.UID == "" || b.Title == "" || b.SchemaVersion < 41 || len(b.Panels) < 20 {
		t.Errorf("uid %q, title %q, schema %d, %d panels", b.UID, b.Title, b.SchemaVersion, len(b.Panels))
	}
	ids := map[int]string{}
	taken := map[[2]int]string{}
	for _, p := range b.Panels {
		if other, ok := ids[p.ID]; ok || p.ID == 0 {
			t.Errorf("%q and %q have the id %d", p.Title, other, p.ID)
		}
		ids[p.ID] = p.Title
		g := p.GridPos
		if g.W < 1 || g.H < 1 || g.X < 0 || g.Y < 0 || g.X+g.W > columns {
			t.Errorf("%q is outside of the grid: %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("%q lies over %q", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.FieldConfig.Defaults.Unit == "" || p.FieldConfig.Defaults.NoValue == "" || len(p.Targets) == 0 {
			t.Errorf("%q lacks a unit, a word for no data, or a query", p.Title)
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if target.Expr == "" || target.LegendFormat == "" || refs[target.RefID] {
				t.Errorf("%q: query %q: %+v", p.Title, target.RefID, target)
			}
			refs[target.RefID] = true
		}
	}
}

// Whoever is woken by an alert finds what to do.
func TestEveryAlertHasItsSectionInTheRunbook(t *testing.T) {
	runbook := read(t, runbookFile)
	tests := read(t, rulesTestFile)
	blocks := strings.Split(read(t, rulesFile), "- alert: ")[1:]
	if len(blocks) < 15 {
		t.Errorf("%d alerts", len(blocks))
	}
	for _, block := range blocks {
		name, _, _ := strings.Cut(block, "\n")
		for _, part := range []string{"expr: ", "severity: ", "summary: ", "description: ", "runbook_url: https://", "/docs/operations.md#alert-" + strings.ToLower(name) + "\n"} {
			if !strings.Contains(block, part) {
				t.Errorf("%s has no %s", name, part)
			}
		}
		if !strings.Contains(runbook, "\n### Alert "+name+"\n") {
			t.Errorf("%s has no section %q", runbookFile, "### Alert "+name)
		}
		if !strings.Contains(tests, `alertname="`+name+`"`) {
			t.Errorf("%s does not test %s", rulesTestFile, name)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^### Alert (\w+)$`).FindAllStringSubmatch(runbook, -1) {
		if !strings.Contains(read(t, rulesFile), "- alert: "+m[1]+"\n") {
			t.Errorf("%s explains %s, which there is no more", runbookFile, m[1])
		}
	}
}

// The two configurations differ in what old versions refuse, and in their comments.
func TestNativeHistogramsAreAllThatDiffers(t *testing.T) {
	lines := func(name string) (lines []string) {
		for line := range strings.Lines(read(t, "compose/prometheus/"+name)) {
			if !strings.HasPrefix(line, "#") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	native := lines("prometheus-native.yml")
	for _, only := range []string{"  scrape_native_histograms: true\n", "  always_scrape_classic_histograms: true\n"} {
		at := slices.Index(native, only)
		if at < 0 {
			t.Fatalf("no line %q", only)
		}
		native = slices.Delete(native, at, at+1)
	}
	if was := lines("prometheus.yml"); !slices.Equal(native, was) {
		t.Errorf("prometheus.yml is\n%s\nand with native histograms\n%s", strings.Join(was, ""), strings.Join(native, ""))
	}
}

// Prometheus' own judge accepts the configuration and the rules, and each alert fires
// when its test says so.
func TestPromtoolAcceptsRulesAndConfiguration(t *testing.T) {
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("MICELIO_TEST_TOOLS") == "required" {
			t.Fatal("promtool is not installed; scripts/install-test-tools.sh does it")
		}
		t.Skip("promtool is not installed; make test installs it")
	}
	for _, args := range [][]string{
		{"check", "config", "prometheus.yml"}, {"check", "rules", "rules.yml"}, {"test", "rules", "rules_test.yml"},
	} {
		promtool := exec.CommandContext(t.Context(), path, args...)
		promtool.Dir = filepath.Dir(rulesFile)
		if out, err := promtool.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
