// Command hot measures hot reads of a node beside nginx, Varnish, groupcache and
// bare net/http, each held to one processor and asked from another one, in rounds
// in which they take turns: small objects, many of them, conditional and partial
// reads, a large one, and reads through a node that does not own the key. It
// starts all of them itself. With -steady or -halfopen it watches one node
// instead, for a longer time or among connections that never ask.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/micelio/micelio/bench/nodes"
	"github.com/micelio/micelio/bench/proc"
	"github.com/micelio/micelio/bench/report"
)

type options struct {
	binary   string
	docs     string
	dir      string
	only     string
	rounds   int
	take     time.Duration
	again    time.Duration
	objects  int
	wrk      bool
	steady   time.Duration
	halfOpen int
	// The reference servers.
	serve, root, at string
}

// The measurements that -only names.
func measurements() []string { return []string{"hot", "zipf", "kinds", "large", "peers"} }

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "", "micelio-node; default: built from the module above the working directory")
	flag.StringVar(&o.docs, "docs", "", "file to write the tables into; default: print them")
	flag.StringVar(&o.dir, "dir", "", "where objects and caches are kept while it runs; default: the directory for temporary files")
	flag.StringVar(&o.only, "only", "", "measure only these of "+strings.Join(measurements(), ",")+"; default: all")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds, in which the contenders take turns")
	flag.DurationVar(&o.take, "time", 2*time.Second, "how long a run takes; a half or a quarter of it where there are many")
	flag.DurationVar(&o.again, "again", 30*time.Second, "time to do runs again that other programs disturbed, all together")
	flag.IntVar(&o.objects, "objects", 100_000, "objects of zipf")
	flag.BoolVar(&o.wrk, "wrk", true, "let wrk ask for the one hot object, if it is there")
	flag.DurationVar(&o.steady, "steady", 0, "watch memory of one node under a mixed load for so long, and measure nothing else")
	flag.IntVar(&o.halfOpen, "halfopen", 0, "open so many connections that never ask at one node under load, and measure nothing else")
	flag.StringVar(&o.serve, "serve", "", "be a reference server, "+serveNetHTTP+" or "+serveGroupcache)
	flag.StringVar(&o.root, "root", "", "objects of the reference server")
	flag.StringVar(&o.at, "at", "", "address of the reference server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, o)
	if err != nil {
		log.Print(err)
		os.Exit(1) // all that was started has been stopped
	}
}

func run(ctx context.Context, o options) error {
	if o.serve != "" {
		return serve(ctx, o.serve, o.root, o.at)
	}
	wanted := measurements()
	if o.only != "" {
		wanted = strings.Split(o.only, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(measurements(), name) {
			return fmt.Errorf("-only %s: there are %s", name, strings.Join(measurements(), ", "))
		}
	}
	if o.rounds < 1 || o.objects < 1 || o.take <= 0 {
		return errors.New("-rounds, -objects and -time must be more than 0")
	}
	s := &stage{}
	var err error
	if s.dir, err = os.MkdirTemp(o.dir, "hot-"); err != nil {
		return err
	}
	defer func() {
		log.Print("removing what was written")
		_ = os.RemoveAll(s.dir)
	}()
	if s.server, s.client, err = proc.Two(); err != nil {
		return err
	}
	if s.binary = o.binary; s.binary == "" {
		log.Print("building micelio-node")
		if s.binary, err = nodes.Build(s.dir); err != nil {
			return err
		}
	}
	if !slices.Contains(wanted, "zipf") && o.steady == 0 || o.halfOpen > 0 {
		o.objects = 1
	}
	log.Printf("writing %d objects", o.objects)
	if s.objects, err = writeCorpus(filepath.Join(s.dir, "objects"), o.objects); err != nil {
		return err
	}
	switch {
	case o.steady > 0:
		text, err := s.steady(ctx, o.steady)
		if err != nil {
			return err
		}
		return report.Publish(o.docs, "steady load", text)
	case o.halfOpen > 0:
		text, err := s.halfOpen(ctx, o.halfOpen, o.rounds)
		if err != nil {
			return err
		}
		return report.Publish(o.docs, "half-open connections", text)
	}
	text, err := s.compare(ctx, o, wanted)
	if err != nil {
		return err
	}
	return report.Publish(o.docs, "hot reads", text)
}

// compare measures all contenders and returns the tables.
func (s *stage) compare(ctx context.Context, o options, wanted []string) (string, error) {
	var stopOrigin func()
	var err error
	if s.origin, stopOrigin, err = serveOrigin(s.objects.root); err != nil {
		return "", err
	}
	defer stopOrigin()
	defer s.stop()
	others := slices.DeleteFunc(slices.Clone(wanted), func(name string) bool { return name == "peers" })
	if err := s.start(ctx, func(string) bool { return len(others) > 0 }); err != nil {
		return "", err
	}
	b := &bench{stage: s, rounds: o.rounds, wrk: findWrk(o.wrk), results: map[string]scores{}}
	for _, m := range []struct {
		name    string
		measure func(context.Context, time.Duration) error
		take    time.Duration
	}{
		{"hot", b.hot, o.take},
		{"large", b.large, o.take / 2}, // before there is much else in memory
		{"kinds", b.kinds, o.take / 4},
		{"zipf", b.zipf, o.take / 4},
		{"peers", b.peers, o.take / 2},
	} {
		if slices.Contains(wanted, m.name) {
			b.again = o.again / time.Duration(len(wanted))
			if err = m.measure(ctx, m.take); err != nil {
				break
			}
		}
	}
	text := b.tables(fmt.Sprintf("%v (4 KiB hot), %v (64 MiB, and nodes that do not own a key) and %v (zipf and other requests)", o.take, o.take/2, o.take/4))
	if err != nil && len(b.results) > 0 {
		log.Printf("what was measured before it went wrong:\n%s", text)
	}
	return text, err
}
