package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/node"
)

func TestTheLevelOfALogIsChangedAtAnyTime(t *testing.T) {
	for _, format := range []string{node.LogText, node.LogJSON} {
		var out bytes.Buffer
		logger := newLogger(&out, node.Config{LogLevel: slog.LevelWarn, LogFormat: format})
		derived := logger.With("component", "x")
		level := levelOf(logger)
		if level == nil || level.Level() != slog.LevelWarn {
			t.Fatalf("%s: level %v", format, level)
		}
		derived.Info("before")
		level.Set(slog.LevelDebug)
		derived.Debug("between")
		level.Set(slog.LevelError)
		derived.Warn("after")
		if said := out.String(); !strings.Contains(said, "between") || strings.Contains(said, "before") || strings.Contains(said, "after") {
			t.Errorf("%s: said %s", format, said)
		}
	}
	if level := levelOf(slog.New(slog.DiscardHandler)); level != nil {
		t.Errorf("another log has level %v", level)
	}
}

func TestDurationsAreWrittenAsPeopleDo(t *testing.T) {
	for _, format := range []string{node.LogText, node.LogJSON} {
		var out bytes.Buffer
		cfg := node.DefaultConfig()
		cfg.LogFormat = format
		newLogger(&out, cfg).Info("draining", "delay", 3*time.Second, slog.Group("of", "timeout", time.Minute))
		if said := out.String(); !strings.Contains(said, "3s") || !strings.Contains(said, "1m0s") {
			t.Errorf("%s: got %s", format, said)
		}
	}
}
