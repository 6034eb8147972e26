// Package chaos does something to nodes while load is on them - kills, drains or
// freezes one - and says from the seconds of the run what that cost: errors, the
// 99th percentile meanwhile, and how long until all was as before. The nodes are
// real processes, which it starts itself or is given the ids of.
package chaos

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An Action is what is done.
type Action string

// The actions.
const (
	Kill   Action = "kill"   // SIGKILL: a crash
	Drain  Action = "drain"  // SIGTERM, and wait until the process has ended: a deployment
	Freeze Action = "freeze" // SIGSTOP, later SIGCONT: a machine that hangs
	Run    Action = "run"    // a command of the user's, and later another that undoes it
)

// A Step is something that is done once.
type Step struct {
	Action Action
	Which  int           // of the nodes or, with Run, of the hooks; from 0
	At     time.Duration // after the start of the load

	// For is how long after it the step is undone: the node is started again
	// (counted from when it had ended), goes on, or the other command runs. 0 leaves
	// it as it is.
	For time.Duration
}

// String writes a step as ParseSteps reads it.
func (s Step) String() string {
	text := fmt.Sprintf("%s:%d@%s", s.Action, s.Which, s.At)
	if s.For > 0 {
		text += "+" + s.For.String()
	}
	return text
}

// Syntax explains what ParseSteps reads, for the help of a command.
const Syntax = `kill:0@10s            node 0 is killed 10 s after the start (SIGKILL) and stays dead
kill:0@10s+5s         and is started again 5 s later
drain:1@20s+5s        node 1 is told to end (SIGTERM); 5 s after it did, it is started again
freeze:2@30s+3s       node 2 is stopped for 3 s (SIGSTOP, SIGCONT)
run:0@40s+10s         hook 0 is run, and 10 s later what undoes it
several with commas between them, in any order, not two at a time`

// ParseSteps reads steps as Syntax explains them, and returns them in the order
// in which they are done.
func ParseSteps(text string) ([]Step, error) {
	var steps []Step
	for part := range strings.SplitSeq(text, ",") {
		s, err := parseStep(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("chaos: the step %q: %w", strings.TrimSpace(part), err)
		}
		steps = append(steps, s)
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
	return steps, nil
}

func parseStep(text string) (s Step, err error) {
	action, rest, ok1 := strings.Cut(text, ":")
	which, when, ok2 := strings.Cut(rest, "@")
	at, length, limited := strings.Cut(when, "+")
	if !ok1 || !ok2 {
		return s, errors.New("a step is ACTION:NUMBER@TIME+LENGTH, such as kill:0@10s+5s")
	}
	s.Action = Action(action)
	if !slices.Contains([]Action{Kill, Drain, Freeze, Run}, s.Action) {
		return s, fmt.Errorf("%q is none of %s, %s, %s, %s", action, Kill, Drain, Freeze, Run)
	}
	if s.Which, err = strconv.Atoi(which); err != nil || s.Which < 0 {
		return s, fmt.Errorf("%q is no number of a node, from 0", which)
	}
	if s.At, err = parseTime(at); err != nil {
		return s, err
	}
	if limited {
		if s.For, err = parseTime(length); err != nil {
			return s, err
		}
	}
	if s.Action == Freeze && s.For == 0 {
		return s, errors.New("how long is it to be frozen? freeze:0@10s+3s")
	}
	return s, nil
}

func parseTime(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no duration such as 10s", text)
	}
	return d, nil
}
