package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/micelio/micelio/loadtest"
)

// scriptNode is a node that a script runs as its child, after text.
func scriptNode(t *testing.T, text string) (*process, string) {
	t.Helper()
	addr := freeAddr(t)
	script := filepath.Join(t.TempDir(), "node.sh")
	text += fmt.Sprintf("\n%s=%s %s\nexit 7\n", serveVariable, addr, os.Args[0])
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{Node: Node{Command: "ANY=1 sh " + script, Ready: "http://" + addr + "/"}, addr: addr}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	t.Cleanup(func() { _ = p.stop(ended) })
	if err := p.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p, addr
}

// Only the shell got the signals once: the server of a script went on serving, and a kill cost nothing.
func TestSignalsReachTheServerOfAScript(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		p, addr := scriptNode(t, "")
		if err := p.signal(sig); err != nil {
			t.Fatal(err)
		}
		if _, err := p.gone(t.Context()); err != nil {
			t.Fatal(err)
		}
		if response, err := http.Get("http://" + addr); err == nil {
			response.Body.Close()
			t.Errorf("%v: the server still answers", sig)
		}
		if err := p.signal(sig); err == nil {
			t.Errorf("%v: a node that has ended takes another", sig)
		}
	}
}

// The shell ends with SIGTERM at once, and the node was taken for ended while what it ran still drained.
func TestANodeIsGoneWhenAllThatItStartedIs(t *testing.T) {
	release := filepath.Join(t.TempDir(), "release")
	p, _ := scriptNode(t, "(trap '' TERM; while [ ! -e "+release+" ]; do sleep 0.02; done) &")
	if err := p.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // what has ended is found in any order
		if how, err := p.gone(ended); err == nil {
			t.Fatalf("it is gone (%s) while something of it still runs", how)
		}
	}
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if how, err := p.gone(t.Context()); err != nil || how == "" {
		t.Errorf("%q, %v", how, err)
	}
}

// A node that ignores SIGTERM kept who wanted to leave waiting, or was left behind frozen.
func TestWhoDoesNotWaitKillsWhatIsFrozen(t *testing.T) {
	p, addr := scriptNode(t, "(trap '' TERM; while :; do sleep 0.02; done) &")
	if err := p.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	abandoned := errors.New("abandoned")
	patience, cancel := context.WithCancelCause(t.Context())
	cancel(abandoned)
	if err := p.stop(patience); !errors.Is(err, abandoned) {
		t.Errorf("the error is %v, want %v", err, abandoned)
	}
	if response, err := http.Get("http://" + addr); err == nil {
		response.Body.Close()
		t.Error("the server still answers")
	}
}

// Nobody asks about a zombie in some containers: a -pid that was killed never counted as gone.
func TestAZombieIsGone(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() // not before the end: until then it is a zombie
	p := &process{Node: Node{PID: cmd.Process.Pid}}
	if err := p.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := p.gone(t.Context()); err != nil {
		t.Error(err)
	}
}

// The question whether a node is ready went anywhere: to a remote host, and where an answer sent it.
func TestReadyIsAskedOnThisMachineOnly(t *testing.T) {
	cfg := Config{Load: listings("127.0.0.1:1"), Nodes: []Node{{Command: "true", Ready: "http://192.0.2.1/"}}, Steps: []Step{{Kill, 0, MinBefore, 0}}}
	if _, err := Do(t.Context(), cfg); !errors.Is(err, loadtest.ErrRemote) {
		t.Errorf("the error is %v, want %v", err, loadtest.ErrRemote)
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	asked := 0 // by one at a time
	here := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 1 {
			http.Redirect(w, r, elsewhere.URL+"/elsewhere", http.StatusFound)
		} else if r.URL.Path != "/" {
			t.Errorf("asked for %s", r.URL)
		}
	}))
	defer here.Close()
	p := &process{Node: Node{PID: os.Getpid(), Ready: here.URL + "/"}, addr: here.Listener.Addr().String()}
	if err := p.ready(t.Context()); err != nil || asked != 2 {
		t.Errorf("%v after %d questions, want 2", err, asked)
	}
}

// A hook that failed half way was never undone.
func TestAFailedHookIsUndone(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	cfg := Config{Steps: []Step{{Run, 0, 0, time.Hour}}, Hooks: []Hook{{"exit 3", "echo undone >" + mark + "; exit 4"}}, Log: func(string) {}}
	c := &chaos{Config: cfg, start: time.Now(), patience: t.Context()}
	events := c.steps(t.Context(), nil)
	if _, err := os.Stat(mark); err != nil {
		t.Error(err)
	}
	if len(events) != 1 || events[0].Err == nil || !strings.Contains(events[0].Err.Error(), "exit status 3") || !strings.Contains(events[0].Err.Error(), "exit status 4") {
		t.Errorf("the steps were %+v", events)
	}
}

// What a hook had started lived on when the hook was killed.
func TestAHookIsKilledWithItsChildren(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error)
	go func() {
		c := &chaos{}
		ended <- c.hook(ctx, "sh -c 'echo $$ >"+file+"; exec sleep 1000'; true")
	}()
	pid := 0
	err := poll(t.Context(), func() bool {
		text, _ := os.ReadFile(file)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid > 0
	})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("a hook that was killed is taken for a success")
	}
	if err := poll(t.Context(), func() bool { return processGone(pid) }); err != nil {
		t.Error(err)
	}
}
