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
	// rejoinFanout is how many addresses are asked in one round. One answer
	// heals a split; the others are for those that do not answer.
	rejoinFanout = 3

	// rejoinJitter is by what part of itself a pause varies either way, so that
	// nodes that started together do not ask together.
	rejoinJitter = 0.2

	// lostMemory is how long a member that is gone is still asked. A longer
	// outage is healed by the seeds.
	lostMemory = 24 * time.Hour
)

// rejoin asks the seeds, and later whatever seeds and known members are not
// alive, to compare tables, for ever: gossip never asks the dead, so without
// this a cluster that was once split stays so.
func (r *Ring) rejoin(ctx context.Context) {
	retry := min(r.cfg.Timing.JoinRetry, r.cfg.Timing.RejoinInterval)
	for {
		r.rejoinRound(ctx)
		pause := r.cfg.Timing.RejoinInterval
		if !r.Joined() {
			pause = retry
			retry = min(2*retry, r.cfg.Timing.RejoinInterval)
		}
		timer := time.NewTimer(jitter(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-r.stopping:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// rejoinRound asks a few addresses, at the same time. Until the cluster is found
// a failure is worth a warning; later it is how the dead answer.
func (r *Ring) rejoinRound(ctx context.Context) {
	targets, err := r.targets(ctx)
	if ctx.Err() != nil || r.isStopping() {
		return
	}
	errs := make([]error, len(targets), len(targets)+1)
	var tasks sync.WaitGroup
	for i, addr := range targets {
		tasks.Go(func() {
			if _, errs[i] = r.gossip.Join([]string{addr}); errs[i] != nil {
				r.noteRefusal(addr, errs[i])
			}
		})
	}
	tasks.Wait()
	if err := errors.Join(append(errs, err)...); err != nil {
		level := slog.LevelDebug
		if !r.Joined() {
			level = slog.LevelWarn
		}
		r.log.Log(ctx, level, "not all members to join answered", "error", err)
	}
}

// noteRefusal counts an attempt to join that found somebody who would not have
// this node. The library's error is a text: whoever does not answer, or is not
// there, has refused nothing.
func (r *Ring) noteRefusal(addr string, err error) {
	said := err.Error()
	reason, refused := refusalIn(said)
	switch {
	case refused && reason != "":
		r.refused.note(reason, text(addr), said)
	case !refused && strings.Contains(said, io.EOF.Error()):
		r.refused.note(refusedUnanswered, text(addr), "the connection was closed without an answer")
	}
}

// targets picks the addresses of a round: at random among the seeds and the
// lost members, without the living. The error is about seeds that could not be
// resolved.
func (r *Ring) targets(ctx context.Context) ([]string, error) {
	var errs []error
	alive, candidates := r.roster.contacts(time.Now(), lostMemory)
	for _, seed := range r.seeds {
		addrs, err := r.resolve(ctx, seed)
		if err != nil {
			errs = append(errs, fmt.Errorf("seed %q: %w", seed, err))
			continue
		}
		candidates = append(candidates, addrs...)
	}
	rand.Shuffle(len(candidates), func(i, j int) {
		candidates[i], candidates[j] = candidates[j], candidates[i]
	})
	var targets []string
	taken := map[string]bool{r.public: true, r.bound: true}
	for _, addr := range candidates {
		if !alive[addr] && !taken[addr] && len(targets) < rejoinFanout {
			taken[addr] = true
			targets = append(targets, addr)
		}
	}
	return targets, errors.Join(errs...)
}

// resolve is resolveSeed that waits no longer for a name server than for a
// member.
func (r *Ring) resolve(ctx context.Context, seed string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timing.StreamTimeout)
	defer cancel()
	return resolveSeed(ctx, seed)
}

// jitter varies d by up to rejoinJitter either way.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 - rejoinJitter + 2*rejoinJitter*rand.Float64()))
}
