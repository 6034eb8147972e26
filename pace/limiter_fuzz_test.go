package pace_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micelio/micelio/pace"
)

// A crowd is the callers of one Limiter, driven step by step. It does not know
// how a limit is computed; it knows what must hold for any limit.
type crowd struct {
	t       *testing.T
	l       *pace.Limiter
	cfg     pace.LimiterConfig
	waiting []*caller // in the order of arrival
	holding []*caller
	shed    int64

	decreases int // seen so far
}

type caller struct {
	cancel context.CancelFunc
	since  time.Time
	ended  bool // Acquire has returned
	permit *pace.Permit
	window int // decreases before the turn came
}

// step does one thing, lets everybody react, and checks what must hold.
func (c *crowd) step(op, which byte) {
	before := c.l.Stats()
	var done *caller
	outcome := pace.Outcome(which % 4)
	switch {
	case op < 100:
		c.arrive()
	case op < 170 && len(c.holding) > 0:
		i := int(which) % len(c.holding)
		done = c.holding[i]
		c.holding = append(c.holding[:i:i], c.holding[i+1:]...)
		done.permit.Done(outcome)
		done.permit.Done(pace.Overload) // which must not count
	case op < 210 && len(c.waiting) > 0:
		i := int(which) % len(c.waiting)
		c.waiting[i].cancel()
		synctest.Wait()
		if !c.waiting[i].ended || c.waiting[i].permit != nil {
			c.t.Fatal("a caller that left is still there, or has a turn")
		}
		c.waiting = append(c.waiting[:i:i], c.waiting[i+1:]...)
	default:
		<-time.After(time.Duration(which) * time.Millisecond)
	}
	synctest.Wait()
	after := c.l.Stats()
	c.checkLimit(before, after, done, outcome)
	granted := c.settle()
	c.check(after, granted)
}

func (c *crowd) arrive() {
	ctx, cancel := context.WithCancel(context.Background())
	who := &caller{cancel: cancel, since: time.Now()}
	c.waiting = append(c.waiting, who)
	go func() {
		who.permit, _ = c.l.Acquire(ctx)
		who.ended = true
	}()
}

// settle moves those who got their turn, and those who were shed, out of the
// queue, and returns how many got it.
func (c *crowd) settle() (granted int) {
	var still []*caller
	for _, who := range c.waiting {
		switch expired := time.Since(who.since) >= c.cfg.MaxWait; {
		case who.permit != nil:
			if len(still) > 0 {
				c.t.Fatal("a later caller was served before an earlier one")
			}
			granted++
			who.window = c.decreases
			c.holding = append(c.holding, who)
		case who.ended != expired:
			c.t.Fatalf("after %v of %v the wait has ended: %v", time.Since(who.since), c.cfg.MaxWait, who.ended)
		case expired:
			c.shed++
			who.cancel()
		default:
			still = append(still, who)
		}
	}
	c.waiting = still
	return granted
}

// checkLimit says when a limit may change, and which way.
func (c *crowd) checkLimit(before, after pace.LimiterStats, done *caller, outcome pace.Outcome) {
	overloaded := done != nil && outcome == pace.Overload && done.window == c.decreases
	answered := done != nil && outcome == pace.OK && done.window == c.decreases && 2*before.InFlight >= before.Limit
	switch {
	case after.Limit > before.Limit+1, after.Limit > before.Limit && !answered:
		c.t.Fatalf("the limit grew from %d to %d, answered in use: %v", before.Limit, after.Limit, answered)
	case after.Limit < before.Limit && !overloaded:
		c.t.Fatalf("the limit fell from %d to %d without a new overload", before.Limit, after.Limit)
	case overloaded && before.Limit > c.cfg.Min && after.Limit == before.Limit:
		c.t.Fatalf("an overload left the limit at %d", after.Limit)
	case after.Limit < c.cfg.Min, after.Limit > c.cfg.Max:
		c.t.Fatalf("the limit is %d, not in [%d, %d]", after.Limit, c.cfg.Min, c.cfg.Max)
	}
	if overloaded {
		c.decreases++
	}
}

// check says what must hold between any two steps.
func (c *crowd) check(s pace.LimiterStats, granted int) {
	if s.InFlight != len(c.holding) || s.Waiting != len(c.waiting) || s.Shed != c.shed {
		c.t.Fatalf("stats are %+v, want %d in flight, %d waiting, %d shed", s, len(c.holding), len(c.waiting), c.shed)
	}
	// After a decrease more may be under way than the limit, but nobody enters.
	if granted > 0 && s.InFlight > s.Limit {
		c.t.Fatalf("%d entered, with which %d of %d are in flight", granted, s.InFlight, s.Limit)
	}
	if s.Waiting > 0 && s.InFlight < s.Limit {
		c.t.Fatalf("%d wait though %d of %d are in flight", s.Waiting, s.InFlight, s.Limit)
	}
}

func runCrowd(t *testing.T, ops []byte) {
	synctest.Test(t, func(t *testing.T) {
		cfg := pace.LimiterConfig{Initial: 6, Min: 2, Max: 12, MaxWait: 300 * time.Millisecond}
		c := &crowd{t: t, l: pace.NewLimiter(cfg), cfg: cfg}
		for i := 0; i+1 < len(ops); i += 2 {
			c.step(ops[i], ops[i+1])
		}
		for len(c.holding)+len(c.waiting) > 0 { // everybody leaves
			if len(c.waiting) > 0 {
				c.step(200, 0)
			} else {
				c.step(150, byte(pace.Ignore))
			}
		}
	})
}

func FuzzLimiter(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 150, 1, 0, 0, 200, 0, 255, 255, 255, 50})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 150, 1, 150, 1, 150, 0, 150, 0, 255, 255, 255, 44})
	f.Fuzz(runCrowd)
}

func TestALimiterKeepsItsPromisesInRandomInterleavings(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
		ops := make([]byte, 600)
		_, _ = random.Read(ops) // cannot fail
		runCrowd(t, ops)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
