package e2e

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// A fault is a way to hurt a fleet.
type fault struct {
	name  string
	lasts time.Duration
	back  time.Duration // from its end until everything is answered again, at most
	over  string        // the only origin that it is for: "s3", or "" for any

	// begin hurts some nodes, in the order of their turn, and returns what was
	// done to whom, and how to end it. Both are called by the test's goroutine.
	begin func(f *fleet, turn []int) (what string, end func())
}

const (
	backAfterPartition = 20 * time.Second
	backAfterOther     = 10 * time.Second
)

// faults are all there are. The times are long enough for the fault to be noticed
// and, where that is another case, for the ring to change.
func faults() []fault {
	node := func(do func(n *hosted) (end func())) func(*fleet, []int) (string, func()) {
		return func(f *fleet, turn []int) (string, func()) {
			n := f.nodes[turn[0]]
			return n.name, do(n)
		}
	}
	again := func(n *hosted) func() { return func() { n.start(); n.awaitReady() } }
	pause := node(func(n *hosted) func() {
		n.signal(syscall.SIGSTOP)
		return func() { n.signal(syscall.SIGCONT) }
	})
	return []fault{
		{name: "killed, the cache is kept", lasts: 2 * time.Second, back: backAfterOther,
			begin: node(func(n *hosted) func() { n.kill(); return again(n) })},
		{name: "killed, the cache is lost", lasts: 8 * time.Second, back: backAfterOther,
			begin: node(func(n *hosted) func() { n.kill(); n.wipe(); return again(n) })},
		{name: "two killed at once", lasts: time.Second, back: backAfterOther, begin: func(f *fleet, turn []int) (string, func()) {
			a, b := f.nodes[turn[0]], f.nodes[turn[1]]
			a.kill()
			b.kill()
			return a.name + " and " + b.name, func() { a.start(); again(b)(); a.awaitReady() }
		}},
		{name: "stopped for a moment", lasts: 1500 * time.Millisecond, back: backAfterOther, begin: pause},
		{name: "stopped until the others give it up", lasts: 11 * time.Second, back: backAfterPartition, begin: pause},
		{name: "drained and started", lasts: 0, back: backAfterOther,
			begin: node(func(n *hosted) func() { n.drain(); return again(n) })},
		{name: "slowed down", lasts: 5 * time.Second, back: backAfterOther, begin: node(slowDown)},
		{name: "partition of the peers", lasts: 12 * time.Second, back: backAfterPartition, begin: func(f *fleet, turn []int) (string, func()) {
			these, those := turn[:2], turn[2:]
			f.net.cut(100, these, those)
			return fmt.Sprintf("%d and %d from the others", these[0]+1, these[1]+1), func() { f.net.cut(0, these, those) }
		}},
		{name: "one-way loss", lasts: 5 * time.Second, back: backAfterPartition, begin: func(f *fleet, turn []int) (string, func()) {
			f.net.lose(turn[0], 100, turn[1])
			return fmt.Sprintf("what %d sends to %d", turn[1]+1, turn[0]+1), func() { f.net.lose(turn[0], 0, turn[1]) }
		}},
		{name: "a quarter of all packets lost", lasts: 5 * time.Second, back: backAfterPartition, begin: func(f *fleet, turn []int) (string, func()) {
			f.loseAll(turn, 25)
			return "between all", func() { f.loseAll(turn, 0) }
		}},
		{name: "cut off from the origin", over: "s3", lasts: 5 * time.Second, back: backAfterPartition, begin: func(f *fleet, turn []int) (string, func()) {
			node, origin := turn[:1], []int{len(f.nodes)}
			f.net.cut(100, node, origin)
			return f.nodes[node[0]].name, func() { f.net.cut(0, node, origin) }
		}},
		{name: "origin stopped", over: "s3", lasts: 4 * time.Second, back: backAfterOther, begin: func(f *fleet, _ []int) (string, func()) {
			f.origin.Pause(f.t)
			return "origin", func() { f.origin.Resume(f.t) }
		}},
		{name: "origin killed and started", over: "s3", lasts: 2 * time.Second, back: backAfterOther, begin: func(f *fleet, _ []int) (string, func()) {
			f.origin.Kill()
			return "origin", func() { f.origin.Restart(f.t) }
		}},
	}
}

// loseAll makes every node lose a part of what the others and the origin send it.
func (f *fleet) loseAll(turn []int, percent int) {
	from := turn
	if f.origin != nil {
		from = append([]int{len(f.nodes)}, turn...)
	}
	for _, i := range turn {
		f.net.lose(i, percent, from...)
	}
}

// slowDown lets a node run for a tenth of the time, in turns too short for the
// others to find it missing.
func slowDown(n *hosted) (end func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	process := n.cmd.Process // which ends after this, or a signal to it fails
	go func() {
		defer close(done)
		defer func() { _ = process.Signal(syscall.SIGCONT) }()
		const turn = 100 * time.Millisecond
		wait := time.NewTimer(0)
		defer wait.Stop()
		for running := true; ; running = !running {
			select {
			case <-wait.C:
			case <-stop:
				return
			}
			if running {
				_ = process.Signal(syscall.SIGSTOP)
				wait.Reset(turn * 9 / 10)
			} else {
				_ = process.Signal(syscall.SIGCONT)
				wait.Reset(turn / 10)
			}
		}
	}()
	return func() { close(stop); <-done }
}

// shuffled returns the faults for an origin in some order.
func shuffled(r *rand.Rand, overS3 bool) (some []fault) {
	for _, f := range faults() {
		if f.over == "" || overS3 {
			some = append(some, f)
		}
	}
	r.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	return some
}
