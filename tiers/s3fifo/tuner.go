package s3fifo

import (
	"math"
	"sync"
	"sync/atomic"
)

// A tuner sets what S3-FIFO has constants for, by what the shards count: how
// large the small queue is, and how soon an entry of main makes place for one
// that came back. No constants are good for both a loop a little larger than the
// cache and requests that are all for what is recent.
//
// The small queue is worth its place as long as entries are asked for late in
// it, which a smaller one would have missed: it grows while the older half of it
// has, for its length, about as many first hits as main. An entry that is hit at
// the end of main is worth less than main's average, hence lateWorth.
//
// The hand of main is worth moving as long as what it makes place for comes back
// more often than what it throws out. Both are remembered after they went: those
// that came back and were declined, and those that were evicted. In a loop both
// come back always, and the hand slows down until the entries of main, each
// asked for once a round, stay.
//
// Shards count on their own, and hand in what they counted when as many entries
// came as are an eighth of theirs. When as many tallies as there are shards have
// come in, the tuner makes a step.
type tuner struct {
	share atomic.Uint64 // of the capacity: the small queues; bits of a float64
	pace  atomic.Uint64 // steps of the hand for one that came back; the same

	mu       sync.Mutex // guards the following
	seen     tally      // fading
	due      int        // tallies until the next step
	heaviest int64      // entry ever seen
}

// A tally is what a shard counts.
type tally struct {
	arrivals           int // entries that are no replacements
	heaviest           int64
	lateHits, mainHits float64
	small, main        float64 // lengths of the queues, when it was handed in
	gone, back         [exits]float64
}

const (
	firstShare = 0.07 // the paper has a tenth
	leastShare = 0.01
	mostShare  = 0.3
	shareStep  = 1.05
	lateWorth  = 0.4
	hitsFade   = 0.9

	firstPace = 3
	leastPace = 0.5
	mostPace  = 4
	paceStep  = 1.1
	paceBias  = 1.05 // as much more often must those that are declined come back
	exitsFade = 0.5
	fewExits  = 8 // say nothing

	// talliesPerTurn is how many tallies a shard hands in while as many entries
	// arrive as it has; each is of a few at least.
	talliesPerTurn = 8
	fewArrivals    = 8
)

func (t *tuner) init(shards int) {
	t.share.Store(math.Float64bits(firstShare))
	t.pace.Store(math.Float64bits(firstPace))
	t.due = shards
}

func (t *tuner) smallShare() float64 { return math.Float64frombits(t.share.Load()) }
func (t *tuner) handPace() float64   { return math.Float64frombits(t.pace.Load()) }

// add takes the tally of one of so many shards.
func (t *tuner) add(n *tally, shards int, w *weights) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := &t.seen
	sum.lateHits += n.lateHits
	sum.mainHits += n.mainHits
	sum.small += n.small
	sum.main += n.main
	for how := range n.gone {
		sum.gone[how] += n.gone[how]
		sum.back[how] += n.back[how]
	}
	t.heaviest = max(t.heaviest, n.heaviest)
	if t.due--; t.due > 0 {
		return
	}
	t.due = shards
	t.turnShare(w)
	t.turnPace()
}

// turnShare compares what entries at the end of the queues are worth.
func (t *tuner) turnShare(w *weights) {
	n, share := &t.seen, t.smallShare()
	if w.mainIsWithin(0.9*(1-share), 0) {
		n.lateHits, n.mainHits, n.small, n.main = 0, 0, 0, 0 // it is being filled, and says nothing yet
		return
	}
	// Hits for each entry and turn, both times both lengths.
	late, average := n.lateHits*n.main, n.mainHits*n.small/2
	if late > lateWorth*average {
		share = min(share*shareStep, mostShare)
	} else if late < lateWorth*average {
		// The heaviest entry must have room, or it would flush all others.
		least := max(leastShare, float64(t.heaviest)/float64(w.capacity.Load()))
		share = min(max(share/shareStep, least), mostShare)
	}
	t.share.Store(math.Float64bits(share))
	n.lateHits *= hitsFade
	n.mainHits *= hitsFade
	n.small *= hitsFade
	n.main *= hitsFade
}

// turnPace compares the regrets.
func (t *tuner) turnPace() {
	n, pace := &t.seen, t.handPace()
	if n.gone[declined] < fewExits || n.gone[evicted] < fewExits {
		return
	}
	if n.back[declined]/n.gone[declined] > paceBias*n.back[evicted]/n.gone[evicted] {
		pace = min(pace*paceStep, mostPace)
	} else {
		pace = max(pace/paceStep, leastPace)
	}
	t.pace.Store(math.Float64bits(pace))
	for how := range n.gone {
		n.gone[how] *= exitsFade
		n.back[how] *= exitsFade
	}
}
