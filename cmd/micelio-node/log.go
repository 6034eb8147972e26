package main

import (
	"io"
	"io/fs"
	"log/slog"

	"github.com/micelio/micelio/node"
)

// newLogger returns the logger that the configuration asks for.
func newLogger(w io.Writer, cfg node.Config) *slog.Logger {
	level := new(slog.LevelVar)
	level.Set(cfg.LogLevel)
	opt := &slog.HandlerOptions{Level: level, ReplaceAttr: readable}
	if cfg.LogFormat == node.LogText || cfg.LogFormat == node.LogAuto && isTerminal(w) {
		return slog.New(&adjustable{slog.NewTextHandler(w, opt), level})
	}
	return slog.New(&adjustable{slog.NewJSONHandler(w, opt), level})
}

// readable writes durations as people do, 3s and not 3000000000, in JSON as well.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// An adjustable is a handler whose level can be changed at any time.
type adjustable struct {
	slog.Handler
	level *slog.LevelVar
}

// levelOf returns the level of a logger that newLogger has made, nil for another.
func levelOf(logger *slog.Logger) *slog.LevelVar {
	if h, ok := logger.Handler().(*adjustable); ok {
		return h.level
	}
	return nil
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
