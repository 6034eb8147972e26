package ring

import (
	"context"
	"time"
)

// Health says how well this node keeps up with the gossip: 0 is well. The more it
// misses of what it should answer in time, the higher it is, up to 7, and the longer
// it waits before it takes another for dead.
func (r *Ring) Health() int { return r.gossip.GetHealthScore() }

// Sync compares tables with another member now, of which it tries a few, and asks the lost ones and the
// seeds, instead of when the next round is due. It is for a node that was told
// that others have another view. It returns when it is done, after a few
// Timing.StreamTimeout at the latest; callers see to it that it is not done all
// the time.
func (r *Ring) Sync(ctx context.Context) {
	r.rejoinRound(ctx)
	alive, _ := r.roster.contacts(time.Now(), lostMemory)
	tries := seedFanout // one answer is enough, and the ring finds out by itself who is gone
	for _, addr := range shuffleAfter(alive, 0) {
		if addr == r.public || addr == r.bound {
			continue
		}
		if tries == 0 || ctx.Err() != nil || r.isStopping() {
			return
		}
		tries--
		if _, err := r.gossip.Join([]string{addr}); err == nil {
			return
		}
	}
}
