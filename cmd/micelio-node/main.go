// Command micelio-node runs one node of a Micelio cluster, and asks about it
// from the command line. It holds the flags, environment variables and file
// that make a node.Config, and no behaviour of a node.
//
// "micelio-node help" prints every command and setting. Exit codes: 0 success,
// 1 failure while running (also an unhealthy node), 2 wrong usage or
// configuration.
package main

import (
	"context"
	"io"
	"log/slog"
	"os"

	"github.com/micelio/micelio/node"
)

const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run is the whole program apart from the process around it. env holds
// NAME=value strings.
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	a := &app{env: newEnviron(env), stdout: stdout, stderr: stderr, serve: serveNode}
	return a.run(ctx, args)
}

// An app is one invocation of the program.
type app struct {
	env            environ
	stdout, stderr io.Writer
	named          string // the command, "" if none was

	// serve runs a node until ctx ends.
	serve func(ctx context.Context, cfg node.Config, logger *slog.Logger) error
}

func (a *app) run(ctx context.Context, args []string) int {
	name, named, args := commandName(args)
	cmd, ok := commands()[name]
	if !ok {
		return a.unknownCommand(name)
	}
	if named {
		a.named = name
	}
	return cmd.run(a, ctx, args)
}
