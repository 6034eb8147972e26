package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
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
	// Command is run by the shell, and can be started again. It must not go on in
	// the background.
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
	output io.Writer // of commands, both streams

	mu    sync.Mutex
	cmd   *exec.Cmd     // nil of a PID
	ended chan struct{} // closed when cmd has been waited for; nil of a PID
	err   error         // how cmd ended
}

// start starts the command of a node, if it has one.
func (p *process) start() error {
	if p.Command == "" {
		return p.signal(syscall.Signal(0)) // is it there, and may we?
	}
	cmd := exec.Command("/bin/sh", "-c", "exec "+p.Command)
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
	p.cmd, p.ended, p.err = cmd, ended, nil
	go func() { // ends with the process, which stop waits for
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(ended)
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
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.ended:
		return errors.New("the node has ended already")
	default:
	}
	// The child has not been waited for yet, so that its id is still its own.
	return p.cmd.Process.Signal(sig)
}

// gone waits until the process has ended, and returns how it did in words.
func (p *process) gone(ctx context.Context) (string, error) {
	if p.Command != "" {
		select {
		case <-p.ended:
		case <-ctx.Done():
			return "", fmt.Errorf("the node has not ended: %w", context.Cause(ctx))
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.cmd.ProcessState.String(), nil
	}
	err := poll(ctx, func() bool {
		return errors.Is(syscall.Kill(p.PID, 0), syscall.ESRCH)
	})
	if err != nil {
		return "", fmt.Errorf("the process %d has not ended: %w", p.PID, err)
	}
	return "gone", nil
}

// ready waits until the node answers at its Ready.
func (p *process) ready(ctx context.Context) error {
	if p.Ready == "" {
		return nil
	}
	client := &http.Client{Timeout: answerTimeout}
	defer client.CloseIdleConnections()
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

// stop ends a node that was started here: gently, then not.
func (p *process) stop() error {
	if p.Command == "" || p.ended == nil {
		return nil
	}
	// A frozen process takes no other signal.
	if p.signal(syscall.SIGCONT) != nil || p.signal(syscall.SIGTERM) != nil {
		return nil // it has ended
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	if _, err := p.gone(ctx); err == nil {
		return nil
	}
	if err := p.signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.ended
	return fmt.Errorf("the node %q did not end within %v of SIGTERM and was killed", p.Command, stopGrace)
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
