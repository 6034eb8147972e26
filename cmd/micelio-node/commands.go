package main

import (
	"context"
	"flag"
	"maps"
	"slices"
	"strings"
)

// A command is one subcommand of the program. What it says here is all that
// help, the manual page and the completion of shells know of it.
type command struct {
	summary  string              // a line for the list of commands
	operands string              // placeholders of its arguments that are no flags
	about    string              // sentences for its own help, each line as long as one of a terminal
	example  string              // lines as they would be typed
	choices  []string            // all that an argument may be, nil if it may be anything
	bare     bool                // reads no settings
	flags    func(*flag.FlagSet) // declares those that only this command has, nil for none
	run      func(a *app, ctx context.Context, args []string) int
}

// commands returns the subcommands by name.
func commands() map[string]command {
	all := map[string]command{}
	for _, some := range []map[string]command{serving(), asking(), copying(), explaining()} {
		maps.Copy(all, some)
	}
	all["help"] = command{
		summary:  "print every command and setting, or all about one command",
		operands: "[COMMAND]",
		choices:  slices.Sorted(maps.Keys(all)),
		bare:     true,
		run:      (*app).runHelp,
	}
	return all
}

// serving are the commands about a node that is to run.
func serving() map[string]command {
	return map[string]command{
		"serve": {
			summary: "run a node until SIGTERM or SIGINT (the default command)",
			about: `The first signal drains: the node leaves the ring, hands its hottest objects on,
goes on serving for --drain-delay, finishes what is in flight and exits with 0.
A second signal ends it at once, with 1. Under systemd (Type=notify) it says when
it is ready, how it is, and, to its watchdog, that all of it still answers.`,
			example: "micelio-node serve --config /etc/micelio/micelio-node.conf\nmicelio-node --join 10.0.0.1:7946,10.0.0.2:7946",
			run:     (*app).runServe,
		},
		"config": {
			summary: "print each setting, its value and where it came from",
			about: `Secrets are masked. Exits with 2 and names all that is wrong if a node would
refuse the configuration.`,
			example: "micelio-node config --check --config /etc/micelio/micelio-node.conf",
			flags:   new(configFlags).declare,
			run:     (*app).runConfig,
		},
	}
}

// asking are the commands that ask a running node.
func asking() map[string]command {
	return map[string]command{
		"health": {
			summary: "ask a running node whether it is ready",
			about: `Prints one line and exits with 0 if it is, with 1 if not or if nobody answers
within 3 s: for the health checks of containers and scripts.`,
			example: "micelio-node health --admin-listen 127.0.0.1:8082",
			flags:   new(healthFlags).declare,
			run:     (*app).runHealth,
		},
		"ring": {
			summary: "ask a running node for the members of its cluster, and each of them whether it agrees",
			about: `Shows states, weights and shares of the keys. Exits with 1 if not all members say
that they agree.`,
			example: "micelio-node ring --admin-listen 127.0.0.1:8082",
			flags:   new(ringFlags).declare,
			run:     (*app).runRing,
		},
		"where": {
			summary:  "ask a running node who owns a key and who would be asked for it, in order",
			operands: "KEY",
			about:    `With --check it exits with 1 if a member does not say what it has.`,
			example:  "micelio-node where --check sessions/abc/head",
			flags:    new(whereFlags).declare,
			run:      (*app).runWhere,
		},
		"top": {
			summary: "watch a running node in this terminal",
			about: `Draws what the console page shows, and again every --interval. Keys: 1 to 6 or Tab
for the views, arrows to move, p to pause, ? for help, q to quit. Without a terminal
it prints one picture and exits, with 1 if the node does not answer.`,
			example: "micelio-node top --admin-listen 127.0.0.1:8082\nmicelio-node top --once | less",
			flags:   new(topFlags).declare,
			run:     (*app).runTop,
		},
	}
}

// copying are the commands about objects.
func copying() map[string]command {
	return map[string]command{
		"migrate": {
			summary: "copy all objects of one place to another and verify them",
			about: `Lists what differs, and exits with 1 if anything does: a migration is proven when
the two lists are equal. Objects are copied once, however often it is started. The
settings of the S3 origin apply to both sides. A signal stops it in order; a second
one ends it at once.`,
			example: "micelio-node migrate --from local:/srv/storage --to s3:forge/objects --journal migrate.journal",
			flags:   new(migration).flags,
			run:     (*app).runMigrate,
		},
		"presign": {
			summary:  "print a URL that reads or writes one object of the bucket",
			operands: "KEY",
			about: `Whoever has the URL needs no credentials until it expires. It goes straight to the
bucket, past the cluster.`,
			example: "micelio-node presign --method PUT --expires 5m artifacts/report.pdf",
			flags:   new(presigning).declare,
			run:     (*app).runPresign,
		},
	}
}

// explaining are the commands about the program.
func explaining() map[string]command {
	return map[string]command{
		"completion": {
			summary:  "print a script that completes commands, flags and values in a shell",
			operands: strings.Join(shells, "|"),
			choices:  shells,
			about:    `Read it from the start-up file of the shell, or put it where the shell looks.`,
			example: `source <(micelio-node completion bash)
micelio-node completion bash > /usr/share/bash-completion/completions/micelio-node
micelio-node completion zsh  > /usr/share/zsh/site-functions/_micelio-node
micelio-node completion fish > /usr/share/fish/vendor_completions.d/micelio-node.fish`,
			bare: true,
			run:  (*app).runCompletion,
		},
		"man": {
			summary: "print the manual page",
			about:   `In mdoc, which every man reads.`,
			example: "micelio-node man > /usr/local/share/man/man1/micelio-node.1",
			bare:    true,
			run:     (*app).runMan,
		},
		"version": {summary: "print the version of the program", bare: true, run: (*app).runVersion},
	}
}

func commandNames() []string { return slices.Sorted(maps.Keys(commands())) }

// An ownFlag is a flag that only one command has.
type ownFlag struct {
	name     string
	arg      string // placeholder for the value, "" for a switch
	help     string
	fallback string // what holds without it, "" for nothing
}

// ownFlags returns the command's own flags in the order of their names.
func (c *command) ownFlags() []ownFlag {
	if c.flags == nil {
		return nil
	}
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	c.flags(fs)
	var own []ownFlag
	fs.VisitAll(func(f *flag.Flag) {
		arg, usage := flag.UnquoteUsage(f)
		o := ownFlag{name: f.Name, arg: arg, help: usage, fallback: f.DefValue}
		if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
			o.arg, o.fallback = "", ""
		}
		own = append(own, o)
	})
	return own
}

// declareValue declares a flag for a value, whose content now is its default.
func declareValue(fs *flag.FlagSet, name string, v value, usage string) {
	fs.Func(name, usage, v.set)
	fs.Lookup(name).DefValue = v.String()
}
