package ring

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestGossipLogLinesKeepTheirLevel(t *testing.T) {
	var out bytes.Buffer
	to := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	l := newGossipLogger(to, newRefusals(to))
	l.Print("[DEBUG] memberlist: Stream connection from=10.0.0.1:1")
	l.Print("[INFO] memberlist: Marking n as failed")
	l.Print("[WARN] memberlist: Refuting")
	l.Print("[ERR] memberlist: Push/Pull with n failed: 2 errors:\n\t* one\n\t* two")
	l.Print("[ERR] Failed to shutdown transport: x")
	l.Print("Err: Could not set the deadline")
	l.Print("")
	want := `level=DEBUG msg="Stream connection from=10.0.0.1:1" component=memberlist
level=INFO msg="Marking n as failed" component=memberlist
level=WARN msg=Refuting component=memberlist
level=WARN msg="Push/Pull with n failed: 2 errors:\n\t* one\n\t* two" component=memberlist
level=WARN msg="Failed to shutdown transport: x" component=memberlist
level=INFO msg="Err: Could not set the deadline" component=memberlist
level=INFO msg="" component=memberlist
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Whoever can make the library say something can make it say so for ever.
func TestGossipLogLinesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRecords()
		to := slog.New(h)
		l := newGossipLogger(to, newRefusals(to))
		for range 10 * logBurst {
			l.Print("[WARN] memberlist: Got ping for unexpected node x from=10.0.0.1:1")
			l.Print("[ERR] memberlist: msg type (77) not supported from=10.0.0.1:1")
		}
		if said, refused := h.count("WARN Got ping"), h.count("WARN refused"); said != logBurst || refused != 1 {
			t.Errorf("%d lines, and %d of refusals", said, refused)
		}
		if debug := h.count("DEBUG Got ping"); debug != 9*logBurst {
			t.Errorf("%d lines for those who want all", debug)
		}
		time.Sleep(logWhile)
		l.Print("[WARN] memberlist: Refuting a suspect message")
		l.Print("[ERR] memberlist: msg type (77) not supported from=10.0.0.1:1")
		if h.count("WARN Refuting") != 1 || h.count(fmt.Sprintf("WARN lines were left out, which the level debug has lines=%d", 9*logBurst)) != 1 {
			t.Error("it was not said that lines were left out, or nothing after that")
		}
		if h.count(fmt.Sprintf("times=%d", 10*logBurst)) != 1 {
			t.Error("it was not said how many refusals were not told of")
		}
	})
}
