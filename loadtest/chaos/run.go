package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/micelio/micelio/loadtest"
)

const (
	// readyTimeout is how long nodes may take until they are ready at the start.
	readyTimeout = time.Minute

	// goneTimeout is how long a node may take to end after SIGTERM. Whoever deploys
	// it waits no longer either.
	goneTimeout = time.Minute

	// hookTimeout is how long a command of the user's may take.
	hookTimeout = 30 * time.Second

	// hookWait is how long what a hook left behind may keep its output open.
	hookWait = time.Second

	// apart is how long after a step is over the next one begins at the earliest, so
	// that it is seen whether all is as before: the calm seconds, and the rest of the
	// one in which it ended.
	apart = (calmSeconds + 1) * time.Second
)

// A Hook is a command of the user's and another that undoes it, both for the
// shell.
type Hook struct {
	Do   string
	Undo string // "" if there is none
}

// A Config says what load is to be on the nodes, and what is to be done to them.
type Config struct {
	Load  loadtest.Config
	Nodes []Node
	Hooks []Hook
	Steps []Step // in the order of their times, as ParseSteps returns them

	// Output is where the nodes and hooks write to; nil is nowhere. It may be written to
	// by several of them at once.
	Output io.Writer

	// Abandon, if not nil, is closed by who does not want to wait any longer after ctx
	// has ended: hooks and nodes that still have not are killed.
	Abandon <-chan struct{}

	// Log is told what is done, one line at a time; nil is nobody.
	Log func(line string)
}

// An Outcome is what came of it.
type Outcome struct {
	Result   *loadtest.Result
	Baseline Baseline
	Impacts  []Impact
}

// Do puts the load on the nodes, does the steps meanwhile, and ends the nodes
// that it started. What it stops it lets go on, and what it can undo it undoes,
// also when ctx ends before. What is wrong with cfg is a *loadtest.ConfigError. It returns an error without an Outcome if the load
// could not begin, and one with it if something else went wrong.
func Do(ctx context.Context, cfg Config) (*Outcome, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("chaos: %w", &loadtest.ConfigError{Err: err})
	}
	if cfg.Log == nil {
		cfg.Log = func(string) {}
	}
	patience, abandon := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abandon(nil)
	finished := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-cfg.Abandon:
			abandon(errors.New("abandoned"))
		case <-finished:
		}
	})
	defer watching.Wait()
	defer close(finished)
	c := &chaos{Config: cfg, patience: patience}
	for i, n := range cfg.Nodes {
		p := &process{Node: n, output: cfg.Output}
		if n.Ready != "" {
			var err error
			if p.addr, err = loadtest.Resolve(ctx, n.Ready, cfg.Load.AllowRemote); err != nil {
				return nil, fmt.Errorf("chaos: where node %d is ready: %w", i, err)
			}
		}
		c.processes = append(c.processes, p)
	}
	outcome, err := c.do(ctx)
	for i, p := range c.processes {
		if stopErr := p.stop(patience); stopErr != nil {
			err = errors.Join(err, fmt.Errorf("chaos: node %d: %w", i, stopErr))
		}
	}
	return outcome, err
}

// check finds what cannot be done before anything is.
func (c *Config) check() error {
	if len(c.Steps) == 0 {
		return errors.New("there is nothing to do: no steps")
	}
	for i, n := range c.Nodes {
		if (n.Command == "") == (n.PID == 0) {
			return fmt.Errorf("node %d has neither a command nor a process, or both", i)
		}
		if n.Command == "" && n.PID <= 1 {
			return fmt.Errorf("node %d: %d is no process that anything should be done to", i, n.PID)
		}
	}
	free := time.Duration(0)
	for i, s := range c.Steps {
		if err := c.checkStep(s); err != nil {
			return fmt.Errorf("the step %s: %w", s, err)
		}
		if i > 0 && s.At < free+apart {
			return fmt.Errorf("the step %s begins less than %v after %s is over: it could not be seen whether all is as before", s, apart, c.Steps[i-1])
		}
		free = s.At + s.For
	}
	if first := c.Steps[0]; first.At < MinBefore {
		return fmt.Errorf("the step %s comes before it is known how it was before, which takes %v", first, MinBefore)
	}
	if end := free + apart; end > c.Load.Duration {
		return fmt.Errorf("the load lasts %v, and until %v at least it could not be seen whether all is as before", c.Load.Duration, end)
	}
	return nil
}

func (c *Config) checkStep(s Step) error {
	if s.Action == Run {
		switch {
		case s.Which >= len(c.Hooks):
			return fmt.Errorf("there are %d hooks", len(c.Hooks))
		case s.For > 0 && c.Hooks[s.Which].Undo == "":
			return errors.New("the hook has nothing that undoes it")
		}
		return nil
	}
	switch {
	case s.Which >= len(c.Nodes):
		return fmt.Errorf("there are %d nodes", len(c.Nodes))
	case s.Action != Freeze && s.For > 0 && c.Nodes[s.Which].Command == "":
		return errors.New("a node of which only the process is known cannot be started again")
	}
	return nil
}

