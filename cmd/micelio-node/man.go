package main

import (
	"context"
	"fmt"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
)

// runMan prints the manual page.
func (a *app) runMan(_ context.Context, args []string) int {
	if asksForHelp(args) {
		a.printHelp(a.named)
		return exitOK
	}
	if len(args) > 0 {
		fmt.Fprintf(a.stderr, "micelio-node: man takes no arguments, not %q\n", args[0])
		return exitUsage
	}
	m := &manual{}
	m.page(sourceDate())
	fmt.Fprint(a.stdout, m.String())
	return exitOK
}

// sourceDate returns when the source that this was built from was committed, so
// that the same source prints the same page; today if the build does not say.
func sourceDate() time.Time {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if at, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				return at
			}
		}
	}
	return time.Now()
}

// A manual is a page being written in mdoc(7).
type manual struct{ strings.Builder }

// macro writes a line that is a request to the formatter.
func (m *manual) macro(format string, args ...any) { fmt.Fprintf(m, "."+format+"\n", args...) }

// text writes sentences, each on lines of its own, so that the formatter knows
// where one ends.
func (m *manual) text(sentences string) {
	m.literal(sentenceEnd.ReplaceAllString(sentences, "$1\n$2"))
}

// literal writes lines as they are to be read.
func (m *manual) literal(lines string) {
	for line := range strings.Lines(lines) {
		fmt.Fprintln(m, roff(strings.TrimSpace(line)))
	}
}

// sentenceEnd is where another one begins.
var sentenceEnd = regexp.MustCompile(`([a-z0-9)]\.)\s+([A-Z])`)

// flagWord is a flag within a sentence, whose dashes a formatter would make
// hyphens of.
var flagWord = regexp.MustCompile(`(^|[^a-z0-9-])(-{1,2})([a-z])`)

