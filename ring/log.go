package ring

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"strings"
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
// one record. What says that somebody was refused is counted, told of now and
// then, and otherwise left to the level Debug: a stranger decides how often it
// is said.
type gossipLog struct {
	to      *slog.Logger
	refused *refusals
}

func newGossipLogger(to *slog.Logger, refused *refusals) *log.Logger {
	return log.New(gossipLog{to.With("component", "memberlist"), refused}, "", 0)
}

func (g gossipLog) Write(p []byte) (int, error) {
	line, level := bytes.TrimSpace(p), slog.LevelInfo
	for _, l := range logLevels {
		if rest, ok := bytes.CutPrefix(line, []byte(l.tag)); ok {
			line, level = rest, l.level
			break
		}
	}
	message := string(bytes.TrimPrefix(line, []byte("memberlist: ")))
	if level > slog.LevelDebug {
		if reason, refused := refusalIn(message); refused {
			level = slog.LevelDebug
			if reason != "" {
				g.refused.note(reason, sender(message), message)
			}
		}
	}
	g.to.Log(context.Background(), level, message)
	return len(p), nil
}

// sender returns whom a line of the gossip library is about.
func sender(line string) text {
	if _, from, ok := strings.Cut(line, "from="); ok {
		return text(strings.TrimRight(from, " "))
	}
	return "unknown"
}
