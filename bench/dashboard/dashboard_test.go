package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A sampler answers range queries with one sample a step of a straight line, for
// every expression but those that say so.
func sampler(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/query_range" {
			http.NotFound(w, r)
			return
		}
		number := func(name string) float64 {
			v, err := strconv.ParseFloat(r.FormValue(name), 64)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return v
		}
		start, end, step := number("start"), number("end"), number("step")
		query := r.FormValue("query")
		result := []any{}
		switch {
		case strings.Contains(query, "$"):
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"status":"error","error":"a variable was left"}`)
			return
		case strings.Contains(query, "nothing"):
		default:
			var values [][2]any
			for i, at := 0, start; at <= end; i, at = i+1, at+step {
				v := strconv.Itoa(i)
				if strings.Contains(query, "undefined") {
					v = "NaN"
				}
				values = append(values, [2]any{at, v})
			}
			result = append(result, map[string]any{"metric": map[string]string{"tier": "<ram>"}, "values": values})
		}
		json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"result": result}})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// boardOf writes a dashboard of panels with these queries.
func boardOf(t *testing.T, queries ...string) string {
	panels := []map[string]any{{"id": 1, "type": "row", "title": "Row", "gridPos": map[string]int{"h": 1, "w": 24}}}
	for i, q := range queries {
		panels = append(panels, map[string]any{
			"id": i + 2, "type": []string{"timeseries", "stat"}[i%2], "title": fmt.Sprint("Panel ", i),
			"gridPos":     map[string]int{"h": 8, "w": 12, "x": 12 * (i % 2), "y": 1 + 8*(i/2)},
			"targets":     []map[string]any{{"refId": "A", "expr": q, "legendFormat": "of {{tier}}"}},
			"fieldConfig": map[string]any{"defaults": map[string]any{"unit": "bytes", "noValue": "none here", "thresholds": map[string]any{"steps": []any{map[string]any{"color": "green", "value": nil}, map[string]any{"color": "red", "value": 5}}}}},
		})
	}
	text, err := json.Marshal(map[string]any{
		"title": "Test", "panels": panels,
		"templating": map[string]any{"list": []any{map[string]any{"name": "cluster", "type": "query"}, map[string]any{"name": "datasource", "type": "datasource"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "board.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPanelsAreAskedForAndDrawn(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.html")
	var out strings.Builder
	err := run(t.Context(), []string{
		"-prometheus", sampler(t), "-last", "1m", "-o", page,
		"-dashboard", boardOf(t, `rate(x{cluster=~"$cluster"}[$__rate_interval])`, `increase(x[${__range}])`),
	}, &out)
	if err != nil || !strings.Contains(out.String(), "2 panels show data") {
		t.Errorf("%v, %q", err, out.String())
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<polyline points=", "of &lt;ram&gt;", "#F2495C", "60 B", "Panel 1", "\nRow"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if strings.Contains(string(text), "ZgotmplZ") || strings.Contains(string(text), "http") {
		t.Error("the page is not plain, or asks for something")
	}
}

func TestPanelsWithoutDataAreNamed(t *testing.T) {
	board := boardOf(t, "x", "nothing", "undefined")
	for mayBeEmpty, want := range map[string]string{"^$": "2 panels show nothing", "Panel [12]": "", "Panel 1": "1 panels show nothing"} {
		var out strings.Builder
		err := run(t.Context(), []string{"-prometheus", sampler(t), "-dashboard", board, "-may-be-empty", mayBeEmpty, "-o", filepath.Join(t.TempDir(), "page.html")}, &out)
		if got := fmt.Sprint(err); got != want && (err != nil || want != "") {
			t.Errorf("-may-be-empty %s: %s, want %q", mayBeEmpty, got, want)
		}
		if !strings.Contains(out.String(), `"Panel 2"`) {
			t.Errorf("the panel of undefined values is not named: %s", out.String())
		}
	}
}

func TestWhatCannotBeAskedIsAnError(t *testing.T) {
	for query, want := range map[string]string{`x{node="$node"}`: "no variable $node", "${__to}": "no variable"} {
		err := run(t.Context(), []string{"-prometheus", sampler(t), "-dashboard", boardOf(t, query)}, new(strings.Builder))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// The dashboard that is shipped has no query that Grafana alone could expand.
func TestTheShippedDashboardCanBeAsked(t *testing.T) {
	d, err := readDashboard("../../deploy/compose/grafana/dashboards/micelio.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			expr, err := d.expand(target.Expr, span{step: time.Second, length: time.Minute, rate: 20 * time.Second})
			if err != nil || strings.Contains(expr, "$") {
				t.Errorf("%q: %s: %v", p.Title, expr, err)
			}
		}
	}
}

func TestFiguresAreShort(t *testing.T) {
	for _, c := range []struct {
		unit string
		v    float64
		want string
	}{
		{"s", 0.0128, "12.8 ms"}, {"s", 1, "1 s"}, {"s", 0.9999, "1 s"}, {"s", 0, "0 ns"}, {"bytes", 3 << 20, "3 MiB"}, {"bytes", 5, "5 B"},
		{"percentunit", 0.936, "93.6%"}, {"reqps", 12345, "12.3 K req/s"}, {"short", 0, "0"}, {"short", 3, "3"}, {"Bps", 999.9, "1 kB/s"},
	} {
		p := new(panel)
		p.FieldConfig.Defaults.Unit = c.unit
		if got := p.format(c.v); got != c.want {
			t.Errorf("%v %s is %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}

func TestAnAxisEndsAboveItsLines(t *testing.T) {
	for v := 1e-6; v < 1e9; v *= 1.37 {
		if end := nice(v); end < v || end > 1.6*v {
			t.Errorf("the axis of %v ends at %v", v, end)
		}
	}
	if nice(0) != 1 || nice(math.Inf(-1)) != 1 {
		t.Error("an axis of nothing has no end")
	}
}
