package loadtest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// Run does the run that cfg describes, and returns what it measured. It returns
// a Result without an error also when ctx ends before the run does: what was
// measured until then, with Stopped set. It returns an error, and no Result,
// only when the run could not begin: cfg is faulty (*ConfigError), a target is remote
// (ErrRemote), cannot be resolved, or nobody answers at any of them. What goes
// wrong later is in the Result.
//
// It is bounded: nothing falls due after the Duration, nothing is under way after
// Duration and Grace. All goroutines of the run have ended when it returns.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	return run(ctx, cfg, dialTCP, true)
}

// dialTCP dials IP:PORT.
func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// run is Run over other connections than those of TCP, and by another clock than
// that of the system unless exact says so.
func run(ctx context.Context, cfg Config, dial func(context.Context, string) (net.Conn, error), exact bool) (*Result, error) {
	if cfg.PutSalt == "" {
		cfg.PutSalt = time.Now().UTC().Format(time.RFC3339Nano)
	}
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("loadtest: %w", err)
	}
	pacer, err := ParsePacer(cfg.Rate, cfg.Seed)
	if err != nil {
		return nil, fmt.Errorf("loadtest: %w", &ConfigError{err})
	}
	p := newPlan(&cfg)
	e := newEngine(ctx, cfg, pacer, p)
	e.exact, e.draw, e.limit = exact, p.draw, uint64(cfg.Requests)
	return e.run(ctx, dial)
}

// run does everything around the load itself.
func (e *engine) run(ctx context.Context, dial func(context.Context, string) (net.Conn, error)) (*Result, error) {
	defer e.abort()
	nodes, err := resolveMetrics(ctx, &e.cfg)
	if err != nil {
		return nil, fmt.Errorf("loadtest: %w", err)
	}
	if err := e.connect(ctx, dial); err != nil {
		return nil, fmt.Errorf("loadtest: %w", err)
	}
	defer e.disconnect()
	before := scrapeAll(ctx, nodes)
	result := &Result{Version: ResultVersion, Config: e.cfg, Loop: LoopOpen, Build: thisBuild(), Host: thisHost()}
	if e.closed {
		result.Loop = LoopClosed
	}
	usage := currentUsage()
	result.Start, result.Took = e.load(ctx)
	usage = currentUsage().minus(usage)
	select {
	case <-e.stopped:
		result.Stopped = context.Cause(ctx).Error()
	default:
	}
	e.recorder.fill(result)
	result.Self.judge(result, usage)
	if len(nodes) > 0 {
		// The nodes are asked also when ctx has ended: the report so far is a whole one.
		after := scrapeAll(context.WithoutCancel(ctx), nodes)
		result.Server = join(nodes, before, after)
		result.Server.perKey(e.plan.uniqueKeys())
	}
	return result, nil
}

// connect makes a sender for each connection, and connects it.
func (e *engine) connect(ctx context.Context, dial func(context.Context, string) (net.Conn, error)) error {
	targets, err := resolveTargets(ctx, &e.cfg)
	if err != nil {
		return err
	}
	shared := map[string]*httpSender{}
	for i := range e.cfg.Connections {
		t := targets[i%len(targets)]
		to := func(ctx context.Context) (net.Conn, error) { return dial(ctx, t.addr) }
		if e.cfg.Client == ClientRaw {
			e.senders = append(e.senders, newRawSender(e.hard, e.plan, t.host, e.cfg.Timeout, to))
			continue
		}
		s := &httpSender{plan: e.plan, base: t.base + "/" + e.cfg.Bucket, hard: e.hard, timeout: e.cfg.Timeout, scratch: make([]byte, pieceBuffer)}
		if first := shared[t.base]; first != nil && e.cfg.Client == ClientHTTP2 {
			s.transport, s.dialler = first.transport, first.dialler
		} else {
			s.dialler = &dialler{dial: to}
			config := e.cfg.TLS
			if config == nil {
				config = &tls.Config{}
			}
			s.transport = newTransport(e.cfg.Client, t.secure, config, s.dialler)
			shared[t.base] = s
		}
		e.senders = append(e.senders, s)
	}
	errs := make([]error, len(e.senders))
	var dialling sync.WaitGroup
	for i, s := range e.senders {
		dialling.Go(func() { errs[i] = s.ready() })
	}
	dialling.Wait()
	for _, err := range errs {
		if err == nil {
			return ctx.Err()
		}
	}
	e.disconnect()
	return fmt.Errorf("nobody answers: %w", errors.Join(errs[:min(len(errs), len(targets))]...))
}

func (e *engine) disconnect() {
	for _, s := range e.senders {
		s.close()
	}
}

func thisBuild() Build {
	b := Build{GoVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = info.Main.Version
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.Revision = setting.Value
		case "vcs.modified":
			b.Modified = setting.Value == "true"
		}
	}
	return b
}

func thisHost() Host {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	return Host{Name: name, OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), GOMAXPROCS: runtime.GOMAXPROCS(0)}
}

// uniqueKeys is how many different keys were read.
func (p *plan) uniqueKeys() int64 {
	n := int64(0)
	for _, part := range p.parts {
		n += part.asked.count()
	}
	return n
}
