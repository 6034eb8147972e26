package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/micelio/micelio/loadtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newServer keeps objects that were put.
func newServer(t *testing.T) string {
	t.Helper()
	var objects sync.Map
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			body, err := io.ReadAll(r.Body)
			if err == nil {
				objects.Store(r.URL.Path, body)
			}
			return
		}
		body, found := objects.Load(r.URL.Path)
		if !found {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("X-Cache", "ram")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body.([]byte)))
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// runCommand runs a command line.
func runCommand(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = execute(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestPrepareAndRun(t *testing.T) {
	addr := newServer(t)
	same := []string{"-target", addr, "-keys", "50", "-sizes", "lognormal:1000,1", "-class", "verified"}
	code, stdout, stderr := runCommand(t.Context(), append([]string{"prepare"}, same...)...)
	if code != exitOK || !strings.Contains(stdout, "50 of 50 objects") {
		t.Fatalf("prepare: %d %s %s", code, stdout, stderr)
	}
	file := filepath.Join(t.TempDir(), "result.json")
	code, stdout, stderr = runCommand(t.Context(), append([]string{"run", "-rate", "max", "-requests", "300", "-ops", "get,range,head", "-check", "1",
		"-name", "mine", "-o", file}, same...)...)
	if code != exitOK && code != exitInvalid { // on a busy machine
		t.Fatalf("run: %d %s %s", code, stdout, stderr)
	}
	if !strings.Contains(stdout, "100.000%, 300, 0") || !strings.Contains(stdout, "\nram ") {
		t.Errorf("it printed\n%s", stdout)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	result, err := loadtest.ReadResult(f)
	if err != nil {
		t.Fatal(err)
	}
	if result.Config.Name != "mine" || result.Totals.Done != 300 || result.Totals.Failed != 0 || (code == exitInvalid) != (result.Self.Verdict == loadtest.Invalid) {
		t.Errorf("exit code %d, and in the file %+v, %+v", code, result.Totals, result.Self)
	}
	if left, err := filepath.Glob(file + ".*"); err != nil || len(left) > 0 {
		t.Errorf("beside the file there are %v, %v", left, err)
	}
}

// A signal ends the context; what was measured until then is reported.
func TestAnInterruptedRunReportsWhatThereIs(t *testing.T) {
	addr := newServer(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cancel(errors.New("interrupt"))
		http.Redirect(w, r, "http://"+addr, http.StatusFound)
	}))
	defer target.Close()
	file := filepath.Join(t.TempDir(), "result.json")
	code, stdout, stderr := runCommand(ctx, "run", "-target", target.URL, "-duration", "1h", "-o", file)
	if (code != exitOK && code != exitInvalid) || !strings.Contains(stdout, "stopped: interrupt") {
		t.Errorf("%d\n%s\n%s", code, stdout, stderr)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// Whoever starts a run by a script must learn that its numbers are worth nothing:
// here because nothing was due before it was over.
func TestAnInvalidRunHasItsOwnExitCode(t *testing.T) {
	code, stdout, stderr := runCommand(t.Context(), "run", "-target", newServer(t), "-rate", "1m@0,1m@1", "-duration", "10ms")
	if code != exitInvalid || !strings.HasPrefix(stdout, "Self check     "+loadtest.Invalid) || !strings.Contains(stderr, loadtest.Invalid) {
		t.Errorf("%d\n%s\n%s", code, stdout, stderr)
	}
}

// broken is a pipe that nobody reads any more.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// With a report that could not be printed, the result of the run was thrown away.
func TestAResultIsKeptThoughNobodyReadsTheReport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "result.json")
	code := execute(t.Context(), []string{"run", "-target", newServer(t), "-rate", "max", "-requests", "10", "-o", file}, broken{}, io.Discard)
	if code != exitFailure {
		t.Errorf("exit code %d, want %d", code, exitFailure)
	}
	if _, err := readResult(file); err != nil {
		t.Error(err)
	}
}

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"walk"}, {"run", "-nosuch"}, {"run", "operand"}, {"run", "-rate", "x"}, {"run", "-access", "zipf"}, {"run", "-access", "hot:1"},
		{"run", "-access", "uniform:1"}, {"run", "-shift", "0.1"}, {"run", "-sizes", "big"}, {"run", "-sizes-file", "/nonexistent"},
		// What the Config refuses had the exit code of a failure.
		{"run", "-connections", "0"}, {"prepare", "-keys", "0"}, {"run", "-connections", "1", "-target", "127.0.0.1:1,127.0.0.1:2"},
		{"chaos", "-do", "kill:0@10s"},
		{"run", "-ca", "/nonexistent"}, {"run", "-ops", "delete"}, {"prepare", "-rate", "1"},
	} {
		if code, stdout, stderr := runCommand(t.Context(), args...); code != exitUsage || stdout != "" || stderr == "" {
			t.Errorf("%q: exit code %d, printed %q and %q", args, code, stdout, stderr)
		}
	}
	code, _, stderr := runCommand(t.Context(), "run", "-target", "192.0.2.1:80")
	if code != exitFailure || !strings.Contains(stderr, "not on this machine") {
		t.Errorf("a remote target: %d %s", code, stderr)
	}
}

