package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/micelio/micelio/node"
)

// raise sends a signal to this process. Only a node that is being served may
// call it: by then the program handles signals.
func raise(t *testing.T, s syscall.Signal) {
	if err := syscall.Kill(os.Getpid(), s); err != nil {
		t.Error(err)
	}
}

func TestTheFirstSignalDrains(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		drained := false
		code, _, stderr := runServing(t, func(ctx context.Context, _ node.Config, _ *slog.Logger) error {
			raise(t, s)
			<-ctx.Done()
			drained = true
			return nil
		}, nil)
		if code != exitOK || !drained || !strings.Contains(stderr, "draining") {
			t.Errorf("%v: exit code %d, drained %v: %s", s, code, drained, stderr)
		}
	}
}

func TestTheSecondSignalExitsAtOnce(t *testing.T) {
	release, over := make(chan struct{}), make(chan struct{})
	code, _, stderr := runServing(t, func(ctx context.Context, _ node.Config, _ *slog.Logger) error {
		defer close(over)
		raise(t, syscall.SIGTERM)
		<-ctx.Done()
		raise(t, syscall.SIGINT)
		<-release // a drain that takes its time
		return nil
	}, nil)
	close(release)
	<-over
	if code != exitFailure || !strings.Contains(stderr, "second signal") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestACancelledContextDrainsToo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	a := &app{stdout: &out, stderr: &out, serve: func(ctx context.Context, _ node.Config, _ *slog.Logger) error {
		cancel()
		<-ctx.Done()
		return nil
	}}
	if code := a.run(ctx, nil); code != exitOK {
		t.Errorf("exit code %d: %s", code, out.String())
	}
}

func TestTheLogFollowsItsSettings(t *testing.T) {
	log := func(_ context.Context, _ node.Config, logger *slog.Logger) error {
		logger.Debug("one")
		logger.Info("two")
		logger.Error("three")
		return nil
	}
	for _, tt := range []struct {
		args []string
		want []string // the beginning of each line after the time
	}{
		{nil, []string{`"level":"INFO","msg":"two"}`, `"level":"ERROR","msg":"three"}`}},
		{[]string{"--log-level=debug", "--log-format=json"}, []string{`"level":"DEBUG","msg":"one"}`, `"level":"INFO","msg":"two"}`, `"level":"ERROR","msg":"three"}`}},
		{[]string{"--log-level=error", "--log-format=text"}, []string{`level=ERROR msg=three`}},
	} {
		_, _, stderr := runServing(t, log, nil, tt.args...)
		lines := strings.Split(strings.TrimSpace(stderr), "\n")
		if len(lines) != len(tt.want) {
			t.Errorf("%q: got %q", tt.args, lines)
			continue
		}
		for i, line := range lines {
			if !strings.HasSuffix(line, tt.want[i]) {
				t.Errorf("%q: got %s, want %s", tt.args, line, tt.want[i])
			}
		}
	}
}

func TestHealthTellsWhatTheNodeSays(t *testing.T) {
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, "[+] listeners: here\n[-] ring: not joined\n[!] origin: away\n[-] not draining: it does\nnot ready\n")
			return
		}
		fmt.Fprintln(w, "answer of", r.URL.Path)
	}))
	defer admin.Close()
	address := admin.Listener.Addr().String()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"MICELIO_ADMIN_LISTEN=" + address}
	for _, tt := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"health"}, exitFailure, "", "503 Service Unavailable: not ready: ring: not joined; not draining: it does\n"},
		{[]string{"health", "--live"}, exitOK, "answer of /healthz\n", ""},
		{[]string{"health", "--live", "--admin-listen", "0.0.0.0:" + port}, exitOK, "answer of /healthz\n", ""},
		{[]string{"health", "--live", "--admin-listen", ":" + port}, exitOK, "answer of /healthz\n", ""},
		{[]string{"health", "--live", "--listen", "0.0.0.0:1"}, exitOK, "answer of /healthz\n", ""},
		{[]string{"health", "--admin-listen", "127.0.0.1:0"}, exitUsage, "", "chose a free port"},
		{[]string{"health", "--admin-listen", "nowhere"}, exitUsage, "", "is not an address"},
		{[]string{"health", "--liv"}, exitUsage, "", `did you mean "--live"?`},
	} {
		code, stdout, stderr := runWith(t, env, tt.args...)
		if code != tt.code || stdout != tt.stdout || !strings.Contains(stderr, tt.stderr) || tt.stderr == "" && stderr != "" {
			t.Errorf("%q: exit code %d\n%s%s", tt.args, code, stdout, stderr)
		}
		if lines := strings.Count(stdout+stderr, "\n"); tt.code != exitUsage && lines != 1 {
			t.Errorf("%q says %d lines, want one", tt.args, lines)
		}
	}
	admin.Close()
	if code, _, stderr := runWith(t, env, "health"); code != exitFailure || !strings.Contains(stderr, "does not answer") {
		t.Errorf("without a node: exit code %d: %s", code, stderr)
	}
}

func TestAListenerIsDialledWhereItListens(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:8082": "127.0.0.1:8082", "0.0.0.0:1": "127.0.0.1:1", ":1": "127.0.0.1:1", "[::]:1": "[::1]:1", "node:1": "node:1",
	} {
		if got, err := dialable(listen); got != want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", listen, got, err, want)
		}
	}
}

func TestTheVersionComesFromTheLinkerOrTheBuild(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}}
	for _, tt := range []struct {
		linked string
		info   *debug.BuildInfo
		want   string
	}{
		{"", info, "micelio-node v1.2.3 revision abc (modified) go1.26.8 "},
		{"v2.0.0", info, "micelio-node v2.0.0 revision abc (modified) go1.26.8 "},
		{"", &debug.BuildInfo{}, "micelio-node (devel) go"},
	} {
		if got := describeBuild(tt.linked, tt.info); !strings.HasPrefix(got, tt.want) {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
