package ring

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// faultyRing is a ring whose view is of two members, and that logs to h.
func faultyRing(t *testing.T, h *records) *Ring {
	t.Helper()
	r := &Ring{
		cfg: Config{Timing: Timing{}.withDefaults()}, log: slog.New(h), roster: newTestRoster(),
		changed: make(chan struct{}), stopping: make(chan struct{}),
	}
	members := serving(2)
	if err := r.roster.setSelf(members[0]); err != nil {
		t.Fatal(err)
	}
	r.roster.put("node-01/1", peer{Member: members[1]}, time.Now())
	r.view.Store(noView(nil))
	if err := r.rebuild(); err != nil || r.Fault() != nil {
		t.Fatal(err, r.Fault())
	}
	return r
}

// A member that cannot be placed must not come from the gossip: it is planted
// where a bug would have left it.
func TestAViewThatCannotBeMadeLeavesTheOneBeforeInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRecords()
		r := faultyRing(t, h)
		before := r.View()
		go r.follow(t.Context())
		r.roster.put("/1", peer{Member: Member{State: Serving}}, time.Now())
		time.Sleep(time.Second)
		if r.View() != before {
			t.Error("the view has changed")
		}
		if err := r.Fault(); err == nil || !strings.Contains(err.Error(), "no id") {
			t.Errorf("the fault that is shown: %v", err)
		}
		h.await(t, "ERROR", "stays as it was", "no id")

		r.roster.remove("/1", time.Now())
		r.roster.remove("node-01/1", time.Now())
		synctest.Wait()
		if err := r.Fault(); err != nil || len(r.View().Members()) != 1 {
			t.Errorf("once they can be placed: fault %v, members %v", err, r.View().Members())
		}
	})
}

func TestAViewThatCouldNotBeMadeIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRecords()
		r := faultyRing(t, h)
		go r.follow(t.Context())
		sound := r.View()
		broken := *sound
		broken.table = &table{ids: sound.table.ids, weights: sound.table.weights, circle: sound.table.circle, start: []uint32{1 << 30}}
		r.view.Store(&broken) // whose making of another view panics
		r.roster.remove("node-01/1", time.Now())
		synctest.Wait()
		if err := r.Fault(); err == nil || !strings.Contains(err.Error(), "panic") || r.View() != &broken {
			t.Fatalf("fault %v", err)
		}
		r.view.Store(sound)
		time.Sleep(rebuildRetry + time.Second)
		if err := r.Fault(); err != nil || len(r.View().Members()) != 1 {
			t.Errorf("after %v: fault %v, members %v", rebuildRetry, err, r.View().Members())
		}
	})
}

// The state that nobody could place is not this node's either.
func TestANodeLearnsThatItsOwnStateCannotBePlaced(t *testing.T) {
	r := faultyRing(t, newRecords())
	r.roster.put("/1", peer{Member: Member{State: Serving}}, time.Now())
	if err := r.SetState(t.Context(), Draining); err == nil || errors.Is(err, errClosed) {
		t.Errorf("error %v", err)
	}
	if r.Fault() == nil || len(r.View().owners) != 2 {
		t.Errorf("fault %v, %d own keys", r.Fault(), len(r.View().owners))
	}
}
