package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/micelio/micelio/internal/sdnotify"
	"github.com/micelio/micelio/node"
)

// serveNode runs a node until ctx ends and it has drained.
func serveNode(ctx context.Context, cfg node.Config, logger *slog.Logger) error {
	limitMemory(cfg, logger)
	manager, err := sdnotify.Open(os.Getenv, os.Getpid())
	if err != nil {
		logger.Warn("the service manager that started this will hear nothing", "err", err)
	}
	defer manager.Close()
	n, err := node.Open(cfg, logger)
	if err != nil {
		return err
	}
	n.ShareLevel(levelOf(logger))
	return supervise(ctx, n, cfg.Resolved().Bucket, manager, logger)
}

// runServe runs a node until a signal. Configuration problems are printed
// before anything starts.
func (a *app) runServe(ctx context.Context, args []string) int {
	l := a.settle(args, nil)
	if l == nil {
		return exitOK
	}
	if problems := l.check(); len(problems) > 0 {
		return a.reject(problems)
	}
	logger := newLogger(a.stderr, l.options.Config)
	for _, w := range l.warnings {
		logger.Warn(w)
	}
	cfg := l.options.Config
	cfg.Program.Settings = shownSettings(l)
	cfg.Program.Version, cfg.Program.Revision = builtFrom(version, buildInfo())
	err := untilSignal(ctx, logger, func(ctx context.Context) error {
		return a.serve(ctx, cfg, logger)
	})
	if err != nil {
		fmt.Fprintf(a.stderr, "micelio-node: %v\n", err)
		return exitFailure
	}
	return exitOK
}

// limitMemory tells the garbage collector how much memory the process may take,
// which it does not find out by itself.
func limitMemory(cfg node.Config, logger *slog.Logger) {
	limit := chooseMemoryLimit(cfg, os.DirFS("/"), os.Getenv)
	if limit.warning != "" {
		logger.Warn(limit.warning)
	}
	if limit.bytes > 0 {
		debug.SetMemoryLimit(limit.bytes)
	}
	logger.Debug("memory limit", "bytes", debug.SetMemoryLimit(-1), "because", limit.because)
}

var errSecondSignal = errors.New("stopped at once by a second signal")

// untilSignal calls run with a context that the first SIGTERM or SIGINT ends,
// and returns what run returns. A second signal does not wait for it: the
// process is expected to exit then, with run still going.
func untilSignal(ctx context.Context, logger *slog.Logger, run func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 2) // both signals, however busy this is
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	for received := 0; ; {
		select {
		case err := <-done:
			return err
		case s := <-signals:
			if received++; received > 1 {
				return errSecondSignal
			}
			logger.Info("draining; a second signal exits at once", "signal", s.String())
			cancel()
		}
	}
}
