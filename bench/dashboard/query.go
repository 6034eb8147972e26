package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A dashboard is what is used here of Grafana's schema.
type dashboard struct {
	Title      string
	Panels     []*panel
	Templating struct {
		List []struct{ Name, Type string }
	}
}

type panel struct {
	ID          int
	Type, Title string
	Targets     []*target
	GridPos     struct{ H, W, X, Y int }
	FieldConfig struct {
		Defaults struct {
			Unit       string
			NoValue    string
			Min, Max   *float64
			Decimals   *int
			Thresholds struct {
				Steps []threshold
			}
			Custom struct {
				Stacking struct{ Mode string }
			}
		}
	}

	Lines []line `json:"-"` // what the queries brought, those without data left out
}

type threshold struct {
	Color string
	Value *float64 // from which on; nil: any
}

type target struct {
	Expr         string
	LegendFormat string

	lines int // that it brought
}

// A line is one series of a panel. Values has one for each step of the span, NaN
// where there is none.
type line struct {
	Name   string
	Values []float64
}

// lastValue returns the last value of a line that has one.
func (l line) lastValue() float64 {
	for i := len(l.Values) - 1; i >= 0; i-- {
		if !math.IsNaN(l.Values[i]) {
			return l.Values[i]
		}
	}
	return math.NaN()
}

// A span is the time that a dashboard shows.
type span struct {
	end          time.Time
	length, step time.Duration
	rate         time.Duration // $__rate_interval
}

// steps returns how many values a line has.
func (s span) steps() int { return int(s.length/s.step) + 1 }

// start returns when the first of them is.
func (s span) start() time.Time { return s.end.Add(-time.Duration(s.steps()-1) * s.step) }

func readDashboard(file string) (*dashboard, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	d := new(dashboard)
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return d, nil
}

// fill asks for the data of all panels.
func (d *dashboard) fill(ctx context.Context, client *prometheus, s span) error {
	for _, p := range d.Panels {
		for _, t := range p.Targets {
			expr, err := d.expand(t.Expr, s)
			if err != nil {
				return fmt.Errorf("panel %d, %q: %w", p.ID, p.Title, err)
			}
			lines, err := client.lines(ctx, expr, t.LegendFormat, s)
			if err != nil {
				return fmt.Errorf("panel %d, %q: %s: %w", p.ID, p.Title, expr, err)
			}
			t.lines = len(lines)
			p.Lines = append(p.Lines, lines...)
		}
	}
	return nil
}

var variable = regexp.MustCompile(`\$(\w+|\{\w+\})`)

// expand replaces the variables of a query: those that choose series by all there
// are, and Grafana's own by what they are for the span.
func (d *dashboard) expand(expr string, s span) (string, error) {
	seconds := func(t time.Duration) string { return fmt.Sprintf("%ds", int(t.Seconds())) }
	values := map[string]string{
		"__rate_interval": seconds(s.rate), "__interval": seconds(s.step), "__range": seconds(s.length),
	}
	for _, v := range d.Templating.List {
		values[v.Name] = ".*"
	}
	var unknown error
	expanded := variable.ReplaceAllStringFunc(expr, func(name string) string {
		value, ok := values[strings.Trim(name, "${}")]
		if !ok {
			unknown = fmt.Errorf("no variable %s", name)
		}
		return value
	})
	return expanded, unknown
}

// A prometheus is a server that is asked.
type prometheus struct{ server string }

// lines asks for one query over the span, and returns the series that have data.
func (c *prometheus) lines(ctx context.Context, expr, legend string, s span) ([]line, error) {
	form := url.Values{
		"query": {expr}, "step": {strconv.FormatFloat(s.step.Seconds(), 'f', -1, 64)},
		"start": {unix(s.start())}, "end": {unix(s.end)},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.server+"/api/v1/query_range", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any // seconds, and a number as text
			}
		}
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	switch {
	case answer.Error != "":
		return nil, fmt.Errorf("%s: %s", resp.Status, answer.Error)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", resp.Status, err)
	}
	var lines []line
	for _, series := range answer.Data.Result {
		l := line{Name: named(legend, series.Metric), Values: make([]float64, s.steps())}
		for i := range l.Values {
			l.Values[i] = math.NaN()
		}
		for _, sample := range series.Values {
			at, _ := sample[0].(float64)
			text, _ := sample[1].(string)
			value, err := strconv.ParseFloat(text, 64)
			i := int(math.Round((at - float64(s.start().UnixMilli())/1000) / s.step.Seconds()))
			if err == nil && i >= 0 && i < len(l.Values) && !math.IsInf(value, 0) {
				l.Values[i] = value
			}
		}
		if !math.IsNaN(l.lastValue()) {
			lines = append(lines, l)
		}
	}
	return lines, nil
}

func unix(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

var label = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// named is what a legend calls a series.
func named(legend string, labels map[string]string) string {
	if legend == "" || legend == "__auto" {
		return fmt.Sprint(labels)
	}
	return label.ReplaceAllStringFunc(legend, func(l string) string {
		return labels[label.FindStringSubmatch(l)[1]]
	})
}