type chaos struct {
	Config
	processes []*process
	start     time.Time       // of the load
	patience  context.Context // ends when nothing that ends by itself is waited for any more
}

func (c *chaos) do(ctx context.Context) (*Outcome, error) {
	if err := c.startAll(ctx); err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := make(chan time.Time, 1)
	load, also := c.Load, c.Load.OnInterval
	load.OnInterval = func(in loadtest.Interval) {
		if in.Offset == 0 {
			began <- time.Now().Add(-in.Length) // the load itself does not say that it begins
		}
		if also != nil {
			also(in)
		}
	}
	outcome := &Outcome{}
	var loadErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		outcome.Result, loadErr = loadtest.Run(ctx, load)
	}()
	var events []Event
	select {
	case c.start = <-began:
		events = c.steps(ctx, done)
	case <-done:
	}
	<-done
	if loadErr != nil {
		return nil, fmt.Errorf("chaos: %w", loadErr)
	}
	var err error
	outcome.Baseline, outcome.Impacts, err = Impacts(outcome.Result, c.relative(events, outcome.Result))
	return outcome, err
}

// relative corrects the times of events for when the load really began.
func (c *chaos) relative(events []Event, r *loadtest.Result) []Event {
	shift := c.start.Sub(r.Start)
	for i := range events {
		events[i].Began += shift
		events[i].Ended += shift
	}
	return events
}

// startAll starts the nodes that have a command, and waits until they serve.
func (c *chaos) startAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not within %v", readyTimeout))
	defer cancel()
	for i, p := range c.processes {
		if err := p.start(); err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
	}
	for i, p := range c.processes {
		if err := p.ready(ctx); err != nil {
			return fmt.Errorf("node %d is not ready: %w", i, err)
		}
	}
	return nil
}

// steps does the steps while the load goes on, each at its time or, if the one
// before took longer, as soon as it was seen what that did.
func (c *chaos) steps(ctx context.Context, done <-chan struct{}) (events []Event) {
	for i, s := range c.Steps {
		begin := s.At
		if i > 0 {
			begin = max(begin, events[i-1].Ended+apart)
		}
		if !c.wait(ctx, done, time.Until(c.start.Add(begin))) {
			return events
		}
		e := Event{Step: s, Began: time.Since(c.start)}
		c.Log(fmt.Sprintf("%5.1fs %s", e.Began.Seconds(), s))
		e.Err = c.act(ctx, s, &e)
		switch {
		case s.For == 0:
		case e.Err == nil:
			c.wait(ctx, done, s.For)
			e.Err = c.undo(ctx, s, &e)
		case s.Action == Run: // it may have done half of it
			e.Err = errors.Join(e.Err, c.undo(ctx, s, &e))
		}
		e.Ended = time.Since(c.start)
		for _, note := range e.Notes {
			c.Log("       " + note)
		}
		if e.Err != nil {
			c.Log("       " + e.Err.Error())
		}
		events = append(events, e)
	}
	return events
}

// wait waits, and reports whether the load still goes on.
func (c *chaos) wait(ctx context.Context, done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-done:
	case <-ctx.Done():
	}
	return false
}

// act does a step.
func (c *chaos) act(ctx context.Context, s Step, e *Event) error {
	switch s.Action {
	case Run:
		return c.hook(ctx, c.Hooks[s.Which].Do)
	case Freeze:
		return c.processes[s.Which].signal(syscall.SIGSTOP)
	}
	p, sig := c.processes[s.Which], syscall.SIGKILL
	if s.Action == Drain {
		sig = syscall.SIGTERM
	}
	asked := time.Now()
	if err := p.signal(sig); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, goneTimeout, fmt.Errorf("not within %v", goneTimeout))
	defer cancel()
	how, err := p.gone(ctx)
	if err != nil {
		return err
	}
	e.Notes = append(e.Notes, fmt.Sprintf("ended after %v: %s", time.Since(asked).Round(time.Millisecond), how))
	return nil
}

// undo undoes a step, whether or not ctx has ended: nothing stays frozen.
func (c *chaos) undo(ctx context.Context, s Step, e *Event) error {
	switch s.Action {
	case Run:
		return c.hook(c.patience, c.Hooks[s.Which].Undo)
	case Freeze:
		return c.processes[s.Which].signal(syscall.SIGCONT)
	}
	if ctx.Err() != nil {
		return nil // nobody needs the node any more
	}
	p, asked := c.processes[s.Which], time.Now()
	if err := p.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not within %v", readyTimeout))
	defer cancel()
	if err := p.ready(ctx); err != nil {
		return err
	}
	if p.Ready != "" {
		e.Notes = append(e.Notes, fmt.Sprintf("ready again %v after its start", time.Since(asked).Round(time.Millisecond)))
	}
	return nil
}

// hook runs a command of the user's.
func (c *chaos) hook(ctx context.Context, command string) error {
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Stdout, cmd.Stderr = c.Output, c.Output
	// A group of its own, for its children to be killed with it, and because Ctrl-C at
	// the terminal is not for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = hookWait
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the command %q: %w", command, err)
	}
	return nil
}
