package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/micelio/micelio/loadtest/figure"
)

func took(d time.Duration) string { return figure.Seconds.Format(d.Seconds()) }

// Faults says what must not be: a drain that cost somebody an error, something
// that never became as before, a step that could not be done. There are none if
// the nodes did well.
func (o *Outcome) Faults() []string {
	var faults []string
	if len(o.Impacts) == 0 {
		faults = append(faults, "no step was done before the load ended")
	}
	for _, m := range o.Impacts {
		if m.Event.Err != nil {
			faults = append(faults, fmt.Sprintf("%s: %v", m.Event.Step, m.Event.Err))
			continue
		}
		if m.Event.Step.Action == Drain && m.Failed+m.Unsent > 0 {
			fault := fmt.Sprintf("%s: %d requests failed and %d were left unsent, a drain must cost none", m.Event.Step, m.Failed, m.Unsent)
			if o.Baseline.Failed > 0 { // any is a fault all the same: whose it is cannot be told
				fault += fmt.Sprintf("; but %d failed before the first step too", o.Baseline.Failed)
			}
			faults = append(faults, fault)
		}
		if !m.Recovered {
			faults = append(faults, fmt.Sprintf("%s: it never was as before again", m.Event.Step))
		}
	}
	return faults
}

// recovery says how long it took in words.
func (m *Impact) recovery() string {
	switch {
	case !m.Recovered:
		return "never"
	case m.Recovery == 0:
		return "at once"
	}
	return took(m.Recovery)
}

// WriteText writes what the steps cost, one line each.
func (o *Outcome) WriteText(w io.Writer) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "Before the first step: p99 %s, %d failed in %d s\n\n", took(o.Baseline.P99), o.Baseline.Failed, o.Baseline.Seconds)
	rows := [][]string{{"step", "began", "undone", "failed", "unsent", "p99 during", "max", "recovered", "disturbed"}}
	for _, m := range o.Impacts {
		undone := "–"
		if m.Event.Step.For > 0 {
			undone = took(m.Event.Ended)
		}
		rows = append(rows, []string{
			m.Event.Step.String(), took(m.Event.Began), undone, fmt.Sprint(m.Failed), fmt.Sprint(m.Unsent),
			took(m.P99), took(m.Max), m.recovery(), fmt.Sprintf("%d s", m.Disturbed),
		})
	}
	columns(&out, rows)
	for _, m := range o.Impacts {
		for _, note := range m.Event.Notes {
			fmt.Fprintf(&out, "%s: %s\n", m.Event.Step, note)
		}
		if len(m.Errors) > 0 {
			var kinds []string
			for _, kind := range slices.Sorted(maps.Keys(m.Errors)) {
				kinds = append(kinds, fmt.Sprintf("%s:%d", kind, m.Errors[kind]))
			}
			fmt.Fprintf(&out, "%s: errors %s\n", m.Event.Step, strings.Join(kinds, "  "))
		}
	}
	for _, fault := range o.Faults() {
		fmt.Fprintf(&out, "FAILED %s\n", fault)
	}
	_, err := w.Write(out.Bytes())
	return err
}

// columns writes rows whose cells stand under one another.
func columns(out *bytes.Buffer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			line += cell + strings.Repeat(" ", widths[i]-len([]rune(cell))+2)
		}
		out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// impactJSON is an Impact for programs.
type impactJSON struct {
	Step      string           `json:"step"`
	Began     time.Duration    `json:"began_ns"`
	Ended     time.Duration    `json:"ended_ns"`
	Failed    int64            `json:"failed"`
	Unsent    int64            `json:"unsent"`
	Errors    map[string]int64 `json:"errors"`
	P99       time.Duration    `json:"p99_ns"`
	Max       time.Duration    `json:"max_ns"`
	Recovered bool             `json:"recovered"`
	Recovery  time.Duration    `json:"recovery_ns"`
	Disturbed int              `json:"disturbed_seconds"`
	Notes     []string         `json:"notes,omitempty"`
	Error     string           `json:"error,omitempty"`
}

// WriteJSON writes the same for programs.
func (o *Outcome) WriteJSON(w io.Writer) error {
	impacts := make([]impactJSON, len(o.Impacts))
	for i, m := range o.Impacts {
		impacts[i] = impactJSON{
			m.Event.Step.String(), m.Event.Began, m.Event.Ended, m.Failed, m.Unsent, m.Errors,
			m.P99, m.Max, m.Recovered, m.Recovery, m.Disturbed, m.Event.Notes, "",
		}
		if m.Event.Err != nil {
			impacts[i].Error = m.Event.Err.Error()
		}
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		Baseline Baseline     `json:"baseline"`
		Impacts  []impactJSON `json:"impacts"`
		Faults   []string     `json:"faults"`
	}{o.Baseline, impacts, o.Faults()})
}
