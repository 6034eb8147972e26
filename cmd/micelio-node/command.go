package main

import (
	"flag"
	"fmt"
	"strings"
)

// defaultCommand is what runs where no command is named.
const defaultCommand = "serve"

// commandName splits the command off the arguments. Without one it is the default, and
// not named.
func commandName(args []string) (name string, named bool, rest []string) {
	if len(args) == 0 {
		return defaultCommand, false, nil
	}
	switch first := args[0]; {
	case first == "-version" || first == "--version":
		return "version", true, args[1:]
	case strings.HasPrefix(first, "-"):
		return defaultCommand, false, args
	default:
		return first, true, args[1:]
	}
}

// settle reads what the arguments of a command and everything else set. own,
// if not nil, declares flags that only this command has; operands are where its
// further arguments go, and stay as they are where there are fewer. It returns
// nil if the arguments ask for help, which it then has printed.
func (a *app) settle(args []string, own func(*flag.FlagSet), operands ...*string) *loaded {
	given := parseFlags(args, own)
	if given.help {
		a.printHelp(a.named)
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
