package ring

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// joinSeen is far above what a start takes. A join that gossip failed to bring to
// someone waits for the next comparison of tables.
const joinSeen = 40 * time.Second

// must fails the test if something did not happen in time.
func must(t *testing.T, s *simulation, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	if _, done := s.within(limit, ok); !done {
		t.Fatalf("%s: not within %v\n%s%s", what, limit, s.log, s.state())
	}
}

// split cuts the network in two.
func (s *simulation) split(side []int) {
	where := map[string]int{}
	for _, i := range side {
		where[s.addr(i)] = 1
	}
	s.cut(where)
}

// This is what the rejoin loop is there for.
func TestASplitStaysWithoutTheRejoinLoop(t *testing.T) {
	const lasts = 5 * time.Minute // long enough that everyone has forgotten the other side
	never := Timing{RejoinInterval: 1000 * time.Hour, JoinRetry: 1000 * time.Hour}
	simulate(t, 4, never, func(s *simulation) {
		must(t, s, joinSeen, "join", func() bool { return s.agree(0, 1, 2, 3) })
		s.split([]int{2, 3})
		must(t, s, time.Minute, "split", func() bool { return s.agree(0, 1) && s.agree(2, 3) })
		<-time.After(lasts)
		s.cut(nil)
		<-time.After(lasts)
		if !s.agree(0, 1) || !s.agree(2, 3) {
			t.Error("gossip healed the split by itself: the loop may not be needed any more")
		}
	})
}

func TestNodesThatStartTogetherMakeFewViews(t *testing.T) {
	const n = 8
	simulate(t, n, Timing{}, func(s *simulation) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var counter sync.WaitGroup
		views := 0
		counter.Go(func() {
			for {
				changed := s.rings[0].Changed()
				select {
				case <-changed:
					views++
				case <-ctx.Done():
					return
				}
			}
		})
		must(t, s, joinSeen, "join", func() bool { return s.agree(s.all()...) })
		cancel()
		counter.Wait()
		if views > 2 {
			t.Errorf("%d views for %d nodes", views, n)
		}
	})
}

// The announcement cannot leave while nobody can be reached, and is not lost.
func TestSetStateReturnsWithItsContext(t *testing.T) {
	simulate(t, 3, Timing{GossipInterval: time.Hour, ProbeInterval: time.Hour, PushPullInterval: time.Minute},
		func(s *simulation) {
			must(t, s, 2*time.Minute, "join", func() bool { return s.agree(0, 1, 2) })
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			began := time.Now()
			if err := s.rings[1].SetState(ctx, Draining); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("set state: %v", err)
			}
			if took := time.Since(began); took != time.Second {
				t.Errorf("took %v", took)
			}
			if s.rings[1].View().Share("n1") != 0 {
				t.Error("the own view did not follow")
			}
			must(t, s, 10*time.Minute, "the state", func() bool { return s.rings[0].View().Share("n1") == 0 })
		})
}