// roff protects what has a meaning to the formatter in a line of text.
func roff(line string) string {
	line = strings.ReplaceAll(line, `\`, `\e`)
	line = flagWord.ReplaceAllStringFunc(line, func(s string) string { return strings.ReplaceAll(s, "-", `\-`) })
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	return line
}

// arg protects a word among the arguments of a macro, where two or three letters
// may be the name of another one.
func arg(word string) string {
	const longestMacro = 3
	word = strings.ReplaceAll(word, `\`, `\e`)
	if len(word) <= longestMacro {
		return `\&` + word
	}
	return word
}

// page writes all of it.
func (m *manual) page(date time.Time) {
	m.macro("Dd %s", date.UTC().Format("January 2, 2006"))
	m.macro("Dt MICELIO-NODE 1\n.Os\n.Sh NAME\n.Nm micelio-node\n.Nd node of a Micelio cluster, a cache between workers and object storage")
	m.macro("Sh SYNOPSIS\n.Nm\n.Op Ar command\n.Op Ar flags\n.Nm\n.Cm help\n.Op Ar command")
	m.macro("Sh DESCRIPTION\n.Nm")
	m.text(`runs one node of a cluster that keeps copies of objects in memory and on disks, and asks about it from the command line.
Nodes find each other by gossip; a consistent-hash ring gives each key one owner, and any node takes any request.
The origin, a bucket of S3 or a folder, is the only authority: nothing that a node keeps cannot be lost.
Clients speak the S3 dialect of HTTP at`)
	m.macro("Fl -listen .")
	m.commands()
	m.options()
	m.environment()
	m.files()
	m.endings()
	m.examples()
	m.macro("Sh SEE ALSO\n.Xr curl 1 ,\n.Xr systemd.service 5")
}

func (m *manual) commands() {
	m.macro("Sh COMMANDS")
	m.text("Without one it is serve. Flags and further arguments come after it, in any order.")
	m.macro("Bl -tag -width Ds")
	all := commands()
	for _, name := range commandNames() {
		c := all[name]
		operands := ""
		if c.operands != "" {
			operands = " Ar " + arg(c.operands)
		}
		m.macro("It Cm %s%s", arg(name), operands)
		m.text(sentence(c.summary))
		m.text(c.about)
		docs := c.flagDocs()
		if len(docs) == 0 {
			continue
		}
		m.macro("Bl -tag -width Ds")
		for i, f := range c.ownFlags() {
			m.item(docs[i])
			m.text(sentence(f.help))
			if f.fallback != "" {
				m.text("Default: " + f.fallback + ".")
			}
		}
		m.macro("El")
	}
	m.macro("El")
}

// item begins the entry of a flag.
func (m *manual) item(d flagDoc) {
	value := ""
	if d.arg != "" {
		value = " Ar " + arg(d.arg)
	}
	m.macro("It Fl -%s%s", d.name, value)
}

func (m *manual) options() {
	m.macro("Sh OPTIONS")
	m.text(helpSettings + "Every command that asks a node reads them too, to know where it is.")
	defaults := theDefaults()
	group := ""
	for _, s := range settings {
		if s.group != group {
			if group != "" {
				m.macro("El")
			}
			group = s.group
			m.macro("Ss %s\n.Bl -tag -width Ds", group)
		}
		_, isList := s.value(defaults).(listValue)
		m.item(flagDoc{name: s.name, arg: s.arg, repeated: isList})
		if s.secret {
			m.item(flagDoc{name: s.name + fileSuffix, arg: fileArg})
		}
		m.text(sentence(s.help))
		m.text("Default: " + s.fallback(defaults) + ".")
		m.text("Environment:")
		names := s.variableNames()
		for i, name := range names {
			end := " ,"
			if i == len(names)-1 {
				end = " ."
			}
			m.macro("Ev %s%s", name, end)
		}
	}
	m.macro("El")
}

// variables are those of the environment that are no settings.
var variables = [][2]string{
	{"AWS_*", "Credentials and the region of the bucket, as the AWS SDK reads them, where no setting has them."},
	{"COLUMNS", "The width of what top prints without a terminal."},
	{"GOTRACEBACK", "If it is crash, a fault of the program ends it by SIGABRT and not with 2, so that a service manager tells it from wrong settings."},
	{"GOMEMLIMIT", "Memory that the process may take, where the node is not to work it out from its settings and its container."},
	{"LC_ALL, LC_CTYPE, LANG", "Whether top may draw with characters beyond ASCII."},
	{"NO_COLOR", "If it is not empty, nothing is coloured or bold."},
	{"NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID", "Where systemd is told how the node is, and how often that it is alive."},
	{"TERM", "If it is dumb, top prints one picture, and nothing is bold."},
}

func (m *manual) environment() {
	m.macro("Sh ENVIRONMENT")
	m.text(`Each setting names its variables under OPTIONS; an empty one counts as not set.
A secret is also read from the file that the variable with _FILE at its end names.
Besides:`)
	m.explained("Ev ", variables)
}

// explained writes a list of names, marked as what they are, with what there is to say
// of each.
func (m *manual) explained(mark string, list [][2]string) {
	m.macro("Bl -tag -width Ds")
	for _, item := range list {
		m.macro("It %s%s", mark, item[0])
		m.text(item[1])
	}
	m.macro("El")
}

func (m *manual) files() {
	m.macro("Sh FILES")
	m.explained("Pa ", [][2]string{
		{"/etc/micelio/micelio-node.conf", `The settings of the systemd unit that comes with the program. A file has one "name value" a line; a line that begins with # is a comment.`},
		{"/etc/micelio/cluster.secret", "What the nodes of that unit share to be one cluster."},
		{"/var/micelio", "What a node keeps on disk with --env production, else micelio in the folder for temporary files."},
	})
}

// endings writes what the process ends with, and what makes it end.
func (m *manual) endings() {
	m.macro("Sh EXIT STATUS\n.Bl -tag -width Ds")
	for _, e := range exitCodes {
		m.macro("It %d", e.code)
		m.text(sentence(e.meaning))
	}
	m.macro("El\n.Sh SIGNALS")
	m.explained("", [][2]string{
		{"SIGTERM, SIGINT", "A node drains and exits with 0; a second one of either ends it at once, with 1. A migration stops in order, with 1; top leaves the terminal as it was."},
		{"SIGQUIT", "A node ends at once with the stacks of all goroutines on standard error, and with 2 or, if GOTRACEBACK is crash, by the signal."},
		{"SIGABRT", "The same; systemd sends it to a node that no longer feeds its watchdog."},
		{"SIGTSTP, SIGCONT, SIGWINCH", "top gives the terminal back, takes it again, and draws anew."},
	})
}

func (m *manual) examples() {
	m.macro("Sh EXAMPLES")
	all := commands()
	for _, name := range commandNames() {
		c := all[name]
		if c.example == "" {
			continue
		}
		m.text(sentence(c.summary))
		m.macro("Bd -literal -offset indent")
		m.literal(c.example)
		m.macro("Ed")
	}
}
