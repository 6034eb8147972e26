package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/ring"
	"github.com/micelio/micelio/tiers"
)

// Behind a partition most of a large cluster is silent. Whoever asks a node for the
// ring just then waits three seconds, and must get what is known.
func TestACheckEndsInTimeWhoeverIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var members []ring.Member
		for i := range 1000 {
			members = append(members, ring.Member{ID: fmt.Sprintf("node-%03d", i), State: ring.Serving})
		}
		view, err := ring.NewView(members)
		if err != nil {
			t.Fatal(err)
		}
		a := &acquaintances{self: "node-000", view: func() *ring.View { return view }, ask: func(ctx context.Context, m ring.Member) (uint64, error) {
			if m.ID < "node-010" {
				return 7, nil
			}
			<-ctx.Done()
			return 0, ctx.Err()
		}}
		ctx, cancel := context.WithTimeout(t.Context(), checkTime)
		defer cancel()
		began := time.Now()
		a.round(ctx)
		if took := time.Since(began); took > checkTime {
			t.Errorf("it took %v, want at most %v", took, checkTime)
		}
		heard, silent, notAsked := 0, 0, 0
		for _, m := range view.Members()[1:] {
			switch known := a.about(m); {
			case known.err == nil && known.epoch == 7:
				heard++
			case errors.Is(known.err, context.DeadlineExceeded):
				silent++
			case errors.Is(known.err, errNotAsked):
				notAsked++
			}
		}
		if heard != 9 || silent < 2*acquaintAtOnce-9 || notAsked == 0 || heard+silent+notAsked != 999 {
			t.Errorf("%d were heard, %d silent and %d not asked", heard, silent, notAsked)
		}
	})
}

// hung is a disk that never answers a look.
type hung struct {
	tiers.Off
	ended chan struct{} // closed when it does
}

func (h hung) Peek(object.Key) (tiers.Stored, bool) {
	<-h.ended
	return nil, false
}

// A disk that hangs must not keep the others' word back, nor gather looks.
func TestAHungDiskKeepsNoCheckWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := hung{ended: make(chan struct{})}
		n := &Node{cache: tiers.New(tiers.Config{SSD: disk}), looking: make(turnstile, 2)}
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), checkTime)
			if copies, err := n.ownCopies(ctx, "key"); !errors.Is(err, errDiskSilent) || copies != nil {
				t.Errorf("%v, %v", copies, err)
			}
			cancel()
		}
		if len(n.looking) != 2 {
			t.Errorf("%d looks hang", len(n.looking))
		}
		close(disk.ended)
		synctest.Wait()
		if copies, err := n.ownCopies(t.Context(), "key"); err != nil || copies != nil {
			t.Errorf("the disk is back: %v, %v", copies, err)
		}
		synctest.Wait()
	})
}

// Each check is a question to every member.
func TestChecksAreFewAtOnce(t *testing.T) {
	n := openNode(t)
	for range maxChecks {
		if !n.asking.enter() {
			t.Fatal("there is no room")
		}
	}
	for _, target := range []string{"/ring?check", "/where/a?check"} {
		if a := n.answer(http.MethodGet, target); a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d, %s", target, a.Code, a.Body)
		}
	}
	if a := n.answer(http.MethodGet, "/ring"); a.Code != http.StatusOK {
		t.Errorf("no check: %d", a.Code)
	}
	n.asking.leave()
	for _, target := range []string{"/ring?check", "/where/a?check"} {
		if a := n.answer(http.MethodGet, target); a.Code != http.StatusOK {
			t.Errorf("%s, with room: %d, %s", target, a.Code, a.Body)
		}
	}
}
