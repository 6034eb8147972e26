package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/micelio/micelio/node"
)

// asProgram is the variable by which a test runs its own binary as the program:
// what happens to a process and its terminal cannot be seen within.
const asProgram = "MICELIO_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	switch os.Getenv(asProgram) {
	case "":
		goleak.VerifyTestMain(m)
	case "broken":
		os.Exit(run(context.Background(), os.Args[1:], os.Environ(), brokenTerminal{os.Stdout}, os.Stderr))
	default:
		main()
	}
}

// A brokenTerminal panics when it is to show a node.
type brokenTerminal struct{ *os.File }

func (b brokenTerminal) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("node-1")) {
		panic("a mistake of ours")
	}
	return b.File.Write(p)
}

// runWith runs the program in this process, with nothing in its environment but
// env and with a node that ends at once.
func runWith(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return runServing(t, func(context.Context, node.Config, *slog.Logger) error { return nil }, env, args...)
}

func runServing(t *testing.T, serve func(context.Context, node.Config, *slog.Logger) error, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{env: newEnviron(env), stdout: &out, stderr: &errs, serve: serve}
	code = a.run(t.Context(), args)
	return code, out.String(), errs.String()
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tool returns the path of a program that a test needs, or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("MICELIO_TEST_TOOLS") == "required":
		t.Fatalf("%s is not installed; scripts/install-test-tools.sh installs it", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

func TestArgumentsChooseTheCommand(t *testing.T) {
	for _, tt := range []struct {
		args           []string
		code           int
		stdout, stderr string // what each contains
	}{
		{nil, exitOK, "", ""},
		{[]string{"serve"}, exitOK, "", ""},
		{[]string{"--log-level", "error"}, exitOK, "", ""},
		{[]string{"-h"}, exitOK, "--listen HOST:PORT", ""},
		{[]string{"--help"}, exitOK, "--listen HOST:PORT", ""},
		{[]string{"serve", "--listen", "x", "-h"}, exitOK, "--listen HOST:PORT", ""},
		{[]string{"health", "-h"}, exitOK, "micelio-node health [flags]\n", ""},
		{[]string{"help"}, exitOK, "--listen HOST:PORT", ""},
		{[]string{"help", "serve"}, exitOK, "--listen HOST:PORT", ""},
		{[]string{"help", "where"}, exitOK, "micelio-node where [flags] KEY\n", ""},
		{[]string{"help", "help"}, exitOK, "micelio-node help [COMMAND]\n", ""},
		{[]string{"help", "--help"}, exitOK, "micelio-node help [COMMAND]\n", ""},
		{[]string{"version", "--help"}, exitOK, "micelio-node version\n", ""},
		{[]string{"help", "confg"}, exitUsage, "", `did you mean "config"?`},
		{[]string{"version"}, exitOK, "micelio-node ", ""},
		{[]string{"--version"}, exitOK, "micelio-node ", ""},
		{[]string{"version", "now"}, exitUsage, "", `"now"`},
		{[]string{"serv"}, exitUsage, "", `unknown command "serv", did you mean "serve"?`},
		{[]string{""}, exitUsage, "", `unknown command ""`},
		{[]string{"config", "--check"}, exitOK, "configuration ok", ""},
		{[]string{"--listen", "127.0.0.1:0", "config"}, exitUsage, "", `unexpected argument "config"`},
	} {
		code, stdout, stderr := runWith(t, nil, tt.args...)
		if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) || stderr != "" && tt.stderr == "" {
			t.Errorf("%q: exit code %d\n%s%s", tt.args, code, stdout, stderr)
		}
	}
}

func TestServeRunsTheNodeThatWasConfigured(t *testing.T) {
	var got node.Config
	serve := func(_ context.Context, cfg node.Config, logger *slog.Logger) error {
		got = cfg
		logger.Debug("up")
		return nil
	}
	code, _, stderr := runServing(t, serve, []string{"STORAGE_LOCAL_PATH=/l", "MICELIO_LISTN=x"},
		"--data-dir", "/d", "--join", "a:1,b:2", "--join", "c:3", "--log-level", "debug")
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if got.LocalPath != "/l" || got.CachePath != "/d/cache" || strings.Join(got.Join, " ") != "a:1 b:2 c:3" {
		t.Errorf("got %+v", got)
	}
	for _, want := range []string{`"msg":"up"`, "did you mean MICELIO_LISTEN?"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("the log lacks %s:\n%s", want, stderr)
		}
	}
}

