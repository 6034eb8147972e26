package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micelio/micelio/history"
)

const (
	users = 40

	// liveKeys are in use at once. Half of the operations go to the hot ones, one
	// in largeEvery to those whose objects are large.
	liveKeys, hotKeys, largeKeys = 64, 8, 2
	largeEvery                   = 150

	// A key is given up for a fresh one after so many operations, or so long, or
	// after so many writes of which nobody knows whether they were done: each of
	// those doubles the work of finding an order.
	keyOps     = 180
	keyAge     = 40 * time.Second
	keyUnknown = 6
)

// A load is many users who read and write the same keys, and the record of what
// they were told.
type load struct {
	client *http.Client
	urls   []string // of the nodes, up to the key
	nodes  []string // their names
	seed   uint64
	pace   time.Duration // between the operations of a user
	fill   fillers

	// deletesIf has users delete under a condition. S3 says 204 to a conditional
	// DELETE of nothing, so that of two that race both are done: no register does
	// that, and nobody in front of S3 can tell them apart.
	deletesIf bool

	began  time.Time
	failed func(ops []history.Op, faults []history.Fault)

	mu     sync.Mutex // guards the following
	live   []*key
	made   int
	counts map[string]int

	ops     atomic.Int64 // that somebody was told the outcome of, or nobody
	checked atomic.Int64
	retired chan *key
}

// A key has a history of its own. It is nil once it has been given up.
type key struct {
	name  string
	large bool
	born  time.Time

	mu       sync.Mutex // guards the following
	ops      []history.Op
	running  int
	unknown  int               // writes of unknown outcome
	over     bool              // no further operation begins
	versions []version         // that were seen, in some order
	tags     map[string]string // by ETag
	twice    map[string]bool   // tags of bytes that several writes have
}

// A version is what a key held at some time.
type version struct {
	value, tag, etag string
}

// run has the users work until stop is closed, and checks what they saw. It
// returns when all is checked.
func (l *load) run(stop <-chan struct{}) {
	l.counts, l.retired = map[string]int{}, make(chan *key, 1000)
	l.live = make([]*key, liveKeys)
	var working, checking sync.WaitGroup
	for id := range users {
		working.Go(func() {
			u := &user{load: l, id: id, rand: rand.New(rand.NewPCG(l.seed, uint64(id))), avoid: make([]time.Time, len(l.nodes))}
			tick := time.NewTicker(l.pace)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
				case <-stop:
					return
				}
				k := l.take(u.rand)
				u.step(k)
				l.leave(k)
			}
		})
	}
	checking.Go(func() {
		for k := range l.retired {
			l.check(k)
		}
	})
	working.Wait()
	for _, k := range l.live { // none of which is over: those are replaced at once
		if k != nil {
			l.retired <- k
		}
	}
	close(l.retired)
	checking.Wait()
}

func (l *load) now() int64 { return int64(time.Since(l.began)) }

// take chooses a key to work on.
func (l *load) take(r *rand.Rand) *key {
	i := largeKeys + hotKeys + r.IntN(liveKeys-largeKeys-hotKeys)
	switch {
	case r.IntN(largeEvery) == 0:
		i = r.IntN(largeKeys)
	case r.IntN(2) == 0:
		i = largeKeys + r.IntN(hotKeys)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.live[i]; k != nil {
		entered, idle := k.enter()
		if entered {
			return k
		}
		if idle {
			l.retired <- k
		}
	}
	l.made++
	l.live[i] = &key{name: fmt.Sprintf("sessions/%d/state", l.made), large: i < largeKeys, born: time.Now(), tags: map[string]string{}, twice: map[string]bool{}, running: 1}
	return l.live[i]
}

// leave ends one's work on a key. The last one has it checked if it is given up.
func (l *load) leave(k *key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running--
	if k.over && k.running == 0 {
		l.retired <- k
	}
}

// enter begins work on a key, unless it is to be given up; idle says that nobody
// works on it then. Otherwise the last one to leave retires it.
func (k *key) enter() (entered, idle bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.ops) >= keyOps || k.unknown >= keyUnknown || time.Since(k.born) > keyAge {
		k.over = true
		return false, k.running == 0
	}
	k.running++
	return true, false
}

// begin notes an operation that is about to be sent, and returns its place.
func (k *key) begin(op history.Op, now int64) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	op.Call, op.Outcome = now, history.Unknown
	k.ops = append(k.ops, op)
	return len(k.ops) - 1
}

func (k *key) end(at int, now int64, outcome history.Outcome, value string, left bool, note string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if outcome == history.Unknown {
		k.unknown++
	}
	op := &k.ops[at]
	op.Return, op.Outcome, op.Value, op.Left, op.Note = now, outcome, value, left, op.Note+note
}

// expect notes the ETag that the bytes of a write have, if it is done.
func (k *key) expect(etag, tag string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tags[etag] = tag
}

// repeat notes, before it is sent, that a further write has the bytes of this tag.
func (k *key) repeat(tag string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.twice[tag] = true
}

// single reports whether one write alone can have brought the bytes of a tag.
func (k *key) single(tag string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.twice[tag]
}

// learn notes a version that was read or written.
func (k *key) learn(a *attempt, value, etag string) {
	if value == history.Absent || etag == "" || a.method == http.MethodHead {
		return
	}
	v := version{value: value, tag: history.Tag(value), etag: etag}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tags[etag] = v.tag
	if i := slices.IndexFunc(k.versions, func(o version) bool { return o.tag == v.tag }); i >= 0 {
		k.versions = slices.Delete(k.versions, i, i+1)
	}
	k.versions = append(k.versions, v)
}

// state returns what is known of a key.
func (k *key) state() ([]version, map[string]string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.versions), maps.Clone(k.tags)
}

func (l *load) count(kind history.Kind, outcome history.Outcome, r *reply) {
	l.ops.Add(1)
	what := string(kind) + " " + string(outcome)
	if outcome == history.Failed && r != nil {
		what += " " + strconv.Itoa(r.status)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[what]++
}

// check judges the history of a key that has been given up.
func (l *load) check(k *key) {
	slices.SortStableFunc(k.ops, func(a, b history.Op) int { return int(a.Call - b.Call) })
	if faults := history.Check(k.ops, history.Options{Timeout: checkTimeout}); len(faults) > 0 {
		l.failed(k.ops, faults)
	}
	l.checked.Add(int64(len(k.ops)))
	k.ops = nil
}

// checkTimeout is far more than the history of one key takes.
const checkTimeout = time.Minute

// report says what the users were told, by kind and outcome.
func (l *load) report(t *testing.T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(l.counts)) {
		t.Logf("%-16s %7d", what, l.counts[what])
	}
	t.Logf("%d operations on %d keys, %d checked", l.ops.Load(), l.made, l.checked.Load())
}
