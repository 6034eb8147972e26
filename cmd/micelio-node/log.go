package main

import (
	"io"
	"io/fs"
	"log/slog"

	"github.com/micelio/micelio/node"
)

// newLogger returns the logger that the configuration asks for.
func newLogger(w io.Writer, cfg node.Config) *slog.Logger {
	opt := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == node.LogText || cfg.LogFormat == node.LogAuto && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, opt))
	}
	return slog.New(slog.NewJSONHandler(w, opt))
}

// isTerminal reports whether w is a character device, which for the standard
// error of a program means that a person reads it.
func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&fs.ModeCharDevice != 0
}
