package node

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/micelio/micelio/object"
)

// openLog makes the node's log of the one that it was given.
func (n *Node) openLog(log *slog.Logger) {
	if len(n.cfg.PrivateKeys) > 0 { // else nothing is looked for in what is logged
		n.privacy.private, _ = object.NewPatterns(n.cfg.PrivateKeys) // Validate has reported faulty ones
	}
	n.log = slog.New(&logHandler{log.Handler(), n.privacy})
	n.access = newAccessLog(n.log, n.cfg.AccessLogRate)
	n.slow = newSlowest(n.shown)
}

// ShareLevel lets the admin listener change level, which is to be that of the log
// that Open was given. It must be called before Run. Without it the level stays as it
// is.
func (n *Node) ShareLevel(level *slog.LevelVar) { n.level = level }

// serveLevel says which lines are logged.
func (n *Node) serveLevel(w http.ResponseWriter, _ *http.Request) {
	if n.level == nil {
		http.Error(w, "the level of this log cannot be changed", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, n.level.Level())
}

// setLevel changes which lines are logged, until the node ends. The change is said
// whatever the level is.
func (n *Node) setLevel(w http.ResponseWriter, r *http.Request) {
	if n.level == nil {
		n.serveLevel(w, r)
		return
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(r.URL.Query().Get("level"))); err != nil {
		http.Error(w, "write ?level=debug, info, warn or error", http.StatusBadRequest)
		return
	}
	was := n.level.Level()
	n.level.Set(min(was, level, slog.LevelInfo))
	n.log.Info("log level changed", "was", was, "is", level, "remote", r.RemoteAddr)
	n.level.Set(level)
	n.serveLevel(w, r)
}
