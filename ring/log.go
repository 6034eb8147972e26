package ring

import (
	"bytes"
	"context"
	"log"
	"log/slog"
)

// The gossip library's level tags and what they mean to an operator of this
// node. Its errors are about one packet or one connection, which it survives
// by design: they warn, and Error stays for what this node cannot mend.
var logLevels = [...]struct {
	tag   string
	level slog.Level
}{
	{"[DEBUG] ", slog.LevelDebug},
	{"[INFO] ", slog.LevelInfo},
	{"[WARN] ", slog.LevelWarn},
	{"[ERR] ", slog.LevelWarn},
	{"[ERROR] ", slog.LevelWarn},
}

// gossipLog is the io.Writer below the gossip library's logger. Each Write is
// one record.
type gossipLog struct{ to *slog.Logger }

func newGossipLogger(to *slog.Logger) *log.Logger {
	return log.New(gossipLog{to.With("component", "memberlist")}, "", 0)
}

func (g gossipLog) Write(p []byte) (int, error) {
	line, level := bytes.TrimSpace(p), slog.LevelInfo
	for _, l := range logLevels {
		if rest, ok := bytes.CutPrefix(line, []byte(l.tag)); ok {
			line, level = rest, l.level
			break
		}
	}
	line = bytes.TrimPrefix(line, []byte("memberlist: "))
	g.to.Log(context.Background(), level, string(line))
	return len(p), nil
}
