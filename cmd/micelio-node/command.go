package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A command is one subcommand of the program.
type command struct {
	summary string // a line or two for the list of commands
	run     func(a *app, ctx context.Context, args []string) int
}

// commands returns the subcommands by name.
func commands() map[string]command {
	return map[string]command{
		"serve":  {"run a node until SIGTERM or SIGINT (the default command)", (*app).runServe},
		"config": {"print each setting, its value and where it came from; --check only checks", (*app).runConfig},
		"health": {"ask a running node whether it is ready; --live: whether it is alive", (*app).runHealth},
		"migrate": {"copy what --from has to --to, each local:DIR or s3:BUCKET[/PREFIX], verify it, list what differs (exit code 1);\n" +
			"--dry-run, --overwrite what differs, --allow-extra objects at the destination, --prefix P, --parallel 16,\n" +
			"--journal FILE to go on quickly after an interruption; the settings of the S3 origin apply to both sides", (*app).runMigrate},
		"presign": {"print a URL with which whoever has it reads KEY in the bucket or, with --method PUT, writes it,\n" +
			"for --expires 15m (at most 168h); it goes straight to the bucket, past the cluster", (*app).runPresign},
		"ring": {"ask a running node for the members of its cluster, their states and shares of the keys, and each member\n" +
			"whether it agrees (exit code 1 if not all say that they do); --json for programs", (*app).runRing},
		"where": {"ask a running node for the owner of KEY and for who would be asked for it, in order; --check asks every\n" +
			"member which of its tiers have a copy (exit code 1 if one does not say); --json for programs", (*app).runWhere},
		"version": {"print the version of the program", (*app).runVersion},
		"help":    {"print every setting", (*app).runHelp},
	}
}

func commandNames() []string { return slices.Sorted(maps.Keys(commands())) }

// commandName splits the command off the arguments. Without one it is serve.
func commandName(args []string) (string, []string) {
	if len(args) == 0 {
		return "serve", nil
	}
	switch first := args[0]; {
	case first == "-version" || first == "--version":
		return "version", args[1:]
	case strings.HasPrefix(first, "-"):
		return "serve", args
	default:
		return first, args[1:]
	}
}

// settle reads what the arguments of a command and everything else set. own,
// if not nil, declares flags that only this command has; operands are where its
// further arguments go, and stay as they are where there are fewer. It returns
// nil if the arguments ask for help, which it then has printed.
func (a *app) settle(args []string, own func(*flag.FlagSet), operands ...*string) *loaded {
	given := parseFlags(args, own)
	if given.help {
		a.printHelp()
		return nil
	}
	for i, operand := range given.operands {
		if i < len(operands) {
			*operands[i] = operand
			continue
		}
		given.problems = append(given.problems, fmt.Sprintf("unexpected argument %q: flags begin with --, and a command comes before them", operand))
	}
	return load(given, a.env)
}

// reject prints the problems of the configuration, all in one message.
func (a *app) reject(problems []string) int {
	noun := "problems"
	if len(problems) == 1 {
		noun = "problem"
	}
	fmt.Fprintf(a.stderr, "micelio-node: %d %s with the configuration:\n", len(problems), noun)
	for _, p := range problems {
		fmt.Fprintf(a.stderr, "  %s\n", p)
	}
	fmt.Fprintln(a.stderr, `Run "micelio-node help" for every setting.`)
	return exitUsage
}

// unknownCommand says that there is no such command.
func (a *app) unknownCommand(name string) int {
	fmt.Fprintf(a.stderr, "micelio-node: unknown command %q%s\nRun \"micelio-node help\" for what there is.\n",
		name, didYouMean(name, commandNames()))
	return exitUsage
}
