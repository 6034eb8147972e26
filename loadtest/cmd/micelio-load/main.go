// Command micelio-load puts load on nodes and measures what they make of it:
// prepare stores the objects that a run reads, run does the run; report, encode
// and compare say what came of runs; saturate and chaos do several, or a run with
// something else. It is a client of the nodes like any other, and all that it can
// do package loadtest and those below it can.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/micelio/micelio/loadtest"
)

// The exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitInvalid = 3 // the run measured the generator and not the servers
)

func main() {
	ctx, cancel := untilSignal()
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	cancel()
	os.Exit(code)
}

// A command is a subcommand.
type command struct {
	name    string
	summary string
	run     func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

func commands() []command {
	return []command{
		{"prepare", "store the objects that a run reads", runPrepare},
		{"run", "do a run, print what it measured, and write it to a file with -o", runRun},
		{"profiles", "list the ready-made loads for run -profile", runProfiles},
		{"report", "write what a run measured as text, html, json, md, histograms or metrics", runReport},
		{"encode", "write a run as results that vegeta reads", runEncode},
		{"compare", "say whether two groups of runs differ, or make the runs in turn", runCompare},
		{"saturate", "find the highest rate at which the servers keep an SLO", runSaturate},
		{"chaos", "do a run while nodes are killed, drained or frozen, and say what that cost", runChaos},
	}
}

// errInvalid is a run that cannot be believed.
var errInvalid = errors.New("the run is INVALID: it measured the generator, or the machine it shares with the servers")

// A usageError is a mistake on the command line.
type usageError struct{ error }

// execute runs the command line and returns the exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		printUsage(stderr)
		return exitUsage
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		err := c.run(ctx, args[1:], stdout, stderr)
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return exitOK
		case errors.Is(err, errInvalid):
			fmt.Fprintln(stderr, "micelio-load:", err)
			return exitInvalid
		case errors.As(err, new(usageError)), errors.As(err, new(*loadtest.ConfigError)):
			fmt.Fprintf(stderr, "micelio-load: %v\nmicelio-load %s -h explains the flags\n", err, c.name)
			return exitUsage
		}
		fmt.Fprintln(stderr, "micelio-load:", err)
		return exitFailure
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		printUsage(stdout)
		return exitOK
	}
	fmt.Fprintf(stderr, "micelio-load: there is no command %q\n\n", args[0])
	printUsage(stderr)
	return exitUsage
}

func printUsage(w io.Writer) {
	fmt.Fprint(w, "Usage: micelio-load COMMAND [flags]\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, `
micelio-load COMMAND -h explains the flags of a command.

Exit codes: 0 success, 1 failure, 2 wrong usage, 3 the run is INVALID: it
measured the generator, or the machine it shares with the servers.
`)
}
