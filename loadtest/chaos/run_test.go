package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/micelio/micelio/loadtest"
)

// serveVariable makes the test program a server at the address that it holds.
const serveVariable = "MICELIO_CHAOS_TEST_SERVE"

func TestMain(m *testing.M) {
	if addr := os.Getenv(serveVariable); addr != "" {
		if err := serve(addr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// serve answers everything until SIGTERM, and then ends as a node does: what is
// under way is answered.
func serve(addr string) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	server := &http.Server{Addr: addr, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	context.AfterFunc(ctx, func() { server.Shutdown(context.Background()) })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// freeAddr is an address that nobody listens at.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serverNode is a node that is this program.
func serverNode(t *testing.T) (Node, string) {
	t.Helper()
	addr := freeAddr(t)
	return Node{Command: fmt.Sprintf("exec env %s=%s %s", serveVariable, addr, os.Args[0]), Ready: "http://" + addr + "/"}, addr
}

// listings are a load that needs nothing stored.
func listings(targets ...string) loadtest.Config {
	cfg := loadtest.DefaultConfig()
	cfg.Targets, cfg.Rate, cfg.Connections = targets, "200", 8
	cfg.Timeout, cfg.Grace = 5*time.Second, 5*time.Second
	cfg.Mix.Parts[0].Ops, cfg.Mix.Parts[0].Keys = loadtest.Ops{List: 1}, 1
	return cfg
}

func TestRealNodesAreFrozenDrainedAndKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than twenty seconds")
	}
	one, addr := serverNode(t)
	other, _ := serverNode(t) // which is asked nothing
	mark := filepath.Join(t.TempDir(), "mark")
	cfg := Config{Load: listings(addr), Nodes: []Node{one, other}, Hooks: []Hook{{"echo do >>" + mark, "echo undo >>" + mark}}}
	cfg.Load.Duration = 22 * time.Second
	var err error
	if cfg.Steps, err = ParseSteps("freeze:0@4s+500ms,drain:1@8500ms+100ms,run:0@12800ms+100ms,kill:0@17s+500ms"); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cfg.Log = func(line string) { log.WriteString(line + "\n") }
	o, err := Do(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Impacts) != 4 {
		t.Fatalf("%d steps were done, want 4:\n%s", len(o.Impacts), &log)
	}
	for _, m := range o.Impacts {
		if m.Event.Err != nil {
			t.Errorf("%s: %v", m.Event.Step, m.Event.Err)
		}
	}
	freeze, drain, kill := o.Impacts[0], o.Impacts[1], o.Impacts[3]
	// Who is frozen answers nothing: the requests that fell due first waited for as
	// long as it was.
	if freeze.Max < 400*time.Millisecond {
		t.Errorf("the node was frozen for half a second, and the longest request took %v", freeze.Max)
	}
	if drain.Failed != 0 || len(drain.Event.Notes) != 2 || !strings.Contains(drain.Event.Notes[0], "exit status 0") {
		t.Errorf("the drain of a node that nobody asks: %d failed, %q", drain.Failed, drain.Event.Notes)
	}
	if kill.Failed == 0 || kill.Errors[loadtest.ErrorDial] == 0 || !strings.Contains(kill.Event.Notes[0], "signal: killed") {
		t.Errorf("the kill of a node that is asked: %d failed, errors %v, %q", kill.Failed, kill.Errors, kill.Event.Notes)
	}
	if last := o.Result.Intervals[20]; last.Done == 0 {
		t.Errorf("three seconds after its start the node answers nothing: %+v", last.Totals)
	}
	if text, err := os.ReadFile(mark); err != nil || string(text) != "do\nundo\n" {
		t.Errorf("the hook left %q (%v)", text, err)
	}
	for _, node := range cfg.Nodes {
		if response, err := http.Get(node.Ready); err == nil {
			response.Body.Close()
			t.Errorf("%s still answers after the end", node.Ready)
		}
	}
}

// A node that was frozen goes on also if everything is broken off meanwhile, and
// a process that is not ours is left running.
func TestNothingStaysFrozen(t *testing.T) {
	addr := freeAddr(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveVariable+"="+addr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	node := Node{PID: cmd.Process.Pid, Ready: "http://" + addr + "/"}
	cfg := Config{Load: listings(addr), Nodes: []Node{node}}
	cfg.Load.Duration = 100 * time.Second
	cfg.Steps = []Step{{Freeze, 0, MinBefore, 90 * time.Second}}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	cfg.Log = func(string) { cancel(errors.New("broken off")) } // when the step begins
	o, err := Do(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if o.Result.Stopped != "broken off" || len(o.Impacts) != 1 {
		t.Errorf("stopped %q after %d steps, want it broken off after one", o.Result.Stopped, len(o.Impacts))
	}
	response, err := http.Get(node.Ready)
	if err != nil {
		t.Fatalf("the process does not answer: %v", err)
	}
	response.Body.Close()
}

func TestANodeThatEndsAtOnceIsSaid(t *testing.T) {
	cfg := Config{Load: listings("127.0.0.1:1"), Nodes: []Node{{Command: "sh -c 'exit 3'", Ready: "http://127.0.0.1:1/"}}, Steps: []Step{{Kill, 0, MinBefore, 0}}}
	_, err := Do(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "ended before it was ready: exit status 3") {
		t.Errorf("the error is %v", err)
	}
}

func TestALoadThatCannotBeginEndsTheNodes(t *testing.T) {
	node, addr := serverNode(t)
	cfg := Config{Load: listings(addr), Nodes: []Node{node}, Steps: []Step{{Kill, 0, MinBefore, 0}}}
	cfg.Load.Bucket = "no such bucket"
	if _, err := Do(t.Context(), cfg); err == nil {
		t.Error("there is no error")
	}
	if response, err := http.Get(node.Ready); err == nil {
		response.Body.Close()
		t.Error("the node still answers")
	}
}
