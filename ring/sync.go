package ring

import (
	"context"
	"time"
)

// Sync compares tables with another member now, and asks the lost ones and the
// seeds, instead of when the next round is due. It is for a node that was told
// that others have another view. It returns when it is done, after a few
// Timing.StreamTimeout at the latest; callers see to it that it is not done all
// the time.
func (r *Ring) Sync(ctx context.Context) {
	r.rejoinRound(ctx)
	alive, _ := r.roster.contacts(time.Now(), lostMemory)
	for _, addr := range alive {
		if addr == r.public || addr == r.bound {
			continue
		}
		if ctx.Err() != nil || r.isStopping() {
			return
		}
		if _, err := r.gossip.Join([]string{addr}); err == nil {
			return
		}
	}
}