func TestHelpShowsEveryFlag(t *testing.T) {
	code, stdout, _ := runCommand(t.Context(), "-h")
	if code != exitOK || !strings.Contains(stdout, "prepare") || !strings.Contains(stdout, "3 the run is INVALID") {
		t.Errorf("%d %s", code, stdout)
	}
	code, _, stderr := runCommand(t.Context(), "run", "-h")
	for _, want := range []string{"-rate", "-spin", "-access", "-metrics", "-allow-remote", "ramp:", "poisson:", "Ctrl-C"} {
		if code != exitOK || !strings.Contains(stderr, want) {
			t.Errorf("%d, no %q in\n%s", code, want, stderr)
		}
	}
}

// Random arrivals of steps lasted for the default of 30 s.
func TestStepsLastAsLongAsTheyAre(t *testing.T) {
	for _, rate := range []string{"30s@50,1m@200", "poisson:30s@50,1m@200"} {
		var o options
		var output string
		if err := o.parse(newRunFlags("micelio-load run", io.Discard, &o, &output), []string{"-rate", rate}); err != nil {
			t.Fatal(err)
		}
		if o.cfg.Duration != 90*time.Second {
			t.Errorf("%s lasts %v, want 1m30s", rate, o.cfg.Duration)
		}
	}
}

func TestFlagsBecomeAConfig(t *testing.T) {
	var o options
	var output string
	f := newRunFlags("micelio-load run", io.Discard, &o, &output)
	err := o.parse(f, []string{"-rate", "10s@5,20s@6", "-access", "hot:10,0.9", "-shift", "0.1@10s", "-ops", "get:2,put", "-sizes", "2KiB",
		"-target", "127.0.0.1:1,127.0.0.1:2", "-metrics", "127.0.0.1:3", "-client", "http", "-class", "mutable", "-seed", "9"})
	if err != nil {
		t.Fatal(err)
	}
	want := loadtest.DefaultConfig()
	want.Rate, want.Duration, want.Client, want.Seed = "10s@5,20s@6", 30*time.Second, "http", 9
	want.Targets, want.Metrics = []string{"127.0.0.1:1", "127.0.0.1:2"}, []string{"127.0.0.1:3"}
	want.Mix = loadtest.Mix{Parts: []loadtest.Part{{Name: "load", Weight: 1, Keys: defaultKeys, Class: "mutable",
		Access: loadtest.Access{Kind: "hot", HotKeys: 10, HotShare: 0.9, ShiftBy: 0.1, ShiftEvery: 10 * time.Second},
		Sizes:  loadtest.Sizes{Kind: "fixed", Bytes: 2048}, Ops: loadtest.Ops{Get: 2, Put: 1}}}}
	o.cfg.TLS = nil
	if d := cmp.Diff(o.cfg, want); d != "" {
		t.Error(d)
	}
}
