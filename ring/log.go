package ring

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
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
// is said. Of everything else only so much is said in a while.
type gossipLog struct {
	to      *slog.Logger
	refused *refusals

	mu    sync.Mutex // guards the following
	since time.Time  // when the while began
	lines int        // above Debug since then
}

// No more than logBurst lines above Debug are said in logWhile. A change of a
// cluster of 30 nodes takes about as many.
const (
	logBurst = 60
	logWhile = 10 * time.Second
)

func newGossipLogger(to *slog.Logger, refused *refusals) *log.Logger {
	return log.New(&gossipLog{to: to.With("component", "memberlist"), refused: refused}, "", 0)
}

// spare reports whether enough was said for the moment, and how many lines were
// left out in the while that has just ended.
func (g *gossipLog) spare(now time.Time) (spared bool, leftOut int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.since) >= logWhile {
		leftOut = max(0, g.lines-logBurst)
		g.since, g.lines = now, 0
	}
	g.lines++
	return g.lines > logBurst, leftOut
}

func (g *gossipLog) Write(p []byte) (int, error) {
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
	if level > slog.LevelDebug {
		spared, leftOut := g.spare(time.Now())
		if leftOut > 0 {
			g.to.Warn("lines were left out, which the level debug has", "lines", leftOut)
		}
		if spared {
			level = slog.LevelDebug
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