func TestAFailedNodeExitsWithOne(t *testing.T) {
	serve := func(context.Context, node.Config, *slog.Logger) error { return errors.New("the port is taken") }
	code, _, stderr := runServing(t, serve, nil)
	if code != exitFailure || stderr != "micelio-node: the port is taken\n" {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestABadConfigurationStartsNothing(t *testing.T) {
	serve := func(context.Context, node.Config, *slog.Logger) error {
		t.Error("the node was started")
		return nil
	}
	if code, _, stderr := runServing(t, serve, nil, "--listen", "0.0.0.0:80"); code != exitUsage {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestAllProblemsOfAllSourcesComeInOneMessage(t *testing.T) {
	file := writeFile(t, "cluster micelio\nlisen 127.0.0.1:1\nssd-bytes 10 G\nname=x\ndrain-timeout 0s\n"+
		"env test\nenv production\nconfig other\n\x00\n")
	env := []string{"STORAGE_CACHE_MEMORY_MAX_BYTES=64M", "STORAGE_CDN_TIMEOUT_MS=2s", "MICELIO_ALLOW_ANONYMOUS=perhaps",
		"STORAGE_BACKEND=s3", "S3_SECRET_ACCESS_KEY_FILE=/nowhere/key", "S3_ACCESS_KEY_ID=a", "S3_ACCESS_KEY_ID_FILE=b", "MICELIO_S3_PARALLEL=four"}
	code, stdout, stderr := runWith(t, env, "--config", file, "--listen=:8080", "--lisen", "x", "--peer-listen", "y",
		"--join", "z", "--drain-delay", "5", "-=q", "stray", "--log-format", "xml", "--log-level")
	if code != exitUsage || stdout != "" {
		t.Errorf("exit code %d, stdout %q", code, stdout)
	}
	wants := []string{
		"--lisen: no such flag, did you mean \"--listen\"?",
		"bad flag syntax: -=q",
		"unexpected argument \"stray\"",
		"flag needs an argument: -log-level",
		"--drain-delay: \"5\" is not a duration",
		file + ":2: \"lisen\" is no setting, did you mean \"listen\"?",
		file + ":3: ssd-bytes: \"10 G\" is not a size",
		file + ":4: \"name\" is followed by \"=\"",
		file + ":5: drain-timeout: 0s leaves no time",
		file + ":7: env: set for the second time",
		file + ":8: \"config\" is no setting",
		file + ":9: not text",
		"STORAGE_CACHE_MEMORY_MAX_BYTES: \"64M\" is not a size",
		"STORAGE_CDN_TIMEOUT_MS: \"2sms\" is not a duration",
		"MICELIO_ALLOW_ANONYMOUS: \"perhaps\" is neither true nor false",
		"S3_SECRET_ACCESS_KEY_FILE: cannot read the secret: open /nowhere/key: no such file or directory",
		"S3_ACCESS_KEY_ID_FILE: S3_ACCESS_KEY_ID sets the same secret",
		"MICELIO_S3_PARALLEL: \"four\" is not a whole number",
		"Missing S3 bucket: set S3_BUCKET",
		"Missing S3 credentials: there is S3_ACCESS_KEY_ID",
		"--listen: \":8080\" can be reached from other machines",
		"--peer-listen: \"y\" is not an address",
		"--join: \"z\" is not an address",
		"--log-format: \"xml\" is unknown: use auto, text or json",
	}
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	for _, want := range wants {
		if n := strings.Count(stderr, "\n  "+want); n != 1 {
			t.Errorf("%q is said %d times", want, n)
		}
	}
	const frame = 2 // the head and the hint at the help
	if len(lines) != len(wants)+frame || t.Failed() {
		t.Errorf("got %d lines for %d problems:\n%s", len(lines)-frame, len(wants), stderr)
	}
}
