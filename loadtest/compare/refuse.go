package compare

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/figure"
)

// free are the fields of a Config in which runs may differ: they say where the
// servers are and what a run is called, not what is asked of them.
var free = []string{"name", "profile", "put_salt", "allow_remote"}

// places are lists of which only the length must be the same.
var places = []string{"targets", "metrics"}

// refusals says why the runs cannot be compared, nothing if they can.
func refusals(old, new []*loadtest.Result) []string {
	var faults []string
	seen := map[int64]string{} // by when they began
	for _, s := range []struct {
		name string
		runs []*loadtest.Result
	}{{"old", old}, {"new", new}} {
		if len(s.runs) < MinRuns {
			faults = append(faults, fmt.Sprintf("%d %s runs, at least %d are needed", len(s.runs), s.name, MinRuns))
		}
		for i, r := range s.runs {
			name := fmt.Sprintf("%s run %d", s.name, i+1)
			if first := seen[r.Start.UnixNano()]; first != "" && !r.Start.IsZero() {
				faults = append(faults, fmt.Sprintf("%s is the same as %s: both began at %v", name, first, r.Start))
			}
			seen[r.Start.UnixNano()] = name
			if r.Self.Verdict != loadtest.Valid {
				faults = append(faults, fmt.Sprintf("%s is %s: %s", name, loadtest.Invalid, strings.Join(r.Self.Reasons, "; ")))
			}
			if r.Stopped != "" {
				faults = append(faults, name+" was stopped: "+r.Stopped)
			}
			for _, difference := range differences(old, new, r) {
				faults = append(faults, name+" differs from the first one in "+difference)
			}
		}
	}
	return faults
}

// differences compares a run with the first of all.
func differences(old, new []*loadtest.Result, r *loadtest.Result) []string {
	first := slices.Concat(old, new)[0]
	a, b := flat(comparable(first)), flat(comparable(r))
	var found []string
	for _, key := range slices.Sorted(maps.Keys(a)) {
		if a[key] != b[key] {
			found = append(found, fmt.Sprintf("%s: %s, not %s", key, orNone(b[key]), orNone(a[key])))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(b)) {
		if _, known := a[key]; !known {
			found = append(found, fmt.Sprintf("%s: %s, not %s", key, orNone(b[key]), orNone("")))
		}
	}
	return found
}

func orNone(value string) string {
	if value == "" {
		return "nothing"
	}
	return value
}

// comparable is what must be the same in two runs.
func comparable(r *loadtest.Result) any {
	return struct {
		Config loadtest.Config `json:"config"`
		Host   loadtest.Host   `json:"host"`
		Loop   string          `json:"loop"`
	}{r.Config, r.Host, r.Loop}
}

// flat writes a value as its leaves: "config.mix.parts.0.keys" to "100".
func flat(v any) map[string]string {
	leaves := map[string]string{}
	text, err := json.Marshal(v)
	if err != nil {
		return map[string]string{"": err.Error()} // a Config of a Result has been JSON before
	}
	var tree any
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	if err := decoder.Decode(&tree); err != nil {
		return map[string]string{"": err.Error()}
	}
	flatten(leaves, "", tree)
	for _, name := range free {
		delete(leaves, "config."+name)
	}
	return leaves
}

func flatten(leaves map[string]string, path string, v any) {
	under := func(name string) string {
		if path == "" {
			return name
		}
		return path + "." + name
	}
	switch v := v.(type) {
	case map[string]any:
		for name, child := range v {
			flatten(leaves, under(name), child)
		}
	case []any:
		if slices.Contains(places, strings.TrimPrefix(path, "config.")) {
			leaves[path] = fmt.Sprintf("%d of them", len(v))
			return
		}
		for i, child := range v {
			flatten(leaves, under(strconv.Itoa(i)), child)
		}
	default:
		leaves[path] = fmt.Sprint(v)
	}
}

// unknown says which figures of changes not all runs have: what was to be
// guarded and cannot be seen is a reason to stop, not to pass.
func unknown(changes []figure.Change, old, new []*loadtest.Result) []string {
	var faults []string
	for _, c := range changes {
		if _, known := values(c.Figure, slices.Concat(old, new)); !known {
			faults = append(faults, fmt.Sprintf("%s: not every run knows %s", c, c.Figure.Name))
		}
	}
	return faults
}

// warnings says what weakens the comparison without forbidding it.
func warnings(old, new []*loadtest.Result) []string {
	var found []string
	if !takenInTurn(old, new) {
		found = append(found, "the runs of the two sides were not made in turn: what else changed on the machine meanwhile looks like a difference of the servers")
	}
	builds, parts := map[string]bool{}, 0
	for _, r := range slices.Concat(old, new) {
		if r.Server != nil && !r.Server.Whole() {
			parts++
		}
		builds[r.Build.GoVersion+" "+r.Build.Revision] = true
	}
	if len(builds) > 1 {
		found = append(found, "the load came from different builds of the generator: "+strings.Join(slices.Sorted(maps.Keys(builds)), ", "))
	}
	if parts > 0 {
		found = append(found, fmt.Sprintf("runs in which a node did not say what it counted, or was restarted: %d. So the servers' CPU time, hits and the like are not compared", parts))
	}
	return found
}

// takenInTurn reports whether no side had more than two runs in a row, so that
// A B A B and A B B A are in turn.
func takenInTurn(old, new []*loadtest.Result) bool {
	runs := slices.Concat(old, new)
	order := make([]int, len(runs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return runs[i].Start.Compare(runs[j].Start) })
	inARow, last := 0, -1
	for _, i := range order {
		side := 0
		if i >= len(old) {
			side = 1
		}
		if side != last {
			inARow, last = 0, side
		}
		if inARow++; inARow > 2 {
			return false
		}
	}
	return true
}
