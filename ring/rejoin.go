package ring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

const (
	// seedFanout is how many addresses of seeds are asked in one round, of all
	// that are not those of living members. One answer is enough; the others
	// are for those that do not answer. Without a bound a name that stands for
	// a whole cluster would have each of its nodes ask all others.
	seedFanout = 3

	// lostFanout is how many lost members are: the half of it that was lost
	// last, and any of the others. One answer heals a split, but those that
	// never answer again, such as the addresses of containers that are gone,
	// are remembered for as long and must not be all that is asked.
	lostFanout = 12

	// rejoinJitter is by what part of itself a pause varies either way, so that
	// nodes that started together do not ask together.
	rejoinJitter = 0.2

	// lostMemory is how long a member that is gone is still asked. A longer
	// outage is healed by the seeds.
	lostMemory = 24 * time.Hour
)

// rejoin asks seeds and known members that are not alive to compare tables, for
// ever: gossip never asks the dead, so without this a cluster that was once
// split stays so. It asks soon after the start and after a loss, then ever more
// rarely, down to once in RejoinInterval.
func (r *Ring) rejoin(ctx context.Context) {
	first := min(r.cfg.Timing.JoinRetry, r.cfg.Timing.RejoinInterval)
	pause := first
	for {
		r.rejoinRound(ctx)
		wait := jitter(pause)
		next, timer := time.Now().Add(wait), time.NewTimer(wait)
		pause = min(2*pause, r.cfg.Timing.RejoinInterval)
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-r.stopping:
				timer.Stop()
				return
			case <-r.roster.lost:
				pause = min(2*first, r.cfg.Timing.RejoinInterval)
				if wait := jitter(first); time.Until(next) > wait { // a further loss puts nothing off
					next = time.Now().Add(wait)
					timer.Reset(wait)
				}
			case <-timer.C:
				waiting = false
			}
		}
	}
}

// rejoinRound asks once. Until the cluster is found a failure is worth a
// warning; later it is how the dead answer.
func (r *Ring) rejoinRound(ctx context.Context) {
	if ctx.Err() != nil || r.isStopping() {
		return
	}
	err := r.askRound(ctx, func(addr string) error {
		_, err := r.gossip.Join([]string{addr})
		if err != nil {
			r.noteRefusal(addr, err)
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		level := slog.LevelDebug
		if !r.Joined() {
			level = slog.LevelWarn
		}
		r.log.Log(ctx, level, "not all members to join answered", "error", err)
	}
}

// askRound calls join, at the same time, for some of the lost members and for
// some seeds that are not alive. It returns when all calls have, after two
// Timing.StreamTimeout at the latest: one for a name server and one for an
// answer.
func (r *Ring) askRound(ctx context.Context, join func(addr string) error) error {
	alive, lost := r.roster.contacts(time.Now(), lostMemory)
	round := &asking{join: join, taken: map[string]bool{r.public: true, r.bound: true}}
	for _, addr := range alive {
		round.taken[addr] = true
	}
	round.ask(shuffleAfter(lost, lostFanout/2), lostFanout)
	round.tasks.Go(func() { round.ask(r.resolveSeeds(ctx, round.fail), seedFanout) })
	round.tasks.Wait()
	return errors.Join(round.errs...)
}

// An asking is one round.
type asking struct {
	join  func(addr string) error
	tasks sync.WaitGroup

	mu    sync.Mutex // guards the following
	taken map[string]bool
	errs  []error
}

// ask begins to ask the first of these addresses that nobody was asked at.
func (a *asking) ask(addrs []string, most int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, addr := range addrs {
		if most == 0 {
			return
		}
		if a.taken[addr] {
			continue
		}
		a.taken[addr] = true
		most--
		a.tasks.Go(func() {
			if err := a.join(addr); err != nil {
				a.fail(err)
			}
		})
	}
}

func (a *asking) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.errs = append(a.errs, err)
}

// shuffleAfter shuffles all but the first n, in place.
func shuffleAfter(addrs []string, n int) []string {
	if len(addrs) > n {
		rest := addrs[n:]
		rand.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	}
	return addrs
}

// resolveSeeds returns the addresses of all seeds in any order. It waits no
// longer for a name server than for a member.
func (r *Ring) resolveSeeds(ctx context.Context, fail func(error)) []string {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timing.StreamTimeout)
	defer cancel()
	found := make([][]string, len(r.seeds))
	var tasks sync.WaitGroup
	for i, seed := range r.seeds {
		tasks.Go(func() {
			addrs, err := resolveSeed(ctx, seed, r.lookup)
			if err != nil {
				fail(fmt.Errorf("seed %q: %w", seed, err))
			}
			found[i] = addrs
		})
	}
	tasks.Wait()
	var all []string
	for _, addrs := range found {
		all = append(all, addrs...)
	}
	return shuffleAfter(all, 0)
}

// noteRefusal keeps that an attempt to join found somebody who would not have
// this node. The library's error is a text. Whoever is not there, or does not
// answer in time, has refused nothing.
func (r *Ring) noteRefusal(addr string, err error) {
	said := err.Error()
	reason, refused := refusalIn(said)
	counted := false
	switch {
	case refused && reason == refusedStalled:
		return
	case refused && reason == "":
		reason, counted = foreignness(said), true // when the tables were compared
	case refused:
	case strings.Contains(said, io.EOF.Error()):
		reason, said = refusedUnanswered, "the connection was closed without an answer"
	default:
		return
	}
	r.refused.noteOwn(reason, addr, said)
	if !counted {
		r.refused.note(reason, text(addr), said)
	}
}

// jitter varies d by up to rejoinJitter either way.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 - rejoinJitter + 2*rejoinJitter*rand.Float64()))
}
