package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"text/tabwriter"

	"github.com/micelio/micelio/console"
	"github.com/micelio/micelio/node"
)

// configFlags are what the command's own arguments say.
type configFlags struct{ onlyCheck bool }

func (f *configFlags) declare(fs *flag.FlagSet) {
	fs.BoolVar(&f.onlyCheck, "check", false, "only say whether the configuration is right")
}

// runConfig prints the configuration that the same flags, environment and file
// would give a node, and all that is wrong with it.
func (a *app) runConfig(_ context.Context, args []string) int {
	var own configFlags
	l := a.settle(args, own.declare)
	if l == nil {
		return exitOK
	}
	if !own.onlyCheck {
		a.printConfig(l)
	}
	for _, w := range l.warnings {
		fmt.Fprintf(a.stderr, "micelio-node: warning: %s\n", w)
	}
	if problems := l.check(); len(problems) > 0 {
		return a.reject(problems)
	}
	if own.onlyCheck {
		fmt.Fprintln(a.stdout, "configuration ok")
	}
	return exitOK
}

// printConfig writes a line for each setting: its name, its value, and where
// that came from.
func (a *app) printConfig(l *loaded) {
	const padding = 2
	w := tabwriter.NewWriter(a.stdout, 0, 0, padding, ' ', 0)
	for _, s := range shownSettings(l) {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Name, s.Value, s.Source)
	}
	w.Flush()
}

// shownSettings returns the lines of the configuration as people may see them.
func shownSettings(l *loaded) []console.Setting {
	var lines []console.Setting
	for _, s := range settings {
		lines = append(lines, console.Setting{Name: s.name, Value: s.shown(&l.options), Source: s.origin(l.from[s.name])})
	}
	return lines
}

// shown returns the value as it may be printed.
func (s *setting) shown(o *options) string {
	text := s.value(o).String()
	if s.secret && text != "" {
		return node.Mask
	}
	return cmp.Or(text, "-")
}

// origin says where a value came from.
func (s *setting) origin(from source) string {
	switch {
	case from != source{}:
		return from.kind + " " + from.name
	case s.derived != "":
		return "default: " + s.derived
	}
	return "default"
}
