package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/micelio/micelio/node"
)

const helpHead = `micelio-node runs one node of a Micelio cluster: a cache between workers and
object storage.

Usage: micelio-node [command] [flags]

Commands:
`

const helpSettings = `
Settings. Each comes from its flag, else from its environment variable (the
first that is set), else from the file named by --config, else from its default.
In the file a setting has the name of its flag, without dashes. A SIZE is in
bytes, or has a unit such as MB (1000000) or MiB (1048576).
`

const helpTail = `
Exit codes: 0 success, 1 failure while running, 2 wrong usage or configuration.
`

// runHelp is the help command.
func (a *app) runHelp(_ context.Context, args []string) int {
	if len(args) > 0 {
		if _, ok := commands()[args[0]]; !ok {
			return a.unknownCommand(args[0])
		}
	}
	a.printHelp()
	return exitOK
}

// printHelp writes all there is to know about the command line. It is the same
// for every command, since every command reads the whole configuration.
func (a *app) printHelp() {
	var b strings.Builder
	b.WriteString(helpHead)
	for _, name := range commandNames() {
		const indent = "\n            "
		fmt.Fprintf(&b, "  %-9s %s\n", name, strings.ReplaceAll(commands()[name].summary, "\n", indent))
	}
	b.WriteString(helpSettings)
	defaults := options{Config: node.DefaultConfig()}
	group := ""
	for _, s := range settings {
		if s.group != group {
			group = s.group
			fmt.Fprintf(&b, "\n%s\n", group)
		}
		s.describe(&b, &defaults)
	}
	b.WriteString(helpTail)
	fmt.Fprint(a.stdout, b.String())
}

// describe writes the setting's part of the help.
func (s *setting) describe(b *strings.Builder, defaults *options) {
	fmt.Fprintf(b, "  %s\n      %s\n", strings.TrimSpace("--"+s.name+" "+s.arg), s.help)
	var names []string
	for _, v := range s.variables() {
		names = append(names, v.name)
	}
	fmt.Fprintf(b, "      environment %s\n", strings.Join(names, ", "))
	if s.secret {
		fmt.Fprintf(b, "      --%s%s FILE, or a variable with %s at its end, names a file with it\n", s.name, fileSuffix, fileVarSuffix)
	}
	fmt.Fprintf(b, "      default %s\n", cmp.Or(s.derived, s.value(defaults).String(), "none"))
}
