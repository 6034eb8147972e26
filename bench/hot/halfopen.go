package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/micelio/micelio/bench/drive"
	"github.com/micelio/micelio/bench/measure"
	"github.com/micelio/micelio/bench/nodes"
	"github.com/micelio/micelio/bench/report"
)

const (
	// halfTime is how long the others ask, which is more than a server should
	// wait for a request.
	halfTime = 10 * time.Second
	// halfPatience is how long a connection may stay without a request.
	halfPatience = 60 * time.Second
	// dialers connect at once.
	dialers = 32
	// halfRequest is all that comes of a request.
	halfRequest = "GET " + prefix + "artifacts/sha2"
	// halfLook is when the node is looked at: all connections are there.
	halfLook = 3 * time.Second
)

// A half is what became of connections that never asked.
type half struct {
	cut      []time.Duration // from connecting to the end, sorted
	answered int             // that were told something before
	kept     int             // that were still there after halfPatience
	refused  int
}

// A trial is one run among such connections, or without them.
type trial struct {
	load sample
	node look
	half half
}

// halfOpen measures what connections that never ask do to the others.
func (s *stage) halfOpen(ctx context.Context, count, rounds int) (string, error) {
	if most, err := openable(); err != nil {
		return "", err
	} else if count > most {
		log.Printf("a process may not open more than %d connections", most)
		count = most
	}
	n, err := nodes.Start("halfopen", nodes.Options{
		Binary: s.binary, Core: s.server, Dir: filepath.Join(s.dir, "halfopen"), Origin: s.objects.root, Args: []string{"--ssd-bytes", "0"},
	})
	if err != nil {
		return "", err
	}
	defer n.Stop()
	c := &contender{name: micelioName, addr: n.Client, node: n}
	if _, err := c.check(s.objects.hot, "ram"); err != nil {
		return "", err
	}
	trials := map[int][]trial{}
	for round := range rounds {
		for _, among := range []int{0, count} {
			log.Printf("round %d of %d, %d connections that never ask", round+1, rounds, among)
			one, err := s.try(ctx, n, among)
			if err != nil {
				return "", err
			}
			trials[among] = append(trials[among], one)
		}
	}
	return halfTable(count, trials), nil
}

// openable is how many connections this process, and one like it, may open.
func openable() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("open files: %w", err)
	}
	return int(min(limit.Max, 1<<20)) - 512, nil
}

// try is one run.
func (s *stage) try(ctx context.Context, n *nodes.Node, among int) (trial, error) {
	o := s.objects.hot
	shot := &drive.Shot{Raw: request("GET", o.path()), Status: 200, Body: o.size, Mark: mark("ram")}
	var t trial
	var looked error
	var others sync.WaitGroup
	others.Go(func() { t.half = open(ctx, n.Client, among) })
	others.Go(func() {
		select {
		case <-time.After(halfLook):
			t.node, looked = lookAt(n)
		case <-ctx.Done():
		}
	})
	tally, err := drive.Load{Addr: n.Client, Conns: hotConns, For: halfTime, Core: s.client, Next: inTurns([]*drive.Shot{shot})}.Run(ctx)
	others.Wait()
	if err == nil {
		err = looked
	}
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return trial{}, err
	}
	t.load = sampleOf(tally)
	return t, nil
}

// open opens connections, sends half a request on each, and waits for their end.
func open(ctx context.Context, addr string, count int) half {
	var mu sync.Mutex
	var h half
	var conns sync.WaitGroup
	turns := make(chan struct{}, dialers)
	var dialer net.Dialer
	for range count {
		turns <- struct{}{}
		conns.Go(func() {
			start := time.Now()
			conn, err := dialer.DialContext(ctx, "tcp", addr)
			if err == nil {
				_, err = conn.Write([]byte(halfRequest))
			}
			<-turns
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				h.refused++
				return
			}
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			answered, kept := await(conn)
			mu.Lock()
			defer mu.Unlock()
			if kept {
				h.kept++
				return
			}
			h.cut = append(h.cut, time.Since(start))
			if answered {
				h.answered++
			}
		})
	}
	conns.Wait()
	slices.Sort(h.cut)
	return h
}

// await waits until a connection ends, and tells whether something came before, or
// whether it did not end.
func await(conn net.Conn) (answered, kept bool) {
	_ = conn.SetReadDeadline(time.Now().Add(halfPatience))
	buffer := make([]byte, 512)
	for {
		n, err := conn.Read(buffer)
		answered = answered || n > 0
		if err != nil {
			timeout, ok := err.(net.Error)
			return answered, ok && timeout.Timeout()
		}
	}
}

func halfTable(count int, trials map[int][]trial) string {
	t := report.Table{
		Title: fmt.Sprintf("4 KiB, hot, over %d connections for %v, alone and among %d others that send half a request line and nothing more; medians of %d rounds.",
			hotConns, halfTime, count, len(trials[count])),
		Columns: []string{"others", "requests/s", "p50 µs", "p99 µs", "RSS, MB", "goroutines"},
	}
	for _, among := range []int{0, count} {
		row := []string{fmt.Sprint(among)}
		for _, f := range []func(trial) float64{
			func(t trial) float64 { return t.load.rate }, func(t trial) float64 { return t.load.p50 }, func(t trial) float64 { return t.load.p99 },
			func(t trial) float64 { return t.node.rss / 1e6 }, func(t trial) float64 { return t.node.goroutines },
		} {
			row = append(row, report.Number(measure.Median(trials[among], f)))
		}
		t.Add(row...)
	}
	return t.String() + fate(trials[count]) + "\n\n"
}

// fate says what became of the connections of all rounds.
func fate(trials []trial) string {
	var all half
	for _, t := range trials {
		all.cut = append(all.cut, t.half.cut...)
		all.answered += t.half.answered
		all.kept += t.half.kept
		all.refused += t.half.refused
	}
	slices.Sort(all.cut)
	if len(all.cut) == 0 {
		return fmt.Sprintf("None of them was cut: %d were still there after %v, %d were refused.", all.kept, halfPatience, all.refused)
	}
	seconds := func(q float64) string { return report.Number(drive.Quantile(all.cut, q).Seconds()) }
	return fmt.Sprintf("They were cut %s s after they were opened (median; the first after %s, the last after %s); %d of %d were told why; "+
		"%d were still there after %v, %d were refused.",
		seconds(0.5), seconds(0), seconds(1), all.answered, len(all.cut), all.kept, halfPatience, all.refused)
}
