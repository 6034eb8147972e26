package s3test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program returns the path of a server's binary.
func program(t testing.TB, name string) string {
	t.Helper()
	if dir, err := os.Getwd(); err == nil {
		for ; ; dir = filepath.Dir(dir) {
			path := filepath.Join(dir, "bin", "tools", name)
			if _, err := os.Stat(path); err == nil {
				return path
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	const how = "%s is not there: scripts/build-test-servers.sh builds it"
	if os.Getenv("MICELIO_TEST_TOOLS") == "required" {
		t.Fatalf(how, name)
	}
	t.Skipf(how, name)
	return ""
}

// startLimit bounds how long a program may take until it answers, attemptLimit
// how long one question may.
const (
	startLimit   = 30 * time.Second
	attemptLimit = 2 * time.Second
)

// A process is a program that runs until the test ends.
type process struct {
	path  string
	args  []string
	alive func(ctx context.Context) error // nil once it answers
	out   output

	// Of its present life.
	cmd   *exec.Cmd
	ended chan struct{}
}

// An output keeps what a process says.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs a program, waits until alive returns nil, and stops it with the
// test. It returns errAddrInUse when the program found its address taken.
func start(t testing.TB, alive func(ctx context.Context) error, path string, args ...string) error {
	t.Helper()
	_, err := startProcess(t, alive, path, args...)
	return err
}

// startProcess is start for a program that the test stops and starts again.
func startProcess(t testing.TB, alive func(ctx context.Context) error, path string, args ...string) (*process, error) {
	t.Helper()
	p := &process{path: path, args: args, alive: alive}
	p.run(t)
	t.Cleanup(func() {
		p.kill()
		if said := p.out.String(); t.Failed() {
			t.Logf("%s said last:\n%s", filepath.Base(path), said[max(0, len(said)-4<<10):])
		}
	})
	return p, p.await(t)
}

// run begins a life of the process.
func (p *process) run(t testing.TB) {
	t.Helper()
	cmd, ended := exec.Command(p.path, p.args...), make(chan struct{})
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.cmd, p.ended = cmd, ended
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed
	}()
}

// kill ends it, also one that stands still, if it has not ended by itself.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
}

// await waits until a process answers.
func (p *process) await(t testing.TB) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		// What answers may be the one that has the address, so what the process
		// says comes first. Toxiproxy says it and stays.
		attempt, done := context.WithTimeout(ctx, attemptLimit)
		err := p.alive(attempt)
		done()
		if strings.Contains(p.out.String(), syscall.EADDRINUSE.Error()) {
			return errAddrInUse
		}
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-p.ended:
			if strings.Contains(p.out.String(), syscall.EADDRINUSE.Error()) {
				return errAddrInUse
			}
			t.Fatalf("%s ended: %s", p.cmd.Path, p.out.String())
		case <-ctx.Done():
			t.Fatalf("%s does not answer: %v\n%s", p.cmd.Path, err, p.out.String())
		}
	}
}

// environment is ours without what the clients and servers of AWS would read,
// and asks for little talk.
func environment() []string {
	return append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "VGW_") || strings.HasPrefix(v, "ROOT_")
	}), "LOG_LEVEL=error")
}

var errNotAlive = errors.New("unexpected status")

// answers returns a function that asks a URL for any of the statuses.
func answers(client *http.Client, url string, statuses ...int) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if !slices.Contains(statuses, resp.StatusCode) {
			return errNotAlive
		}
		return nil
	}
}
