package main

import (
	"fmt"
	"strings"

	"github.com/micelio/micelio/bench/policy"
)

// tables returns a table for each trace and what follows from all of them. The
// best of each line is bold.
func tables(results []result) string {
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "\n**%s**: %s; %d requests, %d keys.\n\n| capacity |", r.trace.Name, r.trace.About, len(r.trace.Keys), r.trace.Distinct())
		for _, name := range r.names {
			fmt.Fprintf(&b, " %s |", name)
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(r.names)) + "\n")
		for j, capacity := range r.trace.Capacities {
			fmt.Fprintf(&b, "| %s |", amount(capacity, r.trace.Sizes != nil))
			best, _ := r.best(j, func(string) bool { return true })
			for i, name := range r.names {
				form := " %.1f |"
				if name != optimum && r.ratio[i][j] >= best-0.05 {
					form = " **%.1f** |"
				}
				fmt.Fprintf(&b, form, r.ratio[i][j])
			}
			b.WriteString("\n")
		}
	}
	return b.String() + "\n" + conclusion(results) + "\n"
}

// amount writes a capacity.
func amount(n int64, inBytes bool) string {
	if inBytes {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprint(n)
}

// best returns the best ratio at a capacity among some policies, and whose it is.
func (r result) best(capacity int, among func(name string) bool) (best float64, name string) {
	for i, n := range r.names {
		if n != optimum && among(n) && (name == "" || r.ratio[i][capacity] > best) {
			best, name = r.ratio[i][capacity], n
		}
	}
	return best, name
}

// conclusion counts where our policy stands.
func conclusion(results []result) string {
	games, aboveLRU, near := 0, 0, 0
	var below, far []string
	for _, r := range results {
		for j, capacity := range r.trace.Capacities {
			games++
			mine, _ := r.best(j, func(n string) bool { return n == policy.Ours })
			lru, _ := r.best(j, func(n string) bool { return n == policy.LRU })
			other, name := r.best(j, func(n string) bool { return n != policy.Ours && n != policy.LRU })
			where := fmt.Sprintf("%s at %s", r.trace.Name, amount(capacity, r.trace.Sizes != nil))
			if mine >= lru {
				aboveLRU++
			} else {
				below = append(below, fmt.Sprintf("%s (%.1f and %.1f)", where, mine, lru))
			}
			if mine >= other-1 {
				near++
			} else {
				far = append(far, fmt.Sprintf("%s (%.1f, %s %.1f)", where, mine, name, other))
			}
		}
	}
	text := fmt.Sprintf("Of %d games ours is at least as good as LRU in %d", games, aboveLRU)
	if len(below) > 0 {
		text += ", but not in " + strings.Join(below, ", ")
	}
	text += fmt.Sprintf("; it is at most one point behind the best of the libraries, or before it, in %d", near)
	if len(far) > 0 {
		text += ", and further behind in " + strings.Join(far, ", ")
	}
	return text + ".\n"
}
