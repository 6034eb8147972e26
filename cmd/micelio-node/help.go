package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

const helpHead = `micelio-node runs one node of a Micelio cluster: a cache between workers and
object storage.
`

const helpUsage = `  micelio-node [command] [flags]
  micelio-node help COMMAND
`

const helpSettings = `Each comes from its flag, else from its environment variable (the first that is
set), else from the file named by --config, else from its default. In the file a
setting has the name of its flag, without dashes. A SIZE is in bytes, or has a
unit such as MB (1000000) or MiB (1048576).
`

// An exitCode is one of those that the program ends with.
type exitCode struct {
	code    int
	meaning string
}

var exitCodes = []exitCode{
	{exitOK, "success; of a node: it has drained"},
	{exitFailure, "failure while running; an answer that is not good (an unhealthy node, members that disagree, copies that differ); a node that a second signal ended"},
	{exitUsage, "wrong usage or configuration: trying again does not help; also a fault of the program, which GOTRACEBACK=crash makes a signal"},
	{exitInterrupted, "ended by SIGINT; of migrate: by the second one"},
	{exitTerminated, "ended by SIGTERM; of migrate: by the second one"},
}

// What a shell shows of a process that a signal ended: 128 and its number. No
// code of ours sets them; they are here to be explained.
const (
	exitInterrupted = 130
	exitTerminated  = 143
)

// runHelp is the help command.
func (a *app) runHelp(_ context.Context, args []string) int {
	if len(args) == 0 {
		a.printHelp("")
		return exitOK
	}
	about := args[0]
	if asksForHelp(args) {
		about = a.named
	}
	if _, ok := commands()[about]; !ok {
		return a.unknownCommand(about)
	}
	a.printHelp(about)
	return exitOK
}

// asksForHelp reports whether the arguments of a command without flags of its own
// do.
func asksForHelp(args []string) bool {
	return len(args) > 0 && slices.Contains([]string{"-h", "-help", "--help"}, args[0])
}

// printHelp writes all there is to know about a command, or about the command
// line if name is "".
func (a *app) printHelp(name string) {
	h := &helper{bold: a.decorates(a.stdout)}
	if name == "" {
		h.everything()
	} else {
		h.command(name, commands()[name])
	}
	fmt.Fprint(a.stdout, h.String())
}

// A helper writes help.
type helper struct {
	strings.Builder
	bold bool // headings stand out, on a terminal
}

// heading begins a part.
func (h *helper) heading(text string) {
	if h.Len() > 0 {
		h.WriteByte('\n')
	}
	if h.bold {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	fmt.Fprintln(h, text)
}

// rows writes two columns.
func (h *helper) rows(indent string, rows [][2]string) {
	first := 0
	for _, r := range rows {
		first = max(first, len(r[0]))
	}
	for _, r := range rows {
		fmt.Fprintf(h, "%s%-*s  %s\n", indent, first, r[0], r[1])
	}
}

// everything writes all commands with their flags, and all settings.
func (h *helper) everything() {
	h.WriteString(helpHead)
	h.heading("Usage")
	h.WriteString(helpUsage)
	h.heading("Commands")
	all := commands()
	width := 0
	for name := range all {
		width = max(width, len(name))
	}
	for _, name := range commandNames() {
		c := all[name]
		fmt.Fprintf(h, "  %-*s  %s\n", width, name, c.summary)
		h.rows(strings.Repeat(" ", width+len("      ")), c.flagRows())
	}
	h.heading("Settings")
	h.WriteString(helpSettings)
	h.settings()
	h.heading("Exit codes")
	for _, e := range exitCodes {
		fmt.Fprintf(h, "  %-3d  %s\n", e.code, e.meaning)
	}
}

// settings writes the table, in its groups.
func (h *helper) settings() {
	defaults := theDefaults()
	group := ""
	for _, s := range settings {
		if s.group != group {
			group = s.group
			h.heading(group)
		}
		s.describe(&h.Builder, defaults)
	}
}

// command writes what there is to know about one.
func (h *helper) command(name string, c command) {
	fmt.Fprintf(h, "%s\n", sentence(c.summary))
	h.heading("Usage")
	fmt.Fprintf(h, "  %s\n", c.usage(name))
	if c.about != "" {
		fmt.Fprintf(h, "\n%s\n", c.about)
	}
	if rows := c.flagRows(); len(rows) > 0 {
		h.heading("Flags")
		h.rows("  ", rows)
	}
	if c.example != "" {
		h.heading("Example")
		for line := range strings.Lines(c.example) {
			fmt.Fprintf(h, "  %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
	switch {
	case name == defaultCommand:
		h.heading("Settings")
		h.WriteString(helpSettings)
		h.settings()
	case !c.bare:
		fmt.Fprint(h, "\nIt reads the settings of a node too, from flags, environment and file:\n\"micelio-node help\" lists them.\n")
	}
}

// usage returns how a command is written.
func (c *command) usage(name string) string {
	words := []string{"micelio-node", name}
	if !c.bare || c.flags != nil {
		words = append(words, "[flags]")
	}
	return strings.Join(append(words, strings.Fields(c.operands)...), " ")
}

// flagRows returns the command's own flags and what each does.
func (c *command) flagRows() (rows [][2]string) {
	for _, f := range c.ownFlags() {
		help := f.help
		if f.fallback != "" {
			help += "; default " + f.fallback
		}
		rows = append(rows, [2]string{strings.TrimSpace("--" + f.name + " " + f.arg), help})
	}
	return rows
}

// sentence makes a summary one.
func sentence(summary string) string {
	return strings.ToUpper(summary[:1]) + summary[1:] + "."
}

// describe writes the setting's part of the help.
func (s *setting) describe(b *strings.Builder, defaults *options) {
	fmt.Fprintf(b, "  %s\n      %s\n", strings.TrimSpace("--"+s.name+" "+s.arg), s.help)
	fmt.Fprintf(b, "      environment %s\n", strings.Join(s.variableNames(), ", "))
	if s.secret {
		fmt.Fprintf(b, "      --%s%s FILE, or a variable with %s at its end, names a file with it\n", s.name, fileSuffix, fileVarSuffix)
	}
	fmt.Fprintf(b, "      default %s\n", s.fallback(defaults))
}

// variableNames returns the environment variables of the setting.
func (s *setting) variableNames() (names []string) {
	for _, v := range s.variables() {
		names = append(names, v.name)
	}
	return names
}
