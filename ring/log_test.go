package ring

import (
	"bytes"
	"log/slog"
	"testing"

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
