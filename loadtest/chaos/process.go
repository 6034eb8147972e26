package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	// pollEvery is how often it is asked whether a process has ended or answers.
	pollEvery = 20 * time.Millisecond

	// stopGrace is how long a node may take to end when all is over, before it is
	// killed.
	stopGrace = 15 * time.Second

	// answerTimeout is how long one question whether a node is ready may take.
	answerTimeout = 2 * time.Second
)

// A Node is a process that something is done to. Either Command or PID is given.
type Node struct {
	// Command is run by the shell, and can be started again. Signals go to all that it
	// starts, its process group, so it may be a script. What leaves the group (setsid)
	// is beyond reach.
	Command string

	// PID is a process that runs already. It cannot be started again.
	PID int

	// Ready, if not "", is a URL that answers 200 when the node serves. Nodes with a
	// Command are waited for at it.
	Ready string
}

// A process is a Node that runs.
type process struct {
	Node
	addr   string    // IP:PORT of Ready
	output io.Writer // of commands, both streams

	mu    sync.Mutex
	cmd   *exec.Cmd     // nil of a PID
	ended chan struct{} // closed when cmd has been waited for; nil of a PID
	over  bool          // the whole group was seen to be gone: its id may be another's now
}

// start starts the command of a node, if it has one.
func (p *process) start() error {
	if p.Command == "" {
		return p.signal(syscall.Signal(0)) // is it there, and may we?
	}
	cmd := exec.Command("/bin/sh", "-c", p.Command)
	cmd.Stdout, cmd.Stderr = p.output, p.output
	// A group of its own: Ctrl-C at the terminal is for the load, which then ends
	// the nodes in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.ended, p.over = cmd, ended, false
	go func() { // ends with the process, which stop waits for
		defer close(ended)
		_ = cmd.Wait() // how it ended is in its ProcessState
	}()
	return nil
}

// signal sends a signal. A process that has ended is an error.
func (p *process) signal(sig syscall.Signal) error {
	if p.Command == "" {
		if err := syscall.Kill(p.PID, sig); err != nil {
			return fmt.Errorf("the process %d: %w", p.PID, err)
		}
		return nil
	}
	if p.groupGone() {
		return errors.New("the node has ended already")
	}
	// The id of a group is not given to another as long as one is in it.
	return syscall.Kill(-p.cmd.Process.Pid, sig)
}

// groupGone reports whether the command and all that it started have ended.
func (p *process) groupGone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return true
	}
	select {
	case <-p.ended:
	default:
		return false
	}
	group := p.cmd.Process.Pid
	p.over = errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) || onlyZombies(group)
	return p.over
}

// gone waits until the process has ended, with all that it started, and returns
// how it did in words.
func (p *process) gone(ctx context.Context) (string, error) {
	if p.Command == "" {
		err := poll(ctx, func() bool { return processGone(p.PID) })
		if err != nil {
			return "", fmt.Errorf("the process %d has not ended: %w", p.PID, err)
		}
		return "gone", nil
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		return "", fmt.Errorf("the node has not ended: %w", context.Cause(ctx))
	}
	how := p.cmd.ProcessState.String()
	if p.groupGone() {
		return how, nil
	}
	// The signal ended the shell before what it had started.
	if err := poll(ctx, p.groupGone); err != nil {
		return "", fmt.Errorf("what the node's command started has not ended: %w", err)
	}
	return "gone with all that it started; its shell: " + how, nil
}

// ready waits until the node answers at its Ready.
func (p *process) ready(ctx context.Context) error {
	if p.Ready == "" {
		return nil
	}
	// Where the node is was resolved and allowed before; what it answers sends the
	// question nowhere else.
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", p.addr)
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Timeout: answerTimeout, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var ended error
	err := poll(ctx, func() bool {
		if p.Command != "" {
			select {
			case <-p.ended:
				ended = fmt.Errorf("the node ended before it was ready: %s", p.cmd.ProcessState)
				return true
			default:
			}
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Ready, nil)
		if err != nil {
			ended = err
			return true
		}
		response, err := client.Do(request)
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return errors.Join(ended, err)
}

// stop ends a node that was started here: gently, then not; not gently at all when
// patience has ended.
func (p *process) stop(patience context.Context) error {
	if p.Command == "" || p.ended == nil {
		return nil
	}
	// A frozen process takes no other signal.
	if p.signal(syscall.SIGCONT) != nil || p.signal(syscall.SIGTERM) != nil {
		return nil // it has ended
	}
	ctx, cancel := context.WithTimeoutCause(patience, stopGrace, fmt.Errorf("it did not within %v of SIGTERM", stopGrace))
	defer cancel()
	if _, err := p.gone(ctx); err == nil {
		return nil
	}
	why := context.Cause(ctx)
	if err := p.signal(syscall.SIGKILL); err != nil && !p.groupGone() {
		return err
	}
	<-p.ended
	return fmt.Errorf("the node %q was killed: %w", p.Command, why)
}

// poll asks until it is so.
func poll(ctx context.Context, so func() bool) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for !so() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
