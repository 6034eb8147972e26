package main

import (
	"fmt"
	"slices"
	"strings"
)

// An environ is the environment of the process.
type environ map[string]string

// newEnviron reads NAME=value strings. Of a name that occurs twice the first
// counts, as for os.LookupEnv.
func newEnviron(pairs []string) environ {
	e := make(environ, len(pairs))
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		if _, ok := e[name]; !ok {
			e[name] = value
		}
	}
	return e
}

// lookup returns the value of a variable. An empty one counts as not set: it is
// what compose files and shells make of an optional variable.
func (e environ) lookup(name string) (string, bool) {
	value := strings.TrimSpace(e[name])
	return value, value != ""
}

// misspelt returns a warning for each variable that looks like the name of a
// setting with a slip in it. Other unknown names pass in silence: a forge has
// variables under the same prefix.
func (e environ) misspelt() []string {
	var known []string
	for _, s := range settings {
		for _, v := range s.variables() {
			known = append(known, v.name)
			if s.secret {
				known = append(known, v.name+fileVarSuffix)
			}
		}
	}
	var warnings []string
	for name := range e {
		prefix, _, found := strings.Cut(name, "_")
		if !found || !slices.Contains([]string{"MICELIO", "STORAGE", "S3"}, prefix) ||
			slices.Contains(known, name) {
			continue
		}
		if near := closest(name, known, len(prefix)+1); near != "" {
			warnings = append(warnings, fmt.Sprintf("environment variable %s is not a setting; did you mean %s?", name, near))
		}
	}
	slices.Sort(warnings)
	return warnings
}

// didYouMean returns the half sentence that offers the name next to word, ""
// if none is near.
func didYouMean(word string, names []string) string {
	near := closest(word, names, 0)
	if near == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", near)
}

// closest returns the name within a slip or two of word, "" if there is none:
// at most one edit for each three letters beyond the first skip ones, which all
// names share, and never more than two.
func closest(word string, names []string, skip int) string {
	const maxEdits, lettersPerEdit = 2, 3
	best, found := min(maxEdits, (len(word)-skip)/lettersPerEdit)+1, ""
	for _, name := range names {
		if d := edits(word, name); d < best {
			best, found = d, name
		}
	}
	return found
}

// edits returns the Levenshtein distance: how many bytes to insert, delete or
// replace to make a into b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
